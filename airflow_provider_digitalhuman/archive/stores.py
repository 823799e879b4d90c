"""Places that a video is written to so that only the whole of it ever becomes visible.

Which way is right depends on the store. fsspec's own ``close()`` is the wrong one: after an exception, and
even when an abandoned file is collected as garbage, it publishes what has been written so far.
"""

import errno
import fcntl
import glob
import hashlib
import os
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from airflow_provider_digitalhuman.archive import exclusive
from airflow_provider_digitalhuman.exceptions import DownloadError, DownloadRefusedError, InvalidRequestError
from airflow_provider_digitalhuman.support.logs import Log

PART_SIZE: Final = 5 * 1024 * 1024
"""Bytes of one part of a multipart upload, the least that S3 takes: an upload holds it in memory several times over."""
MAX_PARTS: Final = 9_000
"""Parts of one upload; the stores allow 10,000."""
_READ_SIZE: Final = 1024 * 1024
_LONGEST_NAME: Final = 200
_SUFFIX: Final = ".part"
_LOCAL: Final = "file://"
_LOCAL_SCHEMES: Final = ("file:", "local:")
LASTING_ERRORS: Final = frozenset(
    {errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.ELOOP}
)
"""What the operating system says of a local place that another try will find the same."""
_OBJECT_STORES: Final = frozenset({"s3", "s3a", "s3n", "gs", "gcs", "abfs", "abfss", "az", "adl", "wasb", "wasbs"})
"""Stores where nothing is visible before an upload is completed, which fsspec's file does when it is closed."""


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


class TakenError(DownloadRefusedError):
    """A file has appeared at the destination while this one was on its way."""


class Sink(ABC):
    """One file in the making. Used as a context manager: what was not published by its end is thrown away.

    Every failure of the store comes out as :class:`DownloadError`, and nothing of the file stays behind.
    """

    def __init__(self, place: Place, log: Log, *, overwrite: bool) -> None:
        self._place = place
        self._uri = place.uri
        self._log = log
        self._overwrite = overwrite
        self._published = False

    def __enter__(self) -> "Sink":
        return self

    def __exit__(self, *exc_info: object) -> None:
        if not self._published:
            self._throw_away()

    def write(self, data: bytes) -> None:
        """Append to the file."""
        with told(self._uri):
            self._write(data)

    def restart(self) -> None:
        """Begin again with an empty file."""
        with told(self._uri):
            self._discard()

    def publish(self) -> bool:
        """Make the file visible under its name, whole, in one step; tell whether it has certainly replaced none.

        :raises TakenError: if meanwhile a file is there that may not be replaced.
        """
        with told(self._uri):
            certain = self._publish()
        self._published = True
        return certain

    def _throw_away(self) -> None:
        try:
            self._discard()
        except Exception as error:  # the reason why it is thrown away must not be hidden by this one
            self._log.warning("What was written for %s could not be removed: %s", self._uri, error)

    @abstractmethod
    def _write(self, data: bytes) -> None: ...

    @abstractmethod
    def _publish(self) -> bool: ...

    @abstractmethod
    def _discard(self) -> None: ...


def open_store(uri: str, conn_id: str | None = None) -> Place:
    """Return the place that ``uri`` names, with the file system behind it made ready.

    :param conn_id: the Airflow connection of the store; None for the store's own default.
    :raises InvalidRequestError: if there is no file system for it, with the cure.
    """
    if uri.startswith(_LOCAL + "/") and not conn_id:
        # ObjectStoragePath would first import the file systems of all installed providers: seconds, in each task.
        from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

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


def open_sink(place: Place, max_bytes: int, log: Log, *, overwrite: bool = False) -> Sink:
    """Return the right way of writing to this store.

    :param max_bytes: the largest file to expect, which the size of a part depends on.
    :param overwrite: whether a file that is there may be replaced.
    """
    from fsspec.implementations.local import LocalFileSystem

    if isinstance(place.fs, LocalFileSystem):
        return LocalSink(place, log, overwrite=overwrite)
    if place.protocol in _OBJECT_STORES:
        return ObjectSink(place, max_bytes, log, overwrite=overwrite)
    return MovedSink(place, log, overwrite=overwrite)


def sweep(place: Place) -> None:
    """Remove the temporary files of processes that were killed while they wrote this file; local places only."""
    from fsspec.implementations.local import LocalFileSystem

    if isinstance(place.fs, LocalFileSystem):
        path = Path(place.path)
        with told(place.uri):
            for leftover in path.parent.glob(f".{glob.escape(path.name[:_LONGEST_NAME])}.*{_SUFFIX}"):
                _remove_unless_locked(leftover)


def size_and_md5(place: Place, *, overwrite: bool) -> tuple[int, str] | None:
    """Read the file at ``place`` in constant memory; None if there is none.

    :param overwrite: whether the file may be replaced, so that it does no harm if the store forbids to look.
    """
    size, digest = 0, hashlib.md5(usedforsecurity=False)
    with told(place.uri):
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
    return size, digest.hexdigest()


@contextmanager
def told(uri: str) -> Iterator[None]:
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
                f"{text}. That does not pass by itself: choose another destination, or make this one writable."
            ) from error
        raise DownloadError(text) from error


