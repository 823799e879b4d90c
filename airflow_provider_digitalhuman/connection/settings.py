"""The Airflow connection, read once and checked: where the API is, with which key and within which time limits."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, urlsplit

from airflow_provider_digitalhuman.api.endpoints import (
    CONNECT_TIMEOUT,
    DEFAULT_BASE_URL,
    DEFAULT_MODEL,
    DEFAULT_QUERIES_PER_SECOND,
    QUERY_TIMEOUT,
    SUBMIT_TIMEOUT,
)
from airflow_provider_digitalhuman.api.redact import masked, redact_url
from airflow_provider_digitalhuman.connection.proxy import PROXY_SCHEMES, split_proxy
from airflow_provider_digitalhuman.exceptions import InvalidConnectionError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

_LARGEST_NUMBER: Final = 86_400
_WORDS: Final[Mapping[str, bool]] = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True)
class FileAccess:
    """What a connection says of the way to servers that hold media and videos: all but the API and its key.

    :param verify: True, False, or the path of a CA file.
    :param proxies: proxy URL by scheme; may hold a password, so it is never shown.
    :param connect_timeout: seconds to reach a server.
    """

    verify: bool | str = True
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    connect_timeout: float = CONNECT_TIMEOUT


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """What a connection of type ``digitalhuman`` says.

    :param api_key: the key; never shown.
    :param base_url: scheme, host, port and path that every path of the API is appended to.
    :param model: model name for requests that do not name one.
    :param connect_timeout: seconds to reach the server.
    :param submit_timeout: seconds for the answer to a create.
    :param query_timeout: seconds for the answer to a query.
    :param max_queries_per_second: how many queries one triggerer may send with this key.
    :param verify: True, False, or the path of a CA file.
    :param proxies: proxy URL by scheme; may hold a password, so it is never shown.
    """

    api_key: str = field(repr=False)
    base_url: str = DEFAULT_BASE_URL
    model: str = DEFAULT_MODEL
    connect_timeout: float = CONNECT_TIMEOUT
    submit_timeout: float = SUBMIT_TIMEOUT
    query_timeout: float = QUERY_TIMEOUT
    max_queries_per_second: float = DEFAULT_QUERIES_PER_SECOND
    verify: bool | str = True
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def file_access(self) -> FileAccess:
        """The part of it that holds for the servers of media and videos."""
        return FileAccess(self.verify, self.proxies, self.connect_timeout)

    @classmethod
    def from_connection(cls, connection: "Connection") -> "ConnectionSettings":
        """Read and check an Airflow connection.

        :raises InvalidConnectionError: naming the connection, its field, the value and the cure.
        """
        try:
            return cls._read(connection)
        except _FieldError as error:
            said = f"Connection {connection.conn_id!r}: {error}"
            key = (connection.password or "").strip()  # it may have been pasted into the wrong field, too
            raise InvalidConnectionError(masked(said, key)) from None

    @classmethod
    def _read(cls, connection: "Connection") -> "ConnectionSettings":
        extra = _extra(connection.extra)
        return cls(
            api_key=_api_key(connection.password),
            base_url=_base_url(connection.host, connection.schema, connection.port),
            model=_model(extra.get("model")),
            connect_timeout=_positive(extra, "connect_timeout", CONNECT_TIMEOUT),
            submit_timeout=_positive(extra, "submit_timeout", SUBMIT_TIMEOUT),
            query_timeout=_positive(extra, "query_timeout", QUERY_TIMEOUT),
            max_queries_per_second=_positive(extra, "max_queries_per_second", DEFAULT_QUERIES_PER_SECOND),
            verify=_verify(extra.get("verify")),
            proxies=_proxies(extra.get("proxies")),
        )


class _FieldError(ValueError):
    """One field of the connection cannot be used."""


def _extra(text: str | None) -> Mapping[str, Any]:
    if not text or not text.strip():
        return {}
    try:
        extra = json.loads(text)
    except ValueError:
        raise _FieldError("the field extra is not JSON; write an object such as {}.") from None
    if not isinstance(extra, dict):
        raise _FieldError("the field extra is not a JSON object; write an object such as {}.")
    return extra


def _api_key(password: str | None) -> str:
    key = (password or "").strip()
    if not key:
        raise _FieldError("the field API key (password) is empty; put the key of your DigitalHuman account there.")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise _FieldError(
            "the field API key (password) holds a space, a control character or one outside ASCII; paste the bare key,"
            " without 'Bearer'."
        )
    return key


def _base_url(host: str | None, schema: str | None, port: int | None) -> str:
    if not host or not host.strip():
        if schema or port:
            raise _FieldError("the fields schema and port need a host; fill the field Base URL (host), or clear them.")
        return DEFAULT_BASE_URL
    text = _bracketed(host.strip())
    scheme, path = _schema(schema)
    parts = _split(text if "://" in text else f"{scheme or 'https'}://{text}")
    if parts.port and port and parts.port != port:
        raise _FieldError(
            f"the Base URL (host) names port {parts.port} and the field port says {port}; keep one of them."
        )
    if scheme and scheme != parts.scheme:
        raise _FieldError(
            f"the Base URL (host) says {parts.scheme} and the field schema says {scheme}; keep one of them."
        )
    number = parts.port or port
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    own_path = parts.path.rstrip("/")
    if own_path and path and own_path != path:
        raise _FieldError(
            f"the Base URL (host) has the path {own_path} and the field schema says {path}; keep one of them."
        )
    return f"{parts.scheme}://{name}{f':{number}' if number else ''}{own_path or path}"


def _bracketed(host: str) -> str:
    """Put an IPv6 address into brackets: Airflow takes them off a connection's URI."""
    try:
        return f"[{IPv6Address(host)}]"
    except ValueError:
        return host


