"""One answer in the forms that real servers and proxies give it, and which of them each client reads.

All of them answer a query for the video task ``abc``. A form that is read must give :data:`COMPLETED`; one that is not
read must be a ``QueryError``, which is asked again, so that a difference between worker and triggerer never costs a
video. Both clients ask for ``Accept-Encoding: identity``, and undo a compression that comes all the same by
``api.encoding.decoded``, not by their library.
"""

import gzip
import json
import zlib
from dataclasses import dataclass

TASK_ID = "abc"
COMPLETED = {"id": TASK_ID, "status": "completed", "video_url": "https://cdn.example.com/abc.mp4", "md5": "0" * 32}
BODY = json.dumps(COMPLETED).encode()
LONG = json.dumps({**COMPLETED, "notes": "x" * 1_500_000}).encode()


@dataclass(frozen=True)
class WireForm:
    """An answer as bytes.

    :param sent: what the server sends.
    :param worker: whether the worker's client (``requests``) reads it.
    :param triggerer: whether the triggerer's client (``aiohttp``) reads it.
    :param closes: whether the server closes the connection behind it; else it keeps it open.
    """

    name: str
    sent: bytes
    worker: bool = True
    triggerer: bool = True
    closes: bool = False

    def __str__(self) -> str:
        return self.name


def _head(*headers: str, status: str = "HTTP/1.1 200 OK", end: str = "\r\n") -> bytes:
    return "".join(line + end for line in (status, "Content-Type: application/json", *headers, "")).encode("latin-1")


def _answer(*headers: str, body: bytes = BODY, status: str = "HTTP/1.1 200 OK", end: str = "\r\n") -> bytes:
    return _head(f"Content-Length: {len(body)}", *headers, status=status, end=end) + body


def _chunk(data: bytes, size: str | None = None, end: bytes = b"\r\n") -> bytes:
    return (size or f"{len(data):x}").encode() + end + data + end


_CHUNKED = _head("Transfer-Encoding: chunked")
_HALF = len(BODY) // 2
_CHUNKS = _chunk(BODY[:_HALF]) + _chunk(BODY[_HALF:])
_LENGTH = f"Content-Length: {len(BODY)}"


