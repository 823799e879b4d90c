"""Single values of an answer: what a text, a moment, an MD5 and an error look like, however they are written."""

import base64
import json
import re
from typing import Any, Final

import pendulum

from airflow_provider_digitalhuman.api.redact import excerpt

_MILLISECONDS_FROM: Final = 1e12
_HEX_MD5: Final = r"(?i)(?:md5\s*[:=]\s*)?[\"']?([0-9a-f]{32})[\"']?"
_BASE64_MD5: Final = r"(?i:md5\s*[:=]\s*)?[\"']?([0-9A-Za-z+/_-]{21}[AQgw])(?:==)?[\"']?"
"""16 bytes: the last of the 22 characters carries two bits only."""


def text_of(value: Any) -> str | None:
    """Return a text without the white space around it; None for an empty one, and for what is no text."""
    return value.strip() or None if isinstance(value, str) else None


def moment_of(value: Any) -> pendulum.DateTime | None:
    """Read Unix seconds, or milliseconds above 1e12; anything else is no moment."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
        seconds = seconds / 1000 if seconds > _MILLISECONDS_FROM else seconds
        return pendulum.DateTime.fromtimestamp(seconds, pendulum.UTC)
    except (ValueError, OverflowError, OSError):
        return None


def md5_of(value: Any) -> str | None:
    """Return an MD5 in lower-case hex: from hex of either case, in quotes, behind ``md5:``, or from base64.

    A text that is no MD5 stays as it came.
    """
    text = text_of(value)
    return None if text is None else hex_md5(text) or text


def hex_md5(text: str) -> str | None:
    """Return the MD5 that ``text`` spells, in lower-case hex; None if it spells none."""
    bare = text.strip().strip("\"'").strip()
    if found := re.fullmatch(_HEX_MD5, bare):
        return found[1].lower()
    if found := re.fullmatch(_BASE64_MD5, bare):
        return base64.urlsafe_b64decode(found[1].replace("+", "-").replace("/", "_") + "==").hex()
    return None


def error_of(value: Any) -> str | None:
    """Return the words of an ``error`` in any of its forms, as an excerpt; None where it says that there is none."""
    if isinstance(value, dict):
        parts = [str(value[key]) for key in ("code", "message", "type") if value.get(key) not in (None, "")]
        return excerpt(": ".join(parts) or json.dumps(value, ensure_ascii=False)) if value else None
    if value in (None, "", False, [], 0):
        return None
    return excerpt(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)) or None
