"""Bodies that came compressed although nobody asked for it: some proxies compress all the same."""

import zlib
from typing import Final

MAX_ANSWER: Final = 64 * 1024
"""Bytes of an answer's head, and of its body, that are read; the API's answers have a few hundred."""
MAX_CREATE_ANSWER: Final = 4 * 1024 * 1024
"""Bytes of a create's answer that are read: a longer one may still hold the ID of a paid video."""


def bounded(size: int, most: int = MAX_ANSWER) -> int:
    """Return ``size``.

    :raises ValueError: if no answer may be that long.
    """
    if size > most:
        raise ValueError(f"the answer is longer than {most} bytes")
    return size


def decoded(body: bytes, encoding: str, most: int = MAX_ANSWER) -> bytes:
    """Return ``body`` without its ``Content-Encoding``; one that is not known is left.

    :raises ValueError: if it grows beyond all measure.
    :raises zlib.error: if it is broken.
    """
    if not _is_compressed(encoding):
        return body
    inflate = _inflater()
    plain = inflate.decompress(body, most)
    bounded(len(plain) + len(inflate.unconsumed_tail), most)
    return plain


def decoded_part(body: bytes, encoding: str, most: int = MAX_CREATE_ANSWER) -> bytes:
    """Return what can be decoded of a body that is broken or cut short; ``body`` itself where that is nothing."""
    if not _is_compressed(encoding):
        return body
    inflate, plain = _inflater(), bytearray()
    try:
        for start in range(len(body)):  # byte by byte: a call that meets the broken one returns nothing
            plain += inflate.decompress(body[start : start + 1], most)
            if len(plain) >= most:
                break
    except zlib.error:
        pass
    return bytes(plain) or body


def _is_compressed(encoding: str) -> bool:
    return encoding.lower() in ("gzip", "deflate")


def _inflater() -> "zlib._Decompress":
    return zlib.decompressobj(zlib.MAX_WBITS | 32)
