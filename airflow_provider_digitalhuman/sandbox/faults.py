"""The faults that the sandbox can play: what there is, how one is defined, which one fires now."""

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

OPERATIONS: Final = ("create", "query", "download", "task")
STAGES: Final = ("before", "after")
"""Before the task is accepted and charged, or after."""


class InvalidFaultError(ValueError):
    """The definition of a fault cannot be used; the text names the field, the value and what is allowed."""


@dataclass(frozen=True)
class Option:
    """One option of a fault: its default, the check, and the words for what the check allows."""

    default: Any
    allowed: str
    accepts: Callable[[Any], bool]


def _number(default: float, maximum: float = 86_400) -> Option:
    return Option(
        default,
        f"a number from 0 to {maximum:,.0f}",
        lambda value: _is_number(value) and 0 <= value <= maximum,
    )


def _integer(default: int | None, minimum: int, maximum: int) -> Option:
    return Option(
        default,
        f"an integer from {minimum} to {maximum}",
        lambda value: _is_integer(value) and minimum <= value <= maximum,
    )


def _one_of(default: Any, *others: Any) -> Option:
    allowed = (default, *others)
    return Option(
        default,
        "one of " + ", ".join(map(repr, allowed)),
        lambda value: any(type(value) is type(one) and value == one for one in allowed),
    )


def _text(default: str | None) -> Option:
    return Option(default, "a text", lambda value: isinstance(value, str))


def _header(default: str | None) -> Option:
    return Option(
        default,
        "a text of printable ASCII characters without spaces around it, or null",
        lambda value: (
            value is None
            or (isinstance(value, str) and value.isascii() and value.isprintable() and value == value.strip())
        ),
    )


def _code(default: int | str) -> Option:
    return Option(default, "an integer or a text", lambda value: isinstance(value, str) or _is_integer(value))


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return _is_integer(value) or (isinstance(value, float) and math.isfinite(value))


_ANY_JSON: Final = Option(
    {"code": "InternalError", "message": "风控拒绝", "type": "server_error"}, "any JSON value", lambda value: True
)
_ERROR_STATUS: Final = _integer(500, 400, 599)


@dataclass(frozen=True)
class Kind:
    """One kind of fault.

    :param on: the operations that it can happen to.
    :param what: what a client sees.
    :param stages: for a create: whether it may happen before or after the task is accepted. The first one is the
        default.
    :param options: its options.
    :param completed_only: for a query: it waits until the task is completed, and then happens.
    """

    on: tuple[str, ...]
    what: str
    stages: tuple[str, ...] = STAGES
    options: Mapping[str, Option] = field(default_factory=dict)
    completed_only: bool = False


_WIRE: Final = ("create", "query", "download")
_API: Final = ("create", "query")
_BEFORE: Final = ("before",)
_AFTER: Final = ("after",)