def look_again(place: Place, size: int, md5: str, published_in: float, task_id: str) -> None:
    """Make sure that the file at ``place`` is the one that was published there without the store's promise.

    :param published_in: seconds that publishing took; another task's can take as long.
    :raises DownloadRefusedError: if it is another one, or none.
    """
    time.sleep(max(exclusive.SHORTEST_PAUSE, 2 * published_in))
    found = size_and_md5(place, overwrite=False)
    if found != (size, md5):
        now = f"another file is there ({found[0]} bytes, MD5 {found[1]})" if found else "there is no file any more"
        raise DownloadRefusedError(
            f"The video of task {task_id} ({size} bytes, MD5 {md5}) was stored at {place}, and now {now}: another task"
            " has probably stored its video at the same destination, over this one. Give each video a destination of"
            " its own, with {video_task_id} in it, and store this one there with DownloadDigitalHumanVideoOperator"
            f"(video_task_id={task_id!r}, …); it is paid for, and is not submitted again by that."
        )


class LocalSink(Sink):
    """A local file: a hidden temporary name in the same directory, fsync, and a rename.

    A process that is killed leaves its temporary file behind; :func:`sweep` removes it.
    """

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
        folder, name = self._target.parent, self._target.name[:_LONGEST_NAME]
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{name}.{secrets.token_hex(4)}{_SUFFIX}"
        self._descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        self._temporary = temporary
        with suppress(OSError):  # not every network file system has locks; then nothing is swept there either
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
            raise _taken(self._uri) from None
        except OSError:  # no hard links here
            if self._target.exists():
                raise _taken(self._uri) from None
            self._temporary.replace(self._target)
            return False
        return True

    def _discard(self) -> None:
        temporary, self._temporary = self._temporary, None
        if temporary is not None:
            temporary.unlink(missing_ok=True)
            os.close(self._descriptor)


class ObjectSink(Sink):
    """An object store: parts are uploaded as they come, and become an object in one step when the file is closed.

    S3 and Google can take an upload back; Azure's blocks stay invisible and go away by themselves after a week.
    """

    def __init__(self, place: Place, max_bytes: int, log: Log, *, overwrite: bool) -> None:
        super().__init__(place, log, overwrite=overwrite)
        mebibyte = 1024 * 1024
        self._part_size = max(PART_SIZE, -(-max_bytes // MAX_PARTS // mebibyte) * mebibyte)
        self._file: Any = None

    def _write(self, data: bytes) -> None:
        if self._file is None:
            mode = "xb" if self._is_conditional else "wb"
            self._file = self._place.fs.open(self._place.path, mode, block_size=self._part_size)
        with self._conflicts():
            self._file.write(data)

    @cached_property
    def _is_conditional(self) -> bool:
        return not self._overwrite and exclusive.sends_condition(self._place.fs)

    def _publish(self) -> bool:
        if not self._overwrite and is_there(self._place):
            raise _taken(self._uri)
        certain = self._is_conditional and exclusive.is_checked_when_published(self._place.fs)
        with self._conflicts():
            try:
                self._file.close()
            except Exception as error:
                if not (self._is_conditional and exclusive.is_not_implemented(error)):
                    raise
                exclusive.publish_unconditionally(self._file, self._log)
                certain = False
        self._file = None
        return certain

    @contextmanager
    def _conflicts(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if self._is_conditional and exclusive.is_conflict(error) and is_there(self._place):
                raise _taken(self._uri) from error
            raise

    def _discard(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            try:
                file.discard()
            finally:
                file.closed = True  # else the garbage collector would close, and so publish, what there is


class MovedSink(Sink):
    """Any other store (SFTP, WebDAV, ...): a temporary name beside the destination, then the store's own move."""

    def __init__(self, place: Place, log: Log, *, overwrite: bool) -> None:
        super().__init__(place, log, overwrite=overwrite)
        folder, _, name = place.path.rpartition("/")
        self._folder = folder
        self._temporary = f"{folder}/.{name[:_LONGEST_NAME]}.{secrets.token_hex(4)}{_SUFFIX}"
        self._file: Any = None

    def _write(self, data: bytes) -> None:
        if self._file is None:
            fs = self._place.fs
            fs.makedirs(self._folder, exist_ok=True)
            self._file = fs.open(self._temporary, "wb")
        self._file.write(data)

    def _publish(self) -> bool:
        self._file.close()
        if not is_there(self._place):
            self._place.fs.mv(self._temporary, self._place.path)
        elif self._overwrite:
            self._replace()
        else:
            raise _taken(self._uri)
        self._file = None
        return False

    def _replace(self) -> None:
        # Not every store can move onto a file. The old one stays until the new one is in its place.
        fs, aside = self._place.fs, f"{self._temporary}.old"
        fs.mv(self._place.path, aside)
        try:
            fs.mv(self._temporary, self._place.path)
        except BaseException:
            fs.mv(aside, self._place.path)
            raise
        fs.rm(aside)

    def _discard(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(Exception):
                file.close()
            self._place.fs.rm(self._temporary)


def is_there(place: Place) -> bool:
    """Tell whether there is a file at ``place``.

    :raises DownloadRefusedError: if there is something that no file can replace.
    """
    place.fs.invalidate_cache()
    try:
        kind = place.fs.info(place.path)["type"]
    except FileNotFoundError:
        return False
    if kind == "directory":
        raise DownloadRefusedError(f"{place} is a folder; end the destination with / to store the video in it.")
    if kind == "other":  # to open a FIFO would take for ever
        raise DownloadRefusedError(f"{place} is no regular file; choose another destination.")
    return True


def _taken(uri: str) -> TakenError:
    return TakenError(f"Another file has appeared at {uri}; it is left as it is. Use overwrite=True if not.")


def _remove_unless_locked(leftover: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(leftover, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # whoever writes it holds its lock
            leftover.unlink()
        finally:
            os.close(descriptor)
