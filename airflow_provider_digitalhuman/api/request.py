"""One video as the user asked for it: checked here, before anything is sent, and turned into the JSON body.

The fields of :class:`VideoRequest` are the one table of what can be sent. A field's line states its name on the wire,
its check and whether it is the URL of a medium. All else follows from that: the body, the fingerprints, what is
redacted and what is checked before paying, the lineage, what a person is shown.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Final
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from airflow_provider_digitalhuman.api.endpoints import DEFAULT_MODEL, RECOMMENDED_MODEL_VERSION
from airflow_provider_digitalhuman.api.redact import EXCERPT_LENGTH, excerpt, redact_url
from airflow_provider_digitalhuman.api.urls import is_private_host, web_url
from airflow_provider_digitalhuman.exceptions import InvalidRequestError

__all__ = ["VideoRequest"]

AUDIO_EXTENSIONS: Final = ("mp4", "mp3", "wav", "m4a", "aac", "aar")
"""The vendor lists ``aar``; very likely a slip for ``aac``, which a sibling page lists. Both are let through."""
# fmt: off
NO_AUDIO_EXTENSIONS: Final = frozenset({
    "flac", "ogg", "oga", "opus", "wma", "amr", "aif", "aiff", "ape", "ac3", "mid", "midi", "mka",
    "avi", "mov", "mkv", "wmv", "flv", "webm", "mpg", "mpeg", "3gp", "m4v", "ogv", "rmvb", "vob", "m3u8", "mpd",
    "jpg", "jpeg", "png", "gif", "bmp", "webp", "svg", "tif", "tiff", "heic", "ico", "psd",
    "txt", "md", "csv", "srt", "vtt", "lrc", "json", "xml", "pdf", "doc", "docx", "xls", "xlsx", "ppt", "pptx",
    "zip", "rar", "7z", "gz", "tar", "exe", "apk",
})
# fmt: on
"""Types of file that the API does not take as audio. Any other ending may be a script's, or a part of a name."""
_EXTENSION: Final = re.compile(r"\.([0-9A-Za-z]{2,5})$")
_SWITCH_WORDS: Final = {"1": True, "true": True, "0": False, "false": False}
_ROW: Final = "request_field"


@dataclass(frozen=True, slots=True)
class RequestField:
    """What is known of one field of the request.

    :param name: as an argument of the operator and of :class:`VideoRequest`.
    :param wire_name: in the JSON body.
    :param check: returns the value as it is sent, or raises :class:`InvalidRequestError`.
    :param is_media: whether it is the URL of a file that the video is made of.
    """

    name: str
    wire_name: str
    check: Callable[[str, Any], Any]
    is_media: bool


@dataclass(frozen=True, slots=True)
class Medium:
    """A file that the video is made of.

    :param name: of the argument that its URL was given as.
    :param wire_name: of its field in the body.
    :param url: may be signed: a secret.
    """

    name: str
    wire_name: str
    url: str = field(repr=False)


def check_url(name: str, value: Any) -> str:
    """Return ``value`` if it is a URL that the API may be given.

    :raises InvalidRequestError: else.
    """
    if not isinstance(value, str) or not value:
        raise _invalid(name, value, "give the http(s) URL of a file on the network")
    parts = web_url(value.strip())
    if parts is None:
        raise _invalid(name, value, _why_no_web_url(value.strip()))
    if " " in value or not value.isprintable():  # of all white space, only " " is taken for printable
        raise _invalid(name, value, "it contains whitespace or a control character; strip it, or write a space as %20")
    _check_ascii(name, value, parts)
    return value


def check_audio_url(name: str, value: Any) -> str:
    """Like :func:`check_url`; the name of the file must not end as one of a type that the API does not take."""
    url = check_url(name, value)
    extension = _EXTENSION.search(unquote(urlsplit(url).path))
    if extension and extension[1].lower() in NO_AUDIO_EXTENSIONS:
        raise _invalid(name, url, f"the API takes audio as {', '.join(AUDIO_EXTENSIONS)}; convert the file")
    return url


def check_model(name: str, value: Any) -> str:
    """Return the model name if it is a non-empty string.

    :raises InvalidRequestError: else.
    """
    if not isinstance(value, str) or value.strip() in ("", "None"):  # "None": what a template renders None to
        raise _invalid(name, value, f"give a model name such as {DEFAULT_MODEL!r}, or leave it out")
    return value.strip()


def check_model_version(name: str, value: Any) -> int | None:
    """Return 1, 2 or None.

    :raises InvalidRequestError: for anything else.
    """
    if value is None:
        return None
    if isinstance(value, int | str) and str(value) in ("1", "2"):  # str(True) is not "1"
        return int(value)
    raise _invalid(name, value, "use 1, 2, or None to leave it out")


