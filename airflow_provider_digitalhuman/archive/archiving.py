"""The finished video, fetched from a fresh URL, verified, and stored whole or not at all (contract F18, F20-F22)."""

import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from airflow_provider_digitalhuman.api.redact import redact_url
from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.api.retry_after import pause_in_worker, retry_after_seconds
from airflow_provider_digitalhuman.archive.destination import fill_in
from airflow_provider_digitalhuman.archive.download import MIN_SPEED, Transfer
from airflow_provider_digitalhuman.archive.local_file import remove_leftovers
from airflow_provider_digitalhuman.archive.place import FileFacts, Place, open_place, read_facts
from airflow_provider_digitalhuman.archive.sink import Sink, TakenError
from airflow_provider_digitalhuman.archive.stores import check_published, open_sink
from airflow_provider_digitalhuman.connection.fetching import FetchError, FileSession
from airflow_provider_digitalhuman.connection.settings import FileAccess
from airflow_provider_digitalhuman.exceptions import (
    DownloadError,
    DownloadRefusedError,
    VideoFailedError,
    VideoUrlMissingError,
)
from airflow_provider_digitalhuman.support.logs import Log

DEFAULT_MAX_BYTES: Final = 10 * 1024**3
"""The largest file that is stored by default; a bound for the worker, the vendor states none."""
BACKOFF: Final = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds before each further attempt after one that brought nothing new; then it is given up."""
READ_TIMEOUT: Final = 60.0
"""Seconds without a single byte after which a transfer counts as broken off."""
PROGRESS: Final = 8 * 1024 * 1024
"""Bytes beyond the furthest point so far after which the attempts are counted anew."""
URL_BACKOFF: Final = (5.0, 5.0, 10.0)
"""Seconds before each further query for a completed task whose URL has not come yet (the vendor asks for 5-10)."""
WRONG_MD5_ATTEMPTS: Final = 3
"""How often a file is fetched whose MD5 differs from the API's."""

_MD5: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class ArchivedVideo:
    """A video that lies verified in the user's own storage.

    :param path: what ``ObjectStoragePath`` takes to open it; the storage connection's ID is in it if there is one.
    :param size: bytes.
    :param md5: lower-case hex, computed here.
    :param seconds: how long the transfer took; 0 if the file was there already.
    :param video_task_id: the vendor's task ID.
    :param already_there: whether an earlier run had stored it.
    """

    path: str
    size: int
    md5: str
    seconds: float
    video_task_id: str
    already_there: bool = False

    @property
    def uri(self) -> str:
        """The path without the storage connection, as assets and lineage name it."""
        return re.sub(r"^([^/]+://)[^/@]*@", r"\1", self.path)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self)


def archive_video(
    fetch_task: Callable[[], VideoTask],
    destination: Any,
    *,
    log: Log,
    access: FileAccess,
    storage_conn_id: str | None = None,
    overwrite: bool = False,
    max_bytes: int = DEFAULT_MAX_BYTES,
    allow_private_hosts: bool = False,
    read_timeout: float = READ_TIMEOUT,
    min_speed: float = MIN_SPEED,
) -> ArchivedVideo:
    """Store the video of a completed task. Takes constant memory; nothing half-written is ever visible.

    A broken transfer continues where it broke off, if the server allows it; a refused URL is replaced by a fresh one;
    a file that has not the API's MD5 is fetched again. All of it a bounded number of times.

    :param fetch_task: asks the API for the task as it is now; the only source of the URL, called again for a new one.
    :param destination: see :func:`~airflow_provider_digitalhuman.archive.destination.check_destination`.
    :param log: receives progress and trouble; never a signed URL.
    :param access: the way to the file's server.
    :param storage_conn_id: Airflow connection of the store.
    :param overwrite: whether a different file at the destination is replaced.
    :param max_bytes: the largest file that is taken.
    :param allow_private_hosts: whether the file may lie on a loopback or private host.
    :param read_timeout: seconds without a single byte after which a transfer counts as broken off.
    :param min_speed: bytes per second, over some minutes, below which a transfer counts as broken off; 0: never.
    :raises DownloadRefusedError: too large, at a private address, or another file is there.
    :raises DownloadError: not completed yet, or not fetched, verified or stored within the attempts.
    :raises VideoUrlMissingError: the task is completed, but its URL does not come.
    :raises VideoFailedError: the vendor ended the task without a video.
    :raises InvalidRequestError: the destination cannot be used.
    """
    source = _Source(fetch_task, log)
    place = open_place(fill_in(destination, source.video_task), storage_conn_id)
    remove_leftovers(place)
    archive = _Archive(source, place, read_facts(place, overwrite=overwrite), overwrite, log)
    if source.md5 and (stored := archive.stored_before(source.md5)):
        return stored
    session = FileSession(access, allow_private_hosts=allow_private_hosts, read_timeout=read_timeout)
    with session, open_sink(place, max_bytes, log, overwrite=overwrite) as sink:
        return archive.store(sink, Transfer(session, sink, max_bytes, log, min_speed=min_speed))


class _Source:
    """The task as the API reports it, asked for anew for each URL."""

    def __init__(self, fetch_task: Callable[[], VideoTask], log: Log) -> None:
        self._fetch_task = fetch_task
        self._log = log
        self._warned = False
        self.refresh()

    def refresh(self) -> None:
        """Ask for a fresh URL."""
        for delay in (*URL_BACKOFF, None):
            self.video_task = _completed(self._fetch_task())
            self.url = self.video_task.video_url or ""
            if self.url:
                self.md5 = self._checked_md5()
                return
            if delay is not None:
                self._log.warning("Video task %s is completed, but its URL has not come yet.", self.video_task.id)
                time.sleep(delay)
        raise VideoUrlMissingError(
            f"Video task {self.video_task.id} is completed, but the API names no URL for it, also not after"
            f" {len(URL_BACKOFF) + 1} queries. It is charged: do not submit it again, ask the vendor."
        )

    def _checked_md5(self) -> str | None:
        md5 = self.video_task.md5
        if md5 and _MD5.fullmatch(md5):
            return md5
        if not self._warned:
            what = f"a malformed MD5 ({md5[:40]!r})" if md5 else "no MD5"
            self._log.warning(
                "The API sent %s for video task %s; only its length and its first bytes are checked.",
                *(what, self.video_task.id),
            )
            self._warned = True
        return None


