"""IDs of a task in the head of an answer: a header of that name, or a ``Location`` that leads to the task."""

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

_HEAD_END: Final = rb"\r?\n\r?\n"
_FOLD: Final = r"\r?\n[ \t]+"
_ID_HEADER: Final = r"(?i)(?:^|.*[-_])(?:task|video|project|job|operation)[-_]?id"
_LINK_HEADER: Final = r"(?i).*location|link|refresh"
_TO_TASK: Final = (
    r"(?i)/(?:results?|tasks?|videos?|jobs?|operations?)/([^/?#&\s;,>]+)/?(?:[?#\s;,>]|$)"
    r"|[?&](?:(?:task|video|project|job|operation)_?)?id=([^&#\s;,>]+)"
)
"""In an address: the last part of a path to one task, or a parameter."""


def header_ids(wire: bytes, location: str | None = None) -> tuple[str, ...]:
    """Return the IDs of tasks that the head of an answer names.

    :param wire: the answer as it was received; empty where the transport does not keep it.
    :param location: its ``Location`` header, which may be all that is known of its head.
    """
    return tuple(dict.fromkeys(value for value in _ids(wire, location) if value))


def _ids(wire: bytes, location: str | None) -> Iterator[str]:
    for name, value in _headers(wire):
        if re.fullmatch(_ID_HEADER, name):
            yield value.strip()
        elif re.fullmatch(_LINK_HEADER, name):
            yield from _in_address(value)
    if location:
        yield from _in_address(location)


def _in_address(text: str) -> Iterator[str]:
    for match in re.finditer(_TO_TASK, text):
        yield unquote(match[1] or match[2])


def _headers(wire: bytes) -> Iterator[tuple[str, str]]:
    while wire.startswith(b"HTTP/"):
        head, *rest = re.split(_HEAD_END, wire, maxsplit=1)
        lines = re.sub(_FOLD, " ", head.decode("latin-1")).splitlines()
        for line in lines[1:]:
            name, _, value = line.partition(":")
            yield name.strip(), value
        if not rest or not re.match(rb"HTTP/\S+ +1[0-9]{2}", head):
            return
        wire = rest[0]  # behind an interim answer (103 and its like) comes another
