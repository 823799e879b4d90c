"""A TCP connection on an event loop, with TLS of its own, for requests and answers of a few hundred bytes.

asyncio's TLS is made for streams of any length, with flow control on both sides of it, and takes a third of the CPU of
a whole query. Here each piece that arrives is opened and handed on at once.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, Self
from urllib.parse import SplitResult

from airflow_provider_digitalhuman.api.encoding import MAX_ANSWER

_PIECE: Final = 32 * 1024
"""Bytes that are taken at once; a record of TLS holds 16 KiB."""


class Stream(asyncio.BufferedProtocol):
    """A connection on which one side asks: :meth:`ask` sends, the answer is read from :attr:`reader`."""

    reader: asyncio.StreamReader
    _transport: asyncio.Transport
    _send: Callable[[bytes], object]

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(_PIECE))
        self._asked = False
        self._layers: list[_Tls] = []  # two where a proxy is spoken to by TLS, and the API through it

    @classmethod
    async def connect(cls, address: SplitResult, tls: ssl.SSLContext | None) -> Self:
        """Connect to a server, and speak TLS with it if a context is given.

        :raises OSError: if that fails.
        """
        host, port = address.hostname or "", address.port or (443 if address.scheme == "https" else 80)
        loop = asyncio.get_running_loop()
        _, stream = await loop.create_connection(cls, host, port, happy_eyeballs_delay=0.25)
        if tls is not None:
            await stream.start_tls(tls, host)
        return stream

    async def start_tls(self, context: ssl.SSLContext, server_hostname: str) -> None:
        """Speak TLS from now on, inside of what is spoken already; where that fails, the connection is closed.

        :raises OSError: if that fails.
        """
        self._asked = False  # nothing that came before, unprotected, is taken for what comes through it
        layer = _Tls(context, server_hostname, send=self._send)
        self._layers.append(layer)
        self._send = layer.seal
        try:
            self._take(b"")
            await layer.established
        except BaseException:
            self.abort()
            raise

    @property
    def is_open(self) -> bool:
        """False once either side has closed, or the other has spoken unasked."""
        return not self._transport.is_closing()

    def ask(self, request: bytes) -> None:
        """Send ``request``, and have the answer in a new :attr:`reader`.

        :raises ConnectionError: if the connection is closed.
        """
        if not self.is_open:
            raise ConnectionResetError("the server closed the connection before it was asked")
        self.reader = asyncio.StreamReader(limit=MAX_ANSWER)
        self.reader.set_transport(self._transport)
        self._asked = True
        self._send(request)

    def finish(self) -> bool:
        """Take the answer as read whole; False where something is left of it, which would pass for the next one's."""
        self._asked = False
        self.reader.feed_eof()
        return self.reader.at_eof()

    def abort(self) -> None:
        """Close without a word."""
        self._transport.abort()

    def end(self, error: Exception | None) -> None:
        """Close, and let who reads have what has come so far, or see ``error``."""
        for layer in self._layers:
            layer.give_up(error)
        if self._asked:
            self.reader.feed_eof() if error is None else self.reader.set_exception(error)
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; asyncio calls this, and those that follow."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send = transport.write

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the place for what arrives."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what has arrived."""
        self._take(bytes(self._buffer[:nbytes]))

    def eof_received(self) -> None:
        """Take it that nothing more comes."""
        self.end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take it that nothing comes or goes any more."""
        self.end(exc)

    def _take(self, data: bytes) -> None:
        ended = False
        try:
            for layer in self._layers:
                data = layer.open(data)
                ended |= layer.ended
        except ssl.SSLError as error:
            self.end(error)
            return
        if data and self._asked:
            self.reader.feed_data(data)
        if ended or (data and not self._asked):
            self.end(None)


class _Tls:
    """TLS between this side and the one below, to which :param:`send` leads."""

    def __init__(self, context: ssl.SSLContext, server_hostname: str, send: Callable[[bytes], object]) -> None:
        self._arrived, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._arrived, self._leaving, server_hostname=server_hostname)
        self._send = send
        self.established: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended = False

    def seal(self, data: bytes) -> None:
        """Send ``data`` protected."""
        self._tls.write(data)
        self._flush()

    def open(self, data: bytes) -> bytes:
        """Return what there is in ``data`` for the other side of this.

        :raises ssl.SSLError: if the peer cannot be trusted, or this is no TLS.
        """
        self._arrived.write(data)
        try:
            return self._contents() if self._is_established() else b""
        finally:
            self._flush()  # the handshake's messages, and the alert that says what is wrong

    def give_up(self, error: Exception | None) -> None:
        """Nothing more comes."""
        if not self.established.done():
            self.established.set_exception(error or ConnectionResetError("the server closed during the TLS handshake"))

    def _is_established(self) -> bool:
        if not self.established.done():
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                return False
            self.established.set_result(None)
        return True

    def _contents(self) -> bytes:
        contents = b""
        while self._arrived.pending or self._tls.pending():
            try:
                piece = self._tls.read(_PIECE)
            except ssl.SSLWantReadError:
                break
            if not piece:
                self.ended = True
                break
            contents += piece
        return contents

    def _flush(self) -> None:
        if self._leaving.pending:
            self._send(self._leaving.read())
