"""A file's name in a store, and what is there now."""

import errno
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from airflow_provider_digitalhuman.exceptions import DownloadError, DownloadRefusedError, InvalidRequestError

LASTING_ERRORS: Final = frozenset(
    {
        errno.EROFS,
        errno.EEXIST,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENAMETOOLONG,
        errno.EACCES,
        errno.EPERM,
        errno.ELOOP,
    }
)
"""Errors of the operating system about a local place that another try meets again."""
_READ_SIZE: Final = 1024 * 1024
_LOCAL: Final = "file://"
_LOCAL_SCHEMES: Final = ("file:", "local:")


@dataclass(frozen=True, slots=True)
class Place:
    """A file's name in a store.

    :param uri: what ``ObjectStoragePath`` takes, with the storage connection's ID if there is one.
    :param fs: the fsspec file system.
    :param path: the name within it.
    :param protocol: the URI's scheme.
    """

    uri: str
    fs: Any
    path: str
    protocol: str

    def __str__(self) -> str:
        return self.uri

    @property
    def is_local(self) -> bool:
        """True for a file of this machine's own file system."""
        from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

        return isinstance(self.fs, LocalFileSystem)


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What makes two files the same.

    :param size: bytes.
    :param md5: lower-case hex.
    """

    size: int
    md5: str

    def __str__(self) -> str:
        return f"{self.size} bytes, MD5 {self.md5}"


def open_place(uri: str, conn_id: str | None = None) -> Place:
    """Return the place that ``uri`` names, with the file system behind it made ready.

    :param conn_id: the Airflow connection of the store; None for the store's own default.
    :raises InvalidRequestError: if there is no file system for it, with the cure.
    """
    if uri.startswith(_LOCAL + "/") and not conn_id:
        # ObjectStoragePath would first import the file systems of all installed providers: seconds, in each task.
        from fsspec.implementations.local import LocalFileSystem

        return Place(uri, LocalFileSystem(), uri.removeprefix(_LOCAL), "file")
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    try:
        path = ObjectStoragePath(uri, conn_id=conn_id)
        return Place(str(path), path.fs, path.path, path.protocol)
    except (ValueError, ImportError) as error:
        raise InvalidRequestError(
            f"destination={uri!r} cannot be used: {error}. Install the provider of this store"
            " (for s3://: apache-airflow-providers-amazon[s3fs])."
        ) from error


def is_there(place: Place) -> bool:
    """Return whether there is a file at ``place``.

    :raises DownloadRefusedError: if there is something that no file can replace.
    """
    place.fs.invalidate_cache()
    try:
        kind = place.fs.info(place.path)["type"]
    except FileNotFoundError:
        return False
    if kind == "directory":
        raise DownloadRefusedError(f"{place} is a folder; end the destination with / to store the video in it.")
    if kind == "other":  # opening a FIFO would block for ever
        raise DownloadRefusedError(f"{place} is no regular file; choose another destination.")
    return True


def read_facts(place: Place, *, overwrite: bool) -> FileFacts | None:
    """Read the file at ``place`` in constant memory; None if there is none.

    :param overwrite: whether the file may be replaced; then a store that forbids reading is no error.
    """
    size, digest = 0, hashlib.md5(usedforsecurity=False)
    with store_errors(place.uri):
        try:
            if not is_there(place):
                return None
            with place.fs.open(place.path, "rb", block_size=_READ_SIZE) as file:
                while chunk := file.read(_READ_SIZE):
                    size += len(chunk)
                    digest.update(chunk)
        except PermissionError:
            if overwrite:
                return None
            raise
    return FileFacts(size, digest.hexdigest())


@contextmanager
def store_errors(uri: str) -> Iterator[None]:
    """Turn whatever a store raises into :class:`DownloadError`, naming the place.

    :raises DownloadRefusedError: for a local place that no further try could write to either.
    """
    try:
        yield
    except DownloadError:
        raise
    except Exception as error:
        text = f"{uri} could not be read or written: {type(error).__name__}: {error}"
        if isinstance(error, OSError) and error.errno in LASTING_ERRORS and uri.startswith(_LOCAL_SCHEMES):
            raise DownloadRefusedError(
                f"{text}. Another try cannot help: choose another destination, or make this one writable."
            ) from error
        raise DownloadError(text) from error
