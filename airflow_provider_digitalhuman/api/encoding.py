"""Bodies that came compressed although the request declined it: some proxies compress all the same."""

import zlib
from typing import Final

MAX_ANSWER: Final = 4 * 1024 * 1024
"""Bytes of an answer's body that are read, decoded or not. The API's answers have a few hundred, but an error text can
be long, and a long answer can hold the ID of a paid video."""
_GZIP: Final = b"\x1f\x8b"
_COMPRESSIONS: Final = ("gzip", "x-gzip", "deflate")


def bounded(size: int) -> int:
    """Return ``size``.

    :raises ValueError: if no answer may be that long.
    """
    if size > MAX_ANSWER:
        raise ValueError(f"the answer is longer than {MAX_ANSWER} bytes")
    return size


def decoded(body: bytes, encoding: str) -> bytes:
    """Return ``body`` without its ``Content-Encoding``; an encoding that is not known is left.

    :raises ValueError: if it grows beyond :data:`MAX_ANSWER`.
    :raises zlib.error: if it is broken.
    """
    for compression in _compressions(encoding):
        body = _inflated(body, compression)
    return body


def decoded_part(body: bytes, encoding: str) -> bytes:
    """Return what can be decoded of a body that is broken or cut short; ``body`` itself where that is nothing."""
    for compression in _compressions(encoding):
        body = _inflated_part(body, compression) or body
    return body


def _compressions(encoding: str) -> list[str]:
    """Return the compressions in the order in which they are undone, up to the first that is not known."""
    known = []
    for name in reversed([part.strip() for part in encoding.lower().split(",")]):
        if name in _COMPRESSIONS:
            known.append(name)
        elif name not in ("", "identity"):
            break
    return known


def _inflated(body: bytes, compression: str) -> bytes:
    plain = b""
    while body:
        inflate = zlib.decompressobj(_window(body, compression))
        plain += inflate.decompress(body, MAX_ANSWER)
        bounded(len(plain) + len(inflate.unconsumed_tail))
        rest = inflate.unused_data
        body = rest if rest.startswith(_GZIP) else b""  # gzip may come in several members
    return plain


def _inflated_part(body: bytes, compression: str) -> bytes:
    inflate, plain = zlib.decompressobj(_window(body, compression)), bytearray()
    try:
        for start in range(len(body)):  # byte by byte: a call that meets the broken one returns nothing
            plain += inflate.decompress(body[start : start + 1], MAX_ANSWER)
            if len(plain) >= MAX_ANSWER:
                break
    except zlib.error:
        pass
    return bytes(plain)


def _window(body: bytes, compression: str) -> int:
    """Return the ``wbits`` that name the container to ``zlib``; "deflate" comes with its header, or without any."""
    has_header = body.startswith(_GZIP) or (len(body) > 1 and body[0] & 15 == 8 and int.from_bytes(body[:2]) % 31 == 0)
    return -zlib.MAX_WBITS if compression == "deflate" and not has_header else zlib.MAX_WBITS | 32
