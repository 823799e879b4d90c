"""HTTP for one connection: a kept connection that knows whether a request's bytes have left this machine.

By ``httpcore``, which a task process of Airflow 3 has loaded for its own API: importing ``requests`` would take as long
as all else that a submission does.
"""

import json
import logging
import threading
import time
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Any, Final

import httpcore

from airflow_provider_digitalhuman import __version__
from airflow_provider_digitalhuman.api.answer import Answer
from airflow_provider_digitalhuman.api.encoding import MAX_ANSWER, bounded, decoded, decoded_part
from airflow_provider_digitalhuman.api.endpoints import LONGEST_IDLE
from airflow_provider_digitalhuman.connection.route import Route
from airflow_provider_digitalhuman.connection.settings import ConnectionSettings
from airflow_provider_digitalhuman.exceptions import InvalidConnectionError

USER_AGENT: Final = f"airflow-provider-digitalhuman/{__version__}"
_TO_A_PROXY: Final = (b"CONNECT ", b"\x05", b"\x01")
"""How what is meant for a proxy alone begins: a tunnel's request, SOCKS, its login. All else counts as the request."""
_own_request: ContextVar[bool] = ContextVar("own_request", default=False)
# The library tells the debug log what the server has sent, and some servers echo the key; and a proxy's password.
for _name in ("httpcore.http11", "httpcore.socks"):
    logging.getLogger(_name).addFilter(lambda record: not _own_request.get())


class TransportError(Exception):
    """No whole answer came.

    :param request_left: False where it is certain that no byte of the request left this machine.
    :param partial: the answer as far as it came, see :meth:`RequestMonitor.partial`.
    """

    def __init__(self, reason: str, *, request_left: bool, partial: Answer | None = None) -> None:
        super().__init__(reason)
        self.request_left = request_left
        self.partial = partial


class Transport:
    """Requests with the key: explicit time-outs, no redirects, a connection that is kept from one to the next.

    Each thread has its own connection: a hook may be shared, and one must neither end nor answer for the other.

    :raises InvalidConnectionError: see :meth:`Route.of`; for a SOCKS proxy without the package that speaks to it; and
        for a proxy's login outside ASCII.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        self.route = Route.of(settings)
        # The second one is what a download needs: better told now than when the video is paid for.
        if self.route.by_socks and not (find_spec("socksio") and find_spec("socks")):
            raise InvalidConnectionError(
                "A SOCKS proxy needs the packages socksio and PySocks: install airflow-provider-digitalhuman[socks]"
                " where the workers run."
            )
        # No two HTTP libraries encode them alike: the download of a paid video could be refused then.
        if not "".join(self.route.proxy_login() or ()).isascii():
            raise InvalidConnectionError(
                "The user or password of the proxy holds a character outside ASCII, which is not sent the same way by"
                " all that a worker does: give the proxy a login of ASCII characters."
            )
        self._own = threading.local()

    def get(self, url: str) -> Answer:
        """GET ``url`` within the query time-out.

        :raises TransportError: if no whole answer came.
        """
        return self._request("GET", url, self._settings.query_timeout, RequestMonitor())

    def post(self, url: str, body: dict[str, Any], monitor: "RequestMonitor") -> Answer:
        """POST ``body`` as JSON once, within the submit time-out.

        :param monitor: says, whatever is raised in here, whether the request left and what came of its answer.
        :raises TransportError: if no whole answer came.
        """
        # On a fresh connection: a kept one can be closed by the server at the very moment the POST leaves.
        self.close()
        monitor.keeps_wire = True
        return self._request("POST", url, self._settings.submit_timeout, monitor, json.dumps(body).encode())

    def close(self) -> None:
        """Close this thread's connection; the next request opens another."""
        line: _Line | None = self._own.__dict__.pop("line", None)
        if line is not None:
            line.pool.close()

    def _request(
        self, method: str, url: str, timeout: float, monitor: "RequestMonitor", content: bytes | None = None
    ) -> Answer:
        most = MAX_ANSWER if content is None else MAX_ANSWER
        connect_timeout = self._settings.connect_timeout
        monitor.begin(connect_timeout, timeout, self._settings.api_key)
        line = self._line()
        line.monitor = monitor
        headers = self._headers(content)
        unlogged = _own_request.set(True)
        try:
            with line.pool.stream(
                method,
                url,
                headers=headers,
                content=content,
                extensions={"timeout": {"connect": connect_timeout, "write": timeout}},
            ) as response:
                monitor.response = response
                for piece in response.iter_stream():
                    monitor.body += piece
                    bounded(len(monitor.body), most)
                monitor.finish(most)
        except Exception as error:  # whatever it is: only the monitor knows whether the request left
            if monitor.answer is None:
                reason = f"no whole answer within {timeout:g} s" if monitor.timed_out else self._reason(error)
                partial = monitor.partial()
                raise TransportError(reason, request_left=monitor.request_left, partial=partial) from None
        finally:
            _own_request.reset(unlogged)
        assert monitor.answer is not None
        return monitor.answer

    def _line(self) -> "_Line":
        line: _Line | None = getattr(self._own, "line", None)
        if line is None:
            line = self._own.line = _Line(self.route)
        return line

    def _headers(self, content: bytes | None) -> list[tuple[bytes | str, bytes | str]]:
        return [
            ("Host", self.route.host),
            ("Authorization", f"Bearer {self._settings.api_key}"),
            ("User-Agent", USER_AGENT),
            ("Accept", "application/json"),
            ("Accept-Encoding", "identity"),  # a broken answer stays readable as far as it came
            *(() if content is None else (("Content-Type", "application/json"),)),
        ]

    def _reason(self, error: Exception) -> str:
        return f"{type(error).__name__}: {error}".replace(self._settings.api_key, "***")


