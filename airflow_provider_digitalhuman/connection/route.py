"""How the API is reached: proxy and TLS, worked out once for a connection, for the worker and the triggerer alike."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import SplitResult, unquote, urlsplit

from airflow_provider_digitalhuman import __version__
from airflow_provider_digitalhuman.connection.proxy import proxy_for
from airflow_provider_digitalhuman.connection.settings import ConnectionSettings
from airflow_provider_digitalhuman.connection.tls import tls_context
from airflow_provider_digitalhuman.exceptions import InvalidConnectionError

USER_AGENT: Final = f"airflow-provider-digitalhuman/{__version__}"


@dataclass(frozen=True, slots=True)
class Route:
    """The way to the API, with files read and names of the environment looked up.

    :param tls: None for plain HTTP.
    :param proxy: None for a direct connection.
    :param proxy_tls: for a proxy that is itself reached by TLS.
    """

    target: SplitResult
    tls: ssl.SSLContext | None
    proxy: SplitResult | None = field(repr=False)  # its address can hold a password
    proxy_tls: ssl.SSLContext | None

    @classmethod
    def of(cls, settings: ConnectionSettings) -> Self:
        """Return the route to the API, see :meth:`to`."""
        return cls.to(settings.base_url, settings.verify, settings.proxies)

    @classmethod
    def to(cls, url: str, verify: bool | str, proxies: Mapping[str, str]) -> Self:
        """Take the route that ``requests`` would take: same proxies, same environment, same CA files.

        :raises InvalidConnectionError: for a kind of proxy that is not supported, or a CA file that cannot be read.
        """
        target, proxy = urlsplit(url), proxy_for(url, proxies)
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
        """Refuse what only a worker supports.

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
