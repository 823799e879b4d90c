"""Queries of one connection on an event loop, by ``aiohttp``."""

import asyncio
import base64
import zlib
from collections.abc import Mapping
from typing import Final, Self

import aiohttp
from aiohttp.connector import Connection
from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.common.compat.sdk import AirflowNotFoundException
from yarl import URL

from airflow_provider_digitalhuman.api.answer import Answer
from airflow_provider_digitalhuman.api.encoding import bounded, decoded
from airflow_provider_digitalhuman.api.endpoints import LONGEST_IDLE, result_url
from airflow_provider_digitalhuman.api.reader import read_query
from airflow_provider_digitalhuman.api.redact import masked_for_people
from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.connection.route import USER_AGENT, Route
from airflow_provider_digitalhuman.connection.settings import ConnectionSettings
from airflow_provider_digitalhuman.connection.tls import UNTRUSTED
from airflow_provider_digitalhuman.exceptions import ConnectionMissingError, QueryError

LONGEST_LINE: Final = 65_536
"""Bytes of one line of an answer's head: as many as the worker's client takes."""


async def open_client(digitalhuman_conn_id: str, present: object = None) -> "QueryClient":
    """Look up and check an Airflow connection without blocking the event loop, and return a client for it.

    :param present: the client that is in use; it is returned where the connection is still the same.
    :raises ConnectionMissingError: if Airflow has none of this ID.
    :raises InvalidConnectionError: if it cannot be used here.
    """
    try:
        connection = await get_async_connection(digitalhuman_conn_id)
    except AirflowNotFoundException as error:
        raise ConnectionMissingError(str(error)) from error
    settings = ConnectionSettings.from_connection(connection)
    if isinstance(present, QueryClient) and present.settings == settings:
        return present
    return await QueryClient.open(settings)


class QueryClient:
    """Asks for videos through one connection, and keeps its HTTP connections open.

    The caller bounds how many queries run at the same time, and so how many HTTP connections there are.

    :param settings: the connection's.
    :param route: see :meth:`Route.of`.
    """

    def __init__(self, settings: ConnectionSettings, route: Route) -> None:
        self.settings = settings
        self._route = route
        self._proxy = _proxy_url(route)
        self._headers, self._proxy_headers = _headers(settings, route)
        self._longest = settings.connect_timeout + settings.query_timeout
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=route.tls or route.proxy_tls or True,
                limit=0,
                keepalive_timeout=LONGEST_IDLE,
                resolver=aiohttp.ThreadedResolver(),  # the system's, as in a worker
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._longest, connect=settings.connect_timeout),
            response_class=_Response,
            auto_decompress=False,  # as a worker does it, see :mod:`~airflow_provider_digitalhuman.api.encoding`
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
        )

    @classmethod
    async def open(cls, settings: ConnectionSettings) -> Self:
        """Return a client; nothing is connected yet.

        :raises InvalidConnectionError: see :meth:`Route.of` and :meth:`Route.check_for_triggerer`.
        """
        route = await asyncio.to_thread(Route.of, settings)  # it reads files
        route.check_for_triggerer()
        return cls(settings, route)

    @property
    def max_queries_per_second(self) -> float:
        """The ceiling that the connection sets."""
        return self.settings.max_queries_per_second

    async def query_video(self, video_task_id: str) -> VideoTask:
        """Ask once for the state of a video, exactly as the hook's method of that name.

        :raises AuthenticationError, VideoTaskNotFoundError, RateLimitError, QueryError: see :func:`read_query`.
        """
        try:
            answer = await self._get(URL(result_url(self.settings.base_url, video_task_id), encoded=True))
        except (aiohttp.ClientError, OSError, ValueError, zlib.error) as error:  # TimeoutError is an OSError
            reason = f"{self._reason(error)}."
            if isinstance(error, aiohttp.ClientSSLError):
                reason += f" {UNTRUSTED}"
        else:
            return read_query(answer, video_task_id)
        # Outside of the handler: the library's error can hold what the server has sent, and so the key.
        raise QueryError(f"The query for video task {video_task_id} brought no answer: {reason}")

    async def close(self) -> None:
        """Close all connections, also those in use."""
        await self._session.close()

    async def _get(self, url: URL) -> Answer:
        async with self._session.get(
            url,
            headers=self._headers,  # not the session's: those would go to the proxy as well
            allow_redirects=False,
            proxy=self._proxy,
            proxy_headers=self._proxy_headers,
        ) as response:
            body = bytearray()
            async for piece in response.content.iter_any():
                body += piece
                bounded(len(body))
            return Answer(
                response.status,
                decoded(bytes(body), response.headers.get("Content-Encoding", "")),
                retry_after=response.headers.get("Retry-After"),
                location=response.headers.get("Location"),
                secret=self.settings.api_key,
                content_type=response.headers.get("Content-Type"),
            )

    def _reason(self, error: Exception) -> str:
        if isinstance(error, aiohttp.ClientHttpProxyError):
            return f"the proxy refused to connect to {self._route.host}: HTTP {error.status}"
        text = str(error)
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            text = f"no connection within {self.settings.connect_timeout:g} s"
        elif isinstance(error, TimeoutError):
            text = f"no whole answer within {self._longest:g} s"
        return masked_for_people(f"{type(error).__name__}: {text}", self.settings.api_key)


class _Response(aiohttp.ClientResponse):
    """An answer that came after its request: what came before, unasked, would be taken for another query's answer."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Read the head of the answer (the library calls this when the request is written)."""
        if connection.protocol is not None and connection.protocol.should_close:
            raise aiohttp.ServerDisconnectedError("there was something to read before the request was sent")
        return await super().start(connection)


def _proxy_url(route: Route) -> URL | None:
    """Return the proxy's address without its login, which goes into a header."""
    if route.proxy is None:
        return None
    return URL(route.proxy._replace(netloc=route.proxy.netloc.rpartition("@")[2]).geturl())


def _headers(settings: ConnectionSettings, route: Route) -> tuple[Mapping[str, str], Mapping[str, str] | None]:
    """Return the headers of a query, and those of what asks the proxy for a tunnel."""
    headers = {
        "Host": route.host,
        "Authorization": f"Bearer {settings.api_key}",
        "User-Agent": USER_AGENT,
        "Accept": "application/json",
        "Accept-Encoding": "identity",
    }
    login = route.proxy_login()
    if login is None:
        return headers, None
    encoded = base64.b64encode(":".join(login).encode()).decode("ascii")
    to_proxy = {"Proxy-Authorization": f"Basic {encoded}"}
    return (headers, to_proxy) if route.tls else ({**headers, **to_proxy}, None)
