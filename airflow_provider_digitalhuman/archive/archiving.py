"""The finished video, fetched from a fresh URL, verified, and stored whole or not at all (contract F18, F20-F22)."""

import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_digitalhuman.api.endpoints import CONNECT_TIMEOUT
from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.api.retry_after import retry_after_seconds
from airflow_provider_digitalhuman.archive.destination import fill_in
from airflow_provider_digitalhuman.exceptions import (
    DownloadError,
    DownloadRefusedError,
    VideoFailedError,
    VideoUrlMissingError,
)
from airflow_provider_digitalhuman.support.logs import Log

if TYPE_CHECKING:
    from airflow_provider_digitalhuman.archive.download import Transfer
    from airflow_provider_digitalhuman.archive.stores import Place
    from airflow_provider_digitalhuman.connection.fetching import FetchError

DEFAULT_MAX_BYTES: Final = 10 * 1024**3
"""The largest file that is stored unless told otherwise; a bound for the worker, the vendor states none."""
BACKOFF: Final = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds before each further attempt after one that brought nothing new; then it is given up."""
READ_TIMEOUT: Final = 60.0
"""Seconds without a single byte after which a transfer counts as broken off."""
PROGRESS: Final = 8 * 1024 * 1024
"""Bytes beyond the furthest point so far after which the attempts are counted anew."""
LONGEST_RETRY_AFTER: Final = 120.0
"""Seconds of ``Retry-After`` that a worker sits out; a longer one is left to Airflow's retries."""
URL_BACKOFF: Final = (5.0, 5.0, 10.0)
"""Seconds before each further query for a completed task whose URL has not come yet (the vendor asks for 5-10)."""
WRONG_MD5_ATTEMPTS: Final = 3
"""How often a file is fetched whose MD5 differs from what the API says."""

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
    destination: str,
    *,
    log: Log,
    storage_conn_id: str | None = None,
    overwrite: bool = False,
    max_bytes: int = DEFAULT_MAX_BYTES,
    allow_private_hosts: bool = False,
    verify: bool | str = True,
    proxies: Mapping[str, str] | None = None,
    connect_timeout: float = CONNECT_TIMEOUT,
    read_timeout: float = READ_TIMEOUT,
) -> ArchivedVideo:
    """Store the video of a completed task. Takes constant memory; nothing half-written is ever visible.

    A broken transfer goes on where it broke off, if the server lets it; a refused URL is replaced by a fresh one;
    what does not have the API's MD5 is fetched again. All of it a bounded number of times.

    :param fetch_task: asks the API for the task as it is now; the only source of the URL, called again for a new one.
    :param destination: see :func:`~airflow_provider_digitalhuman.archive.destination.check_destination`.
    :param log: told of progress and trouble; never of a signed URL.
    :param storage_conn_id: Airflow connection of the store.
    :param overwrite: whether a different file at the destination is replaced.
    :param max_bytes: the largest file that is taken.
    :param allow_private_hosts: whether the file may lie on a loopback or private host.
    :param verify: True, False, or the path of a CA file.
    :param proxies: proxy URL by scheme.
    :param connect_timeout: seconds to reach a server.
    :param read_timeout: seconds without a single byte after which a transfer counts as broken off.
    :raises DownloadRefusedError: too large, at a private address, or another file is there.
    :raises DownloadError: not completed yet, or not fetched, verified or stored within the attempts.
    :raises VideoUrlMissingError: the task is completed, but its URL does not come.
    :raises VideoFailedError: the vendor ended the task without a video.
    :raises InvalidRequestError: the destination cannot be used.
    """
    from airflow_provider_digitalhuman.archive.download import Transfer
    from airflow_provider_digitalhuman.archive.stores import (
        TakenError,
        look_again,
        open_sink,
        open_store,
        size_and_md5,
        sweep,
    )
    from airflow_provider_digitalhuman.connection.fetching import FileSession

    source = _Source(fetch_task, log)
    place = open_store(fill_in(destination, source.task), storage_conn_id)
    sweep(place)
    found = size_and_md5(place, overwrite=overwrite)
    if found and source.md5:
        if found[1] == source.md5:
            return _already_there(place, found, source.task, log)
        _refuse_other_file(place, found, source.md5, overwrite)
    started = time.monotonic()
    session = FileSession(
        allow_private_hosts=allow_private_hosts,
        verify=verify,
        proxies=proxies,
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
    )
    sink = open_sink(place, max_bytes, log, overwrite=overwrite)
    with session, sink, Transfer(session, sink, max_bytes, log) as transfer:
        md5 = source.md5 or ""
        try:
            md5 = _fetch(source, transfer, log)
            if found == (transfer.size, md5):
                return _already_there(place, found, source.task, log)
            if found:
                _refuse_other_file(place, found, md5, overwrite)
            fetched = time.monotonic()
            certain = sink.publish()
        except TakenError:  # another worker with the same task (F23) does no harm
            if (found := size_and_md5(place, overwrite=False)) and found[1] == md5:
                return _already_there(place, found, source.task, log)
            raise
        published = time.monotonic()
        seconds = round(published - started, 3)
        if not (certain or overwrite):
            look_again(place, transfer.size, md5, published - fetched, source.task.id)
        log.info("Stored video task %s: %s, %d bytes in %.1f s.", source.task.id, place, transfer.size, seconds)
        return ArchivedVideo(place.uri, transfer.size, md5, seconds, source.task.id)


