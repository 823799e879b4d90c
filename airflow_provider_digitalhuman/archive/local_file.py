"""A local file: a hidden temporary name in the same folder, fsync, and a link or rename."""

import errno
import fcntl
import glob
import os
from contextlib import suppress
from pathlib import Path

from airflow_provider_digitalhuman.archive.place import Place, store_errors
from airflow_provider_digitalhuman.archive.sink import (
    TEMPORARY_SUFFIX,
    Sink,
    TakenError,
    temporary_name,
    temporary_prefix,
)
from airflow_provider_digitalhuman.support.logs import Log


class LocalSink(Sink):
    """Writes a local file. A killed process leaves its temporary file behind; :func:`remove_leftovers` removes it."""

    def __init__(self, place: Place, log: Log, *, overwrite: bool) -> None:
        super().__init__(place, log, overwrite=overwrite)
        self._target = Path(place.path)
        self._temporary: Path | None = None
        self._descriptor = -1

    def _write(self, data: bytes) -> None:
        if self._temporary is None:
            self._open()
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def _open(self) -> None:
        folder = self._target.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError as error:  # although its parents are there by now: such as /proc makes no folders
            raise PermissionError(errno.EPERM, "no folder can be made there", str(folder)) from error
        temporary = folder / temporary_name(self._target.name)
        self._descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        self._temporary = temporary
        with suppress(OSError):  # not every network file system has locks; then no leftovers are removed there either
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _publish(self) -> bool:
        assert self._temporary is not None
        os.fsync(self._descriptor)
        certain = True
        if self._overwrite:
            self._temporary.replace(self._target)
        else:
            certain = self._link()
        folder = os.open(self._target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._discard()
        return certain

    def _link(self) -> bool:
        """Give the file its name in one step that fails if the name is taken, which a rename would not."""
        assert self._temporary is not None
        try:
            self._target.hardlink_to(self._temporary)
        except FileExistsError:
            raise TakenError(self._uri) from None
        except OSError:  # no hard links here
            if self._target.exists():
                raise TakenError(self._uri) from None
            self._temporary.replace(self._target)
            return False
        return True

    def _discard(self) -> None:
        temporary, self._temporary = self._temporary, None
        if temporary is not None:
            temporary.unlink(missing_ok=True)
            os.close(self._descriptor)


def remove_leftovers(place: Place) -> None:
    """Remove the temporary files of processes that were killed while they wrote this file; local places only."""
    if not place.is_local:
        return
    path = Path(place.path)
    with store_errors(place.uri):
        for leftover in path.parent.glob(f"{glob.escape(temporary_prefix(path.name))}*{TEMPORARY_SUFFIX}"):
            _remove_unless_locked(leftover)


def _remove_unless_locked(leftover: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(leftover, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the process that writes it holds its lock
            leftover.unlink()
        finally:
            os.close(descriptor)
