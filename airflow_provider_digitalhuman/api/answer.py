"""An HTTP answer as it came, and its contents as people, logs and databases may have them.

Nothing of a server's goes anywhere but through here: without the key, should a server echo it, and without what some
database cannot keep.
"""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple

from airflow_provider_digitalhuman.api.redact import excerpt, redact_url

URL_ALIASES: Final = ("result_url", "resultUrl", "videoUrl")
"""Other names that the field ``video_url`` goes by."""
LONGEST_RETRY_AFTER: Final = 3600.0
"""Seconds after which a server that has asked for more is asked again: finished videos live for about a day."""
_DEEPEST: Final = 20
_TAKEN_AS_IS: Final = frozenset({"id", "status", "code", "created", "md5", "video_url", *URL_ALIASES})
"""The fields whose values the reading depends on."""
_NAMES: Final = _TAKEN_AS_IS | {"data", "error", "message", "type"}
_NOT_BY_CHANCE: Final = 16
"""Characters of a key that is in no ID and no URL by chance."""


class Answer(NamedTuple):
    """An HTTP answer as it came.

    :param http_status: HTTP status code; 0 where none could be read.
    :param body: the body's bytes, decoded from any transfer encoding.
    :param retry_after: the ``Retry-After`` header (seconds or an HTTP date).
    :param location: the ``Location`` header.
    :param secret: the key that was sent: should a server echo it, it is shown to nobody.
    :param wire: the bytes as they were received, head included, where the transport keeps them (for a create). Only
        IDs are looked for in there.
    """

    http_status: int
    body: bytes
    retry_after: str | None = None
    location: str | None = None
    secret: str = ""
    wire: bytes = b""

    def __repr__(self) -> str:
        return f"Answer({self.describe()})"

    def retry_after_seconds(self) -> float | None:
        """Return the seconds that ``Retry-After`` asks to wait, an hour at most; None if it is absent or no time."""
        text = (self.retry_after or "").strip()
        try:
            seconds = float(text)
        except ValueError:
            seconds = _seconds_until(text)
        return min(seconds, LONGEST_RETRY_AFTER) if math.isfinite(seconds) and seconds >= 0 else None

    def describe(self) -> str:
        """Return the answer for an error message: HTTP status and the start of the body, URLs redacted."""
        body = excerpt(self.text())
        return f"HTTP {self.http_status}, " + (f"body: {body}" if body else "empty body")

    def json_object(self) -> Mapping[str, Any] | None:
        """Return the body as a JSON object, as it may go to XCom and into a log; None if it is none."""
        try:
            payload = json.loads(self.body)
        except (ValueError, RecursionError):  # a bad encoding is a ValueError too
            return None
        return _clean(payload, self.secret) if isinstance(payload, dict) else None

    def text(self) -> str:
        """Return the body for people to read: characters that JSON has escaped are shown as themselves."""
        payload = self.json_object()
        text = self.body.decode("utf-8", "replace") if payload is None else json.dumps(payload, ensure_ascii=False)
        return _masked(text, self.secret)

    def storable_id(self, text: str) -> str:
        """Return an ID out of this answer as the reader keeps IDs: storable, and without the key."""
        return str(_clean(text, self.secret, "id"))

    def target(self) -> str:
        """Return where the answer redirects to, without the query string."""
        return _masked(redact_url(self.location or "nowhere"), self.secret)


def _clean(value: Any, secret: str, name: str | None = None, depth: int = 0) -> Any:
    """Return ``value`` as it may go to XCom: what any database can keep, and without the key, should a server echo it.

    What the task is found by is left alone if the key is so short that it can be in there by chance.
    """
    if isinstance(value, str):
        text = _storable(value)
        return text if name in _TAKEN_AS_IS and len(secret) < _NOT_BY_CHANCE else _masked(text, secret)
    if isinstance(value, float):
        return value if math.isfinite(value) else None  # NaN, Infinity, 1e999
    if isinstance(value, int) and not -(2**63) <= value < 2**64:  # more than Airflow's processes can tell each other
        return str(value)
    if not isinstance(value, dict | list):
        return value
    if depth >= _DEEPEST:
        return None
    if isinstance(value, list):
        return [_clean(item, secret, None, depth + 1) for item in value]
    cleaned = {}
    for key, item in value.items():
        name = _storable(key)
        cleaned[name if name in _NAMES else _masked(name, secret)] = _clean(item, secret, name, depth + 1)
    return cleaned


def _storable(text: str) -> str:
    """Return ``text`` without NUL and lone surrogates."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")


def _masked(text: str, secret: str) -> str:
    return text.replace(secret, "***") if secret else text


def _seconds_until(http_date: str) -> float:
    try:
        moment = parsedate_to_datetime(http_date)
    except (ValueError, TypeError, IndexError, OverflowError):
        return math.nan
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())
