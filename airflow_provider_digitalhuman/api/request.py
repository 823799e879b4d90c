"""One video as the user asked for it: checked here, before anything is sent, and turned into the JSON body."""

import ipaddress
import re
import socket
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from airflow_provider_digitalhuman.api.endpoints import DEFAULT_MODEL, RECOMMENDED_MODEL_VERSION
from airflow_provider_digitalhuman.api.redact import EXCERPT_LENGTH, excerpt, redact_url
from airflow_provider_digitalhuman.exceptions import InvalidRequestError

AUDIO_EXTENSIONS: Final = ("mp4", "mp3", "wav", "m4a", "aac", "aar")
"""The vendor lists ``aar``; very likely a slip for ``aac``, which a sibling page lists. Both are let through."""

_EXTENSION: Final = re.compile(r"\.(?=[0-9]*[A-Za-z])([0-9A-Za-z]{2,5})$")
_PRIVATE_SUFFIXES: Final = (
    *(".localhost", ".localdomain", ".local", ".internal", ".home.arpa"),
    *(".intranet", ".private", ".corp", ".home", ".lan"),  # RFC 6762, appendix G: not in the public DNS
)
_SITE_LOCAL: Final = ipaddress.IPv6Network("fec0::/10")
_CARRY_IPV4: Final = (ipaddress.IPv6Network("::/96"), ipaddress.IPv6Network("64:ff9b::/96"))
"""Networks whose addresses end with the IPv4 address that is meant."""
_SWITCH_WORDS: Final[Mapping[str, bool]] = {"1": True, "true": True, "0": False, "false": False}


class VideoRequest:
    """The parameters of ``POST /v1/digitalHuman/videos``, checked when the object is made.

    :param audio_url: network URL of the speech (``audioUrl``).
    :param video_url: network URL of the clip of the person (``videoUrl``).
    :param model: model name; the vendor documents ``kyy_digitalHuman``.
    :param model_version: 1 (clearer teeth, better for close-ups), 2 (better lip-sync match and faster
        articulation, what the vendor recommends), or None to leave the choice to the API (``modelVersion``).
    :param side_face: on if the face is turned very far to the side; off is left out (``sideFace``).
    :param tilted_face: on if the head is tilted and the mouth slanted; off is left out (``tiltedFace``).
    :raises InvalidRequestError: naming the field, the value (without query string) and the cure.

    Numbers and switches may be the strings that a template renders to (``"2"``, ``"True"``, ``"1"``).
    Source: the vendor's page ``digital-human-create``.
    """

    def __init__(
        self,
        audio_url: str,
        video_url: str,
        model: str = DEFAULT_MODEL,
        model_version: int | str | None = RECOMMENDED_MODEL_VERSION,
        side_face: bool | int | str | None = None,
        tilted_face: bool | int | str | None = None,
    ) -> None:
        self.audio_url = check_audio_url("audio_url", audio_url)
        self.video_url = check_url("video_url", video_url)
        self.model = check_model("model", model)
        self.model_version = check_model_version("model_version", model_version)
        self.side_face = check_switch("side_face", side_face)
        self.tilted_face = check_switch("tilted_face", tilted_face)

    def body(self) -> dict[str, str | int]:
        """Return the JSON body; parameters that are off or None are left out."""
        body: dict[str, str | int] = {"model": self.model, "audioUrl": self.audio_url, "videoUrl": self.video_url}
        if self.model_version is not None:
            body["modelVersion"] = self.model_version
        if self.side_face:
            body["sideFace"] = 1
        if self.tilted_face:
            body["tiltedFace"] = 1
        return body

    def check_reachable_from(self, base_url: str) -> None:
        """Refuse media that only this network can reach, unless the API itself is in this network.

        :raises InvalidRequestError: for a loopback or private host while ``base_url`` is public.
        """
        if is_private_host(urlsplit(base_url).hostname or ""):
            return
        for field in ("audio_url", "video_url"):
            url = getattr(self, field)
            if is_private_host(urlsplit(url).hostname or ""):
                raise _invalid(field, url, "the API cannot reach a loopback or private host; use a public URL")


