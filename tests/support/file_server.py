"""A raw HTTP server on loopback whose every answer is written byte by byte by the test."""

import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

ETAG = '"v1"'


@dataclass
class Asked:
    """A request as it came."""

    method: str
    target: str
    headers: dict[str, str]

    @property
    def offset(self) -> int:
        """The first byte that a Range header asks for."""
        match = re.fullmatch(r"bytes=(\d+)-\d*", self.headers.get("range", ""))
        return int(match[1]) if match else 0


class Caller:
    """The connection that a request came over."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def head(self, status: int, **headers: object) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items() if value is not None]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def reset(self) -> None:
        """End the connection with a TCP RST."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


Play = Callable[[Asked, Caller], None]


@dataclass
class FileServer:
    """Plays ``script`` one answer per request, and then serves ``content`` like a good server."""

    content: bytes = b""
    script: list[Play] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    def url(self, path: str = "/v.mp4?X-Signature=topsecret123") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    @property
    def offsets(self) -> list[int]:
        return [one.offset for one in self.asked]

    def answer(self, asked: Asked, caller: Caller) -> None:
        self.asked.append(asked)
        play = self.script.pop(0) if self.script else whole(self)
        play(asked, caller)


def whole(server: FileServer, *, etag: str | None = ETAG, ranges: bool = True, cut: int | None = None) -> Play:
    """Serve the content; ``cut`` ends the connection that many bytes into the body."""

    def play(asked: Asked, caller: Caller) -> None:
        size = len(server.content)
        if_range = asked.headers.get("if-range")
        start = asked.offset if ranges and if_range in (None, etag) else 0
        headers: dict[str, object] = {"Content_Length": size - start, "ETag": etag, "Content_Type": "video/mp4"}
        if start:
            headers["Content_Range"] = f"bytes {start}-{size - 1}/{size}"
        caller.head(206 if start else 200, **headers)
        caller.send(server.content[start:][: size if cut is None else cut])

    return play


def status(code: int, body: bytes = b"", **headers: object) -> Play:
    """An answer without any file."""

    def play(asked: Asked, caller: Caller) -> None:
        caller.head(code, **({"Content_Length": len(body)} | headers))
        caller.send(body)

    return play


@contextmanager
def serving(content: bytes = b"") -> Iterator[FileServer]:
    """Run a server on a free port of 127.0.0.1."""
    server = FileServer(content)
    listener = socket.create_server(("127.0.0.1", 0))
    server.port = listener.getsockname()[1]

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                if not (more := connection.recv(65536)):
                    return
                head += more
            first, *lines = head.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
            method, target, _ = first.split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            server.answer(Asked(method, target, headers), Caller(connection))

    def listen() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=listen, daemon=True).start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