def check_switch(name: str, value: Any) -> bool | None:
    """Return True, False, or None for a switch given as bool, 0/1 or the strings of those.

    :raises InvalidRequestError: for anything else.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | str) and str(value).lower() in _SWITCH_WORDS:
        return _SWITCH_WORDS[str(value).lower()]
    raise _invalid(name, value, "use True or False (or 1, 0), or leave it out")


def row(wire_name: str, check: Callable[[str, Any], Any], *, is_media: bool = False) -> dict[str, Any]:
    """Return the metadata that make a field of :class:`VideoRequest` a row of the table, see :class:`RequestField`."""
    return {_ROW: (wire_name, check, is_media)}


@dataclass(frozen=True, slots=True, repr=False)
class VideoRequest:
    """The parameters of ``POST /v1/digitalHuman/videos``, checked when the object is made.

    :param audio_url: network URL of the speech.
    :param video_url: network URL of the clip of the person.
    :param model: model name; the vendor documents ``kyy_digitalHuman``.
    :param model_version: 1 (clearer teeth, better for close-ups), 2 (better lip-sync match and faster
        articulation, what the vendor recommends), or None to leave the choice to the API.
    :param side_face: on if the face is turned very far to the side; off is left out.
    :param tilted_face: on if the head is tilted and the mouth slanted; off is left out.
    :raises InvalidRequestError: naming the field, the value (without query string) and the cure.

    Numbers and switches may be the strings that a template renders to (``"2"``, ``"True"``, ``"1"``).
    Source: the vendor's page ``digital-human-create``.
    """

    audio_url: str = field(metadata=row("audioUrl", check_audio_url, is_media=True))
    video_url: str = field(metadata=row("videoUrl", check_url, is_media=True))
    model: str = field(default=DEFAULT_MODEL, metadata=row("model", check_model))
    model_version: int | str | None = field(
        default=RECOMMENDED_MODEL_VERSION, metadata=row("modelVersion", check_model_version)
    )
    side_face: bool | int | str | None = field(default=None, metadata=row("sideFace", check_switch))
    tilted_face: bool | int | str | None = field(default=None, metadata=row("tiltedFace", check_switch))

    def __post_init__(self) -> None:
        for row in self.table():
            object.__setattr__(self, row.name, row.check(row.name, getattr(self, row.name)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shown_media()})"

    @classmethod
    def table(cls) -> tuple[RequestField, ...]:
        """Return what is known of each field."""
        return tuple(RequestField(one.name, *one.metadata[_ROW]) for one in fields(cls))

    @property
    def media(self) -> tuple[Medium, ...]:
        """The files that the video is made of."""
        given = ((row, getattr(self, row.name)) for row in self.table() if row.is_media)
        return tuple(Medium(row.name, row.wire_name, url) for row, url in given if url is not None)

    def body(self) -> dict[str, str | int]:
        """Return the JSON body; what is off or None is left out."""
        values = {row.wire_name: getattr(self, row.name) for row in self.table()}
        return {
            name: int(value) if isinstance(value, bool) else value
            for name, value in values.items()
            if value is not None and value is not False
        }

    def shown_media(self) -> str:
        """Return the media for people: each argument and its URL, without what is secret in it."""
        return " ".join(f"{medium.name}={redact_url(medium.url)}" for medium in self.media)

    def check_reachable_from(self, base_url: str) -> None:
        """Refuse media that only this network can reach, unless the API itself is in this network.

        :raises InvalidRequestError: for a loopback or private host while ``base_url`` is public.
        """
        if is_private_host(urlsplit(base_url).hostname or ""):
            return
        for medium in self.media:
            if is_private_host(urlsplit(medium.url).hostname or ""):
                why = "the API cannot reach a loopback or private host; use a public URL"
                raise _invalid(medium.name, medium.url, why)


def _why_no_web_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:  # not its text: it can hold the password
        return "its host or port is malformed; give an http(s) URL"
    if parts.scheme not in ("http", "https"):
        return "the API fetches over the network: upload the file and give its http:// or https:// URL"
    assert not host
    return "it names no host; write https://host/path"


def _check_ascii(name: str, value: str, parts: SplitResult) -> None:
    if value.isascii():
        return
    foreign = next(character for character in value if not character.isascii())
    cure = f"use {_percent_encoded(parts)!r}"
    if not parts.query.isascii():  # not shown: it can hold a signature
        cure += ", its query string percent-encoded too"
    raise _invalid(name, value, f"the character {foreign!r} is not ASCII, which the API does not take; {cure}")


def _percent_encoded(parts: SplitResult) -> str:
    host = parts.netloc.rpartition("@")[2]
    try:
        host = host.encode("idna").decode("ascii")
    except UnicodeError:
        host = quote(host, safe=":[]")
    path = quote(parts.path, safe="/%:@!$&'()*+,;=~-._")
    return redact_url(urlunsplit((parts.scheme, host, path, parts.query and "…", "")))


def _invalid(name: str, value: Any, cure: str) -> InvalidRequestError:
    # A text is shown as it is, spaces too: they may be what is wrong with it.
    shown = repr(redact_url(value)[:EXCERPT_LENGTH]) if isinstance(value, str) else excerpt(repr(value))
    return InvalidRequestError(f"{name}={shown} cannot be used: {cure}.")
