"""How the API is reached: proxy and TLS, worked out once for a connection, for the worker and the triggerer alike."""

import os
import ssl
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies

from airflow_provider_digitalhuman.exceptions import InvalidConnectionError

if TYPE_CHECKING:
    from airflow_provider_digitalhuman.connection.settings import ConnectionSettings

PROXY_SCHEMES: Final = ("http", "https", "socks5", "socks5h")


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
        """Take the route that ``requests`` would take: same proxies, same environment, same CA files.

        :raises InvalidConnectionError: for a kind of proxy that is not spoken here, or a CA file that cannot be read.
        """
        target, proxy = urlsplit(settings.base_url), _proxy(settings.base_url, settings.proxies)
        secured = "https" in (target.scheme, proxy and proxy.scheme)
        context = tls_context(settings.verify) if secured else None
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
    proxy = urlsplit(address if "://" in address else f"http://{address}")
    if proxy.scheme not in PROXY_SCHEMES or not proxy.hostname:
        raise InvalidConnectionError(
            f"A proxy of scheme {proxy.scheme!r} cannot be used; give one of {', '.join(PROXY_SCHEMES)}."
        )
    return proxy


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

    A context may be shared: nobody changes it after this but ``httpcore``, which sets the same ALPN each time.
    """
    return ssl.create_default_context(cafile=path)


def _trusted() -> tuple[str, str]:
    """Return who names the CA file that ``requests`` would trust, and the file."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if path := os.environ.get(name):
            return name, path
    import certifi

    return "certifi", certifi.where()
