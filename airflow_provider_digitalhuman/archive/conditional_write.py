"""Publishing a file only where there is none: which stores do that in one step, and what to do with the others.

Looking first and publishing then is not enough: two tasks can both find the name free. S3, Google and Azure take the
condition with the request that publishes; fsspec's libraries send it for a file that is opened in the mode "xb".
"""

from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final
from urllib.parse import urlsplit

from airflow_provider_digitalhuman.support.logs import Log

SHORTEST_PAUSE: Final = 2.0
"""Seconds between publishing without a condition and looking again: another task's request can be under way."""
_LIBRARIES: Final = ("s3fs", "gcsfs", "adlfs")
_SINCE: Final = (2024, 12)
"""The version from which these three send the condition. Older ones may take the mode "xb" and ignore it."""
_S3_REQUESTS: Final = ("PutObject", "CompleteMultipartUpload")
_AWS: Final = (".amazonaws.com", ".amazonaws.com.cn")
_CONFLICTS: Final = (409, 412)
_NOT_IMPLEMENTED: Final = 501


def sends_condition(fs: Any) -> bool:
    """Return whether a file that is opened in the mode "xb" is published on the condition that there is none."""
    library = _library(fs)
    return library is not None and _is_recent(library) and (library != "s3fs" or _botocore_knows_it(fs))


def is_checked_when_published(fs: Any) -> bool:
    """Return whether the store is known to check the condition in the moment in which the file becomes visible.

    AWS and Azure are. Google gets it at the start of an upload in parts, and not every other store with S3's interface
    obeys the header.
    """
    library = _library(fs)
    if library == "s3fs":
        return (urlsplit(fs.s3.meta.endpoint_url).hostname or "").endswith(_AWS)
    return library == "adlfs"


def is_conflict(error: BaseException) -> bool:
    """Return whether a store refused to publish because there is a file."""
    return isinstance(error, FileExistsError) or _http_status(error) in _CONFLICTS


def is_not_implemented(error: BaseException) -> bool:
    """Return whether a store refused to publish because it does not know the condition."""
    return _http_status(error) == _NOT_IMPLEMENTED


def publish_unconditionally(file: Any, log: Log) -> None:
    """Complete an S3 upload again that was refused for its condition."""
    log.info("This store does not know conditional writes (HTTP 501); the file is looked at again instead.")
    file.mode = "wb"
    file.commit()


def _library(fs: Any) -> str | None:
    packages = {base.__module__.partition(".")[0] for base in type(fs).__mro__}
    return next((name for name in _LIBRARIES if name in packages), None)


def _is_recent(library: str) -> bool:
    try:
        year, month = version(library).split(".")[:2]
        return (int(year), int(month)) >= _SINCE
    except (PackageNotFoundError, ValueError):
        return False


def _botocore_knows_it(fs: Any) -> bool:
    model = fs.s3.meta.service_model  # s3fs silently leaves out what botocore does not know
    return all("IfNoneMatch" in model.operation_model(name).input_shape.members for name in _S3_REQUESTS)


def _http_status(error: BaseException | None) -> int | None:
    """Return the status of a botocore error: s3fs raises an ``OSError`` with it as the cause."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            status: int | None = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            return status
        error = error.__cause__
    return None
