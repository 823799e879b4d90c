"""Any other store (SFTP, WebDAV, ...): a temporary name beside the destination, then the store's own move."""

from contextlib import suppress
from typing import Any

from airflow_provider_digitalhuman.archive.place import Place, is_there
from airflow_provider_digitalhuman.archive.sink import Sink, TakenError, temporary_name
from airflow_provider_digitalhuman.support.logs import Log


class MovedSink(Sink):
    """Writes a temporary file in the store, and moves it."""

    def __init__(self, place: Place, log: Log, *, overwrite: bool) -> None:
        super().__init__(place, log, overwrite=overwrite)
        folder, _, name = place.path.rpartition("/")
        self._folder = folder
        self._temporary = f"{folder}/{temporary_name(name)}"
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
            raise TakenError(self._uri)
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
