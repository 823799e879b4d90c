"""How the API is reached: proxy and TLS, worked out once for a connection, for the worker and the triggerer alike."""

import os
import ssl
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies

from airflow_provider_digitalhuman import __version__
from airflow_provider_digitalhuman.exceptions import InvalidConnectionError

if TYPE_CHECKING:
    from airflow_provider_digitalhuman.connection.settings import ConnectionSettings

USER_AGENT: Final = f"airflow-provider-digitalhuman/{__version__}"
PROXY_SCHEMES: Final = ("http", "https", "socks5", "socks5h")
CA_VARIABLES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
"""Variables of the environment that name the CA file; the first one that is set is taken. The first two are those of
``requests``, the last one is OpenSSL's."""


class Route(NamedTuple):
    """The way to the API, with files read and names of the environment looked up.

    :param tls: None for plain HTTP.
    :param proxy: None for a direct connection.
    :param proxy_tls: for a proxy that is itself spoken to by TLS.
    """

    target: SplitResult
    tls: ssl.SSLContext | None
    proxy: SplitResult | None
    proxy_tls: ssl.SSLContext | None

    def __repr__(self) -> str:
        return f"Route({self.target.geturl()!r})"  # a proxy's address can hold a password

    @classmethod
    def of(cls, settings: "ConnectionSettings") -> Self:
        """Return the route to the API, see :meth:`to`."""
        return cls.to(settings.base_url, settings.verify, settings.proxies)

    @classmethod
    def to(cls, url: str, verify: bool | str, proxies: Mapping[str, str]) -> Self:
        """Take the route that ``requests`` would take: same proxies, same environment, same CA files.

        :raises InvalidConnectionError: for a kind of proxy that is not spoken here, or a CA file that cannot be read.
        """
        target, proxy = urlsplit(url), _proxy(url, proxies)
        secured = "https" in (target.scheme, proxy and proxy.scheme)
        context = tls_context(verify) if secured else None
        return cls(
            target=target,
            tls=context if target.scheme == "https" else None,
            proxy=proxy,
            proxy_tls=context if proxy and proxy.scheme == "https" else None,
        )

    @property
    def host(self) -> str:
        """The ``Host`` header: of an IPv6 address with its brackets, of a port only one that was named."""
        return self.target.netloc  # settings allow no user in it

    @property
    def by_socks(self) -> bool:
        """Whether the proxy is one that speaks SOCKS."""
        return self.proxy is not None and self.proxy.scheme.startswith("socks")

    @property
    def is_forwarded(self) -> bool:
        """Whether a proxy reads the request itself, so that the whole URL goes into its request line."""
        return self.proxy is not None and not self.by_socks and self.target.scheme == "http"

    def check_for_triggerer(self) -> None:
        """Refuse what only a worker speaks.

        :raises InvalidConnectionError: for a SOCKS proxy.
        """
        if self.by_socks:
            raise InvalidConnectionError(
                "A SOCKS proxy cannot be used by the triggerer; give one with http:// or https://, or wait with"
                " deferrable=False."
            )

    def proxy_login(self) -> tuple[str, str] | None:
        """Return the proxy's user and password; None if it asks for none."""
        if self.proxy is None or not self.proxy.username:
            return None
        return unquote(self.proxy.username), unquote(self.proxy.password or "")


def _proxy(url: str, proxies: Mapping[str, str]) -> SplitResult | None:
    if not proxies and not getproxies().keys() - {"no"}:
        return None  # most tasks: they need not import what follows
    import requests

    with requests.Session() as session:
        merged = session.merge_environment_settings(url, dict(proxies), False, None, None)
    address = requests.utils.select_proxy(url, merged["proxies"])
    if not address:
        return None
    try:
        proxy = split_proxy(address if "://" in address else f"http://{address}")
    except ValueError:  # not its text: it can hold a part of the password
        raise InvalidConnectionError(
            "The address of the proxy (extra.proxies, or the environment's HTTPS_PROXY, HTTP_PROXY, ALL_PROXY) is not a"
            " URL; write http://user:password@host:port, and percent-encode what is special in user and password"
            " (# is %23, / is %2F, @ is %40)."
        ) from None
    if proxy.scheme not in PROXY_SCHEMES or not proxy.hostname:
        raise InvalidConnectionError(
            f"A proxy of scheme {proxy.scheme!r} cannot be used; give one of {', '.join(PROXY_SCHEMES)}."
        )
    return proxy


def split_proxy(address: str) -> SplitResult:
    """Return the parts of a proxy's address.

    :raises ValueError: if it is no URL, as with a bare ``#`` or ``/`` in its password.
    """
    parts = urlsplit(address)
    if parts.port == 0 or "@" in parts.path + parts.query + parts.fragment:
        raise ValueError("no host and port can be told")
    return parts


def tls_context(verify: bool | str) -> ssl.SSLContext:
    """Return what a connection trusts.

    :param verify: the connection's: a CA file or folder, True for the one of the environment, False for anybody.
    :raises InvalidConnectionError: for a CA file that cannot be read.
    """
    if verify is False:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    name, path = _trusted() if verify is True else ("extra.verify", verify)
    try:
        if Path(path).is_dir():
            return ssl.create_default_context(capath=path)
        found = os.stat(path)
        return _trusting(path, (found.st_ino, found.st_mtime_ns, found.st_size))
    except OSError as error:
        raise InvalidConnectionError(f"{name}={path!r} cannot be read as a CA file: {error}.") from error


@lru_cache(maxsize=4)
def _trusting(path: str, version: tuple[int, ...]) -> ssl.SSLContext:
    """Read a CA file, which takes 20 ms, once for all forks of a process, as long as it is the same.

    A context may be shared: nobody changes it after this but ``urllib3``, which sets the same ALPN each time.
    """
    return ssl.create_default_context(cafile=path)


def _trusted() -> tuple[str, str]:
    """Return who names the CA file that is trusted, and the file."""
    for name in CA_VARIABLES:
        if path := os.environ.get(name):
            return name, path
    import certifi

    return "certifi", certifi.where()
