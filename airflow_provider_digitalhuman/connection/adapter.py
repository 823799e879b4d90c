"""HTTP by ``requests`` for all that is synchronous, with what a paid request and a signed URL need on top of it.

Added are: whether a byte of a request has left this machine, a time limit for the answer as a whole, the URL exactly as
given, the check of the peer's address, and interim answers (1xx) that are skipped. Left out are retries, redirects,
cookies, ``.netrc`` and what ``requests`` reads from the environment: the :class:`Route` decides about that.
"""

import http.client
import io
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HeaderParsingError, HTTPError
from urllib3.util.response import assert_header_parsing

from airflow_provider_digitalhuman.api.redact import excerpt, masked_for_people
from airflow_provider_digitalhuman.connection.monitor import Monitor
from airflow_provider_digitalhuman.connection.route import Route

if TYPE_CHECKING:
    _ConnectionBase = HTTPConnection
else:
    _ConnectionBase = object

NETWORK_ERRORS: Final = (requests.RequestException, HTTPError, OSError)
"""What sending a request and reading its answer can raise. The texts of the first two may hold the whole URL: see
:func:`describe`."""
_PIECE: Final = 64 * 1024
_NOT_IN_TARGET: Final = re.compile(r"[^\x21-\x7e]")

CheckPeer = Callable[[str], None]
"""Called with the address that was reached, before a byte is sent; what it raises closes the connection."""


