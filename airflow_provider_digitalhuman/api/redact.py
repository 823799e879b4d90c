"""What may be shown of an address or an answer: signed URLs are secrets, answers can be long."""

import re
from typing import Final
from urllib.parse import urlsplit, urlunsplit

EXCERPT_LENGTH: Final = 300
_URL: Final = re.compile(r"(?i)\bhttps?://[^\s\"'<>\\]+")
_USER: Final = re.compile(r"//[^/?#]*@")


def redact_url(url: str) -> str:
    """Return ``url`` without user, password and fragment, and with ``…`` for its query string."""
    plain = _USER.sub("//", url)
    try:
        parts = urlsplit(plain)
    except ValueError:
        return re.split(r"[?#]", plain, maxsplit=1)[0]
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "…" if parts.query else "", ""))


def excerpt(text: str, length: int = EXCERPT_LENGTH) -> str:
    """Return the start of ``text`` on one line, the URLs in it redacted, for an error message."""
    # The cut comes after the redaction: the end of a signed URL must not be what is left of it.
    flat = " ".join(_URL.sub(lambda match: redact_url(match.group()), text).split())
    return flat if len(flat) <= length else flat[:length] + "…"
