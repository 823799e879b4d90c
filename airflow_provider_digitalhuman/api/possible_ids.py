"""IDs in an answer that is no acceptance: broken, refused, or in a form that nobody has documented (contract F24, F25).

A video may have been accepted under one of them. So they are looked for in whatever came, at any depth, also where it
is no JSON as a whole.
"""

import json
import re
from collections.abc import Iterator
from typing import Final

from airflow_provider_digitalhuman.api.answer import Answer

_OTHER_NAMES: Final = ("taskid", "videoid", "projectid")
_ALL_NAMES: Final = ("id", *_OTHER_NAMES)
"""In the order of what they are worth; without the underscore, and in lower case."""
# Of what only an error needs, the text alone: compiling it would cost every task process.
_NAMED_ID: Final = (
    r'(?is)"((?:task_?|video_?|project_?)?id)"\s*:\s*\[?\s*(?:"((?:[^"\\]|\\.)*)"|(-?\d{1,40})(?=\s*[,}\]\r\n]))'
)


def task_ids(answer: Answer) -> tuple[str, ...]:
    """Return the values that name a task in ``answer`` by another name than ``id``; the best known name first."""
    return _found(answer, _OTHER_NAMES)


def possible_ids(answer: Answer) -> tuple[str, ...]:
    """Return all values in ``answer`` that can be the ID of a video task; those of the field ``id`` first."""
    return _found(answer, _ALL_NAMES)


def _found(answer: Answer, names: tuple[str, ...]) -> tuple[str, ...]:
    by_name: dict[str, dict[str, None]] = {name: {} for name in names}
    for text in _texts(answer):
        for match in re.finditer(_NAMED_ID, text):
            kept = by_name.get(match[1].lower().replace("_", ""))
            value = answer.storable_id(match[3] or _unescaped(match[2] or ""))
            if kept is not None and value.strip():
                kept[value] = None
    return tuple(dict.fromkeys(value for kept in by_name.values() for value in kept))


def _texts(answer: Answer) -> Iterator[str]:
    text = _text(answer.body)
    yield text
    if "\\" in text:
        payload = answer.json_object()
        if payload is not None:  # a name can be written in escapes
            yield json.dumps(payload)
        yield text.replace('\\"', '"')  # JSON as a text in JSON
    if answer.wire:  # what the head did not announce, or all of it if there is no head
        yield _text(answer.wire)


def _text(data: bytes) -> str:
    return data.decode(json.detect_encoding(data), "replace")


def _unescaped(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return text
