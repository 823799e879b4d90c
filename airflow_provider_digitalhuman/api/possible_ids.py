"""IDs in an answer that is no acceptance: broken, refused, or in a form that nobody has documented (contract F24, F25).

A video may have been accepted under one of them. So they are looked for in whatever came: at any depth of the body,
also where it is no JSON as a whole, and in the head.
"""

import json
import re
import zlib
from collections.abc import Iterable, Iterator, Set
from typing import Any, Final

from airflow_provider_digitalhuman.api.answer import Answer
from airflow_provider_digitalhuman.api.encoding import MAX_ANSWER
from airflow_provider_digitalhuman.api.head import header_ids

_OTHER_NAMES: Final = ("taskid", "videoid", "projectid", "jobid")
_ALL_NAMES: Final = ("id", *_OTHER_NAMES)
"""In the order of what they are worth; without the underscore, and in lower case."""
_NAMED_ID: Final = (
    r'(?is)"((?:task_?|video_?|project_?|job_?)?id)"\s*:\s*\[?\s*(?:"((?:[^"\\]|\\.)*)"|(-?\d{1,40})(?=\s*[,}\]\r\n]))'
)
_NAME: Final = r"(?i)(?:task|video|project|job)[_-]?id"
_UNREADABLE: Final = r"[\x00-\x08\x0e-\x1f]"
"""No text: a compression that was not announced, or is not known."""
_GZIP: Final = b"\x1f\x8b\x08"
_NO_TASK: Final = (
    *("requestid", "traceid", "spanid", "logid", "userid", "uid", "appid", "sessionid", "tenantid"),
    *("paid", "unpaid", "valid", "invalid"),
)
"""Names that end with "id", and name no task; without the underscore, and in lower case."""
_ID_LIKE: Final = r"(?!\w+://)\S{1,200}"


def task_ids(answer: Answer, status_words: Set[str], any_id: bool) -> tuple[str, ...]:
    """Return the values that name a task in an answer that is no acceptance; the surest first.

    :param status_words: an ``id`` in an object whose ``status`` is one of them names a task, at any depth.
    :param any_id: whether any other ``id`` does as well, except inside ``error``, and a plain value of ``data``: where
        the create would be sent again.
    """
    payload = _payload(answer)
    if payload is None:  # no JSON: which object an ID belongs to is not known
        named = ("id",) if any_id or has_status(answer, status_words) else ()
        return _distinct(_found(answer, (*_OTHER_NAMES, *named)), _in_head(answer))
    with_status = [
        value
        for fields in _objects(payload)
        if not status_words.isdisjoint(_words(fields))
        for value in _id_values(answer, fields)
    ]
    sure = _distinct(with_status, _found(answer, _OTHER_NAMES), _in_head(answer))
    if not any_id:
        return sure
    others = [value for fields in _objects(payload, besides="error") for value in _id_values(answer, fields)]
    return _distinct(sure, others, _plain(answer), _found(answer, ("id",)) if _goes_on_behind_body(answer) else ())


def may_name_task(answer: Answer) -> bool:
    """Return whether a task may be named in ``answer`` in a way that cannot be read: then it proves no refusal."""
    payload = _payload(answer)
    if payload is None:
        text = answer.decoded()
        broken = text.lstrip()[:1] in ("{", "[") or re.search(_UNREADABLE, text) is not None
        return broken or any(re.search(_NAME, text) for text in _texts(answer))
    return any(map(_contradicts_itself, _values(payload))) or any(
        name.replace("_", "").replace("-", "") in _OTHER_NAMES and not (_is_empty(value) or isinstance(value, bool))
        for fields in _objects(payload)
        for name, values in fields.items()
        for value in values
    )


def possible_ids(answer: Answer) -> tuple[str, ...]:
    """Return all values in ``answer`` that can be the ID of a video task.

    Those of the field ``id`` come first, those under documented names next; what only looks like an ID comes last.
    """
    return _distinct(_found(answer, _ALL_NAMES), _in_head(answer), _id_like(answer))


def holds_data(answer: Answer) -> bool:
    """Return whether ``data`` or ``result`` holds any value: then an error code alone does not prove a refusal."""
    return not all(_is_empty(content) for content in _contents(answer))


def _goes_on_behind_body(answer: Answer) -> bool:
    """Return whether more came than ``Content-Length`` says."""
    return bool(answer.body and re.search(rb'"id"', answer.wire.rpartition(answer.body)[2]))


def _distinct(*groups: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for group in groups for value in group))


def _in_head(answer: Answer) -> Iterator[str]:
    for value in header_ids(answer.wire, answer.location):
        if (kept := answer.storable_id(value)).strip():
            yield kept


def _is_empty(content: Any) -> bool:
    """Return whether no value is in ``content``, however deep; what is not text counts as one."""
    return not any(
        value is not None and not isinstance(value, dict | list) and str(value).strip() for value in _values(content)
    )


