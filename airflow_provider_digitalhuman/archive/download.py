"""One file over HTTP in constant memory: a broken transfer continues where it broke off, and the MD5 is computed."""

import hashlib
import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from airflow_provider_digitalhuman.api.redact import redact_url
from airflow_provider_digitalhuman.archive import content
from airflow_provider_digitalhuman.archive.sink import Sink
from airflow_provider_digitalhuman.connection.fetching import NETWORK_ERRORS, FetchError, FileSession, describe, pieces
from airflow_provider_digitalhuman.exceptions import DownloadRefusedError
from airflow_provider_digitalhuman.support.logs import Log

if TYPE_CHECKING:
    import requests

CHUNK_SIZE: Final = 256 * 1024
"""Bytes that are received, hashed and written at once, at most."""
FIRST_REPORT: Final = 10.0
LONGEST_BETWEEN_REPORTS: Final = 300.0
"""Seconds until the first report of a long transfer; each further one comes after twice the time, up to the second."""
MIN_SPEED: Final = 1024.0
"""Bytes per second below which a transfer counts as broken off; 0: never."""
SPEED_WINDOW: Final = 180.0
"""Seconds over which the speed is measured."""

_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_TRY_LATER: Final = frozenset({408, 425, 429})


class Transfer:
    """A file on its way from a URL into a sink; one object for all attempts, so that no received byte is lost.

    :param session: fetches without the key.
    :param sink: takes the bytes.
    :param max_bytes: the largest file that is taken.
    :param log: receives the progress of a long transfer.
    :param min_speed: bytes per second.
    """

    def __init__(
        self, session: FileSession, sink: Sink, max_bytes: int, log: Log, *, min_speed: float = MIN_SPEED
    ) -> None:
        self._session = session
        self._sink = sink
        self._max_bytes = max_bytes
        self._min_speed = min_speed
        self._progress = _ProgressReport(log)
        self._begin_anew()
        self.framed = False
        """Whether the server sent the length or an explicit end; else only an MD5 can prove that the file is whole."""

    def md5(self) -> str:
        """Return the MD5 of what is in the sink, in lower-case hex."""
        return self._digest.hexdigest()

    def restart(self) -> None:
        """Discard what has been received."""
        self._sink.restart()
        self._begin_anew()

    def why_no_video(self) -> str | None:
        """Return why the received file is not taken for a video, as far as can be known without an MD5; or None."""
        return content.why_no_video(self._start, self._content_type, self._content_encoding)

    def run(self, url: str, *, md5_known: bool) -> None:
        """Fetch what is missing from ``url``; returns when all of it has come according to the server's framing.

        :param md5_known: whether the whole will be verified, so that parts may be joined without an ETag that proves
            that they belong to one file.
        :raises FetchError: it broke off, or the URL was refused; another run may continue.
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
            self._read_head(response)
            self._receive(response)

    def _begin_anew(self) -> None:
        self._digest = hashlib.md5(usedforsecurity=False)
        self._etag: str | None = None
        self._total: int | None = None
        self._start = b""
        self._content_type = self._content_encoding = ""
        self.size = 0
        """Bytes in the sink."""

    def _check_status(self, response: "requests.Response", url: str) -> None:
        status, retry_after = response.status_code, response.headers.get("Retry-After")
        shown = redact_url(response.url or url)
        if status in (200, 206):
            return
        if status == 416:  # the file is complete already, or has become shorter
            asked = self.size
            self.restart()
            raise FetchError(f"{shown} has nothing from byte {asked} on (HTTP 416)")
        fresh_url = 400 <= status < 500 and status not in _TRY_LATER
        raise FetchError(f"{shown} was answered with HTTP {status}", fresh_url=fresh_url, retry_after=retry_after)

    def _read_head(self, response: "requests.Response") -> None:
        """Find out from the head of an answer which bytes of which file it brings."""
        if response.status_code == 206:
            self._check_part(response)
        else:
            if self.size:
                self.restart()
            self._total = _number(response.headers.get("Content-Length"))
        if not self.size:
            self._content_type = response.headers.get("Content-Type", "")
            self._content_encoding = response.headers.get("Content-Encoding", "")
        etag = response.headers.get("ETag", "").strip()
        self._etag = etag if etag.startswith('"') else None  # a weak one does not promise the same bytes
        self._check_size(self._total or 0)

    def _check_part(self, response: "requests.Response") -> None:
        header = response.headers.get("Content-Range", "")
        match = _CONTENT_RANGE.fullmatch(header.strip())
        total = None if match is None else _number(match[3])
        other_size = None not in (total, self._total) and total != self._total
        if match is None or int(match[1]) != self.size or other_size:
            asked = self.size
            self.restart()
            raise FetchError(f"asked for the bytes from {asked} on, the server sent {header[:80]!r}")
        # The part may be shorter than what is left, so it does not shorten what is known.
        self._total = total or max(self._total or 0, int(match[2]) + 1)

    def _receive(self, response: "requests.Response") -> None:
        whole = self._total
        for chunk in _chunks(response, _SpeedCheck(self._min_speed)):
            self._check_size(self.size + len(chunk))
            if len(self._start) < content.LOOK:
                self._start += chunk[: content.LOOK - len(self._start)]
            self._digest.update(chunk)
            self._sink.write(chunk)
            self.size += len(chunk)
            self._progress.update(self.size, whole)
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


class _SpeedCheck:
    """Ends a transfer that would occupy a worker for ever: a server that sends a byte now and then.

    Only the time in which the server is waited for counts, not that of a slow store.
    """

    def __init__(self, min_speed: float) -> None:
        self._min_speed = min_speed
        self._seconds = 0.0
        self._bytes = 0

    def add(self, size: int, seconds: float) -> None:
        """Count what one read has brought.

        :raises FetchError: if the window is over and has brought too little.
        """
        self._seconds += seconds
        self._bytes += size
        if self._seconds < SPEED_WINDOW:
            return
        if self._bytes < self._min_speed * self._seconds:
            raise FetchError(
                f"too slow: {self._bytes:,} bytes in {self._seconds:.0f} s, and [digitalhuman] min_download_speed is"
                f" {self._min_speed:g} bytes per second"
            )
        self._seconds, self._bytes = 0.0, 0


def _chunks(response: "requests.Response", speed: _SpeedCheck) -> Iterator[bytes]:
    received = pieces(response, CHUNK_SIZE)
    while True:
        started = time.monotonic()
        try:
            chunk = next(received, b"")
        except NETWORK_ERRORS as error:
            raise FetchError(f"broken off: {describe(error)}") from None
        waited = time.monotonic() - started
        if not chunk:
            return
        yield chunk
        speed.add(len(chunk), waited)  # after the chunk is written: another attempt continues behind it


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 20 else None


class _ProgressReport:
    """Logs the progress of a long transfer, at growing intervals."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._started = time.monotonic()
        self._interval = FIRST_REPORT
        self._next = self._started + self._interval

    def update(self, size: int, total: int | None) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        share = f" of {total / 2**20:,.0f} MiB ({size / total:.0%})" if total else " MiB"
        self._log.info("Downloaded %.0f%s in %.0f s.", size / 2**20, share, now - self._started)
        self._interval = min(2 * self._interval, LONGEST_BETWEEN_REPORTS)
        self._next = now + self._interval
