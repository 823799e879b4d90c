"""The table of the faults that the sandbox can play."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from airflow_provider_digitalhuman.api.response import FAILED, TaskStatus
from airflow_provider_digitalhuman.sandbox.fault_options import (
    Option,
    code,
    header,
    integer,
    is_integer,
    number,
    one_of,
    text,
)

OPERATIONS: Final = ("create", "query", "download", "task")
STAGES: Final = ("before", "after")
"""Before the task is accepted and charged, or after."""

_ANY_JSON: Final = Option(
    {"code": "InternalError", "message": "风控拒绝", "type": "server_error"}, "any JSON value", lambda value: True
)
_FAILED_WORDS: Final = sorted((word.value for word in FAILED), key=lambda word: (word != TaskStatus.FAILED, word))
_ERROR_STATUS: Final = integer(500, 400, 599)


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
        options={"seconds": number(3600), "then": one_of("answer", "close")},
    ),
    "slow": Kind(
        _WIRE,
        "the normal answer drips in over so many seconds",
        stages=_AFTER,
        options={"seconds": number(5)},
    ),
    # Answers that are not the API's
    "http_status": Kind(
        _WIRE,
        "an HTTP error with a body of this kind",
        options={
            "status": _ERROR_STATUS,
            "body": one_of("html", "empty", "json", "text"),
            "retry_after": header(None),
        },
    ),
    "spring_error": Kind(_WIRE, "Spring's own error page, with a numeric status", options={"status": _ERROR_STATUS}),
    "no_handler": Kind(_API, "HTTP 404 with the gateway's message for an unknown path", stages=_BEFORE),
    "redirect": Kind(
        _WIRE,
        "a redirect: of a create or query to /sandbox/elsewhere, of a download to the same file, or to `location`",
        options={"status": one_of(302, 301, 303, 307, 308), "location": header(None)},
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
            "status": integer(200, 200, 599),
            "text": text("{}"),
            "content_type": header("application/json"),
        },
    ),
    # The API's own refusals
    "login_failed": Kind(_API, 'HTTP 200 with {"code": "204", "msg": "登录验证失败"}', stages=_BEFORE),
    "unauthorized": Kind(
        _API, "HTTP 401 or 403 with an AuthenticationError", stages=_BEFORE, options={"status": one_of(401, 403)}
    ),
    "payment_required": Kind(("create",), "HTTP 402 with a code and a msg", stages=_BEFORE),
    "no_balance": Kind(
        ("create",),
        "HTTP 200 with a code and a msg that says so",
        stages=_BEFORE,
        options={"code": code(1002), "msg": text("余额不足，请充值")},
    ),
    "rate_limited": Kind(
        _WIRE, "HTTP 429, with Retry-After if it is given", stages=_BEFORE, options={"retry_after": header(None)}
    ),
    "error_code": Kind(
        _API,
        "HTTP 200 with an error code and no task",
        stages=_BEFORE,
        options={"code": code(500), "msg": text("系统繁忙，请稍后再试")},
    ),
    "no_id": Kind(_API, "HTTP 200 without an error code and without an id"),
    "other_id_name": Kind(
        ("create",),
        "an answer that is no success, and names a task under another name than `id`",
        options={
            "field": one_of("taskId", "task_id", "videoId", "video_id", "projectId"),
            "status": integer(200, 200, 599),
            "code": code(1),
        },
    ),
    "broken_with_id": Kind(
        ("create",),
        "the answer breaks off, or is an HTTP 500, and the id stands far in what comes of it",
        stages=_AFTER,
        options={"how": one_of("length", "gzip", "http_500")},
    ),
    # The API's answer in another form
    "envelope": Kind(
        _API,
        "the task inside `data`, beside code and msg",
        stages=_AFTER,
        options={"code": code(0), "msg": text("success")},
    ),
    "with_code": Kind(_API, "the bare task with a `code` beside its fields", stages=_AFTER, options={"code": code(0)}),
    "created_in_ms": Kind(_API, "`created` in milliseconds", stages=_AFTER),
    "other_model": Kind(_API, "`model` is not the one that was sent", stages=_AFTER),
    "failed_at_once": Kind(
        ("create",),
        "accepted, and the answer says failed already",
        stages=_AFTER,
        options={"error": text("风控拒绝")},
    ),
    "special_id": Kind(("create",), "an id that must be percent-encoded", stages=_AFTER),
    "unknown_id": Kind(("query",), 'HTTP 200 with {"code": -1, "data": null}'),
    "status_word": Kind(("query",), "a status word of your choice", options={"word": text("rendering")}),
    "completed_without_url": Kind(("query",), "completed, and no URL", completed_only=True),
    "url_field": Kind(
        ("query",),
        "the URL under another name",
        options={"field": one_of("result_url", "videoUrl")},
        completed_only=True,
    ),
    "another_task": Kind(("query",), "the answer is about another task", options={"word": text("completed")}),
    "repeats_request": Kind(
        ("query",),
        "completed, and in place of a result the clip that was sent: beside audioUrl, or as the result's URL",
        options={"field": one_of("videoUrl", "video_url")},
        completed_only=True,
    ),
    "error_value": Kind(("query",), "`error` is any JSON value", options={"value": _ANY_JSON}),
    "md5": Kind(
        ("query",),
        "the MD5 is missing, wrong, in upper case or malformed",
        options={"form": one_of("wrong", "missing", "uppercase", "malformed")},
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
                lambda value: value is None or (is_integer(value) and value >= 0),
            ),
            "how": one_of("close", "reset"),
        },
    ),
    "wrong_bytes": Kind(("download",), "as many bytes as announced, but other ones"),
    "no_range": Kind(("download",), "a Range header is ignored: the whole file with HTTP 200"),
    "wrong_content_length": Kind(
        ("download",), "Content-Length is off by so many bytes", options={"delta": integer(1000, -(10**9), 10**9)}
    ),
    "no_content_length": Kind(("download",), "the file is sent in chunks, its length is not said"),
    # The task itself
    "never_finishes": Kind(("task",), "stays in processing for ever"),
    "fails": Kind(
        ("task",),
        "ends without a video",
        options={"word": one_of(*_FAILED_WORDS), "error": text("风控拒绝")},
    ),
    "takes": Kind(
        ("task",), "takes so many seconds, whatever --processing-seconds says", options={"seconds": number(30)}
    ),
}