def _id_like(answer: Answer) -> Iterator[str]:
    """Yield the plain values of ``data`` and ``result``, and those in there whose name ends with "id"."""
    yield from _plain(answer)
    for content in _contents(answer):
        for fields in _objects(content):
            for name, values in fields.items():
                if name.endswith("id") and name.replace("_", "").replace("-", "") not in _NO_TASK:
                    yield from _those_like_ids(answer, values)


def _plain(answer: Answer) -> Iterator[str]:
    """Yield what can be an ID where ``data`` or ``result`` is a plain value, or a list of such."""
    for content in _contents(answer):
        yield from _those_like_ids(answer, content if isinstance(content, list) else [content])


def _those_like_ids(answer: Answer, values: list[Any]) -> Iterator[str]:
    for value in values:
        text = _id_text(answer, value)
        if re.fullmatch(_ID_LIKE, text):
            yield text


def _contents(answer: Answer) -> list[Any]:
    payload = _payload(answer)
    if not isinstance(payload, _Object):
        return []
    return [_opened(value) for name, value in payload.pairs if name in ("data", "result")]


class _Object(dict[str, Any]):
    """A JSON object that keeps every value of a repeated name: ``{"id": "x", "id": null}`` names a task."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def _contradicts_itself(value: Any) -> bool:
    """Return whether ``value`` is an object in which a name stands twice, with different values."""
    return isinstance(value, _Object) and any(item != value[name] for name, item in value.pairs)


def _payload(answer: Answer) -> Any:
    """Return the body's JSON at its whole depth; None if it is no JSON."""
    try:
        return json.loads(answer.decoded(), object_pairs_hook=_Object)
    except (ValueError, RecursionError):
        return None


def _values(content: Any, besides: str | None = None) -> Iterator[Any]:
    """Yield ``content`` and all values in it, also in JSON as a text in JSON, except under the name ``besides``."""
    queue = [content]
    for value in queue:  # which grows meanwhile: there is no depth that is too deep
        value = _opened(value)
        yield value
        if isinstance(value, _Object):
            queue.extend(item for name, item in value.pairs if name != besides)
        elif isinstance(value, list):
            queue.extend(value)


def _opened(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(value, object_pairs_hook=_Object)
        except (ValueError, RecursionError):
            pass
    return value


def _objects(content: Any, besides: str | None = None) -> Iterator[dict[str, list[Any]]]:
    """Yield all objects in ``content``: each name in lower case, with all the values that it has."""
    for value in _values(content, besides):
        if isinstance(value, _Object):
            fields: dict[str, list[Any]] = {}
            for name, item in value.pairs:
                fields.setdefault(name.lower(), []).append(item)
            yield fields


def _words(fields: dict[str, list[Any]]) -> set[str]:
    return {word.strip().lower() for word in fields.get("status", ()) if isinstance(word, str)}


def _id_values(answer: Answer, fields: dict[str, list[Any]]) -> Iterator[str]:
    for value in fields.get("id", ()):
        for item in value if isinstance(value, list) else [value]:
            if text := _id_text(answer, item):
                yield text


def _id_text(answer: Answer, value: Any) -> str:
    """Return ``value`` as the reader keeps IDs; empty if it can be none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < 10**40 else ""
    text = answer.storable_id(value) if isinstance(value, str) else ""
    return text if text.strip() else ""


def has_status(answer: Answer, status_words: Set[str]) -> bool:
    """Return whether a ``status`` in ``answer``, at any depth, is one of these words."""
    pattern = rf'(?i)"status"\s*:\s*"\s*(?:{"|".join(status_words)})\s*"'
    return any(re.search(pattern, text) for text in _texts(answer))


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
    text = answer.decoded()
    yield text
    for data in (answer.body, answer.wire):
        if inflated := _inflated(data):
            yield _text(inflated)
    if "\\" in text:
        payload = answer.json_object()
        if payload is not None:  # a name can be written in escapes
            yield json.dumps(payload)
        yield text.replace('\\"', '"')  # JSON as a text in JSON
    if answer.wire:  # what the head did not announce, or all of it if there is no head
        yield _text(answer.wire)


def _inflated(data: bytes) -> bytes:
    """Return what is in the gzip members of ``data``, as far as they go; the head need not have announced them."""
    plain, rest = b"", data[data.find(_GZIP) :] if _GZIP in data else b""
    while rest.startswith(_GZIP) and len(plain) < MAX_ANSWER:
        member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            plain += member.decompress(rest, MAX_ANSWER)
        except zlib.error:
            break
        rest = member.unused_data
    return plain


def _text(data: bytes) -> str:
    return data.decode(json.detect_encoding(data), "replace")


def _unescaped(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return text
