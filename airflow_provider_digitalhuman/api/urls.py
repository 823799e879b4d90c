"""Addresses: what is a URL on the web, and whose host only this network can reach."""

import ipaddress
import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

_PRIVATE_SUFFIXES: Final = (
    *(".localhost", ".localdomain", ".local", ".internal", ".home.arpa"),
    *(".intranet", ".private", ".corp", ".home", ".lan"),  # RFC 6762, appendix G: not in the public DNS
)
_SITE_LOCAL: Final = ipaddress.IPv6Network("fec0::/10")
_CARRY_IPV4: Final = (ipaddress.IPv6Network("::/96"), ipaddress.IPv6Network("64:ff9b::/96"))
"""Networks whose addresses end with the IPv4 address that is meant."""


def web_url(text: str) -> SplitResult | None:
    """Return the parts of an http(s) URL that names a host; None for anything else."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    return parts if parts.scheme in ("http", "https") and host else None


def is_private_host(host: str) -> bool:
    """Return whether ``host`` is a loopback, private or otherwise not public name or address, without a DNS look-up."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(_PRIVATE_SUFFIXES):
        return True
    try:
        address = _address(name)
        return not address.is_global or address in _SITE_LOCAL
    except ValueError:
        return "." not in name  # a name of one label is known to a local resolver only


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if ":" in name:
        address = ipaddress.IPv6Address(name.partition("%")[0])
        if any(address in network for network in _CARRY_IPV4):
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return _ipv4(name)


def _ipv4(name: str) -> ipaddress.IPv4Address:
    """Read an IPv4 address, also in the short and numeric spellings that HTTP clients know: 127.1, 0x7f000001.

    :raises ValueError: if it is none.
    """
    *first, last = map(_number, name.split("."))
    if len(first) > 3 or any(number > 255 for number in first) or last >= 256 ** (4 - len(first)):
        raise ValueError(f"{name!r} is no address")
    return ipaddress.IPv4Address(last + sum(number << 8 * (3 - place) for place, number in enumerate(first)))


def _number(text: str) -> int:
    if re.fullmatch("0x[0-9a-f]+", text):
        return int(text, 16)
    if re.fullmatch("[0-9]+", text):
        return int(text, 8 if text.startswith("0") else 10)
    raise ValueError(f"{text!r} is no number")
