"""Requests with the key, for the workers: what became of each of them, and what came of its answer."""

import json
import ssl
import threading
import time
from importlib.util import find_spec
from typing import Any, Final

import requests

from airflow_provider_digitalhuman.api.answer import Answer
from airflow_provider_digitalhuman.api.encoding import MAX_ANSWER, bounded, decoded, decoded_part
from airflow_provider_digitalhuman.api.endpoints import LONGEST_IDLE
from airflow_provider_digitalhuman.connection.adapter import Adapter, Monitor, Secret, cause, describe, pieces
from airflow_provider_digitalhuman.connection.route import USER_AGENT, Route
from airflow_provider_digitalhuman.connection.settings import ConnectionSettings
from airflow_provider_digitalhuman.connection.tls import UNTRUSTED
from airflow_provider_digitalhuman.exceptions import InvalidConnectionError

UNREACHABLE: Final = "Check the Base URL of the connection, the network and the proxy."


class TransportError(Exception):
    """No whole answer came.

    :param request_left: False where it is certain that no byte of the request left this machine.
    :param partial: the answer as far as it came, see :meth:`RequestMonitor.partial`.
    :param untrusted: True where the TLS handshake failed.
    """

    def __init__(
        self, reason: str, *, request_left: bool, partial: Answer | None = None, untrusted: bool = False
    ) -> None:
        super().__init__(reason)
        self.request_left = request_left
        self.partial = partial
        self.untrusted = untrusted

    @property
    def cure(self) -> str:
        """What to do where the server cannot be reached."""
        return UNTRUSTED if self.untrusted else UNREACHABLE


class Transport:
    """Requests with the key: explicit time-outs, no redirects, a connection that is kept from one to the next.

    Each thread has its own connection: a hook may be shared, and one must neither end nor answer for the other.

    :raises InvalidConnectionError: see :meth:`Route.of`; for a SOCKS proxy without the package that speaks to it; and
        for a proxy's login outside ASCII.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        self.route = Route.of(settings)
        if self.route.by_socks and not find_spec("socks"):
            raise InvalidConnectionError(
                "A SOCKS proxy needs the package PySocks: install airflow-provider-digitalhuman[socks] on the workers."
            )
        # No two HTTP libraries encode them alike: the triggerer could not wait for a paid video then.
        if not "".join(self.route.proxy_login() or ()).isascii():
            raise InvalidConnectionError(
                "The user or password of the proxy holds a character outside ASCII, which workers and"
                " triggerer do not send the same way: give the proxy a login of ASCII characters."
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
        adapter: Adapter | None = self._own.__dict__.pop("adapter", None)
        if adapter is not None:
            adapter.close()

    def _request(
        self, method: str, url: str, timeout: float, monitor: "RequestMonitor", body: bytes | None = None
    ) -> Answer:
        connect_timeout = self._settings.connect_timeout
        monitor.begin(connect_timeout, timeout, self._settings.api_key)
        adapter = self._adapter()
        headers = self._headers(body)
        try:
            with adapter.exchange(
                method,
                url,
                headers,
                route=self.route,
                monitor=monitor,
                timeout=(connect_timeout, timeout),
                body=body,
            ) as response:
                monitor.response = response
                for piece in pieces(response):
                    monitor.body += piece
                    bounded(len(monitor.body))
                monitor.finish()
        except Exception as error:  # whatever it is: only the monitor knows whether the request left
            if monitor.answer is None:
                raise self._not_answered(error, monitor, timeout) from None
        assert monitor.answer is not None
        return monitor.answer

    def _adapter(self) -> Adapter:
        now = time.monotonic()
        if now - getattr(self._own, "last_used", now) > LONGEST_IDLE:
            self.close()
        self._own.last_used = now
        adapter: Adapter | None = getattr(self._own, "adapter", None)
        if adapter is None:
            adapter = self._own.adapter = Adapter()
        return adapter

    def _headers(self, body: bytes | None) -> dict[str, str]:
        return {
            "Host": self.route.host,
            "Authorization": Secret(f"Bearer {self._settings.api_key}"),
            "User-Agent": USER_AGENT,
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # a broken answer stays readable as far as it came
            **({} if body is None else {"Content-Type": "application/json"}),
        }

    def _not_answered(self, error: Exception, monitor: "RequestMonitor", timeout: float) -> TransportError:
        late = f"no whole answer within {timeout:g} s"
        return TransportError(
            late if monitor.timed_out else describe(error, self._settings.api_key),
            request_left=monitor.request_left,
            partial=monitor.partial(),
            untrusted=isinstance(cause(error), ssl.SSLError),
        )


class RequestMonitor(Monitor):
    """What became of one request: whether a byte of it can have left this machine, and what came of its answer.

    :param latest_first_byte: Unix seconds after which no byte of it must leave any more; None for any time. By the
        wall clock, as the other one stands still with a suspended machine.
    """

    def __init__(self, latest_first_byte: float | None = None) -> None:
        self.request_left = False
        self.timed_out = False
        self.keeps_wire = False
        self.response: requests.Response | None = None
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

    def leaving(self) -> None:
        """Note that bytes of the request are written next; what fails before the first of them was not sent.

        :raises TimeoutError: where it is too late for them, or for the rest: a request without its end is carried out
            by no server that keeps to HTTP, but nothing proves it.
        """
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

    def time_is_up(self) -> None:
        """End the answer as if the server had ended it here: what has come can be a whole one."""
        self.timed_out = True

    def finish(self) -> None:
        """Note that the answer is whole.

        :raises ValueError, zlib.error: see :func:`decoded`.
        """
        assert self.response is not None
        self.answer = self._answer(self.response, decoded(bytes(self.body), self._encoding()))

    def partial(self) -> Answer | None:
        """Return the answer as far as it came, decoded as far as it can be; None if nothing came.

        Its HTTP status is 0 if not even its head could be read.
        """
        if self.response is not None:
            return self._answer(self.response, decoded_part(bytes(self.body), self._encoding()))
        return Answer(0, b"", secret=self.secret, wire=bytes(self._wire)) if self._wire else None

    def _encoding(self) -> str:
        return self.response.headers.get("Content-Encoding", "") if self.response is not None else ""

    def _answer(self, response: requests.Response, body: bytes) -> Answer:
        return Answer(
            response.status_code,
            body,
            retry_after=response.headers.get("Retry-After"),
            location=response.headers.get("Location"),
            secret=self.secret,
            wire=bytes(self._wire),
            content_type=response.headers.get("Content-Type"),
        )
