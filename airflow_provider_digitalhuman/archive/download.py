"""One file over HTTP, at constant memory: goes on where it was broken off, and knows its MD5 when it ends."""

import hashlib
import re
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from airflow_provider_digitalhuman.api.redact import redact_url
from airflow_provider_digitalhuman.connection.fetching import NETWORK_ERRORS, FetchError, describe, is_page
from airflow_provider_digitalhuman.exceptions import DownloadRefusedError
from airflow_provider_digitalhuman.support.logs import Log

if TYPE_CHECKING:
    import requests

    from airflow_provider_digitalhuman.archive.stores import Sink
    from airflow_provider_digitalhuman.connection.fetching import FileSession

CHUNK_SIZE: Final = 256 * 1024
"""Bytes that are received, hashed and written at once, at most."""
FIRST_REPORT: Final = 10.0
LONGEST_BETWEEN_REPORTS: Final = 300.0
"""Seconds until the first report of a long transfer; each further one comes after twice the time, up to the second."""

_CHUNKS_IN_FLIGHT: Final = 4
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_TRY_LATER: Final = frozenset({408, 425, 429})


class Transfer:
    """A file on its way from a URL into a sink; one object for all attempts, so that what came is not lost.

    :param session: fetches without the key.
    :param sink: takes the bytes.
    :param max_bytes: the largest file that is taken.
    :param log: where the progress of a long transfer is told.
    """

    def __init__(self, session: "FileSession", sink: "Sink", max_bytes: int, log: Log) -> None:
        self._session = session
        self._sink = sink
        self._max_bytes = max_bytes
        self._digest = _BackgroundMd5()
        self._progress = _Progress(log)
        self._etag: str | None = None
        self._total: int | None = None
        self.size = 0
        """Bytes in the sink."""
        self.framed = False
        """Whether the server told the length, or ended the file in so many words; else only an MD5 can tell its end."""

    def __enter__(self) -> "Transfer":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._digest.close()

    def md5(self) -> str:
        """Return the MD5 of what is in the sink, in lower-case hex."""
        return self._digest.hexdigest()

    def restart(self) -> None:
        """Throw away what came."""
        self._sink.restart()
        self._digest.restart()
        self.size, self._total, self._etag = 0, None, None

    def run(self, url: str, *, md5_known: bool) -> None:
        """Fetch what is missing from ``url``; returns when the server's own framing says that all of it came.

        :param md5_known: whether the whole will be verified, so that parts may be joined without the server's word
            (an ETag) that they belong to one file.
        :raises FetchError: it broke off, or the URL was refused; another run may go on.
        :raises DownloadRefusedError: another run would not help.
        :raises DownloadError: the sink failed.
        """
        if self.size and not (self._etag or md5_known):
            self.restart()
        headers = {"Range": f"bytes={self.size}-"} if self.size else {}
        if self.size and self._etag:
            headers["If-Range"] = self._etag
        with self._session.open(url, headers) as response:
            self._check_status(response, url)
            self._begin(response)
            self._receive(response, url)

    def _check_status(self, response: "requests.Response", url: str) -> None:
        status, retry_after = response.status_code, response.headers.get("Retry-After")
        shown = redact_url(response.url or url)
        if status in (200, 206):
            return
        if status == 416:  # what is there is all there is, or no longer a part of what is there now
            asked = self.size
            self.restart()
            raise FetchError(f"{shown} has nothing from byte {asked} on (HTTP 416)")
        fresh_url = 400 <= status < 500 and status not in _TRY_LATER
        raise FetchError(f"{shown} was answered with HTTP {status}", fresh_url=fresh_url, retry_after=retry_after)

    def _begin(self, response: "requests.Response") -> None:
        """Find out from the head of an answer which bytes of which file it brings."""
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise FetchError(f"the file comes encoded as {encoding!r}, although that was declined")
        length = _number(response.headers.get("Content-Length"))
        if response.status_code == 206:
            self._check_part(response)
        else:
            if self.size:
                self.restart()
            self._total = length
        etag = response.headers.get("ETag", "").strip()
        self._etag = etag if etag.startswith('"') else None  # a weak one does not promise the same bytes
        self._check_size(self._total or 0)

    def _check_part(self, response: "requests.Response") -> None:
        said = response.headers.get("Content-Range", "")
        match = _CONTENT_RANGE.fullmatch(said.strip())
        total = None if match is None else _number(match[3])
        other_size = None not in (total, self._total) and total != self._total
        if match is None or int(match[1]) != self.size or other_size:
            asked = self.size
            self.restart()
            raise FetchError(f"asked for the bytes from {asked} on, the server sent {said[:80]!r}")
        # The part may be shorter than what is left, so it does not shorten what is known.
        self._total = total or max(self._total or 0, int(match[2]) + 1)

    def _receive(self, response: "requests.Response", url: str) -> None:
        whole = self._total
        for chunk in _chunks(response):
            if not self.size and is_page(response, chunk[:64]):
                raise FetchError(
                    f"{redact_url(url)} was answered with a page ({response.headers.get('Content-Type')}), not a video",
                    fresh_url=True,
                )
            self._check_size(self.size + len(chunk))
            self._digest.update(chunk)
            self._sink.write(chunk)
            self.size += len(chunk)
            self._progress.tell(self.size, whole)
        if whole is not None and self.size != whole:
            raise FetchError(f"broken off after {self.size} of {whole} bytes")
        if not self.size:
            raise FetchError("the answer is empty", fresh_url=True)
        self.framed = whole is not None or response.headers.get("Transfer-Encoding", "").lower() == "chunked"

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise DownloadRefusedError(
                f"The video has {size:,} bytes or more, and no more than max_bytes={self._max_bytes:,} are stored."
            )


def _chunks(response: "requests.Response") -> Iterator[bytes]:
    # What has come, not a full chunk: where the connection breaks, nothing that was received is lost.
    read = getattr(response.raw, "read1", response.raw.read)  # urllib3 below 2 has no read1
    while True:
        try:
            chunk = read(CHUNK_SIZE, decode_content=False)
        except NETWORK_ERRORS as error:
            raise FetchError(f"broken off: {describe(error)}") from None
        if not chunk:
            return
        yield chunk


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 20 else None


class _BackgroundMd5:
    """An MD5 that is computed beside the transfer: hashing and receiving would else wait for each other."""

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1, "md5")
        self._pending: deque[Future[None]] = deque()
        self._md5 = hashlib.md5(usedforsecurity=False)

    def update(self, data: bytes) -> None:
        if len(self._pending) >= _CHUNKS_IN_FLIGHT:
            self._pending.popleft().result()
        self._pending.append(self._worker.submit(self._md5.update, data))

    def hexdigest(self) -> str:
        while self._pending:
            self._pending.popleft().result()
        return self._md5.hexdigest()

    def restart(self) -> None:
        self.hexdigest()
        self._md5 = hashlib.md5(usedforsecurity=False)

    def close(self) -> None:
        self._worker.shutdown(wait=False, cancel_futures=True)


class _Progress:
    """Tells how a long transfer goes, at growing intervals."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._started = time.monotonic()
        self._interval = FIRST_REPORT
        self._next = self._started + self._interval

    def tell(self, size: int, total: int | None) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        share = f" of {total / 2**20:,.0f} MiB ({size / total:.0%})" if total else " MiB"
        self._log.info("Downloaded %.0f%s in %.0f s.", size / 2**20, share, now - self._started)
        self._interval = min(2 * self._interval, LONGEST_BETWEEN_REPORTS)
        self._next = now + self._interval
