"""What lies under HTTP: connections are counted, and can be reset, closed or cut off in the middle."""

import asyncio
import contextlib
import http
import socket
import struct
from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

_TRANSPORT: Final = "digitalhuman_sandbox.transport"
_CONNECTION: Final = "digitalhuman_sandbox.connection"
_FLUSH_SECONDS: Final = 10.0
_FLUSH_TRIES: Final = 1000
_CHUNK: Final = 64 * 1024


class SandboxProtocol(H11Protocol):
    """uvicorn's protocol, which lets the application see its transport."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        application = self.app

        async def with_transport(scope: Any, receive: Any, send: Any) -> None:
            scope[_TRANSPORT] = self.transport
            scope[_CONNECTION] = self
            await application(scope, receive, send)

        self.app = with_transport
        self.carried_api_request = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection."""
        super().connection_made(transport)
        self.app_state["sandbox"].counters.connections += 1

    def shutdown(self) -> None:
        """End at once: a fault that hangs must not delay the end of the server."""
        super().shutdown()
        self.transport.abort()


def connection_of(scope: Mapping[str, Any]) -> SandboxProtocol:
    """The TCP connection that a request came over."""
    connection = scope[_CONNECTION]
    assert isinstance(connection, SandboxProtocol)
    return connection


async def leaves_within(receive: Receive, seconds: float) -> bool:
    """Wait so many seconds; True as soon as the client, or the server itself, ends the connection."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
            return True
    return False


class CutAnswer(Response):
    """An answer that announces one length and sends another, or nothing at all, and ends the connection."""

    def __init__(
        self,
        content: bytes = b"",
        *,
        head: tuple[int, Mapping[str, str]] | None = None,
        reset: bool = False,
    ) -> None:
        super().__init__()
        self._raw = content if head is None else _head(*head) + content
        self._reset = reset

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write past uvicorn, which would not let a wrong answer out."""
        transport: asyncio.Transport = scope[_TRANSPORT]
        if transport.is_closing():
            return
        transport.write(self._raw)
        if self._reset:
            for _ in range(_FLUSH_TRIES):  # a reset overtakes what has not left yet
                if not transport.get_write_buffer_size():
                    break
                await asyncio.sleep(0.01)
            # Lingering for no time makes the kernel send RST instead of FIN.
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        else:
            transport.close()
        if not await leaves_within(receive, _FLUSH_SECONDS):
            transport.abort()


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}", *(f"{k}: {v}" for k, v in headers.items())]
    return ("\r\n".join([*lines, "connection: close"]) + "\r\n\r\n").encode("latin-1")


class DrippingAnswer(Response):
    """Another answer, byte after byte, over so many seconds."""

    def __init__(self, answer: Response, seconds: float) -> None:
        super().__init__(status_code=answer.status_code)
        self._answer = answer
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head, then the pieces."""
        body = bytes(self._answer.body)
        step = max(1, len(body) // 50)
        pieces = [body[at : at + step] for at in range(0, len(body), step)]
        await send({"type": "http.response.start", "status": self.status_code, "headers": self._answer.raw_headers})
        for piece in pieces:
            if await leaves_within(receive, self._seconds / len(pieces)):
                return
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class ChunkedAnswer(Response):
    """Another answer, whose length is not announced."""

    def __init__(self, answer: Response) -> None:
        super().__init__(status_code=answer.status_code)
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it without Content-Length, which makes uvicorn use chunks."""
        headers = [(name, value) for name, value in self._answer.raw_headers if name != b"content-length"]
        body = bytes(self._answer.body)
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        for at in range(0, len(body), _CHUNK):
            await send({"type": "http.response.body", "body": body[at : at + _CHUNK], "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class NoAnswer(Response):
    """For a client that has gone."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send nothing; the connection is over."""
        await CutAnswer()(scope, receive, send)
