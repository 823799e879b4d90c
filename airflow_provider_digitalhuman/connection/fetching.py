"""HTTP for files that lie on other people's servers: never with the key, never to a place that was not meant."""

import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from airflow_provider_digitalhuman import __version__
from airflow_provider_digitalhuman.api.redact import excerpt, redact_url
from airflow_provider_digitalhuman.api.urls import is_private_host, web_url
from airflow_provider_digitalhuman.exceptions import DownloadRefusedError
from airflow_provider_digitalhuman.support.compat import mask_secret

if TYPE_CHECKING:
    _ConnectionBase = HTTPConnection
else:
    _ConnectionBase = object

USER_AGENT: Final = f"airflow-provider-digitalhuman/{__version__}"
MAX_REDIRECTS: Final = 5
NETWORK_ERRORS: Final = (requests.RequestException, HTTPError, OSError)
"""What reading an answer can raise. The texts of the first two may hold the whole URL: see :func:`describe`."""

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_HTML_TYPES: Final = ("text/html", "application/xhtml+xml")
_HTML_STARTS: Final = (b"<!doctype html", b"<html")
_MESSAGE_TYPES: Final = ("application/json", "application/xml", "text/xml")
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
    """A ``requests.Session`` for files: no key, no ``.netrc``, http and https only, redirects followed by hand.

    :param allow_private_hosts: whether loopback and private hosts may be reached; checked for the URL, for each
        redirect, and for the address that a connection really has (not behind a proxy, which alone knows it).
    :param verify: True, False, or the path of a CA file.
    :param proxies: proxy URL by scheme.
    :param connect_timeout: seconds to reach a server.
    :param read_timeout: seconds without a byte.
    """

    def __init__(
        self,
        *,
        allow_private_hosts: bool,
        verify: bool | str = True,
        proxies: Mapping[str, str] | None = None,
        connect_timeout: float,
        read_timeout: float,
    ) -> None:
        self._allow_private_hosts = allow_private_hosts
        self._verify = verify
        self._proxies = dict(proxies or {})
        self._timeout = (connect_timeout, read_timeout)
        self._session = requests.Session()
        # Identity: the MD5 is that of the file, and a broken transfer can go on at the byte where it broke off.
        self._session.headers.update({"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"})
        self._session.auth = _NoAuth()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _CheckingAdapter(allow_private_hosts))

    def __enter__(self) -> "FileSession":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._session.close()

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
                target = self._session.get_redirect_target(response)
            url = _joined(url, target)
        raise FetchError(f"more than {MAX_REDIRECTS} redirects, the last one to {redact_url(url)}", fresh_url=True)

    def _get(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        try:
            return self._session.get(
                url,
                headers=dict(headers),
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
                verify=self._verify,
                proxies=dict(self._proxies),
            )
        except (*NETWORK_ERRORS, ValueError) as error:  # ValueError: the URL, or the one it redirects to, is none
            if refusal := _refusal_in(error):
                raise DownloadRefusedError(_private(refusal)) from None
            why = f"{redact_url(url)} could not be fetched: {describe(error)}"
            raise FetchError(why, fresh_url=isinstance(error, ValueError)) from None

    def _check(self, url: str) -> None:
        parts = web_url(url)
        if parts is None:
            raise DownloadRefusedError(f"Only http and https URLs are fetched, not {excerpt(redact_url(url))!r}.")
        host = parts.hostname or ""
        if not self._allow_private_hosts and is_private_host(host):
            raise DownloadRefusedError(_private(host))
        _mask(parts.query)


def _joined(url: str, target: str | None) -> str:
    try:
        if target:
            return urljoin(url, target)
    except ValueError:
        pass
    raise FetchError(f"{redact_url(url)} redirects to nowhere", fresh_url=True)


def reaches_private_network(url: str) -> bool:
    """Tell whether the host of ``url`` is loopback or private, by its name or by what it resolves to here."""
    host = urlsplit(url).hostname or ""
    if is_private_host(host):
        return True
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return any(is_private_host(str(address[0])) for *_, address in found)


def describe(error: BaseException) -> str:
    """Return an error of the network for a message; without URLs, which ``requests`` puts into its texts."""
    root: Any = error
    while isinstance(inner := _inner(root), BaseException):
        root = inner
    words = "" if isinstance(root, requests.RequestException) else excerpt(str(root))
    # urllib3 writes "… with url: /path?signature"; what comes after that mark is not shown.
    words = words.partition(" with url:")[0]
    return f"{type(root).__name__}: {words}" if words else type(root).__name__


def is_html(response: requests.Response, start: bytes) -> bool:
    """Tell whether an answer is an HTML page, by its first bytes, or its content type where those do not deny it."""
    text = _text_start(start)
    return text.startswith(_HTML_STARTS) or (_kind(response) in _HTML_TYPES and text[:1] in (b"", b"<"))


def is_page(response: requests.Response, start: bytes) -> bool:
    """Tell whether an answer is a page or a message in place of a video."""
    return is_html(response, start) or _kind(response) in _MESSAGE_TYPES or _text_start(start).startswith(b"<?xml")


def _kind(response: requests.Response) -> str:
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _text_start(start: bytes) -> bytes:
    return start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()


def _inner(error: Any) -> Any:
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return reason
    if isinstance(error, requests.RequestException | HTTPError) and error.args:
        return next((part for part in error.args if isinstance(part, BaseException)), None)
    return None


def _refusal_in(error: Any) -> str | None:
    while error is not None and not isinstance(error, _PrivateAddressError):
        error = _inner(error)
    return error.address if error is not None else None


def _private(host: str) -> str:
    return (
        f"The download leads to the loopback or private address {host}, and the API itself is not there:"
        " it is not fetched."
    )


def _mask(query: str) -> None:
    """Let Airflow star out a signature wherever it is logged, also by other libraries at level DEBUG."""
    if len(query) >= _LEAST_SECRET:
        mask_secret(query)


class _NoAuth(requests.auth.AuthBase):
    """Leaves the request as it is; its presence alone keeps ``requests`` from asking ``.netrc``."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class _PrivateAddressError(HTTPError):
    def __init__(self, address: str) -> None:
        super().__init__("private address")
        self.address = address


class _CheckingAdapter(HTTPAdapter):
    """An adapter (with no retries of its own) that looks at whom it has really reached before it sends a byte."""

    def __init__(self, allow_private_hosts: bool) -> None:
        self._allow_private_hosts = allow_private_hosts
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        if not self._allow_private_hosts:
            self.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}


class _Checking(_ConnectionBase):
    def _new_conn(self) -> socket.socket:
        connection = super()._new_conn()
        address = str(connection.getpeername()[0])
        if is_private_host(address):
            connection.close()
            raise _PrivateAddressError(address)
        return connection


class _CheckedHTTPConnection(_Checking, HTTPConnection):
    pass


class _CheckedHTTPSConnection(_Checking, HTTPSConnection):
    pass


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _CheckedHTTPConnection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _CheckedHTTPSConnection