KINDS: Final[Mapping[str, Kind]] = {
    # The connection
    "reset": Kind(_WIRE, "the connection is reset (a TCP RST) without an answer"),
    "close": Kind(_WIRE, "the connection is closed without an answer"),
    "hang": Kind(
        _WIRE,
        "nothing comes for so many seconds, then the normal answer, or the connection is closed",
        options={"seconds": _number(3600), "then": _one_of("answer", "close")},
    ),
    "slow": Kind(
        _WIRE,
        "the normal answer drips in over so many seconds",
        stages=_AFTER,
        options={"seconds": _number(5)},
    ),
    # Answers that are not the API's
    "http_status": Kind(
        _WIRE,
        "an HTTP error with a body of this kind",
        options={
            "status": _ERROR_STATUS,
            "body": _one_of("html", "empty", "json", "text"),
            "retry_after": _header(None),
        },
    ),
    "spring_error": Kind(_WIRE, "Spring's own error page, with a numeric status", options={"status": _ERROR_STATUS}),
    "no_handler": Kind(_API, "HTTP 404 with the gateway's message for an unknown path", stages=_BEFORE),
    "redirect": Kind(
        _WIRE,
        "a redirect: of a create or query to /sandbox/elsewhere, of a download to the same file, or to `location`",
        options={"status": _one_of(302, 301, 303, 307, 308), "location": _header(None)},
    ),
    "truncated": Kind(_API, "a Content-Length larger than what is sent, then the connection is closed"),
    "invalid_json": Kind(_API, "HTTP 200 with a body that is not JSON"),
    "empty_answer": Kind(_WIRE, "HTTP 200 with an empty body"),
    "html_page": Kind(_WIRE, "HTTP 200 with an HTML page"),
    "json_array": Kind(_API, "HTTP 200 with JSON that is no object"),
    "custom": Kind(
        _WIRE,
        "the answer that you write",
        options={
            "status": _integer(200, 200, 599),
            "text": _text("{}"),
            "content_type": _header("application/json"),
        },
    ),
    # The API's own refusals
    "login_failed": Kind(_API, 'HTTP 200 with {"code": "204", "msg": "登录验证失败"}', stages=_BEFORE),
    "unauthorized": Kind(
        _API, "HTTP 401 or 403 with an AuthenticationError", stages=_BEFORE, options={"status": _one_of(401, 403)}
    ),
    "payment_required": Kind(("create",), "HTTP 402 with a code and a msg", stages=_BEFORE),
    "no_balance": Kind(
        ("create",),
        "HTTP 200 with a code and a msg that says so",
        stages=_BEFORE,
        options={"code": _code(1002), "msg": _text("余额不足，请充值")},
    ),
    "rate_limited": Kind(
        _WIRE, "HTTP 429, with Retry-After if it is given", stages=_BEFORE, options={"retry_after": _header(None)}
    ),
    "error_code": Kind(
        _API,
        "HTTP 200 with an error code and no task",
        stages=_BEFORE,
        options={"code": _code(500), "msg": _text("系统繁忙，请稍后再试")},
    ),
    "no_id": Kind(_API, "HTTP 200 without an error code and without an id"),
    "other_id_name": Kind(
        ("create",),
        "an answer that is no success, and names a task under another name than `id`",
        options={
            "field": _one_of("taskId", "task_id", "videoId", "video_id", "projectId"),
            "status": _integer(200, 200, 599),
            "code": _code(1),
        },
    ),
    "broken_with_id": Kind(
        ("create",),
        "the answer breaks off, or is an HTTP 500, and the id stands far in what comes of it",
        stages=_AFTER,
        options={"how": _one_of("length", "gzip", "http_500")},
    ),
    # The API's answer in another form
    "envelope": Kind(
        _API,
        "the task inside `data`, beside code and msg",
        stages=_AFTER,
        options={"code": _code(0), "msg": _text("success")},
    ),
    "with_code": Kind(_API, "the bare task with a `code` beside its fields", stages=_AFTER, options={"code": _code(0)}),
    "created_in_ms": Kind(_API, "`created` in milliseconds", stages=_AFTER),
    "other_model": Kind(_API, "`model` is not the one that was sent", stages=_AFTER),
    "failed_at_once": Kind(
        ("create",),
        "accepted, and the answer says failed already",
        stages=_AFTER,
        options={"error": _text("风控拒绝")},
    ),
    "special_id": Kind(("create",), "an id that must be percent-encoded", stages=_AFTER),
    "unknown_id": Kind(("query",), 'HTTP 200 with {"code": -1, "data": null}'),
    "status_word": Kind(("query",), "a status word of your choice", options={"word": _text("rendering")}),
    "completed_without_url": Kind(("query",), "completed, and no URL", completed_only=True),
    "url_field": Kind(
        ("query",),
        "the URL under another name",
        options={"field": _one_of("result_url", "videoUrl")},
        completed_only=True,
    ),
    "another_task": Kind(("query",), "the answer is about another task", options={"word": _text("completed")}),
    "repeats_request": Kind(
        ("query",),
        "completed, and in place of a result the clip that was sent: beside audioUrl, or as the result's URL",
        options={"field": _one_of("videoUrl", "video_url")},
        completed_only=True,
    ),
    "error_value": Kind(("query",), "`error` is any JSON value", options={"value": _ANY_JSON}),
    "md5": Kind(
        ("query",),
        "the MD5 is missing, wrong, in upper case or malformed",
        options={"form": _one_of("wrong", "missing", "uppercase", "malformed")},
        completed_only=True,
    ),
    "expired_url": Kind(("query",), "the URL in the answer has expired already", completed_only=True),
    # Downloads
    "cut_off": Kind(
        ("download",),
        "the connection ends after so many bytes (null: half)",
        options={
            "bytes": Option(
                None,
                "an integer from 0, or null",
                lambda value: value is None or (_is_integer(value) and value >= 0),
            ),
            "how": _one_of("close", "reset"),
        },
    ),
    "wrong_bytes": Kind(("download",), "as many bytes as announced, but other ones"),
    "no_range": Kind(("download",), "a Range header is ignored: the whole file with HTTP 200"),
    "wrong_content_length": Kind(
        ("download",), "Content-Length is off by so many bytes", options={"delta": _integer(1000, -(10**9), 10**9)}
    ),
    "no_content_length": Kind(("download",), "the file is sent in chunks, its length is not said"),
    # The task itself
    "never_finishes": Kind(("task",), "stays in processing for ever"),
    "fails": Kind(
        ("task",),
        "ends without a video",
        options={"word": _one_of("failed", "cancelled", "expired"), "error": _text("风控拒绝")},
    ),
    "takes": Kind(
        ("task",), "takes so many seconds, whatever --processing-seconds says", options={"seconds": _number(30)}
    ),
}

