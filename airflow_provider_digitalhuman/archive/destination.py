"""Where an archived video goes: the destination as the DAG author writes it, turned into one path for one video."""

import hashlib
import re
from collections.abc import Iterator
from string import Formatter
from typing import Any, Final

from airflow_provider_digitalhuman.api.redact import excerpt
from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.exceptions import InvalidRequestError
from airflow_provider_digitalhuman.support.arguments import path_text

DEFAULT_NAME: Final = "{video_task_id}.mp4"
"""What a destination that ends with a slash gets."""
PLACEHOLDERS: Final = ("video_task_id", "created", "model")
DATE_FORMAT: Final = "%Y-%m-%d"
UNKNOWN: Final = "unknown"
"""Stands for a field that the vendor did not send; always the same, so that a repeated run finds its file."""

_LONGEST_SEGMENT: Final = 120
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._=-]")
_DATE_SPEC: Final = re.compile(r"(?:%[YmdHMSjyGVu]|[A-Za-z0-9_=./ -])*")


def check_destination(destination: Any) -> str:
    """Return ``destination`` as text if it is a path that a video can be stored at; looks nothing up.

    Single braces are filled in for each video and do not collide with Jinja's double ones: ``{video_task_id}``,
    ``{model}``, ``{created}`` and ``{created:%Y/%m/%d}`` (UTC). A path that ends with ``/`` is a folder.

    :raises InvalidRequestError: naming what cannot be used, and the cure.
    """
    destination = path_text(destination)
    if not isinstance(destination, str) or not destination.strip():
        raise _invalid(destination, "give the path or URI that the video is stored at, such as s3://bucket/videos/")
    if any(not character.isprintable() for character in destination):
        raise _invalid(destination, "it contains a control character")
    if not destination.startswith("/") and not _SCHEME.match(destination):
        raise _invalid(destination, "write an absolute path or a URI such as s3://bucket/videos/{video_task_id}.mp4")
    if destination.startswith("file://") and not destination.startswith("file:///"):
        raise _invalid(
            destination, "a file URI has three slashes before the absolute path, such as file:///data/videos/"
        )
    if destination.endswith("://"):
        raise _invalid(destination, "it names no path")
    for _, name, spec in _parsed(destination):
        _check_placeholder(destination, name, spec)
    return destination


def fill_in(destination: Any, task: VideoTask) -> str:
    """Return the URI of the one file that ``task``'s video is stored in.

    What the vendor sent can only ever be one segment of the path: an opaque ID may hold ``/`` and ``..``.

    :raises InvalidRequestError: as :func:`check_destination`.
    """
    template = check_destination(destination)
    if template.endswith("/"):
        template += DEFAULT_NAME
    filled = "".join(
        text + ("" if name is None else _value(name, spec, task)) for text, name, spec in _parsed(template)
    )
    return f"file://{filled}" if filled.startswith("/") else filled


def safe_segment(value: str) -> str:
    """Return ``value`` as one segment of a path; a short digest distinguishes values that had to be changed."""
    plain = _UNSAFE.sub("_", value)
    plain = re.sub(r"^\.+", lambda dots: "_" * len(dots.group()), plain)[:_LONGEST_SEGMENT]
    if plain == value:
        return value
    digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{plain}-{digest}"


def _parsed(destination: str) -> Iterator[tuple[str, str | None, str]]:
    try:
        for text, name, spec, conversion in Formatter().parse(destination):
            if conversion:
                raise _invalid(destination, f"'!{conversion}' means nothing here; leave it out")
            yield text, name, spec or ""
    except ValueError as error:
        raise _invalid(destination, f"{error}; write single braces around {', '.join(PLACEHOLDERS)} only") from None


def _check_placeholder(destination: str, name: str | None, spec: str) -> None:
    if name is None:
        return
    if name not in PLACEHOLDERS:
        raise _invalid(destination, f"there is no {{{name}}}; use {', '.join(f'{{{one}}}' for one in PLACEHOLDERS)}")
    if spec and name != "created":
        raise _invalid(destination, f"{{{name}}} takes no format; only {{created:{DATE_FORMAT}}} does")
    if not _DATE_SPEC.fullmatch(spec) or ".." in spec:
        raise _invalid(destination, f"{spec!r} is not a date format; write for example {{created:%Y/%m/%d}}")


def _value(name: str, spec: str, task: VideoTask) -> str:
    if name == "created":
        return task.created.strftime(spec or DATE_FORMAT) if task.created else UNKNOWN
    value = task.id if name == "video_task_id" else task.model
    return safe_segment(value) if value else UNKNOWN


def _invalid(destination: Any, cure: str) -> InvalidRequestError:
    shown = excerpt(destination) if isinstance(destination, str) else destination
    return InvalidRequestError(f"destination={shown!r} cannot be used: {cure}.")
