"""What may be shown of an address or an answer: signed URLs are secrets, answers can be long."""

import re
from itertools import takewhile
from typing import Final

EXCERPT_LENGTH: Final = 300
_LONG_KEY: Final = 24
"""Characters of a key of which half is in no text by chance."""
# As it stands in JSON too, which may spell "/" as "\/", "&" as "\u0026", and put "\n" right before the URL.
_URL: Final = r"(?i)https?:(?:\\?/){2}[^\s\"<>]+"
_CONTROL: Final = r"[\x00-\x1f\x7f-\x9f]+"
_USER: Final = re.compile(r"(^\s*(?://)?|://)[^/?#]*@")
_PARTS: Final = re.compile(r"([^?#]*)(\?[^#])?")


def redact_url(url: str) -> str:
    """Return ``url`` without user, password and fragment, and with ``…`` for its query string."""
    parts = _PARTS.match(_USER.sub(r"\1", url))
    assert parts is not None  # it matches the empty string
    return parts.group(1) + ("?…" if parts.group(2) else "")


def excerpt(text: str) -> str:
    """Return the start of ``text`` on one line, the URLs in it redacted, for an error message."""
    # The cut comes after the redaction: the end of a signed URL must not be what is left of it.
    flat = " ".join(re.sub(_CONTROL, " ", re.sub(_URL, _redacted, text)).split())
    return flat if len(flat) <= EXCERPT_LENGTH else flat[:EXCERPT_LENGTH] + "…"


def masked(text: str, secret: str) -> str:
    """Return ``text`` with ``***`` for each occurrence of the key; as it is where there is none."""
    return text.replace(secret, "***") if secret else text


def masked_for_people(text: str, secret: str) -> str:
    """Return ``text`` with ``***`` also for a key that breaks off: a server echoes it, and the answer is cut short."""
    if len(secret) < _LONG_KEY:
        return masked(text, secret)
    half = len(secret) // 2
    first, *others = text.split(secret[:half])
    return "***".join((first, *(_without_start(other, secret[half:]) for other in others)))


def _without_start(text: str, secret: str) -> str:
    pairs = zip(text, secret, strict=False)
    return text[sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)) :]


def _redacted(found: re.Match[str]) -> str:
    return redact_url(found.group().replace("\\/", "/"))
