"""What the first bytes of a file show: a video, or a message of a server in place of one."""

from typing import Final

LOOK: Final = 512
"""Bytes that are looked at."""
_VIDEO_STARTS: Final = (
    b"\x1aE\xdf\xa3",  # EBML: WebM, Matroska
    b"FLV\x01",
    b"OggS",
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"0&\xb2u\x8ef\xcf\x11",  # ASF: WMV
)
_ISO_BOXES: Final = frozenset({b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide"})
"""The first box of an MP4 or QuickTime file; mostly ``ftyp``."""
_UTF16_STARTS: Final = (b"\xff\xfe", b"\xfe\xff")
_NOT_IN_TEXT: Final = bytes(set(range(0x20)) - set(b"\t\n\r\f\x1b")) + b"\x7f"
_MESSAGE_TYPES: Final = (
    "text/html",
    "text/xml",
    "application/json",
    "application/problem",
    "application/xhtml+xml",
    "application/xml",
)


def is_video(start: bytes) -> bool:
    """Return whether a file that begins with ``start`` is in a known container of videos."""
    return (
        start[4:8] in _ISO_BOXES
        or start.startswith(_VIDEO_STARTS)
        or (start.startswith(b"RIFF") and start[8:12] == b"AVI ")
    )


def is_text(start: bytes) -> bool:
    """Return whether a file that begins with ``start`` is a text (HTML, JSON, XML, ...) in whatever charset."""
    return start.startswith(_UTF16_STARTS) or start.translate(None, _NOT_IN_TEXT) == start


def why_no_video(start: bytes, content_type: str, content_encoding: str) -> str | None:
    """Return why a file is not taken for a video, or None.

    The first bytes decide, as servers send wrong headers with the right file. The headers count only where the first
    bytes are those of no known container.

    :param start: its first :data:`LOOK` bytes, or all of it.
    :param content_type: the answer's header.
    :param content_encoding: the answer's header.
    """
    if is_video(start):
        return None
    if is_text(start) or content_type.strip().lower().startswith(_MESSAGE_TYPES):
        return f"it is a page or message ({content_type or 'no Content-Type'}), not a video"
    encoding = content_encoding.strip().lower()
    if encoding not in ("", "identity"):
        return f"it is encoded as {encoding!r}, although that was declined"
    return None
