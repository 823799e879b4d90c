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
from airflow_provider_digitalhuman.api.encoding import bounded, decoded
from airflow_provider_digitalhuman.api.endpoints import LONGEST_IDLE
from airflow_provider_digitalhuman.exceptions import InvalidConnectionError
from airflow_provider_digitalhuman.hooks.route import Route
from airflow_provider_digitalhuman.hooks.settings import ConnectionSettings

USER_AGENT: Final = f"airflow-provider-digitalhuman/{__version__}"
_TO_A_PROXY: Final = (b"CONNECT ", b"\x05", b"\x01")
"""How what is meant for a proxy alone begins: a tunnel's request, SOCKS, its login. All else counts as the request."""
_own_request: ContextVar[bool] = ContextVar("own_request", default=False)
# The library tells the debug log what the server has sent, and some servers echo the key; and a proxy's password.
for _name in ("httpcore.http11", "httpcore.socks"):
    logging.getLogger(_name).addFilter(lambda record: not _own_request.get())


LONGEST_START: Final = 60.0
"""Seconds, beside those for connecting, from the beginning of a request to its first byte. A process that has stood
still for longer may have been given up meanwhile."""


class TransportError(Exception):
    """No whole answer came.

    :param request_left: False where it is certain that no byte of the request left this machine.
    :param partial: the answer as far as it came, None if not even its head did.
    """

    def __init__(self, reason: str, *, request_left: bool, partial: Answer | None = None) -> None:
        super().__init__(reason)
        self.request_left = request_left
        self.partial = partial


class Transport:
    """Requests with the key: explicit time-outs, no redirects, a connection that is kept from one to the next.

    Each thread has its own connection: a hook may be shared, and one must neither end nor answer for the other.

    :raises InvalidConnectionError: see :meth:`Route.of`; and for a SOCKS proxy without the package that speaks to it.
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
        self._own = threading.local()

    def get(self, url: str) -> Answer:
        """GET ``url`` within the query time-out.

        :raises TransportError: if no whole answer came.
        """
        return self._request("GET", url, self._settings.query_timeout)

    def post(self, url: str, body: dict[str, Any]) -> Answer:
        """POST ``body`` as JSON once, within the submit time-out.

        :raises TransportError: if no whole answer came; it says whether the request left.
        """
        # On a fresh connection: a kept one can be closed by the server at the very moment the POST leaves.
        self.close()
        return self._request("POST", url, self._settings.submit_timeout, json.dumps(body).encode())

    def close(self) -> None:
        """Close this thread's connection; the next request opens another."""
        line: _Line | None = self._own.__dict__.pop("line", None)
        if line is not None:
            line.pool.close()

    def _request(self, method: str, url: str, timeout: float, content: bytes | None = None) -> Answer:
        line, connect_timeout = self._line(), self._settings.connect_timeout
        watch = line.watch = _Watch(connect_timeout, timeout)
        limits = {"connect": connect_timeout, "write": timeout}
        response: httpcore.Response | None = None
        body = b""
        unlogged = _own_request.set(True)
        try:
            with line.pool.stream(
                method,
                url,
                headers=self._headers(content),
                content=content,
                extensions={"timeout": limits},
            ) as response:
                for piece in response.iter_stream():
                    body += piece
                    bounded(len(body))
            return self._answer(response, decoded(body, _header(response, b"content-encoding") or ""))
        except Exception as error:  # whatever it is: only the watch knows whether the request left
            reason = f"no whole answer within {timeout:g} s" if watch.timed_out else self._reason(error)
            partial = None if response is None else self._answer(response, body)
            raise TransportError(reason, request_left=watch.request_left, partial=partial) from None
        finally:
            _own_request.reset(unlogged)

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

    def _answer(self, response: httpcore.Response, body: bytes) -> Answer:
        return Answer(
            response.status,
            body,
            retry_after=_header(response, b"retry-after"),
            location=_header(response, b"location"),
            secret=self._settings.api_key,
        )

    def _reason(self, error: Exception) -> str:
        return f"{type(error).__name__}: {error}".replace(self._settings.api_key, "***")


def _header(response: httpcore.Response, wanted: bytes) -> str | None:
    return next((value.decode("latin-1") for name, value in response.headers if name.lower() == wanted), None)


class _Watch:
    """Whether a byte of a request can have left, and the deadline for its whole answer.

    :param connect_timeout: seconds that each answer may take before the request leaves: a proxy's.
    :param seconds: how long the answer to the request may take.
    """

    def __init__(self, connect_timeout: float, seconds: float) -> None:
        self.request_left = False
        self.timed_out = False
        self._connect_timeout = connect_timeout
        self._seconds = seconds
        self._deadline = 0.0
        self._begun = time.time()  # the wall clock, as the other one stands still with a suspended machine

    def leaving(self, data: bytes) -> None:
        """Be told of what is written next; what fails before the request's first bytes was not sent.

        :raises TimeoutError: where it is too late for them.
        """
        if data and not self.request_left and not data.startswith(_TO_A_PROXY):
            late = time.time() - self._begun - 3 * self._connect_timeout  # for a proxy, its tunnel and TLS
            if late > LONGEST_START:
                raise TimeoutError(f"this process stood still, and is {late:.0f} s late")
            self.request_left = True
            self._deadline = time.monotonic() + self._seconds

    def time_left(self) -> float:
        """Return the seconds that the next bytes may take."""
        return self._deadline - time.monotonic() if self.request_left else self._connect_timeout


class _Line(httpcore.NetworkBackend):
    """One thread's way to the API, and the watch of its present request."""

    watch: _Watch

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
    """A stream that ends with the watch's time: an answer that drips would outlast any limit for each read."""

    def __init__(self, stream: httpcore.NetworkStream, line: _Line) -> None:
        self._stream = stream
        self._line = line

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        watch = self._line.watch
        left = watch.time_left()
        try:
            if left > 0:
                return self._stream.read(max_bytes, left)
        except httpcore.ReadTimeout:
            pass
        watch.timed_out = True
        return b""  # as if the server had ended here: what has come can be a whole answer

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._line.watch.leaving(buffer)
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