def is_private_host(host: str) -> bool:
    """Tell whether ``host`` is a loopback, private or otherwise not public name or address; looks nothing up."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(_PRIVATE_SUFFIXES):
        return True
    try:
        address = _address(name)
        return not address.is_global or address in _SITE_LOCAL
    except (ValueError, OSError):
        return "." not in name  # a name of one label is known to a local resolver only


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if ":" in name:
        address = ipaddress.IPv6Address(name.partition("%")[0])
        if any(address in network for network in _CARRY_IPV4):
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    # inet_aton knows the short and numeric spellings that HTTP clients know too: 127.1, 0x7f000001
    return ipaddress.IPv4Address(socket.inet_aton(name))


def check_url(field: str, value: Any) -> str:
    """Return ``value`` if it is a URL that the API may be given.

    :raises InvalidRequestError: else.
    """
    if not isinstance(value, str) or not value:
        raise _invalid(field, value, "give the http(s) URL of a file on the network")
    parts = _split(field, value)
    if " " in value or not value.isprintable():  # of all white space, only " " is taken for printable
        raise _invalid(field, value, "it contains whitespace or a control character; strip it, or write a space as %20")
    _check_ascii(field, value, parts)
    return value


def check_audio_url(field: str, value: Any) -> str:
    """Like :func:`check_url`; the file extension, where there is one, must be an audio format of the vendor's list."""
    url = check_url(field, value)
    extension = _EXTENSION.search(unquote(urlsplit(url).path))
    if extension and extension.group(1).lower() not in AUDIO_EXTENSIONS:
        raise _invalid(field, url, f"the API takes audio as {', '.join(AUDIO_EXTENSIONS)}; convert the file")
    return url


def check_model(field: str, value: Any) -> str:
    """Return the model name if it is a non-empty string.

    :raises InvalidRequestError: else.
    """
    if not isinstance(value, str) or value.strip() in ("", "None"):  # "None": what a template renders None to
        raise _invalid(field, value, f"give a model name such as {DEFAULT_MODEL!r}, or leave it out")
    return value.strip()


def check_model_version(field: str, value: Any) -> int | None:
    """Return 1, 2 or None.

    :raises InvalidRequestError: for anything else.
    """
    if value is None:
        return None
    if isinstance(value, int | str) and str(value) in ("1", "2"):  # str(True) is not "1"
        return int(value)
    raise _invalid(field, value, "use 1, 2, or None to leave it out")


def check_switch(field: str, value: Any) -> bool | None:
    """Return True, False, or None for a switch given as bool, 0/1 or the strings of those.

    :raises InvalidRequestError: for anything else.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | str) and str(value).lower() in _SWITCH_WORDS:
        return _SWITCH_WORDS[str(value).lower()]
    raise _invalid(field, value, "use True or False (or 1, 0), or leave it out")


CHECKS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "audio_url": check_audio_url,
    "video_url": check_url,
    "model": check_model,
    "model_version": check_model_version,
    "side_face": check_switch,
    "tilted_face": check_switch,
}
"""The check of each parameter, also used to refuse a bad literal when the DAG file is parsed."""


def _split(field: str, value: str) -> SplitResult:
    try:
        parts = urlsplit(value.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:  # not its text: it can hold the password
        raise _invalid(field, value, "its host or port is malformed; give an http(s) URL") from None
    if parts.scheme.lower() not in ("http", "https"):
        raise _invalid(
            field, value, "the API fetches over the network: upload the file and give its http:// or https:// URL"
        )
    if not host:
        raise _invalid(field, value, "it names no host; write https://host/path")
    return parts


def _check_ascii(field: str, value: str, parts: SplitResult) -> None:
    if value.isascii():
        return
    foreign = next(character for character in value if not character.isascii())
    cure = f"use {_percent_encoded(parts)!r}"
    if not parts.query.isascii():  # not shown: it can hold a signature
        cure += ", its query string percent-encoded too"
    raise _invalid(field, value, f"the character {foreign!r} is not ASCII, which the API does not take; {cure}")


def _percent_encoded(parts: SplitResult) -> str:
    host = parts.netloc.rpartition("@")[2]
    try:
        host = host.encode("idna").decode("ascii")
    except UnicodeError:
        host = quote(host, safe=":[]")
    path = quote(parts.path, safe="/%:@!$&'()*+,;=~-._")
    return redact_url(urlunsplit((parts.scheme, host, path, parts.query and "…", "")))


def _invalid(field: str, value: Any, cure: str) -> InvalidRequestError:
    # A text is shown as it is, spaces too: they may be what is wrong with it.
    shown = repr(redact_url(value)[:EXCERPT_LENGTH]) if isinstance(value, str) else excerpt(repr(value))
    return InvalidRequestError(f"{field}={shown} cannot be used: {cure}.")