def _completed(video_task: VideoTask) -> VideoTask:
    if video_task.is_failed:
        why = video_task.error or "no reason given"
        raise VideoFailedError(
            f"The vendor ended video task {video_task.id} as {video_task.status}: {why}.", video_task
        )
    if not video_task.is_completed:
        raise DownloadError(
            f"Video task {video_task.id} is not completed but {video_task.status}: wait for it with"
            " DigitalHumanVideoSensor first."
        )
    return video_task


@dataclass(frozen=True, slots=True)
class _Archive:
    """One video and its place.

    :param found: the file that was at the place before the transfer, if any.
    """

    source: _Source
    place: Place
    found: FileFacts | None
    overwrite: bool
    log: Log

    def stored_before(self, md5: str) -> ArchivedVideo | None:
        """Return the video if it is at the place already; None if it is to be stored.

        :raises DownloadRefusedError: if there is another file that may not be replaced.
        """
        if stored := self._already_there(self.found, md5):
            return stored
        if self.found is None or self.overwrite:
            return None
        raise DownloadRefusedError(
            f"There is another file at {self.place} ({self.found}; the video has {md5})."
            " It is left as it is: choose another destination, or set overwrite=True."
        )

    def store(self, sink: Sink, transfer: Transfer) -> ArchivedVideo:
        """Fetch the video and publish it."""
        started, md5 = time.monotonic(), self.source.md5 or ""
        try:
            md5 = _fetch(self.source, transfer, self.log)
            if stored := self.stored_before(md5):
                return stored
            fetched = time.monotonic()
            certain = sink.publish()
        except TakenError:  # another worker with the same task (F23) does no harm
            if stored := self._already_there(read_facts(self.place, overwrite=False), md5):
                return stored
            raise
        published, video_task_id = time.monotonic(), self.source.video_task.id
        if not (certain or self.overwrite):
            check_published(self.place, FileFacts(transfer.size, md5), published - fetched, video_task_id)
        seconds = round(published - started, 3)
        self.log.info(
            "Stored video task %s: %s, %d bytes in %.1f s.", video_task_id, self.place, transfer.size, seconds
        )
        return ArchivedVideo(self.place.uri, transfer.size, md5, seconds, video_task_id)

    def _already_there(self, found: FileFacts | None, md5: str) -> ArchivedVideo | None:
        if found is None or found.md5 != md5:
            return None
        video_task_id = self.source.video_task.id
        self.log.info("The file of video task %s is at %s already, with the same MD5.", video_task_id, self.place)
        return ArchivedVideo(self.place.uri, found.size, md5, 0.0, video_task_id, already_there=True)


class _Attempts:
    """Counts attempts that bring nothing new, and waits between them."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._furthest = 0
        self._delays = iter(BACKOFF)

    def wait(self, error: FetchError, size: int, video_task_id: str) -> None:
        """Wait for the next attempt.

        :param size: bytes received so far.
        :raises DownloadError: if there shall be none.
        """
        if size >= self._furthest + PROGRESS:
            self._furthest = size
            self._delays = iter(BACKOFF)
        seconds = next(self._delays, None)
        pause = None if seconds is None else pause_in_worker(seconds, retry_after_seconds(error.retry_after))
        if pause is None:
            raise DownloadError(
                f"The file of video task {video_task_id} could not be fetched: {error}. The video is charged, and stays"
                " at the vendor."
            )
        self._log.warning("The download did not succeed: %s. Trying again in %.1f s.", error, pause)
        time.sleep(pause)


def _fetch(source: _Source, transfer: Transfer, log: Log) -> str:
    """Bring the whole file into the transfer's sink, and return its verified MD5."""
    attempts, wrong = _Attempts(log), 0
    while True:
        error = _run(source, transfer)
        md5 = transfer.md5()
        if transfer.size and md5 == source.md5:
            return md5  # also where the server announced more bytes than the file has
        if error is None and source.md5 is None:
            return md5
        if error is None:
            wrong += 1
            error = FetchError(f"the file has the MD5 {md5}, and the API reported {source.md5}", fresh_url=True)
            transfer.restart()
            if wrong >= WRONG_MD5_ATTEMPTS:
                raise DownloadError(
                    f"The file of video task {source.video_task.id} was fetched {wrong} times, and nothing was stored:"
                    f" {error}."
                )
        attempts.wait(error, transfer.size, source.video_task.id)
        if error.fresh_url:
            _refresh(source, transfer)


def _run(source: _Source, transfer: Transfer) -> FetchError | None:
    """Make one attempt; return what is wrong with it, apart from the MD5."""
    try:
        transfer.run(source.url, md5_known=source.md5 is not None)
    except FetchError as error:
        return error
    if transfer.md5() == source.md5:
        return None
    if why := transfer.why_no_video():
        transfer.restart()
        return FetchError(f"{redact_url(source.url)} was not answered with the video: {why}", fresh_url=True)
    if source.md5 is None and not transfer.framed:
        return FetchError("neither its MD5 nor its length is known")
    return None


def _refresh(source: _Source, transfer: Transfer) -> None:
    expected = source.md5
    source.refresh()
    if source.md5 != expected:
        transfer.restart()
