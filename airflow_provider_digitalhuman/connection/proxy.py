"""The proxy of a connection: as its extra names it, or the environment."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies

from airflow_provider_digitalhuman.exceptions import InvalidConnectionError

PROXY_SCHEMES: Final = ("http", "https", "socks5", "socks5h")


def proxy_for(url: str, proxies: Mapping[str, str]) -> SplitResult | None:
    """Return the proxy that ``requests`` would take for ``url``; None for a direct connection.

    :param proxies: scheme -> address, as the connection's extra names them; empty for those of the environment.
    :raises InvalidConnectionError: for an address that is no URL, or a scheme that is not supported.
    """
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
        raise ValueError("host and port cannot be read")
    return parts
