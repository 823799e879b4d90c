"""Bodies that came compressed although nobody asked for it: some proxies compress all the same."""

import zlib
from typing import Final

MAX_ANSWER: Final = 64 * 1024
"""Bytes of an answer's head, and of its body, that are read; the API's answers have a few hundred."""


def bounded(size: int) -> int:
    """Return ``size``.

    :raises ValueError: if no answer may be that long.
    """
    if size > MAX_ANSWER:
        raise ValueError(f"the answer is longer than {MAX_ANSWER} bytes")
    return size


def decoded(body: bytes, encoding: str) -> bytes:
    """Return ``body`` without its ``Content-Encoding``; one that is not known is left.

    :raises ValueError: if it grows beyond all measure.
    :raises zlib.error: if it is broken.
    """
    if encoding.lower() not in ("gzip", "deflate"):
        return body
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
    plain = inflate.decompress(body, MAX_ANSWER)
    bounded(len(plain) + len(inflate.unconsumed_tail))
    return plain
