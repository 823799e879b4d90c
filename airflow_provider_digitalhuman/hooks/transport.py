"""HTTP for one connection: a keep-alive session that knows whether a request's bytes have left this machine."""

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from airflow_provider_digitalhuman import __version__
from airflow_provider_digitalhuman.api.response import Answer
from airflow_provider_digitalhuman.hooks.settings import ConnectionSettings

if TYPE_CHECKING:
    _ConnectionBase = HTTPConnection
else:
    _ConnectionBase = object

USER_AGENT: Final = f"airflow-provider-digitalhuman/{__version__}"
MAX_ANSWER: Final = 64 * 1024
"""Bytes of an answer that are read; the API's answers have a few hundred."""


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
    """One ``requests.Session`` with the key, explicit time-outs and no redirects."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        self._adapter = _WatchingAdapter()
        self._session = requests.Session()
        self._session.headers.update({"User-Agent": USER_AGENT, "Accept": "application/json"})
        self._session.headers["Accept-Encoding"] = "identity"  # a broken answer stays readable as far as it came
        self._session.auth = _BearerAuth(settings.api_key)  # as auth, so that a .netrc entry cannot replace it
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, self._adapter)

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
        self._session.close()
        return self._request("POST", url, self._settings.submit_timeout, json=body)

    def close(self) -> None:
        """Close the session's connections."""
        self._session.close()

    def _request(self, method: str, url: str, timeout: float, **content: Any) -> Answer:
        watch = self._adapter.watching.now = _Watch(timeout)
        response: requests.Response | None = None
        body = bytearray()
        try:
            with self._session.request(
                method,
                url,
                timeout=(self._settings.connect_timeout, timeout),
                allow_redirects=False,
                stream=True,
                verify=self._settings.verify,
                proxies=dict(self._settings.proxies),
                **content,
            ) as response:
                for byte in response.iter_content(1):  # so that of a broken answer all is there that came
                    body += byte
                    if len(body) > MAX_ANSWER:
                        raise ValueError(f"the answer is longer than {MAX_ANSWER} bytes")
            return self._answer(response, body)
        except Exception as error:  # whatever it is: only the watch knows whether the request left
            reason = f"no whole answer within {timeout:g} s" if watch.timed_out else self._reason(error)
            partial = None if response is None else self._answer(response, body)
            raise TransportError(reason, request_left=watch.request_left, partial=partial) from None
        finally:
            watch.cancel()

    def _answer(self, response: requests.Response, body: bytes | bytearray) -> Answer:
        headers = response.headers
        return Answer(
            response.status_code,
            bytes(body),
            retry_after=headers.get("Retry-After"),
            location=headers.get("Location"),
            secret=self._settings.api_key,
        )

    def _reason(self, error: Exception) -> str:
        return f"{type(error).__name__}: {error}".replace(self._settings.api_key, "***")


class _BearerAuth(requests.auth.AuthBase):
    def __init__(self, key: str) -> None:
        self._header = f"Bearer {key}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._header
        return request


class _Watch:
    """Whether a byte of a request can have left, and the deadline for its whole answer.

    Time-outs of a socket are for each read: an answer that drips would outlast them all.

    :param seconds: how long the answer may take.
    """

    def __init__(self, seconds: float) -> None:
        self.request_left = False
        self.timed_out = False
        self._seconds = seconds
        self._timer: threading.Timer | None = None

    def leaving(self, connection: socket.socket) -> None:
        """The first byte goes out next."""
        self.request_left = True
        self._timer = threading.Timer(self._seconds, self._cut, [connection])
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        """There is nothing more to wait for."""
        if self._timer is not None:
            self._timer.cancel()

    def _cut(self, connection: socket.socket) -> None:
        self.timed_out = True
        with suppress(OSError):
            socket.socket.shutdown(connection, socket.SHUT_RDWR)  # the plain one: it wakes a reader under TLS, too


class _Watching(threading.local):
    """The watch of each thread's present request: a hook may be shared, and one must not answer for the other."""

    now: _Watch


class _WatchingAdapter(HTTPAdapter):
    """An adapter (with no retries of its own) whose connections tell the moment before a request's first byte."""

    def __init__(self) -> None:
        self.watching = _Watching()
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _pool_classes(self.watching)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _pool_classes(self.watching)
        return manager


def _pool_classes(watching: _Watching) -> dict[str, type]:
    class Watching(_ConnectionBase):
        def endheaders(self, *args: Any, **kwargs: Any) -> None:
            # Called for the request itself only, not for a proxy's CONNECT. What fails up to here was not sent.
            if self.sock is None:
                self.connect()
            watching.now.leaving(self.sock)
            super().endheaders(*args, **kwargs)

    class WatchingHTTPConnection(Watching, HTTPConnection):
        pass

    class WatchingHTTPSConnection(Watching, HTTPSConnection):
        pass

    class HTTPPool(HTTPConnectionPool):
        ConnectionCls = WatchingHTTPConnection

    class HTTPSPool(HTTPSConnectionPool):
        ConnectionCls = WatchingHTTPSConnection

    return {"http": HTTPPool, "https": HTTPSPool}
