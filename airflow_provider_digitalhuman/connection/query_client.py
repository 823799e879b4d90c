"""Queries of one connection on an event loop: HTTP/1.1 with keep-alive on asyncio streams.

Its own, because this is what a waiting video costs: measured over TLS, a query takes 0.14 ms of CPU here, 0.25 with
``h11``, 0.35 with ``aiohttp`` (no dependency of Airflow 3) and 1.4 with ``httpx``. It only ever GETs, and what it does
not understand is an error of a query that is asked again; so it can afford to know little and to be strict.
"""

import asyncio
import base64
import zlib
from collections.abc import Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final, Self

from airflow_provider_digitalhuman.api.answer import Answer
from airflow_provider_digitalhuman.api.encoding import MAX_ANSWER, bounded, decoded
from airflow_provider_digitalhuman.api.endpoints import LONGEST_IDLE, result_url
from airflow_provider_digitalhuman.api.reader import read_query
from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.connection.route import Route
from airflow_provider_digitalhuman.connection.stream import Stream
from airflow_provider_digitalhuman.exceptions import QueryError

if TYPE_CHECKING:
    from airflow_provider_digitalhuman.connection.settings import ConnectionSettings

KEPT: Final = 4096
"""Addresses that are kept, and answers with their meaning, a few kilobytes each: most say what the one before has said
for the same video."""
_NO_BODY: Final = frozenset({204, 304})


class QueryClient:
    """Asks for videos through one connection; keeps the HTTP connections that it has opened.

    Not more of them than there are queries at the same time: that is for the caller to bound.
    """

    def __init__(self, settings: "ConnectionSettings", route: Route) -> None:
        self._settings = settings
        self._route = route
        self._head = _request_head(settings, route)
        prefix = settings.base_url if route.proxy and not route.tls else route.target.path
        self._target = lru_cache(KEPT)(partial(result_url, prefix))
        self._read = lru_cache(KEPT)(read_query)
        self._idle: list[_Connection] = []
        self._asked_at: dict[_Connection, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._loop = asyncio.get_running_loop()  # kept: below Python 3.12, to ask for it is a system call

    @classmethod
    async def open(cls, settings: "ConnectionSettings") -> Self:
        """Return a client; nothing is connected yet.

        :raises InvalidConnectionError: see :meth:`Route.of` and :meth:`Route.check_for_triggerer`.
        """
        route = await asyncio.to_thread(Route.of, settings)  # it reads files
        route.check_for_triggerer()
        return cls(settings, route)

    async def query_video(self, video_task_id: str) -> VideoTask:
        """Ask once for the state of a video, exactly as the hook's method of that name.

        :raises AuthenticationError, VideoTaskNotFoundError, RateLimitError, QueryError: see :func:`read_query`.
        """
        try:
            answer = await self._get(self._target(video_task_id))
        except (OSError, EOFError, ValueError, TimeoutError, asyncio.LimitOverrunError, zlib.error) as error:
            reason = f"{type(error).__name__}: {error}".replace(self._settings.api_key, "***")
            raise QueryError(f"The query for video task {video_task_id} brought no answer: {reason}.") from error
        return self._read(answer, video_task_id)

    def close(self) -> None:
        """Close the idle connections now, and those in use when their query ends."""
        self._closed = True
        while self._idle:
            self._idle.pop().abort()
        self._end_timer()

    async def _get(self, target: str) -> Answer:
        request = b"GET " + target.encode("ascii") + self._head
        connection = self._kept_connection()
        if connection is not None:
            try:
                return await self._ask(connection, request)
            except _ClosedWhileIdleError:
                pass  # the server had given it up; a GET may be sent again
        return await self._ask(await self._connect(), request)

    async def _ask(self, connection: "_Connection", request: bytes) -> Answer:
        keep = False
        self._asked_at[connection] = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._settings.query_timeout, self._end_those_unanswered)
        try:
            status, headers, body, keep = await connection.ask(request)
        finally:
            del self._asked_at[connection]
            if keep and not self._closed:
                connection.idle_since = self._loop.time()
                self._idle.append(connection)
            else:
                connection.abort()
            if self._closed:
                self._end_timer()
        key = self._settings.api_key
        return Answer(
            status,
            body,
            headers.get("retry-after"),
            headers.get("location"),
            secret=key,
            content_type=headers.get("content-type"),
        )

    def _end_those_unanswered(self) -> None:
        """End the queries whose time is up. One timer for all of them: one for each would be a tenth of its CPU."""
        self._timer = None
        seconds, now = self._settings.query_timeout, self._loop.time()
        for connection, asked_at in self._asked_at.items():  # the oldest first
            if asked_at + seconds > now:
                self._timer = self._loop.call_at(asked_at + seconds, self._end_those_unanswered)
                break
            connection.end(TimeoutError(f"no answer within {seconds:g} s"))

    def _end_timer(self) -> None:
        if self._timer is not None and not self._asked_at:
            self._timer.cancel()
            self._timer = None

    def _kept_connection(self) -> "_Connection | None":
        oldest = self._loop.time() - LONGEST_IDLE
        while self._idle:
            connection = self._idle.pop()  # the one used last, so that what is not needed grows old
            if connection.idle_since > oldest and connection.is_open:
                self._drop_older_than(oldest)
                return connection
            connection.abort()
        return None

    def _drop_older_than(self, oldest: float) -> None:
        while self._idle and self._idle[0].idle_since <= oldest:
            self._idle.pop(0).abort()

    async def _connect(self) -> "_Connection":
        route = self._route
        async with asyncio.timeout(self._settings.connect_timeout):
            stream = await Stream.connect(route.proxy or route.target, route.proxy_tls if route.proxy else route.tls)
            connection = _Connection(stream)
            if route.proxy and route.tls:
                try:
                    await connection.tunnel(route)
                except BaseException:
                    connection.abort()
                    raise
            return connection