class _Source:
    """The task as the API tells it: asked anew for each URL."""

    def __init__(self, fetch_task: Callable[[], VideoTask], log: Log) -> None:
        self._fetch_task = fetch_task
        self._log = log
        self._warned = False
        self.refresh()

    def refresh(self) -> None:
        """Ask for a fresh URL."""
        for delay in (*URL_BACKOFF, None):
            self.task = _finished(self._fetch_task())
            self.url = self.task.video_url or ""
            if self.url:
                self.md5 = self._checked_md5()
                return
            if delay is not None:
                self._log.warning("Video task %s is completed, but its URL has not come yet.", self.task.id)
                time.sleep(delay)
        raise VideoUrlMissingError(
            f"Video task {self.task.id} is completed, but the API names no URL for it, also not after"
            f" {len(URL_BACKOFF) + 1} queries. It is charged: do not submit it again, ask the vendor."
        )

    def _checked_md5(self) -> str | None:
        md5 = self.task.md5
        if md5 and _MD5.fullmatch(md5):
            return md5
        if not self._warned:
            what = f"a malformed MD5 ({md5[:40]!r})" if md5 else "no MD5"
            self._log.warning("The API sent %s for video task %s; only its length is verified.", what, self.task.id)
            self._warned = True
        return None


class _Patience:
    """Counts attempts that bring nothing new, and waits between them."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._furthest = 0
        self._delays = iter(BACKOFF)

    def wait(self, error: "FetchError", size: int, task_id: str) -> None:
        """Wait for the next attempt.

        :param size: bytes that there are.
        :raises DownloadError: if there shall be none.
        """
        if size >= self._furthest + PROGRESS:
            self._furthest = size
            self._delays = iter(BACKOFF)
        delay = next(self._delays, None)
        asked = retry_after_seconds(error.retry_after) or 0.0
        if delay is None or asked > LONGEST_RETRY_AFTER:
            raise DownloadError(f"The video of task {task_id} could not be fetched: {error}. It is charged, and stays.")
        delay = max(asked, delay * (1 + secrets.randbelow(1000) / 2000))
        self._log.warning("The download did not succeed: %s. Trying again in %.1f s.", error, delay)
        time.sleep(delay)


def _fetch(source: _Source, transfer: "Transfer", log: Log) -> str:
    """Bring the whole file into the transfer's sink, and return its verified MD5."""
    from airflow_provider_digitalhuman.connection.fetching import FetchError

    patience = _Patience(log)
    wrong = 0
    while True:
        try:
            transfer.run(source.url, md5_known=source.md5 is not None)
            error = None if transfer.framed or source.md5 else FetchError("neither its MD5 nor its length is known")
        except FetchError as broken:
            error = broken
        md5 = transfer.md5()
        if source.md5 is None and error is None:
            return md5
        if transfer.size and md5 == source.md5:
            return md5  # also where the server announced more bytes than the file has
        if error is None:
            wrong += 1
            error = FetchError(f"the file has the MD5 {md5}, and the API says {source.md5}", fresh_url=True)
            transfer.restart()
            if wrong >= WRONG_MD5_ATTEMPTS:
                raise DownloadError(
                    f"The video of task {source.task.id} was fetched {wrong} times, and nothing was stored: {error}."
                )
        patience.wait(error, transfer.size, source.task.id)
        if error.fresh_url:
            expected = source.md5
            source.refresh()
            if source.md5 != expected:
                transfer.restart()


def _finished(task: VideoTask) -> VideoTask:
    if task.is_failed:
        why = task.error or "no reason given"
        raise VideoFailedError(f"The vendor ended video task {task.id} as {task.status}: {why}.", task)
    if not task.is_completed:
        raise DownloadError(
            f"Video task {task.id} is not completed but {task.status}: wait for it with DigitalHumanVideoSensor first."
        )
    return task


def _already_there(place: "Place", found: tuple[int, str], task: VideoTask, log: Log) -> ArchivedVideo:
    log.info("The video of task %s is at %s already, with the same MD5.", task.id, place)
    return ArchivedVideo(place.uri, *found, seconds=0.0, video_task_id=task.id, already_there=True)


def _refuse_other_file(place: "Place", found: tuple[int, str], md5: str, overwrite: bool) -> None:
    if not overwrite:
        raise DownloadRefusedError(
            f"There is another file at {place} ({found[0]} bytes, MD5 {found[1]}; the video has {md5})."
            " It is left as it is: choose another destination, or set overwrite=True."
        )
