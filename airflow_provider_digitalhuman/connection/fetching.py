"""HTTP for files that lie on other people's servers: never with the key, never to a place that was not meant."""

import socket
import ssl
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError

from airflow_provider_digitalhuman.api.redact import excerpt, redact_url
from airflow_provider_digitalhuman.api.urls import is_private_host, web_url
from airflow_provider_digitalhuman.connection.adapter import NETWORK_ERRORS, Adapter, cause, describe, pieces
from airflow_provider_digitalhuman.connection.monitor import Monitor
from airflow_provider_digitalhuman.connection.route import USER_AGENT, Route
from airflow_provider_digitalhuman.connection.settings import FileAccess
from airflow_provider_digitalhuman.connection.tls import UNTRUSTED
from airflow_provider_digitalhuman.exceptions import DownloadRefusedError, InvalidConnectionError
from airflow_provider_digitalhuman.support.compat import mask_secret

__all__ = [
    "NETWORK_ERRORS",
    "FetchError",
    "FileSession",
    "describe",
    "is_html",
    "pieces",
    "reaches_private_network",
]

MAX_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_HTML_TYPES: Final = ("text/html", "application/xhtml+xml")
_HTML_STARTS: Final = (b"<!doctype html", b"<html")
_LEAST_SECRET: Final = 8


class FetchError(Exception):
    """No usable answer came; the text holds no signed URL.

    :param fresh_url: True where the URL itself was refused, so that another one is needed.
    :param retry_after: the server's ``Retry-After`` header.
    """

    def __init__(self, reason: str, *, fresh_url: bool = False, retry_after: str | None = None) -> None:
        super().__init__(reason)
        self.fresh_url = fresh_url
        self.retry_after = retry_after


class FileSession:
    """GETs of files: no key, no cookies, no ``.netrc``, http and https only, redirects followed by hand.

    :param access: the way to the servers.
    :param allow_private_hosts: whether loopback and private hosts may be reached; checked for the URL, for each
        redirect, and for the address that a connection really has (not behind a proxy, which alone knows it).
    :param read_timeout: seconds for the head of an answer, and then for each of its reads.
    :param answer_timeout: seconds for an answer as a whole; None where its length is the file's.
    """

    def __init__(
        self,
        access: FileAccess,
        *,
        allow_private_hosts: bool,
        read_timeout: float,
        answer_timeout: float | None = None,
    ) -> None:
        self._access = access
        self._allow_private_hosts = allow_private_hosts
        self._read_timeout = read_timeout
        self._answer_timeout = answer_timeout
        self._adapter = Adapter(None if allow_private_hosts else _refuse_private)

    def __enter__(self) -> "FileSession":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._adapter.close()

    def open(self, url: str, headers: Mapping[str, str] | None = None) -> requests.Response:
        """GET ``url``, its redirects too, up to the head of the final answer; the caller closes the response.

        :raises DownloadRefusedError: for an address that must not be asked.
        :raises FetchError: where no answer came, or one that redirects without end.
        """
        for _ in range(MAX_REDIRECTS + 1):
            self._check(url)
            response = self._get(url, headers or {})
            if response.status_code not in _REDIRECTS:
                return response
            with response:
                url = _joined(url, response.headers.get("Location", ""))
        raise FetchError(f"more than {MAX_REDIRECTS} redirects, the last one to {redact_url(url)}", fresh_url=True)

    def _get(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        access = self._access
        monitor = _FileMonitor(access.connect_timeout, self._read_timeout, self._answer_timeout)
        # Identity: the MD5 is that of the file, and a broken transfer can go on at the byte where it broke off.
        own = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}
        try:
            response = self._adapter.exchange(
                "GET",
                url,
                own | dict(headers),
                route=Route.to(url, access.verify, access.proxies),
                monitor=monitor,
                timeout=(access.connect_timeout, self._read_timeout),
            )
        except InvalidConnectionError as error:
            raise FetchError(str(error)) from None
        except (*NETWORK_ERRORS, ValueError) as error:  # ValueError: the URL, or the one it redirects to, is none
            if isinstance(root := cause(error), _PrivateAddressError):
                raise DownloadRefusedError(_private(root.address)) from None
            why = f"{redact_url(url)} could not be fetched: {describe(error)}"
            if isinstance(root, ssl.SSLError):
                why += f". {UNTRUSTED.removesuffix('.')}"
            raise FetchError(why, fresh_url=isinstance(error, ValueError)) from None
        monitor.head_is_there()
        return response

    def _check(self, url: str) -> None:
        parts = web_url(url)
        if parts is None:
            raise DownloadRefusedError(f"Only http and https URLs are fetched, not {excerpt(redact_url(url))!r}.")
        host = parts.hostname or ""
        if not self._allow_private_hosts and is_private_host(host):
            raise DownloadRefusedError(_private(host))
        _mask(parts.query)


def _joined(url: str, target: str) -> str:
    try:
        if target:  # http.client reads headers as Latin-1, servers write UTF-8
            return urljoin(url, target.encode("latin-1").decode("utf-8"))
    except ValueError:
        pass
    raise FetchError(f"{redact_url(url)} redirects to nowhere", fresh_url=True)


def reaches_private_network(url: str) -> bool:
    """Return whether the host of ``url`` is loopback or private, by its name or by what it resolves to here."""
    host = urlsplit(url).hostname or ""
    if is_private_host(host):
        return True
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return any(is_private_host(str(address[0])) for *_, address in found)


def is_html(response: requests.Response, start: bytes) -> bool:
    """Return whether an answer is an HTML page, by its first bytes, or a content type that they do not contradict."""
    text = _text_start(start)
    return text.startswith(_HTML_STARTS) or (_kind(response) in _HTML_TYPES and text[:1] in (b"", b"<"))


def _kind(response: requests.Response) -> str:
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _text_start(start: bytes) -> bytes:
    return start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()


def _private(host: str) -> str:
    return (
        f"The download leads to the loopback or private address {host}, and the API itself is not there:"
        " it is not fetched."
    )


def _mask(query: str) -> None:
    """Have Airflow mask a signature wherever it is logged, also by other libraries at level DEBUG."""
    if len(query) >= _LEAST_SECRET:
        mask_secret(query)


class _PrivateAddressError(HTTPError):
    def __init__(self, address: str) -> None:
        super().__init__("private address")
        self.address = address


def _refuse_private(address: str) -> None:
    if is_private_host(address):
        raise _PrivateAddressError(address)


class _FileMonitor(Monitor):
    """Sets the time limits of one answer."""

    refuses_malformed_head = False  # a file whose framing is lost needs an MD5 to be taken

    def __init__(self, connect_timeout: float, read_timeout: float, answer_timeout: float | None) -> None:
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._answer_timeout = answer_timeout
        self._left_at: float | None = None
        self._has_head = False

    def leaving(self) -> None:
        self._left_at = time.monotonic()

    def head_is_there(self) -> None:
        self._has_head = True

    def time_left(self) -> float:
        if self._left_at is None:
            return self._connect_timeout
        passed = time.monotonic() - self._left_at
        left = self._read_timeout if self._has_head else self._read_timeout - passed
        return left if self._answer_timeout is None else min(left, self._answer_timeout - passed)

    def time_is_up(self) -> None:
        raise TimeoutError("the server is too slow")