class Secret(str):
    """A text that is not shown where local variables are printed, as error trackers do."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class Adapter(HTTPAdapter):
    """Sends one request at a time, each exactly as given; keeps its connections until it is closed.

    :param check_peer: for connections that are not made by a proxy, which alone knows whom it has reached.
    """

    def __init__(self, check_peer: CheckPeer | None = None) -> None:
        self._check_peer = check_peer
        self.monitor = Monitor()
        self.target = ""
        super().__init__(max_retries=0)

    def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        *,
        route: Route,
        monitor: Monitor,
        timeout: tuple[float, float],
        body: bytes | None = None,
    ) -> requests.Response:
        """Send a request; return when the head of its answer is there.

        :param route: to the host of ``url``.
        :param monitor: follows the request until its answer is read or closed.
        :param timeout: seconds to connect, and those that errors name for a read.
        :raises NETWORK_ERRORS: among others, ``ValueError`` for what is no URL.
        """
        request = requests.Request(method, url, dict(headers), data=body, auth=_unchanged).prepare()
        self.monitor, self._route = monitor, route
        self.target = _target(url)
        if route.is_forwarded:
            host = urlsplit(str(request.url))
            self.target = f"{host.scheme}://{host.netloc.rpartition('@')[2]}{self.target}"
        return self.send(request, stream=True, timeout=timeout)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Have direct connections monitored (``requests`` calls this)."""
        super().init_poolmanager(*args, **kwargs)
        self._monitor_pools(self.poolmanager, _HTTPConnection, _HTTPSConnection, self._check_peer)

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        """Have connections through a proxy monitored (``requests`` calls this)."""
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        if self._route.by_socks:
            self._monitor_pools(manager, *_socks_connections())
        else:
            self._monitor_pools(manager, _HTTPConnection, _HTTPSConnection)
        return manager

    def _monitor_pools(
        self, manager: Any, http_class: Any, https_class: Any, check_peer: CheckPeer | None = None
    ) -> None:
        manager.pool_classes_by_scheme = {
            "http": partial(_pool, HTTPConnectionPool, partial(http_class, self, check_peer)),
            "https": partial(_pool, HTTPSConnectionPool, partial(https_class, self, check_peer)),
        }

    def get_connection_with_tls_context(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        """Return the pool that the route leads through (``requests`` calls this)."""
        route = self._route
        host = urlsplit(str(request.url))
        manager = self.poolmanager
        if route.proxy is not None:
            tls_to_proxy = {} if route.by_socks else {"proxy_ssl_context": route.proxy_tls}
            manager = self.proxy_manager_for(route.proxy.geturl(), **tls_to_proxy)
        return manager.connection_from_host(
            host.hostname, host.port, host.scheme, pool_kwargs={"ssl_context": route.tls or route.proxy_tls}
        )

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """Leave what is trusted to the route's TLS context (``requests`` calls this)."""

    def request_url(self, *args: Any, **kwargs: Any) -> str:
        """Return what goes into the request line (``requests`` calls this)."""
        return self.target

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        """Return the login to a proxy (``requests`` calls this)."""
        return {name: Secret(value) for name, value in super().proxy_headers(proxy).items()}


def pieces(response: requests.Response, size: int = _PIECE) -> Iterator[bytes]:
    """Yield the body as it comes, not decoded: where the connection breaks, nothing that was received is lost."""
    read = getattr(response.raw, "read1", response.raw.read)  # urllib3 below 2.2 has no read1
    while piece := read(size, decode_content=False):
        yield piece


def describe(error: BaseException, secret: str = "") -> str:
    """Return an error of the network for a message; without ``secret`` and URLs, which ``requests`` puts in there."""
    root = cause(error)
    words = "" if isinstance(root, requests.RequestException) else str(root)
    # urllib3 writes "… with url: /path?signature"; what comes after that mark is not shown.
    words = words.partition(" with url:")[0]
    words = excerpt(masked_for_people(words, secret))
    return f"{type(root).__name__}: {words}" if words else type(root).__name__


def cause(error: BaseException) -> BaseException:
    """Return the innermost error that ``requests`` and ``urllib3`` have wrapped."""
    while (inner := _inner(error)) is not None:
        error = inner
    return error


def _inner(error: BaseException) -> BaseException | None:
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return reason
    if isinstance(error, requests.RequestException | HTTPError):
        return next((part for part in error.args if isinstance(part, BaseException)), None)
    return None


def _target(url: str) -> str:
    """Return path and query of ``url`` as they stand: libraries that tidy them up void signatures.

    Only what cannot stand in a request line is percent-encoded.
    """
    rest = url.partition("#")[0].partition("://")[2]
    begin = re.search(r"[/?]", rest)
    target = rest[begin.start() :] if begin else "/"
    return _NOT_IN_TARGET.sub(lambda found: quote(found.group()), target if target[0] == "/" else f"/{target}")


def _unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Add no login to a request, not even the one that the URL names."""
    return request


def _pool(pool_class: Callable[..., HTTPConnectionPool], connection: Any, *args: Any, **kwargs: Any) -> Any:
    pool = pool_class(*args, **kwargs)
    pool.ConnectionCls = connection
    return pool


class _Monitored(_ConnectionBase):
    """A connection that reports to the monitor of its adapter's present request."""

    def __init__(self, adapter: Adapter, check_peer: CheckPeer | None, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._adapter = adapter
        self._check_peer = check_peer
        self._is_connecting = False
        self.response_class = partial(_Response, adapter)  # type: ignore[assignment]

    def _new_conn(self) -> socket.socket:
        connection = super()._new_conn()
        if self._check_peer is not None:
            try:
                self._check_peer(str(connection.getpeername()[0]))
            except BaseException:
                connection.close()
                raise
        return connection

    def connect(self) -> None:
        self._is_connecting = True
        try:
            super().connect()
        finally:
            self._is_connecting = False

    def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        super().putrequest(method, self._adapter.target, *args, **kwargs)

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()  # as the library would in its own send(), where it would count as sent
        if not self._is_connecting:  # else it is meant for a proxy
            self._adapter.monitor.leaving()
            self.sock.settimeout(max(self._adapter.monitor.time_left(), 0.001))
        super().send(data)


class _HTTPConnection(_Monitored, HTTPConnection):
    pass


class _HTTPSConnection(_Monitored, HTTPSConnection):
    pass


@cache
def _socks_connections() -> tuple[Any, Any]:
    from urllib3.contrib import socks

    class SocksConnection(_Monitored, socks.SOCKSConnection):
        pass

    class SocksHTTPSConnection(_Monitored, socks.SOCKSHTTPSConnection):
        pass

    return SocksConnection, SocksHTTPSConnection


class _Response(http.client.HTTPResponse):
    """An answer that is read within the monitor's time, and whose head has to be whole."""

    def __init__(self, adapter: Adapter, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        self._monitor = adapter.monitor
        self._source = _Source(sock, self._monitor)
        super().__init__(self._source, *args, **kwargs)  # type: ignore[arg-type]  # only makefile() is asked for

    def begin(self) -> None:
        if self.headers is not None:
            return
        super().begin()
        while 100 <= self.status < 200 and self.status != http.HTTPStatus.SWITCHING_PROTOCOLS:
            self._check_head()
            self.headers = self.msg = None
            super().begin()
        self._check_head()
        self._take_repeated_length()

    def _check_head(self) -> None:
        if self._source.at_end:  # the library takes a head that breaks off for a whole one
            raise http.client.HTTPException("the head of the answer breaks off")
        try:
            assert_header_parsing(self.msg)
        except HeaderParsingError:
            if self._monitor.refuses_malformed_head:
                raise http.client.HTTPException("the head of the answer holds a malformed line") from None
            self.msg.defects.clear()  # of which urllib3 would log a warning, with the URL in it
            self.msg.set_payload("")

    def _take_repeated_length(self) -> None:
        """Read ``Content-Length: 5, 5``, of which the library makes a body without a known length."""
        lengths = {part.strip() for part in self.headers.get("Content-Length", "").split(",")}
        length = lengths.pop()
        if self.length is None and not self.chunked and not lengths and length.isascii() and length.isdigit():
            self.headers.replace_header("Content-Length", length)
            self.length = int(length)


class _Source(io.RawIOBase):
    """What a socket receives, within the monitor's time.

    A limit for each read alone would let an answer that drips last for ever.
    """

    def __init__(self, sock: socket.socket, monitor: Monitor) -> None:
        self._socket = sock
        self._raw: Any = sock.makefile("rb", buffering=0)
        self._monitor = monitor
        self.at_end = False

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = self._read_in_time(buffer)
        self.at_end = not size
        self._monitor.received(bytes(buffer[:size]))
        return size

    def _read_in_time(self, buffer: Any) -> int:
        left = self._monitor.time_left()
        try:
            if left > 0:
                self._socket.settimeout(left)
                return int(self._raw.readinto(buffer))
        except TimeoutError:
            pass
        self._monitor.time_is_up()
        return 0

    def close(self) -> None:
        self._raw.close()
        super().close()
