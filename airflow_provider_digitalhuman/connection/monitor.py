"""What became of one request: whether a byte of it has left this machine, and what came of its answer.

No HTTP library is imported here: what decides about the money needs this module, and parsing a DAG file needs no HTTP.
"""

import time
from typing import TYPE_CHECKING, Final

from airflow_provider_digitalhuman.api.answer import Answer
from airflow_provider_digitalhuman.api.encoding import MAX_ANSWER, decoded, decoded_part
from airflow_provider_digitalhuman.connection.tls import UNTRUSTED

if TYPE_CHECKING:
    import requests

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


class Monitor:
    """Follows one request on its connection, and sets its time limits."""

    refuses_malformed_head = True
    """Whether an answer with a malformed line in its head is no answer: what frames its body may stand behind it."""

    def leaving(self) -> None:
        """Take note that bytes of the request are written next; what is raised keeps them from being written."""

    def received(self, data: bytes) -> None:
        """Take note of the bytes that came, as they came: head and chunk sizes included."""

    def time_left(self) -> float:
        """Return the seconds that the next bytes may take: none outside of a request."""
        return 0.0

    def time_is_up(self) -> None:
        """Take note that they took longer. The answer ends here, unless something is raised."""


class RequestMonitor(Monitor):
    """What became of one request: whether a byte of it can have left this machine, and what came of its answer.

    :param latest_first_byte: Unix seconds after which no byte of it must leave any more; None for any time. By the
        wall clock, as the monotonic one stops while the machine is suspended.
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
            raise TimeoutError(
                f"the request would leave {late:.0f} s too late: this process was suspended, or slow to connect"
            )
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

    def _answer(self, response: "requests.Response", body: bytes) -> Answer:
        return Answer(
            response.status_code,
            body,
            retry_after=response.headers.get("Retry-After"),
            location=response.headers.get("Location"),
            secret=self.secret,
            wire=bytes(self._wire),
            content_type=response.headers.get("Content-Type"),
        )
