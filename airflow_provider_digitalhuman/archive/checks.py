"""What can be known of a destination before the video is paid for: a place where it can never be stored is refused.

Nothing is created and nothing is left behind. A look that fails proves nothing, so it refuses nothing for good.
"""

import errno
import os
import stat
from pathlib import Path
from string import Formatter
from typing import Any, Final

import pendulum

from airflow_provider_digitalhuman.api.redact import excerpt
from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.archive.destination import check_destination, fill_in
from airflow_provider_digitalhuman.archive.place import LASTING_ERRORS, is_there, open_place
from airflow_provider_digitalhuman.exceptions import (
    ConnectionMissingError,
    DownloadError,
    DownloadRefusedError,
    InvalidRequestError,
)
from airflow_provider_digitalhuman.support.connections import connection_is_absent
from airflow_provider_digitalhuman.support.logs import Log

_LOCAL: Final = ("/", "file:///")
_ABSENT: Final = (errno.ENOENT, errno.ENOTDIR)
_UNKNOWN: Final = "\0"
"""Stands for what only the vendor's answer fills in."""
_ANY_VIDEO: Final = VideoTask(id="video", status="queued", model="model", created=pendulum.datetime(2026, 1, 1))


def check_before_paying(destination: Any, storage_conn_id: str | None, *, overwrite: bool, log: Log) -> None:
    """Look whether a video that is about to be paid for can be stored at ``destination``.

    :param storage_conn_id: Airflow connection of the store.
    :param overwrite: whether a file at the destination may be replaced.
    :param log: receives what could not be found out.
    :raises InvalidRequestError: naming the argument, its value and the cure, where it can be known that it cannot.
    :raises ConnectionMissingError: if Airflow could not look up the store's connection; another try can help.
    :raises DownloadError: if the store could not be opened for another reason; another try can help.
    """
    destination = check_destination(destination)
    if conn_id := storage_conn_id or _conn_id_in(destination):
        _check_connection("storage_conn_id" if storage_conn_id else "the connection in destination", conn_id)
    if not destination.startswith(_LOCAL):
        _check_store(destination, storage_conn_id, overwrite=overwrite, log=log)
        return
    try:
        _check_local(destination, overwrite=overwrite)
    except OSError as error:
        if error.errno in LASTING_ERRORS:
            raise _refused(destination, f"{error.strerror}; choose another destination") from error
        log.info("Whether destination=%r can be written could not be found out: %s", destination, error)


def _conn_id_in(uri: str) -> str:
    return uri.partition("://")[2].partition("/")[0].rpartition("@")[0]


def _check_local(destination: str, *, overwrite: bool) -> None:
    """Check a local path as far as it is fixed."""
    whole = _with_unknowns(destination.removeprefix("file://"))
    parts = [part for part in whole.split("/") if part]
    unknown = next((index for index, part in enumerate(parts) if _UNKNOWN in part), None)
    target = Path("/", *parts[:unknown])
    if unknown is None and not whole.endswith("/"):
        _check_file(destination, target, overwrite=overwrite)
        target = target.parent
    folder = _nearest_folder(destination, target)
    longest = os.pathconf(folder, "PC_NAME_MAX")
    for part in parts:
        if len(os.fsencode(part.replace(_UNKNOWN, ""))) > longest:
            raise _refused(destination, f"a name in it is too long; {longest} bytes are the most here")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _refused(
            destination,
            f"this task may not write to the folder {folder}, or it is read-only; give the user of the worker write"
            " permission, or choose another destination",
        )


def _check_file(destination: str, target: Path, *, overwrite: bool) -> None:
    try:
        mode = target.stat().st_mode
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        if target.is_symlink() and not overwrite:
            raise _taken(destination, str(target)) from error
        return
    if stat.S_ISDIR(mode):
        raise _refused(destination, "it is a folder; end it with / to store the video in it")
    if not stat.S_ISREG(mode):
        raise _refused(destination, "it is no regular file; choose another destination")
    if not overwrite:
        raise _taken(destination, str(target))


def _nearest_folder(destination: str, folder: Path) -> Path:
    """Return the first folder upwards that exists; those that are missing are created when the video is stored."""
    for one in (folder, *folder.parents):
        try:
            mode = one.stat().st_mode
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            if one.is_symlink():
                raise _refused(destination, f"{one} is a link that leads nowhere; repair it") from error
            continue
        if not stat.S_ISDIR(mode):
            raise _refused(destination, f"{one} is a file, not a folder; choose another destination")
        return one
    return Path("/")


def _check_store(destination: str, storage_conn_id: str | None, *, overwrite: bool, log: Log) -> None:
    uri = fill_in(destination, _ANY_VIDEO)
    try:
        place = open_place(uri, storage_conn_id)
    except InvalidRequestError as error:
        said = str(error).replace(repr(uri), repr(excerpt(destination)))
        raise InvalidRequestError(f"{said} Nothing was sent, and nothing is charged.") from error
    except Exception as error:
        raise DownloadError(
            f"The store of destination={excerpt(destination)!r} could not be opened: {type(error).__name__}: {error}."
            " Nothing was sent."
        ) from error
    if overwrite or destination.endswith("/") or _UNKNOWN in _with_unknowns(destination):
        return
    try:
        taken = is_there(place)
    except DownloadRefusedError as error:
        raise _refused(destination, str(error).removesuffix(".")) from error
    except Exception as error:
        log.info("Whether there is a file at %s could not be found out before submitting: %s", place, error)
        return
    if taken:
        raise _taken(destination, str(place))


def _check_connection(argument: str, conn_id: str) -> None:
    from airflow.providers.common.compat.sdk import BaseHook

    try:
        BaseHook.get_connection(conn_id)
    except Exception as error:
        if connection_is_absent(conn_id):
            raise InvalidRequestError(
                f"{argument}={conn_id!r} cannot be used: Airflow has no connection of this ID. Create it, or correct"
                " the ID; nothing was sent."
            ) from error
        raise ConnectionMissingError(
            f"{argument}={conn_id!r} could not be looked up: {error}. Nothing was sent."
        ) from error


def _with_unknowns(template: str) -> str:
    """Return a checked destination with a mark where the vendor's answer comes in; a date can be several folders."""
    marks = (
        text + ("" if name is None else "/".join([_UNKNOWN] * ((spec or "").count("/") + 1)))
        for text, name, spec, _ in Formatter().parse(template)
    )
    return "".join(marks)


def _taken(destination: str, place: str) -> InvalidRequestError:
    return _refused(
        destination,
        f"there is a file at {place} already, and the video would be another one; choose another destination, such as"
        " one with {video_task_id} in it, or set overwrite=True",
    )


def _refused(destination: str, cure: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"destination={excerpt(destination)!r} cannot be used: {cure}. Nothing was sent, and nothing is charged."
    )
