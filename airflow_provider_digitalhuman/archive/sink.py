"""What every way of writing to a store has in common: the whole file becomes visible in one step, or nothing does."""

import secrets
from abc import ABC, abstractmethod
from typing import Final

from airflow_provider_digitalhuman.archive.place import Place, store_errors
from airflow_provider_digitalhuman.exceptions import DownloadRefusedError
from airflow_provider_digitalhuman.support.logs import Log

TEMPORARY_SUFFIX: Final = ".part"
_LONGEST_PREFIX: Final = 200
"""Bytes: file systems bound a name in bytes (mostly 255), and a temporary name has 15 bytes of its own."""


class TakenError(DownloadRefusedError):
    """A file has appeared at the destination during the transfer."""

    def __init__(self, uri: str) -> None:
        super().__init__(f"Another file has appeared at {uri}; it is left as it is. Use overwrite=True to replace it.")


class Sink(ABC):
    """One file that is being written. Used as a context manager: what is not published by its end is removed.

    Every failure of the store is raised as :class:`DownloadError`, and nothing of the file stays behind.

    :param place: where the file becomes visible.
    :param log: receives what could not be removed.
    :param overwrite: whether a file that is there may be replaced.
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
            self._remove()

    def write(self, data: bytes) -> None:
        """Append to the file."""
        with store_errors(self._uri):
            self._write(data)

    def restart(self) -> None:
        """Begin again with an empty file."""
        with store_errors(self._uri):
            self._discard()

    def publish(self) -> bool:
        """Make the whole file visible under its name in one step; return whether it has certainly replaced none.

        :raises TakenError: if meanwhile a file is there that may not be replaced.
        """
        with store_errors(self._uri):
            certain = self._publish()
        self._published = True
        return certain

    def _remove(self) -> None:
        try:
            self._discard()
        except Exception as error:  # the error that ended the transfer must not be hidden by this one
            self._log.warning("What was written for %s could not be removed: %s", self._uri, error)

    @abstractmethod
    def _write(self, data: bytes) -> None: ...

    @abstractmethod
    def _publish(self) -> bool: ...

    @abstractmethod
    def _discard(self) -> None: ...


def temporary_prefix(name: str) -> str:
    """Return how the hidden temporary names of the file ``name`` begin; cut by bytes, never within a character."""
    return f".{name.encode(errors='replace')[:_LONGEST_PREFIX].decode(errors='ignore')}."


def temporary_name(name: str) -> str:
    """Return a hidden temporary name for the file ``name``, a new one at each call."""
    return f"{temporary_prefix(name)}{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