def _schema(schema: str | None) -> tuple[str | None, str]:
    """In Airflow's URI form ``schema`` is the path: it holds a scheme by the HTTP provider's custom, or a path."""
    text = (schema or "").strip()
    if text.lower() in ("http", "https"):
        return text.lower(), ""
    if not _is_plain(text) or any(mark in text for mark in "?#@"):
        raise _FieldError(f"schema={text!r} is neither http nor https nor a path; clear it.")
    return None, f"/{text.strip('/')}" if text.strip("/") else ""


def _split(url: str) -> SplitResult:
    shown = redact_url(url)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:  # not its text: it can hold a password
        raise _FieldError(
            f"the Base URL (host) {shown!r} is not a URL; write for example {DEFAULT_BASE_URL}."
        ) from None
    if parts.scheme not in ("http", "https") or not host or not _is_plain(url):
        raise _FieldError(f"the Base URL (host) {shown!r} is not an http(s) URL; write for example {DEFAULT_BASE_URL}.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise _FieldError(
            f"the Base URL (host) {shown!r} must not hold a user, password, query or fragment;"
            " the key has its own field, API key (password)."
        )
    return parts


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _model(value: Any) -> str:
    if value is None or value == "":
        return DEFAULT_MODEL
    if not isinstance(value, str) or not value.strip():
        raise _FieldError(f"extra.model={value!r} is not a model name; clear it to use {DEFAULT_MODEL!r}.")
    return value.strip()


def _positive(extra: Mapping[str, Any], name: str, default: float) -> float:
    value = extra.get(name)
    if value is None or value == "":
        return default
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 < number <= _LARGEST_NUMBER:  # not a number compares as False
        raise _FieldError(
            f"extra.{name}={value!r} is not a positive number up to {_LARGEST_NUMBER:g}; clear it to use {default:g}."
        )
    return number


def _verify(value: Any) -> bool | str:
    if value is None or value == "":
        return True
    if isinstance(value, bool):
        return value
    word = str(value).strip()
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    if not Path(word).exists():
        raise _FieldError(f"extra.verify={value!r} is neither true, false nor a CA file that exists on this machine.")
    return word


def _proxies(value: Any) -> Mapping[str, str]:
    cure = 'write one URL, or an object such as {"https": "http://proxy.example.com:3128"}'
    if isinstance(value, str) and value.strip().startswith("{"):
        try:
            value = json.loads(value)
        except ValueError:
            raise _FieldError(f"extra.proxies is not JSON; {cure}.") from None
    if not value:
        return {}
    if isinstance(value, str):
        value = dict.fromkeys(("http", "https"), value.strip()) if value.strip() else {}
    if not isinstance(value, dict) or not all(map(_is_proxy, value.values())):
        raise _FieldError(f"extra.proxies is not a proxy URL by scheme; {cure}.")
    return value


def _is_proxy(url: Any) -> bool:
    try:
        parts = split_proxy(url)
        return parts.scheme in PROXY_SCHEMES and bool(parts.hostname) and _is_plain(url)
    except (TypeError, ValueError, AttributeError):
        return False