def _header(response: httpcore.Response, wanted: bytes) -> str | None:
    return next((value.decode("latin-1") for name, value in response.headers if name.lower() == wanted), None)


class RequestMonitor:
    """What became of one request: whether a byte of it can have left this machine, and what came of its answer.

    :param latest_first_byte: Unix seconds after which no byte of it must leave any more; None for any time. By the
        wall clock, as the other one stands still with a suspended machine.
    """

    def __init__(self, latest_first_byte: float | None = None) -> None:
        self.request_left = False
        self.timed_out = False
        self.keeps_wire = False
        self.response: httpcore.Response | None = None
        self.body = bytearray()
        self.answer: Answer | None = None
        """The answer once it is whole."""
        self._latest_first_byte = latest_first_byte
        self._wire = bytearray()
        self._connect_timeout = self._seconds = self._deadline = 0.0
        self.secret = ""

    def begin(self, connect_timeout: float, seconds: float, secret: str) -> None:
        """Set the limits.

        :param connect_timeout: seconds that each answer may take before the request leaves: a proxy's.
        :param seconds: how long the answer to the request may take.
        :param secret: the key that is sent.
        """
        self._connect_timeout, self._seconds, self.secret = connect_timeout, seconds, secret

    def leaving(self, data: bytes) -> None:
        """Note what is written next; what fails before the request's first bytes was not sent.

        :raises TimeoutError: where it is too late for them, or for the rest: a request without its end is carried out
            by no server that keeps to HTTP, but nothing proves it.
        """
        if not data or (not self.request_left and data.startswith(_TO_A_PROXY)):
            return
        late = time.time() - self._latest_first_byte if self._latest_first_byte is not None else 0.0
        if late > 0:
            raise TimeoutError(f"this process stood still, the request is {late:.0f} s too late")
        if not self.request_left:
            self.request_left = True
            self._deadline = time.monotonic() + self._seconds

    def received(self, data: bytes) -> None:
        """Note what came off the wire."""
        if self.keeps_wire and self.request_left and len(self._wire) < MAX_ANSWER:
            self._wire += data

    def time_left(self) -> float:
        """Return the seconds that the next bytes may take."""
        return self._deadline - time.monotonic() if self.request_left else self._connect_timeout

    def finish(self, most: int) -> None:
        """Note that the answer is whole.

        :raises ValueError, zlib.error: see :func:`decoded`.
        """
        assert self.response is not None
        self.answer = self._answer(self.response, decoded(bytes(self.body), self._encoding(), most))

    def partial(self) -> Answer | None:
        """Return the answer as far as it came, decoded as far as it can be; None if nothing came.

        Its HTTP status is 0 if not even its head could be read.
        """
        if self.response is not None:
            return self._answer(self.response, decoded_part(bytes(self.body), self._encoding()))
        return Answer(0, b"", secret=self.secret, wire=bytes(self._wire)) if self._wire else None

    def _encoding(self) -> str:
        return (_header(self.response, b"content-encoding") if self.response else None) or ""

    def _answer(self, response: httpcore.Response, body: bytes) -> Answer:
        return Answer(
            response.status,
            body,
            retry_after=_header(response, b"retry-after"),
            location=_header(response, b"location"),
            secret=self.secret,
            wire=bytes(self._wire),
        )


class _Line(httpcore.NetworkBackend):
    """One thread's way to the API, and the monitor of its present request."""

    monitor: RequestMonitor

    def __init__(self, route: Route) -> None:
        self._network = httpcore.SyncBackend()
        self.pool = httpcore.ConnectionPool(
            ssl_context=route.tls,
            proxy=_httpcore_proxy(route),
            keepalive_expiry=LONGEST_IDLE,
            network_backend=self,
        )

    def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return _Stream(self._network.connect_tcp(*args, **kwargs), self)


class _Stream(httpcore.NetworkStream):
    """A stream that ends with the monitor's time: an answer that drips would outlast any limit for each read."""

    def __init__(self, stream: httpcore.NetworkStream, line: _Line) -> None:
        self._stream = stream
        self._line = line

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        monitor = self._line.monitor
        left = monitor.time_left()
        try:
            if left > 0:
                data = self._stream.read(max_bytes, left)
                monitor.received(data)
                return data
        except httpcore.ReadTimeout:
            pass
        monitor.timed_out = True
        return b""  # as if the server had ended here: what has come can be a whole answer

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._line.monitor.leaving(buffer)
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(*args, **kwargs), self._line)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _httpcore_proxy(route: Route) -> httpcore.Proxy | None:
    if route.proxy is None:
        return None
    address = route.proxy._replace(netloc=route.proxy.netloc.rpartition("@")[2])
    return httpcore.Proxy(address.geturl(), auth=route.proxy_login(), ssl_context=route.proxy_tls)
