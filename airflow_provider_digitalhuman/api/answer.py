"""An HTTP answer as it came, and its contents as people, logs and databases may have them.

All content of an answer passes through this module: it removes the key, which a server may echo, and what some
databases cannot store.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from airflow_provider_digitalhuman.api.charset import decoded_text
from airflow_provider_digitalhuman.api.glossary import glossed
from airflow_provider_digitalhuman.api.meanings import KNOWN_CODES
from airflow_provider_digitalhuman.api.redact import excerpt, masked, masked_for_people, redact_url
from airflow_provider_digitalhuman.api.response import URL_ALIASES, VOCABULARY
from airflow_provider_digitalhuman.api.retry_after import retry_after_seconds
from airflow_provider_digitalhuman.api.values import hex_md5

_DEEPEST: Final = 20
_FOUND_BY: Final = frozenset({"id", "video_url", *URL_ALIASES})
"""The fields that a task and its file are found by."""
_NAMES: Final = _FOUND_BY | {"status", "code", "created", "md5", "data", "error", "message", "type"}
_NOT_BY_CHANCE: Final = 16
"""Characters of a key that is in no ID and no URL by chance."""


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """An HTTP answer as it came.

    :param http_status: HTTP status code; 0 where none could be read.
    :param body: the body's bytes, decoded from any transfer encoding.
    :param retry_after: the ``Retry-After`` header (seconds or an HTTP date).
    :param location: the ``Location`` header.
    :param secret: the key that was sent: should a server echo it, it is shown to nobody.
    :param wire: the bytes as they were received, head included, where the transport keeps them (for a create). Only
        IDs are looked for in there.
    :param content_type: the ``Content-Type`` header.
    """

    http_status: int
    body: bytes
    retry_after: str | None = None
    location: str | None = None
    secret: str = ""
    wire: bytes = b""
    content_type: str | None = None

    def __repr__(self) -> str:
        return f"Answer({self.describe()})"

    def retry_after_seconds(self) -> float | None:
        """Return the seconds that ``Retry-After`` asks to wait, see :func:`retry_after_seconds`."""
        return retry_after_seconds(self.retry_after)

    def describe(self) -> str:
        """Return the answer for an error message: HTTP status and the start of the body, URLs redacted.

        Known words of the vendor's are followed by what they mean in English.
        """
        text = self.text()
        body = excerpt(text)
        return f"HTTP {self.http_status}, " + (glossed(f"body: {body}", text) if body else "empty body")

    def json_object(self) -> Mapping[str, Any] | None:
        """Return the body as a JSON object, as it may go to XCom and into a log; None if it is none."""
        try:
            payload = json.loads(self.decoded())
        except (ValueError, RecursionError):
            return None
        return _clean(payload, self.secret) if isinstance(payload, dict) else None

    def decoded(self) -> str:
        """Return the body as text, as it came: not to be shown."""
        return decoded_text(self.body, self.content_type)

    def text(self) -> str:
        """Return the body for people to read: characters that JSON has escaped are shown as themselves."""
        payload = self.json_object()
        text = self.decoded() if payload is None else json.dumps(payload, ensure_ascii=False)
        return masked_for_people(_storable(text), self.secret)

    def storable_id(self, text: str) -> str:
        """Return an ID out of this answer as the reader keeps IDs: storable, and without the key."""
        return str(_clean(text, self.secret, "id"))

    def target(self) -> str:
        """Return where the answer redirects to, without the query string."""
        return masked_for_people(redact_url(self.location or "nowhere"), self.secret)


def _clean(value: Any, secret: str, name: str | None = None, depth: int = 0) -> Any:
    """Return ``value`` as it may go to XCom: storable in any database, and without the key that a server may echo."""
    if isinstance(value, str):
        text = _storable(value)
        return text if len(secret) < _NOT_BY_CHANCE and _is_read(name, text) else masked(text, secret)
    if isinstance(value, float):
        return value if math.isfinite(value) else None  # NaN, Infinity, 1e999
    if isinstance(value, int) and not -(2**63) <= value < 2**64:  # more than Airflow's processes can exchange
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
        cleaned[name if name in _NAMES else masked(name, secret)] = _clean(item, secret, name, depth + 1)
    return cleaned


def _is_read(name: str | None, text: str) -> bool:
    """Whether the reading depends on this value of a field: a short key can be in there by chance."""
    match name:
        case "status":
            return text.strip().lower() in VOCABULARY
        case "code":
            return text.strip() in KNOWN_CODES
        case "created":
            return re.fullmatch(r"\s*[0-9.]+\s*", text) is not None
        case "md5":
            return hex_md5(text) is not None
    return name in _FOUND_BY


def _storable(text: str) -> str:
    """Return ``text`` without NUL and lone surrogates."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