def _raw_deflate(data: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflate.compress(data) + deflate.flush()


FORMS: tuple[WireForm, ...] = (
    WireForm("plain", _answer()),
    WireForm("long", _answer(body=LONG)),
    WireForm("long, chunked", _CHUNKED + _chunk(LONG) + b"0\r\n\r\n"),
    # the head's lines
    WireForm("no reason phrase", _answer(status="HTTP/1.1 200")),
    WireForm("HTTP/1.0, closed", _answer(status="HTTP/1.0 200 OK"), closes=True),
    WireForm("HTTP/1.0, no length, closed", _head(status="HTTP/1.0 200 OK") + BODY, closes=True),
    WireForm("header names in lower case", _answer().replace(b"Content-Length", b"content-length")),
    WireForm("no blank behind the colon", _answer().replace(b"Content-Length: ", b"Content-Length:")),
    WireForm("empty header", _answer("X-Empty:")),
    WireForm("header outside ASCII", _answer("X-Ville: Orl\xe9ans")),
    WireForm("ninety headers", _answer(*(f"X-{number}: y" for number in range(90)))),
    WireForm("header of 7 kB", _answer("X-Long: " + "y" * 7_000)),
    WireForm("cookie", _answer("Set-Cookie: a=b; Path=/")),
    WireForm("bare LF", _answer(end="\n"), closes=True),
    WireForm("folded header", _answer("X-Folded: a", "\tb")),
    WireForm("blank before the colon", _answer("X-Blank : a"), worker=False, triggerer=False),
    WireForm("line without a colon", _answer("nothing"), worker=False, triggerer=False),
    WireForm("not HTTP", b"220 smtp.example.com ESMTP\r\n" + BODY, worker=False, triggerer=False, closes=True),
    WireForm("head cut off", _answer()[:30], worker=False, triggerer=False, closes=True),
    # interim answers
    WireForm("100 before it", b"HTTP/1.1 100 Continue\r\n\r\n" + _answer()),
    WireForm("102 before it", b"HTTP/1.1 102 Processing\r\n\r\n" + _answer()),
    WireForm("103 before it", b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + _answer()),
    WireForm("103 twice before it", 2 * b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + _answer()),
    # the length
    WireForm("no length, closed", _head() + BODY, closes=True),
    WireForm("equal lengths in one header", _head(f"{_LENGTH}, {len(BODY)}") + BODY, triggerer=False),
    WireForm("equal lengths in two headers", _head(_LENGTH, _LENGTH) + BODY, triggerer=False),
    WireForm("unequal lengths", _head(_LENGTH, "Content-Length: 7") + BODY, worker=False, triggerer=False),
    WireForm("length too small", _head("Content-Length: 7") + BODY, worker=False, triggerer=False),
    WireForm(
        "length too large, closed", _head("Content-Length: 999") + BODY, worker=False, triggerer=False, closes=True
    ),
    WireForm("more behind it", _answer() + b"more", triggerer=False),
    # chunks
    WireForm("chunked", _CHUNKED + _CHUNKS + b"0\r\n\r\n"),
    WireForm("chunked, upper case", _head("Transfer-Encoding: CHUNKED") + _CHUNKS + b"0\r\n\r\n"),
    WireForm("chunk extension", _CHUNKED + _chunk(BODY, f"{len(BODY):x};a=b") + b"0\r\n\r\n"),
    WireForm("chunk size with zeros", _CHUNKED + _chunk(BODY, f"000{len(BODY):X}") + b"0\r\n\r\n"),
    WireForm("trailer", _CHUNKED + _CHUNKS + b"0\r\nX-Trailer: a\r\n\r\n"),
    WireForm(
        "length and chunked", _head(_LENGTH, "Transfer-Encoding: chunked") + _CHUNKS + b"0\r\n\r\n", triggerer=False
    ),
    WireForm("chunk size 0x…", _CHUNKED + _chunk(BODY, f"{len(BODY):#x}") + b"0\r\n\r\n", triggerer=False),
    WireForm("chunks with bare LF", _CHUNKED + _chunk(BODY, end=b"\n") + b"0\n\n", worker=False, triggerer=False),
    WireForm("two bytes behind a chunk", _CHUNKED + _chunk(BODY)[:-2] + b"zz0\r\n\r\n", triggerer=False),
    WireForm("chunks cut off", _CHUNKED + _CHUNKS, worker=False, triggerer=False, closes=True),
    WireForm("chunk size that is none", _CHUNKED + _chunk(BODY, "zz"), worker=False, triggerer=False, closes=True),
    # compression that nobody asked for
    WireForm("gzip", _answer("Content-Encoding: gzip", body=gzip.compress(BODY))),
    WireForm("GZIP", _answer("Content-Encoding: GZIP", body=gzip.compress(BODY))),
    WireForm("x-gzip", _answer("Content-Encoding: x-gzip", body=gzip.compress(BODY))),
    WireForm("gzip, identity", _answer("Content-Encoding: gzip, identity", body=gzip.compress(BODY))),
    WireForm(
        "gzip in two members",
        _answer("Content-Encoding: gzip", body=gzip.compress(BODY[:_HALF]) + gzip.compress(BODY[_HALF:])),
    ),
    WireForm("deflate", _answer("Content-Encoding: deflate", body=zlib.compress(BODY))),
    WireForm("deflate without zlib's header", _answer("Content-Encoding: deflate", body=_raw_deflate(BODY))),
    WireForm(
        "gzip, chunked",
        _head("Content-Encoding: gzip", "Transfer-Encoding: chunked") + _chunk(gzip.compress(BODY)) + b"0\r\n\r\n",
    ),
    WireForm("encoding that is none", _answer("Content-Encoding: utf-8")),
    WireForm("said to be gzip", _answer("Content-Encoding: gzip"), worker=False, triggerer=False),
    WireForm(
        "gzip cut off", _answer("Content-Encoding: gzip", body=gzip.compress(BODY)[:-30]), worker=False, triggerer=False
    ),
    # the characters
    WireForm("byte order mark", _answer(body=b"\xef\xbb\xbf" + BODY)),
    WireForm("UTF-16", _answer(body=BODY.decode().encode("utf-16"))),
)
