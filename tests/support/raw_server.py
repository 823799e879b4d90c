"""A server of bare sockets on loopback: it does to a client what no HTTP library would do, and counts what arrives."""

import contextlib
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

PATIENCE = 30.0
"""Seconds after which a thread of this server gives up: a bound, not a measure."""


@dataclass(frozen=True)
class Request:
    """A request as it was read off the wire."""

    method: str
    target: str
    headers: dict[str, str] = field(repr=False)
    body: bytes


class Peer:
    """One accepted connection, as a script sees it."""

    def __init__(self, connection: socket.socket, server: "RawServer") -> None:
        self.socket = connection
        self.server = server
        self._unread = b""

    def read_request(self) -> Request | None:
        """Read and count one request; None when the client has closed the connection."""
        while b"\r\n\r\n" not in self._unread:
            received = self.socket.recv(65536)
            if not received:
                return None
            self._unread += received
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        method, target, _ = first.split(" ", 2)
        length = int(headers.get("content-length", 0))
        while len(self._unread) < length:
            received = self.socket.recv(65536)
            if not received:
                return None
            self._unread += received
        request = Request(method, target, headers, self._unread[:length])
        self._unread = self._unread[length:]
        self.server.requests.append(request)
        return request

    def read(self, size: int) -> bytes:
        """Read exactly so many bytes."""
        data = b""
        while len(data) < size:
            received = self.socket.recv(size - len(data))
            if not received:
                raise ConnectionError("the client went away")
            data += received
        return data

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def start_tls(self, context: ssl.SSLContext) -> None:
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.server.open.append(self.socket)

    def reset(self) -> None:
        """End the connection with a TCP RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def hang(self, seconds: float = PATIENCE) -> bool:
        """Say nothing until the server is closed, or for so long; True when the server was closed."""
        return self.server.closing.wait(seconds)


Script = Callable[[Peer], None]


def http_answer(
    status: int = 200,
    body: bytes | str = b"",
    *,
    content_type: str = "application/json",
    keep_alive: bool = True,
    **headers: str,
) -> bytes:
    """The bytes of an HTTP answer; ``retry_after="3"`` becomes the header ``Retry-After: 3``."""
    content = body.encode() if isinstance(body, str) else body
    lines = [
        f"HTTP/1.1 {status} Whatever",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(content)}",
        f"Connection: {'keep-alive' if keep_alive else 'close'}",
        *(f"{name.replace('_', '-').title()}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + content


def answering(*answers: bytes) -> Script:
    """A script that gives one answer after the other, over all connections; the last one again and again."""
    left = list(answers)
    lock = threading.Lock()

    def script(peer: Peer) -> None:
        while peer.read_request() is not None:
            with lock:
                answer = left.pop(0) if len(left) > 1 else left[0]
            peer.send(answer)

    return script


def tunnel_to(port: int, slipped_in: bytes = b"") -> Callable[[Peer], None]:
    """A script for a proxy that passes everything through to a port of this machine.

    :param slipped_in: what it says of its own, right behind its consent.
    """

    def script(peer: Peer) -> None:
        assert peer.read_request()
        peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n" + slipped_in)
        _pass_on(peer, port)

    return script


def socks5_to(port: int, user: str, password: str) -> Script:
    """A script for a SOCKS5 proxy (RFC 1928, 1929) that passes everything through to a port of this machine.

    It takes only this login. The host that was asked for is counted as a request of the method ``SOCKS``.
    """

    def script(peer: Peer) -> None:
        offered = peer.read(peer.read(2)[1])
        assert 2 in offered  # by user and password
        peer.send(b"\x05\x02")
        given = [peer.read(peer.read(length)[-1]).decode() for length in (2, 1)]
        if given != [user, password]:
            peer.send(b"\x01\x01")
            return
        peer.send(b"\x01\x00")
        *_, kind = peer.read(4)
        host = socket.inet_ntoa(peer.read(4)) if kind == 1 else peer.read(peer.read(1)[0]).decode()
        asked = int.from_bytes(peer.read(2), "big")
        peer.server.requests.append(Request("SOCKS", f"{host}:{asked}", {}, b""))
        peer.send(b"\x05\x00\x00\x01" + bytes(6))
        _pass_on(peer, port)

    return script


def _pass_on(peer: Peer, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as onward:
        other = {peer.socket: onward, onward: peer.socket}
        while True:  # in one thread: two may not use one TLS connection at the same time
            pending = isinstance(peer.socket, ssl.SSLSocket) and peer.socket.pending()
            for source in [peer.socket] if pending else select.select(list(other), [], [], PATIENCE)[0]:
                data = source.recv(65536)
                if not data:
                    return
                other[source].sendall(data)


class RawServer:
    """Runs ``script`` in a thread of its own for each connection.

    :param script: what to do with a connection; it is closed afterwards.
    :param tls: for a server that speaks TLS.
    """

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.closing = threading.Event()
        self._script = script
        self._tls = tls
        self.open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def posts(self) -> int:
        return sum(request.method == "POST" for request in self.requests)

    def refuse_more(self) -> None:
        """Refuse further connections; those that are open go on."""
        _shut_down(self._listener)  # close() alone would not wake accept()
        self._listener.close()

    def close(self) -> None:
        """End all threads."""
        self.closing.set()
        self.refuse_more()
        for connection in list(self.open):
            _shut_down(connection)  # wakes a recv() on a kept connection
        for thread in self._threads:
            thread.join(PATIENCE)

    def _accept(self) -> None:
        while not self.closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        self.open.append(connection)
        peer = Peer(connection, self)
        try:
            if self._tls:
                peer.start_tls(self._tls)
            self._script(peer)
        except OSError:
            pass  # the client went away
        finally:
            peer.socket.close()


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)  # the plain one, for TLS too
