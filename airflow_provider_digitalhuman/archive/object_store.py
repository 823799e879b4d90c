"""Object stores: parts are uploaded as they come, and become an object in one step when the file is closed.

fsspec's own ``close()`` must not run by itself: after an exception, and even when an abandoned file is collected as
garbage, it publishes what has been written so far.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Final

from airflow_provider_digitalhuman.archive import conditional_write
from airflow_provider_digitalhuman.archive.place import Place, is_there
from airflow_provider_digitalhuman.archive.sink import Sink, TakenError
from airflow_provider_digitalhuman.support.logs import Log

PROTOCOLS: Final = frozenset({"s3", "s3a", "s3n", "gs", "gcs", "abfs", "abfss", "az", "adl", "wasb", "wasbs"})
"""Stores where nothing is visible before an upload is completed, which fsspec's file does when it is closed."""
PART_SIZE: Final = 5 * 1024 * 1024
"""Bytes of one part of a multipart upload, the least that S3 takes: an upload holds it in memory several times over."""
MAX_PARTS: Final = 9_000
"""Parts of one upload; the stores allow 10,000."""
_MEBIBYTE: Final = 1024 * 1024


class ObjectSink(Sink):
    """Uploads an object. S3 and Google can cancel an upload; Azure's blocks stay invisible and vanish after a week.

    :param max_bytes: the largest file to expect, which the size of a part depends on.
    """

    def __init__(self, place: Place, max_bytes: int, log: Log, *, overwrite: bool) -> None:
        super().__init__(place, log, overwrite=overwrite)
        self._part_size = max(PART_SIZE, -(-max_bytes // MAX_PARTS // _MEBIBYTE) * _MEBIBYTE)
        self._file: Any = None

    def _write(self, data: bytes) -> None:
        if self._file is None:
            mode = "xb" if self._is_conditional else "wb"
            self._file = self._place.fs.open(self._place.path, mode, block_size=self._part_size)
        with self._conflicts():
            self._file.write(data)

    @cached_property
    def _is_conditional(self) -> bool:
        return not self._overwrite and conditional_write.sends_condition(self._place.fs)

    def _publish(self) -> bool:
        if not self._overwrite and is_there(self._place):
            raise TakenError(self._uri)
        certain = self._is_conditional and conditional_write.is_checked_when_published(self._place.fs)
        with self._conflicts():
            try:
                self._file.close()
            except Exception as error:
                if not (self._is_conditional and conditional_write.is_not_implemented(error)):
                    raise
                conditional_write.publish_unconditionally(self._file, self._log)
                certain = False
        self._file = None
        return certain

    @contextmanager
    def _conflicts(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if self._is_conditional and conditional_write.is_conflict(error) and is_there(self._place):
                raise TakenError(self._uri) from error
            raise

    def _discard(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            try:
                file.discard()
            finally:
                file.closed = True  # else the garbage collector would close, and so publish, what there is