class _ClosedWhileIdleError(ConnectionError):
    """The server closed the connection before it answered a byte."""


class _Connection:
    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._used = False
        self.idle_since = 0.0

    @property
    def is_open(self) -> bool:
        return self._stream.is_open

    def abort(self) -> None:
        self._stream.abort()

    def end(self, error: Exception) -> None:
        """Have whoever reads the answer see ``error``."""
        self._stream.end(error)

    async def tunnel(self, route: Route) -> None:
        """Have the proxy pass everything through to the API, and speak TLS with that.

        :raises OSError: if the proxy refuses.
        """
        assert route.proxy is not None
        assert route.tls is not None
        authority = route.host if route.target.port else f"{route.host}:443"
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}", *_proxy_authorization(route), "", ""]
        self._stream.ask("\r\n".join(lines).encode("latin-1"))
        status, _ = await _read_head(self._stream.reader)
        if not 200 <= status < 300:
            raise OSError(f"the proxy refused to connect to {authority}: HTTP {status}")
        await self._stream.start_tls(route.tls, route.target.hostname or "")

    async def ask(self, request: bytes) -> tuple[int, Mapping[str, str], bytes, bool]:
        """Return status, headers and body of the answer to ``request``, and whether the connection can be kept."""
        status, headers = await self._head_of_answer(request)
        body, to_the_end = await _read_body(self._stream.reader, status, headers)
        keep = self._stream.finish() and not to_the_end and headers.get("connection", "").lower() != "close"
        return status, headers, body, keep

    async def _head_of_answer(self, request: bytes) -> tuple[int, Mapping[str, str]]:
        reused, self._used = self._used, True
        try:
            self._stream.ask(request)
            return await _read_head(self._stream.reader)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            if reused and not getattr(error, "partial", None):
                raise _ClosedWhileIdleError from error
            raise


async def _read_head(reader: asyncio.StreamReader) -> tuple[int, Mapping[str, str]]:
    while True:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        version, _, rest = lines[0].partition(" ")
        code = rest[:3]
        if version not in ("HTTP/1.1", "HTTP/1.0") or not (code.isdecimal() and len(code) == 3) or rest[3:4].strip():
            raise ValueError(f"this is not HTTP/1.1: {lines[0][:80]!r}")
        if code[0] != "1":  # 100 and 103 only announce the answer
            break
    headers: dict[str, str] = {"connection": "close"} if version == "HTTP/1.0" else {}
    for name, value in map(_header, lines[1:-2]):
        if name in ("content-length", "transfer-encoding") and headers.get(name, value) != value:
            raise ValueError(f"there is more than one {name}")
        headers[name] = value
    return int(code), headers


@lru_cache(128)  # most lines are those of the answer before
def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or name != name.strip():
        raise ValueError("there is a malformed header line")
    return name.lower(), value.strip()


async def _read_body(reader: asyncio.StreamReader, status: int, headers: Mapping[str, str]) -> tuple[bytes, bool]:
    """Return the body, and True where only the end of the connection ended it."""
    to_the_end = False
    if status in _NO_BODY:
        body = b""
    elif "transfer-encoding" in headers:
        if headers["transfer-encoding"].lower() != "chunked":
            raise ValueError("the transfer encoding is not known")
        body = await _read_chunks(reader)
    elif "content-length" in headers:
        body = await reader.readexactly(bounded(_number(headers["content-length"], 10)))
    else:
        to_the_end = True
        body = await _read_to_the_end(reader)
    return decoded(body, headers.get("content-encoding", "")), to_the_end


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := _number((await reader.readuntil(b"\r\n")).split(b";")[0].strip().decode("latin-1"), 16):
        bounded(len(body) + size)
        body += (await reader.readexactly(size + 2))[:-2]
    trailer = 0
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        trailer = bounded(trailer + len(line))
    return body


async def _read_to_the_end(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while piece := await reader.read(MAX_ANSWER):
        body += piece
        bounded(len(body))
    return body


def _number(text: str, base: int) -> int:
    if not text.isascii() or not text.isalnum():  # int() also takes signs, spaces and underscores
        raise ValueError(f"{text[:20]!r} is no length")
    return int(text, base)


def _request_head(settings: "ConnectionSettings", route: Route) -> bytes:
    from airflow_provider_digitalhuman.connection.transport import USER_AGENT

    lines = [
        " HTTP/1.1",
        f"Host: {route.host}",
        f"Authorization: Bearer {settings.api_key}",
        f"User-Agent: {USER_AGENT}",
        "Accept: application/json",
        "Accept-Encoding: identity",
        *(() if route.tls else _proxy_authorization(route)),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def _proxy_authorization(route: Route) -> list[str]:
    login = route.proxy_login()
    if login is None:
        return []
    return [f"Proxy-Authorization: Basic {base64.b64encode(':'.join(login).encode()).decode('ascii')}"]