_COMMON: Final[Mapping[str, Option]] = {
    "times": Option(
        1, "an integer from 1, or null for ever", lambda value: value is None or (_is_integer(value) and value >= 1)
    ),
    "skip": Option(0, "an integer from 0", lambda value: _is_integer(value) and value >= 0),
    "match": Option(None, "a text, or null", lambda value: value is None or isinstance(value, str)),
    "probability": Option(1.0, "a number from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1),
    "seed": Option(None, "an integer, or null", lambda value: value is None or _is_integer(value)),
}


@dataclass
class Fault:
    """A fault that was switched on.

    :param when: for a create: before or after the task is accepted; None for all else.
    :param matched: how often the operation, and ``match``, fitted.
    :param fired: how often it was played.
    """

    number: int
    on: str
    name: str
    when: str | None
    times: int | None
    skip: int
    match: str | None
    probability: float
    seed: int | None
    options: dict[str, Any]
    matched: int = 0
    fired: int = 0
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - not for security

    def fires(self, subject: str) -> bool:
        """Whether it happens to this request, whose text is ``subject``; counts."""
        if self.times is not None and self.fired >= self.times:
            return False
        if self.match is not None and self.match not in subject:
            return False
        self.matched += 1
        if self.matched <= self.skip or self._random.random() >= self.probability:
            return False
        self.fired += 1
        return True

    def as_json(self) -> dict[str, Any]:
        """The definition, with what has become of it."""
        return {
            "number": self.number,
            "on": self.on,
            "fault": self.name,
            "when": self.when,
            "times": self.times,
            "skip": self.skip,
            "match": self.match,
            "probability": self.probability,
            "seed": self.seed,
            **self.options,
            "matched": self.matched,
            "fired": self.fired,
        }


class FaultBook:
    """All faults that are switched on; the first one that fits a request is played."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._added = 0

    def add(self, definition: object) -> Fault:
        """Switch a fault on.

        :raises InvalidFaultError: if the definition cannot be used.
        """
        fault = _parse(definition, self._added + 1)
        self._added += 1
        self._faults.append(fault)
        return fault

    def pick(self, on: str, subject: str, *, when: str | None = None, completed: bool = False) -> Fault | None:
        """The fault that happens now, if any.

        :param subject: the text that ``match`` is looked for in.
        :param completed: whether the task that is queried is completed.
        """
        for fault in self._faults:
            if fault.on != on or fault.when != when or (KINDS[fault.name].completed_only and not completed):
                continue
            if fault.fires(subject):
                return fault
        return None

    def listed(self) -> list[dict[str, Any]]:
        """All of them, used up ones too."""
        return [fault.as_json() for fault in self._faults]

    def clear(self) -> None:
        """Switch all of them off."""
        self._faults.clear()


def _parse(definition: object, number: int) -> Fault:
    if not isinstance(definition, dict):
        raise InvalidFaultError("a fault must be a JSON object with the fields on and fault")
    on = definition.get("on")
    if on not in OPERATIONS:
        raise InvalidFaultError(_wrong("on", on, "one of " + ", ".join(map(repr, OPERATIONS))))
    name = definition.get("fault")
    names = sorted(name for name, kind in KINDS.items() if on in kind.on)
    if not isinstance(name, str) or name not in names:
        raise InvalidFaultError(_wrong("fault", name, f"with on={on!r} one of " + ", ".join(map(repr, names))))
    kind = KINDS[name]
    when: str | None = None
    if on == "create":
        when = definition.get("when", kind.stages[0])
        if when not in kind.stages:
            raise InvalidFaultError(_wrong("when", when, f"for {name!r} one of " + ", ".join(map(repr, kind.stages))))
    known = {"on", "fault", *_COMMON, *kind.options} | ({"when"} if on == "create" else set())
    for key in definition:
        if key not in known:
            raise InvalidFaultError(
                f"{_shown(key)} is not a field of {name!r} on {on!r}; allowed: {', '.join(sorted(known))}"
            )
    return Fault(
        number=number,
        on=on,
        name=name,
        when=when,
        **_values(definition, _COMMON),
        options=_values(definition, kind.options),
    )


def _values(definition: Mapping[str, Any], options: Mapping[str, Option]) -> dict[str, Any]:
    values = {}
    for name, option in options.items():
        values[name] = value = definition.get(name, option.default)
        if name in definition and not option.accepts(value):
            raise InvalidFaultError(_wrong(name, value, option.allowed))
    return values


def _wrong(name: str, value: object, allowed: str) -> str:
    return f"{name} is {_shown(value)}; it must be {allowed}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
