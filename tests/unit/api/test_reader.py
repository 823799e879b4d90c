"""The reader against the contract's tables: every answer seen, every trap, and any bytes at all."""

import contextlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pendulum
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_digitalhuman.api.answer import Answer
from airflow_provider_digitalhuman.api.reader import read_create, read_query
from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.exceptions import (
    AuthenticationError,
    DigitalHumanError,
    InsufficientBalanceError,
    QueryError,
    RateLimitError,
    RequestRefusedError,
    SubmissionUnknownError,
    VideoTaskNotFoundError,
)

ID = "abc-123"
QUEUED = {
    "id": ID,
    "object": "video",
    "created": 1761635478,
    "model": "kyy_digitalHuman",
    "status": "queued",
    "error": None,
}
LOGIN_FAILED = {"code": "204", "msg": "登录验证失败"}
AUTHENTICATION_ERROR = {"error": {"code": "AuthenticationError", "message": "bad key", "type": "Unauthorized"}}
HTML = b"<html><head><title>502 Bad Gateway</title></head></html>"


def spring(status: int, error: str) -> dict[str, Any]:
    return {
        "timestamp": "2026-01-01T00:00:00.000+00:00",
        "status": status,
        "error": error,
        "path": "/kyyReactApiServer",
    }


def answer(content: Any = b"", http_status: int = 200, **headers: str) -> Answer:
    body = content if isinstance(content, bytes) else json.dumps(content, ensure_ascii=False).encode()
    return Answer(http_status, body, **headers)


def create(content: Any = b"", http_status: int = 200, **headers: str) -> VideoTask:
    return read_create(answer(content, http_status, **headers))


def query(content: Any = b"", http_status: int = 200, **headers: str) -> VideoTask:
    return read_query(answer(content, http_status, **headers), ID)


# --- any answer at all ------------------------------------------------------------------------------------------------

statuses = st.one_of(
    st.sampled_from([200, 201, 204, 302, 400, 401, 402, 403, 404, 429, 500, 503]), st.integers(100, 599)
)
headers = st.one_of(st.none(), st.text(max_size=20))
words = st.sampled_from(
    ["queued", "processing", "completed", "failed", "cancelled", "expired", "FAILED", "error", "", "204", "401", "-1"]
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**30),
    st.floats(),
    st.text(max_size=10),
    words,
    st.sampled_from([0, 200, 204, 401, 429, 500, -1, "0", "200", "AuthenticationError", "余额不足", "\x00", "\ud800"]),
)
names = st.one_of(
    st.sampled_from(
        *[
            [
                "id",
                "status",
                "code",
                "msg",
                "message",
                "data",
                "error",
                "type",
                "created",
                "object",
                "model",
                "md5",
                "path",
            ]
        ]
    ),
    st.sampled_from(["video_url", "result_url", "videoUrl", "progress", "amount", "timestamp", "requestId"]),
    st.text(max_size=4),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=5)),
    max_leaves=8,
)
objects = st.dictionaries(names, values, max_size=8)


# --- create: accepted -------------------------------------------------------------------------------------------------


def test_the_documented_answer() -> None:
    task = create(QUEUED)
    assert (task.id, task.status, task.object, task.model) == (ID, "queued", "video", "kyy_digitalHuman")
    assert task.created == pendulum.datetime(2025, 10, 28, 7, 11, 18, tz="UTC")
    assert isinstance(task.created, pendulum.DateTime)
    assert task.created.tzinfo is not None
    assert (task.video_url, task.md5, task.error) == (None, None, None)
    assert not task.is_failed
    assert not task.is_completed
    assert task.is_known_status


@pytest.mark.parametrize("code", [0, "0", 200, "200", None, ""])
@pytest.mark.parametrize("http_status", [200, 201, 202])
def test_the_data_envelope(code: Any, http_status: int) -> None:
    task = create({"code": code, "msg": "success", "data": QUEUED}, http_status)
    assert (task.id, task.status, task.model) == (ID, "queued", "kyy_digitalHuman")


@pytest.mark.parametrize("code", [0, "0", 200, "200", None])
def test_the_bare_object_beside_a_code(code: Any) -> None:
    assert create({**QUEUED, "code": code, "msg": "ok"}).id == ID


@pytest.mark.parametrize(
    ("content", "task_id"),
    [
        ({"id": ID}, ID),
        ({"id": ID, "status": None}, ID),
        ({"id": ID, "status": 0}, ID),
        ({"id": ID, "data": None}, ID),
        ({"id": ID, "data": {"status": "queued"}}, ID),
        ({"id": ID, "data": []}, ID),
        ({"id": 12345, "status": "queued"}, "12345"),
        ({"id": "任务/1 ?#", "status": "queued"}, "任务/1 ?#"),
        ({"code": 0, "data": {"id": ID}}, ID),
    ],
)
def test_an_id_is_an_acceptance_whatever_else_is_missing(content: Any, task_id: str) -> None:
    task = create(content)
    assert (task.id, task.status) == (task_id, "queued")


def test_an_id_beside_an_error_code_is_kept_because_it_may_be_charged() -> None:
    assert create({"code": 1001, "msg": "?", "data": {"id": ID, "status": "queued"}}).id == ID


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("风控拒绝", "风控拒绝"),
        ({"code": "Policy", "message": "policy rejected", "type": "server_error"}, "policy rejected"),
        ({"message": "policy rejected"}, "policy rejected"),
        ({"reason": "no face"}, "no face"),
        (["no face"], "no face"),
        (7, "7"),
    ],
)
def test_f11_failed_at_once_is_a_task_that_failed(error: Any, text: str) -> None:
    task = create({**QUEUED, "status": "failed", "error": error})
    assert task.id == ID
    assert task.is_failed
    assert text in str(task.error)


@pytest.mark.parametrize("error", ["", None, {}, [], False, 0])
def test_an_empty_error_is_none(error: Any) -> None:
    assert create({**QUEUED, "error": error}).error is None


@pytest.mark.parametrize("shown", ["Queued", " queued ", "QUEUED\n"])
def test_the_status_word_in_any_case(shown: str) -> None:
    assert create({**QUEUED, "status": shown}).status == "queued"


def test_the_echoed_model_is_only_kept() -> None:
    assert create({**QUEUED, "model": "digitalHuman"}).model == "digitalHuman"


# --- create: everything else ------------------------------------------------------------------------------------------

CREATE_ERRORS: list[tuple[str, int, Any, type[DigitalHumanError]]] = [
    # F4: a proxy can time out after the backend has accepted
    *(("F4", status, HTML, SubmissionUnknownError) for status in (200, 500, 502, 503, 504, 520, 501)),
    *(("F4", status, b"", SubmissionUnknownError) for status in (200, 201, 204, 500, 503)),
    ("F4", 500, spring(500, "Internal Server Error"), SubmissionUnknownError),
    ("F4", 503, {"code": 503, "msg": "busy"}, SubmissionUnknownError),
    ("F4", 500, LOGIN_FAILED, SubmissionUnknownError),
    ("F4", 500, QUEUED, SubmissionUnknownError),
    ("F4", 408, b"", SubmissionUnknownError),
    ("F4", 409, b"", SubmissionUnknownError),
    # F3: the answer is broken
    *(("F3", 200, json.dumps(QUEUED).encode()[:cut], SubmissionUnknownError) for cut in (1, 10, 40, 100)),
    # F5: no id, no error code
    *(
        ("F5", 200, content, SubmissionUnknownError)
        for content in (
            *({}, [], [QUEUED], None, True, 1, "queued", {"status": "queued"}, {"data": None}, {"code": 0}),
            *(
                {"code": ""},
                {"code": " ", "data": None},
                {"code": "0", "data": None},
                {"code": 200, "msg": "success"},
                {"code": "200", "data": {}},
            ),
            *({"id": ""}, {"id": " "}, {"id": None}, {"id": True}, {"id": {}}, {"id": [ID]}, {"id": 1.5}),
            *({"code": True}, {"code": None, "error": {"code": None}}, {"error": "queue full"}),
            *({"code": [500]}, {"code": {"code": 1}}),
            {"msg": "缺少必填参数: prompt"},
            spring(500, "Internal Server Error"),
        )
    ),
    # F6: an error code, no id
    *(
        ("F6", 200, content, RequestRefusedError)
        for content in (
            {"code": 1001, "msg": "素材 URL 无法访问", "data": None},
            {"code": "1001", "msg": "素材 URL 无法访问"},
            {"code": -1, "data": None},
            {"code": 500, "msg": "系统繁忙"},
            {"code": "InvalidParameter", "msg": "prompt"},
            {"error": {"code": "InvalidParameter", "message": "no", "type": "x"}},
            {"code": 404},
        )
    ),
    # F7: the key
    ("F7", 200, LOGIN_FAILED, AuthenticationError),
    ("F7", 200, {"code": 204, "msg": "登录验证失败"}, AuthenticationError),
    ("F7", 200, {"code": "204", "msg": "登录验证失败", "data": None}, AuthenticationError),
    ("F7", 200, {"code": 401}, AuthenticationError),
    ("F7", 200, AUTHENTICATION_ERROR, AuthenticationError),
    *(("F7", status, AUTHENTICATION_ERROR, AuthenticationError) for status in (401, 403)),
    *(("F7", status, content, AuthenticationError) for status in (401, 403) for content in (b"", HTML)),
    # F8: the balance
    *(("F8", 402, content, InsufficientBalanceError) for content in (b"", HTML, {"code": 402, "msg": "?"})),
    ("F8", 200, {"code": 402, "msg": "?"}, InsufficientBalanceError),
    ("F8", 200, {"code": 1002, "msg": "余额不足，请充值"}, InsufficientBalanceError),
    ("F8", 200, b'{"code": 1002, "msg": "\\u4f59\\u989d\\u4e0d\\u8db3"}', InsufficientBalanceError),
    ("F8", 200, {"code": 1002, "msg": "Insufficient Balance"}, InsufficientBalanceError),
    ("F8", 200, {"code": 1002, "msg": "账户已欠费"}, InsufficientBalanceError),
    ("F8", 400, {"code": 1002, "msg": "余额不足"}, InsufficientBalanceError),
    # F9: too fast
    *(("F9", 429, content, RateLimitError) for content in (b"", HTML, {"code": 429}, LOGIN_FAILED)),
    ("F9", 200, {"code": 429, "msg": "too many requests"}, RateLimitError),
    ("F9", 200, {"code": "429", "msg": "too many requests"}, RateLimitError),
    ("F9 with an id", 429, QUEUED, SubmissionUnknownError),
    ("F9 with an id", 429, {"id": ID}, SubmissionUnknownError),
    ("F9 with an id", 429, {"code": 429, "data": {"id": ID}}, SubmissionUnknownError),
    # F10: refused
    *(
        ("F10", status, content, RequestRefusedError)
        for status in (400, 404, 405, 413, 415, 422)
        for content in (b"", HTML, {"msg": "no"}, spring(status, "Bad Request"))
    ),
    ("F10", 404, {"message": "No handler found for GET /kyyReactApiServer/v1/models"}, RequestRefusedError),
    *(("redirect", status, b"", RequestRefusedError) for status in (301, 307, 308)),
    *(("redirect after a POST", status, b"", SubmissionUnknownError) for status in (300, 302, 303, 304)),
]


@pytest.mark.parametrize(("row", "http_status", "content", "expected"), CREATE_ERRORS)
def test_create_row(row: str, http_status: int, content: Any, expected: type[DigitalHumanError]) -> None:
    with pytest.raises(DigitalHumanError) as caught:
        create(content, http_status)
    assert type(caught.value) is expected, row
    assert f"HTTP {http_status}" in str(caught.value)


def test_f5_f4_say_that_it_is_unknown_and_show_the_answer() -> None:
    with pytest.raises(SubmissionUnknownError, match=r"not known whether .* charged") as caught:
        create(HTML, 502)
    assert "502 Bad Gateway" in str(caught.value)


def test_f6_shows_code_and_message() -> None:
    with pytest.raises(RequestRefusedError) as caught:
        create({"code": 1001, "msg": "素材 URL 无法访问", "data": None})
    assert "1001" in str(caught.value)
    assert "素材 URL 无法访问" in str(caught.value)


def test_f6_shows_the_message_in_words_when_json_has_escaped_it() -> None:
    with pytest.raises(RequestRefusedError, match="素材"):
        create(b'{"code": 1001, "msg": "\\u7d20\\u6750 URL"}')


def test_f7_speaks_of_the_key() -> None:
    with pytest.raises(AuthenticationError, match="API key of the connection"):
        create(LOGIN_FAILED)


def test_f10_404_speaks_of_the_base_url() -> None:
    with pytest.raises(RequestRefusedError, match="Base URL of the connection"):
        create({"message": "No handler found"}, 404)


def test_a_redirect_names_its_target_without_the_query() -> None:
    with pytest.raises(RequestRefusedError) as caught:
        create(b"", 308, location="https://elsewhere.example.com/v2?token=s3cr3t")
    assert "https://elsewhere.example.com/v2" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    "msg", ["the load balancer is not ready", "insufficient permissions for this model", "imbalanced input"]
)
def test_words_that_only_sound_like_a_balance(msg: str) -> None:
    with pytest.raises(RequestRefusedError):
        create({"code": 1003, "msg": msg})


def test_an_id_that_came_with_an_error_status_is_in_the_message() -> None:
    with pytest.raises(SubmissionUnknownError, match=ID):
        create(QUEUED, 502)


# --- F24, F25: an ID in an answer that is no acceptance ---------------------------------------------------------------

OTHER_NAMES = ["taskId", "task_id", "taskid", "TASK_ID", "TaskID", "videoId", "video_id", "projectId", "Project_Id"]
NO_SUCCESS: list[tuple[int, dict[str, Any]]] = [
    *((status, {"msg": "no"}) for status in (400, 401, 402, 403, 404, 405, 413, 415, 422, 429, 301, 307, 308)),
    *((200, {"code": code, "msg": "success"}) for code in (1, -1, 1001, "204", 402, 429, 404, "InvalidParameter")),
]


@pytest.mark.parametrize(("http_status", "content"), NO_SUCCESS)
@pytest.mark.parametrize("name", OTHER_NAMES)
def test_create_reader_takes_failure_that_names_task_for_unknown(
    http_status: int, content: dict[str, Any], name: str
) -> None:
    for whole in (
        {**content, name: ID},
        {**content, "data": {name: ID}},
        {**content, "data": {"list": [{"task": {name: [ID]}}]}},
        {**content, "data": json.dumps({name: ID})},
    ):
        with pytest.raises(SubmissionUnknownError) as caught:
            create(whole, http_status)
        assert caught.value.video_task_id == ID
        assert f"An ID stands in the answer: {ID}." in str(caught.value)


@pytest.mark.parametrize(("http_status", "content"), NO_SUCCESS)
@pytest.mark.parametrize("value", [None, "", " ", True, {}, [], 1.5])
def test_create_reader_takes_empty_task_id_for_none(http_status: int, content: dict[str, Any], value: Any) -> None:
    with pytest.raises(DigitalHumanError) as with_it:
        create({**content, "data": {"taskId": value, "projectId": value}}, http_status)
    with pytest.raises(DigitalHumanError) as without_it:
        create({**content, "data": {}}, http_status)
    if value == 1.5 or (http_status == 200 and value is True):  # no ID, but a value
        assert type(with_it.value) is SubmissionUnknownError
        assert with_it.value.video_task_id is None
    else:
        assert type(with_it.value) is type(without_it.value) is not SubmissionUnknownError


@pytest.mark.parametrize("name", ["requestId", "userTaskId", "task", "taskIds", "id_task", "traceid", "taskName"])
def test_create_reader_takes_other_names_for_no_task(name: str) -> None:
    with pytest.raises(RateLimitError):
        create({"code": 429, name: ID, "data": {name: ID}}, 429)


@pytest.mark.parametrize("http_status", [400, 401, 403, 404, 422])
def test_create_reader_takes_bare_id_of_client_error_for_request_id(http_status: int) -> None:
    with pytest.raises(DigitalHumanError) as caught:
        create({"id": "req-1", "msg": "no"}, http_status)
    assert type(caught.value) is not SubmissionUnknownError


@pytest.mark.parametrize(("http_status", "content"), NO_SUCCESS)
@pytest.mark.parametrize("task", [{"id": ID, "status": "queued"}, {"ID": [ID], "Status": " Processing "}])
def test_create_reader_takes_failure_with_id_beside_status_at_any_depth_for_unknown(
    http_status: int, content: dict[str, Any], task: dict[str, Any]
) -> None:
    for whole in (
        {**content, "id": "the request's", "task": task} if http_status >= 400 else {**content, "task": task},
        {**content, "data": [task]},
        {**content, "result": task},
        {**content, "data": {"list": [{"id": "the list's", "task": task}]}},
        {**content, "error": {"task": task}},
        {**content, "data": json.dumps({"task": task})},
        [content, task],
    ):
        body = json.dumps(whole, ensure_ascii=False)
        for data in (body.encode(), body.replace("no", "素材").encode("gbk"), body[:-1].encode()):
            with pytest.raises(SubmissionUnknownError) as caught:
                create(data, http_status)
            assert ID in str(caught.value)
            if data == body.encode():
                assert caught.value.video_task_id == ID


def test_create_reader_takes_failure_with_task_deeper_than_json_can_be_read_for_unknown() -> None:
    for depth in (30, 100_000):
        body = b'{"x": ' + b"[" * depth + json.dumps(QUEUED).encode() + b"]" * depth + b"}"
        for http_status in (400, 429):
            with pytest.raises(SubmissionUnknownError) as caught:
                create(body, http_status)
            assert caught.value.video_task_id == ID


RATE_LIMITS: list[tuple[int, dict[str, Any]]] = [(429, {"msg": "busy, queued"}), (200, {"code": 429, "msg": "busy"})]


@pytest.mark.parametrize(("http_status", "content"), RATE_LIMITS)
def test_create_reader_takes_rate_limit_with_bare_id_at_any_depth_for_unknown(
    http_status: int, content: dict[str, Any]
) -> None:
    for whole in (
        {**content, "queue": {"id": ID}},
        {**content, "data": [{"id": ID}]},
        {**content, "x": [[{"id": ID}]]},
    ):
        with pytest.raises(SubmissionUnknownError) as caught:
            create(whole, http_status)
        assert caught.value.video_task_id == ID


@pytest.mark.parametrize(("http_status", "content"), RATE_LIMITS)
def test_create_reader_takes_id_of_error_in_rate_limit_for_no_task(http_status: int, content: dict[str, Any]) -> None:
    for error in ({"id": "req-1"}, {"detail": [{"id": "req-1", "status": 429}]}):
        with pytest.raises(RateLimitError):
            create({**content, "error": error}, http_status)


@pytest.mark.parametrize("code", [1, -1, 1001, "204", 401, 402, 404, 429, "429", "success"])
@pytest.mark.parametrize("place", ["data", "result"])
@pytest.mark.parametrize(
    ("content", "task_id"),
    [
        *((ID, ID), (77, "77"), ([ID], ID), ({"jobId": ID}, ID), ({"job_id": 77}, "77"), ([{"orderID": ID}], ID)),
        *(({"job": {"renderId": ID}}, ID), (json.dumps({"jobId": ID}), ID)),
        ({"requestId": "r", "trace_id": "t", "logId": "l", "userId": "u", "uid": "u", "valid": "v", "jobId": ID}, ID),
        *(({"requestId": "r", "traceId": "t"}, None), ({"name": "x"}, None), (True, None), (False, None), (1.5, None)),
        *(("please wait for it", None), ("https://cdn.example.com/v.mp4?sig=1", None), ({"jobId": "a b"}, "a b")),
        *(([0.5, {}], None), ([[ID]], None)),
    ],
)
def test_create_reader_takes_data_beside_error_code_for_unknown(
    code: Any, place: str, content: Any, task_id: str | None
) -> None:
    with pytest.raises(SubmissionUnknownError) as caught:
        create({"code": code, "msg": "success", place: content})
    assert caught.value.video_task_id == task_id


@pytest.mark.parametrize("status", [429, 400, 404, 422])
@pytest.mark.parametrize(
    "body",
    [
        b"\x1b\x03\x00\x80 brotli",
        b"\x1f\x8b\x08 broken",
        b"<answer><taskId>v1</taskId></answer>",
        b"{'video_id': 'v1'}",
        b'{"projectId": 1.5e3}',
        b'{"task_id": {"value": "v1"}}',
        b'{"data": {"job-id": {"value": 1.5}}}',
        b"&quot;taskId&quot;:&quot;v1&quot;",
        b'{"taskId":"v-cu',
    ],
)
def test_create_reader_takes_task_that_it_cannot_read_for_unknown(status, body):
    with pytest.raises(SubmissionUnknownError):
        read_create(Answer(status, body))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body id='main'><h1>429 Too Many Requests</h1></body></html>",
        b'{"taskId": null}',
        b'{"video_id": ""}',
        b'{"task_id": []}',
        b'{"requestId": "r1", "msg": "slow down"}',
        b"slow down\r\n\t",
    ],
)
def test_create_reader_takes_rate_limit_that_names_no_task_for_one(body):
    with pytest.raises(RateLimitError):
        read_create(Answer(429, body))


@pytest.mark.parametrize("empty", [None, "", " ", {}, [], [{}], {"id": None, "status": ""}, "{}", "[]"])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (LOGIN_FAILED, AuthenticationError),
        ({"code": 1001, "msg": "素材 URL 无法访问"}, RequestRefusedError),
        ({"code": -1}, RequestRefusedError),
        ({"code": 1002, "msg": "余额不足"}, InsufficientBalanceError),
        ({"code": 429}, RateLimitError),
        (AUTHENTICATION_ERROR, AuthenticationError),
    ],
)
def test_create_reader_takes_error_code_with_empty_data_for_refusal(
    content: dict[str, Any], expected: type[DigitalHumanError], empty: Any
) -> None:
    for whole in (content, {**content, "data": empty}, {**content, "result": empty}):
        with pytest.raises(expected):
            create(whole)


@pytest.mark.parametrize(("http_status", "code"), [(200, 0), (201, "200"), (500, 500)])
def test_create_reader_keeps_plain_value_of_data_as_possible_id(http_status: int, code: Any) -> None:
    with pytest.raises(SubmissionUnknownError) as caught:
        create({"code": code, "msg": "success", "data": ID}, http_status)
    assert caught.value.video_task_id == ID


LONG = {"msg": "x" * 400}
WITH_ID: list[tuple[str, int, Any, str]] = [
    ("no success", 500, {**LONG, "id": ID}, ID),
    ("no success", 502, {**LONG, "data": {"taskId": 77}}, "77"),
    ("no success", 500, {"id": "the request's", "taskId": ID}, ID),
    ("no code", 200, {**LONG, "code": 0, "data": {"taskId": ID}}, ID),
    ("a list", 200, [{**LONG, "id": ID}], ID),
    ("cut short", 200, json.dumps({**LONG, "id": ID, "status": "queued"}).encode()[:-3], ID),
    ("cut short", 200, json.dumps({**LONG, "id": 778, "status": "queued"}).encode()[:-3], "778"),
    ("cut short in utf-16", 200, json.dumps({**LONG, "id": ID, "status": 0}).encode("utf-16-le")[:-3], ID),
    ("cut short in gbk", 200, json.dumps({"msg": "素材", "id": ID, "x": 0}, ensure_ascii=False).encode("gbk")[:-1], ID),
    ("a page", 502, f'<html>{"x" * 400}<script>var answer = {{"id": "{ID}"}}</script>'.encode(), ID),
    ("too deep", 200, b'{"x": ' + b"[" * 2000 + f'{{"id": "{ID}"}}'.encode() + b"]" * 2000 + b"}", ID),
    ("escapes in the name", 200, b'{"data": {"\\u0074askId": "' + ID.encode() + b'"}}', ID),
    ("escapes in the value", 500, b'{"id": "\\u4efb\\u52a1/1"}', "任务/1"),
    ("a quote in the value", 500, b'{"id": "a\\"b"}', 'a"b'),
    ("no storable text", 500, b'{"id": "a\\u0000b\\ud800"}', "ab?"),
    ("a bad escape", 500, b'{"id": "a\\x"}', "a\\x"),
]


@pytest.mark.parametrize(("case", "http_status", "content", "task_id"), WITH_ID)
def test_create_reader_finds_id_in_whatever_came(case: str, http_status: int, content: Any, task_id: str) -> None:
    with pytest.raises(SubmissionUnknownError, match="An ID stands in the answer: ") as caught:
        create(content, http_status)
    assert caught.value.video_task_id == task_id, case
    assert f"{task_id}." in str(caught.value)


@pytest.mark.parametrize("content", [b"", HTML, {}, {"id": None}, b'{"id": "abc', b'{"id": 12', {"ids": [ID]}])
def test_create_reader_names_no_id_where_none_is(content: Any) -> None:
    with pytest.raises(SubmissionUnknownError) as caught:
        create(content, 500)
    assert caught.value.video_task_id is None
    assert "An ID stands" not in str(caught.value)


def test_create_reader_names_further_ids() -> None:
    with pytest.raises(
        SubmissionUnknownError, match=r"also holds b-2, c-3\..*An ID stands in the answer: a-1\."
    ) as caught:
        create({"code": 1, "data": {"projectId": "c-3", "videoId": "b-2", "taskId": "a-1"}})
    assert caught.value.video_task_id == "a-1"


def test_create_reader_keeps_key_out_of_ids() -> None:
    with pytest.raises(SubmissionUnknownError) as caught:
        create({"code": 1, "data": {"taskId": KEY, "videoId": f"v-{KEY}"}}, secret=KEY)
    assert KEY not in str(caught.value)
    assert KEY not in str(caught.value.video_task_id)


def test_unknown_error_names_its_id_once() -> None:
    first = SubmissionUnknownError("It is not known.", video_task_id=ID)
    again = SubmissionUnknownError(f"{first} Look there.", video_task_id=first.video_task_id)
    assert str(again) == f"It is not known. An ID stands in the answer: {ID}. Look there."
    assert again.video_task_id == ID


@given(content=objects, name=st.sampled_from(OTHER_NAMES), http_status=st.sampled_from([400, 401, 402, 404, 429, 308]))
def test_proof_that_nothing_was_accepted_never_names_task(content: Any, name: str, http_status: int) -> None:
    body = json.dumps({**content, name: ID}).encode()
    with pytest.raises(SubmissionUnknownError):
        read_create(Answer(http_status, body))


# --- an envelope ------------------------------------------------------------------------------------------------------


def test_create_reader_takes_id_inside_data_before_id_outside() -> None:
    assert create({"id": "outside", "code": 0, "data": QUEUED}).id == ID
    assert create({"id": "outside", "code": 0, "data": {"id": ID}}).id == ID


@pytest.mark.parametrize("word", ["queued", "processing", "completed", "failed"])
def test_reader_takes_id_beside_status_outside_data_before_bare_id_inside(word: str) -> None:
    content = {"id": ID, "status": word, "data": {"id": "asset-9"}}
    for task in (create(content), query(content)):
        assert (task.id, task.status) == (ID, word)
        assert task.raw["data"] == {"id": "asset-9"}


@pytest.mark.parametrize("filler", ["", "x" * 200_000])
@pytest.mark.parametrize(
    ("outside", "inside"),
    [
        ({"id": "V2"}, {"id": ID}),
        ({"id": "V2"}, {"id": ID, "status": "queued"}),
        ({"id": "V2", "status": "success"}, {"id": ID}),
        ({"id": "V2", "status": "queued"}, {"id": ID, "status": "queued"}),
        ({"id": "V2", "status": "queued"}, {"id": ID, "status": "rendering"}),
    ],
)
def test_create_reader_keeps_other_id_of_conflict(outside: dict[str, Any], inside: dict[str, Any], filler: str) -> None:
    task = create({**outside, "code": 0, "data": inside, "filler": filler})
    assert task.id == ID
    assert task.raw["id_outside_data"] == "V2"
    assert VideoTask.from_dict(task.to_dict()).to_dict()["id_outside_data"] == "V2"


def test_create_reader_names_no_other_id_without_conflict() -> None:
    for content in (QUEUED, {"code": 0, "data": QUEUED}, {"id": ID, "data": QUEUED}):
        assert "id_outside_data" not in create(content).raw


def test_create_reader_takes_id_outside_data_where_none_is_inside() -> None:
    task = create({"id": ID, "status": "processing", "data": {"status": "completed", "video_url": "https://h/v.mp4"}})
    assert (task.id, task.status, task.video_url) == (ID, "processing", None)


@pytest.mark.parametrize("word", ["queued", "processing", "completed", "failed", "rendering"])
def test_create_reader_takes_envelope_with_status_but_no_id_for_unknown(word: str) -> None:
    with pytest.raises(SubmissionUnknownError, match="neither a video task ID nor an error code") as caught:
        create({"code": 0, "data": {"status": word}})
    assert caught.value.video_task_id is None


def test_query_reader_takes_id_inside_data_before_id_outside() -> None:
    assert query({"id": "the request's", "code": 0, "data": COMPLETED}).is_completed
    with pytest.raises(QueryError, match="another video task"):
        query({"id": ID, "code": 0, "data": {**COMPLETED, "id": "OTHER"}})


@pytest.mark.parametrize("word", ["queued", "processing", "completed"])
def test_query_reader_takes_envelope_with_status_but_no_id(word: str) -> None:
    task = query({"code": 0, "msg": "ok", "data": {"status": word, "video_url": "https://cdn.example.com/v.mp4"}})
    assert (task.id, task.status, task.video_url) == (ID, word, "https://cdn.example.com/v.mp4")


@pytest.mark.parametrize("word", ["failed", "cancelled", "expired", "rendering"])
def test_query_reader_does_not_take_failure_from_envelope_without_id(word: str) -> None:
    with pytest.raises(QueryError):
        query({"code": 0, "msg": "ok", "data": {"status": word}})


# --- query: a task ----------------------------------------------------------------------------------------------------

COMPLETED = {
    **QUEUED,
    "status": "completed",
    "video_url": "https://cdn.example.com/v.mp4?Expires=1",
    "md5": "D41D8CD98F00B204E9800998ECF8427E",
    "progress": 100,
    "amount": "1.50",
    "actualDuration": 3.2,
}


@pytest.mark.parametrize(
    "wrap", [lambda task: task, lambda task: {"code": 0, "msg": "ok", "data": task}, lambda task: {"data": task}]
)
def test_a_completed_task(wrap: Any) -> None:
    task = query(wrap(COMPLETED))
    assert task.is_completed
    assert task.video_url == "https://cdn.example.com/v.mp4?Expires=1"
    assert task.md5 == "d41d8cd98f00b204e9800998ecf8427e"
    assert task.raw["amount"] == "1.50"


@pytest.mark.parametrize("name", ["video_url", "result_url", "videoUrl"])
def test_the_url_under_any_of_its_names(name: str) -> None:
    content = {key: value for key, value in COMPLETED.items() if key != "video_url"}
    task = query({**content, name: "https://cdn.example.com/v.mp4"})
    assert task.video_url == "https://cdn.example.com/v.mp4"
    assert task.to_dict()["video_url"] == "https://cdn.example.com/v.mp4"


@pytest.mark.parametrize("empty", [None, "", " ", 0, {}, []])
def test_f18_completed_without_a_url_is_completed_without_a_url(empty: Any) -> None:
    task = query({**COMPLETED, "video_url": empty, "result_url": empty})
    assert task.is_completed
    assert task.video_url is None
    json.dumps(task.to_dict())


@pytest.mark.parametrize("word", ["failed", "cancelled", "expired", "FAILED"])
def test_f16_an_end_without_a_video(word: str) -> None:
    task = query({**QUEUED, "status": word, "error": {"code": "X", "message": "风控拒绝", "type": "t"}})
    assert task.is_failed
    assert "风控拒绝" in str(task.error)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"code": 1001, "msg": "风控拒绝", "data": {"id": ID, "status": "failed", "error": None}}, "风控拒绝"),
        ({"msg": "风控拒绝", "data": {"id": ID, "status": "failed", "error": ""}}, "风控拒绝"),
        ({"code": 200, "msg": "success", "data": {"id": ID, "status": "failed", "msg": "no face"}}, "no face"),
        ({"id": ID, "status": "failed", "code": 1001, "message": "no face"}, "no face"),
        ({"code": 1001, "msg": "outer", "data": {"id": ID, "status": "failed", "error": "inner"}}, "inner"),
        ({"code": 200, "msg": "success", "data": {"id": ID, "status": "failed"}}, None),
        ({"id": ID, "status": "failed", "code": "0", "msg": "ok"}, None),
        ({"code": 1001, "msg": "not now", "data": {"id": ID, "status": "processing"}}, None),
    ],
)
def test_f16_the_reason_can_stand_beside_the_task(content: Any, text: str | None) -> None:
    task = query(content)
    assert task.error == text
    assert VideoTask.from_dict(json.loads(json.dumps(task.to_dict()))).error == text


@pytest.mark.parametrize("word", ["rendering", "排队中", "succeeded", "error", "500 INTERNAL_SERVER_ERROR", "in_queue"])
def test_f17_an_unknown_word_is_a_task_that_may_run(word: str) -> None:
    task = query({**QUEUED, "status": word})
    assert (task.is_failed, task.is_completed, task.is_known_status) == (False, False, False)
    assert task.status == word.lower()


@pytest.mark.parametrize("echo", [{}, {"id": ID}, {"id": f" {ID} "}, {"id": ""}, {"id": None}])
def test_the_task_keeps_the_id_that_was_asked_for(echo: Any) -> None:
    task = query({"status": "processing", "progress": 5, **echo})
    assert task.id == ID
    assert task.to_dict()["id"] == ID


# --- F26: an answer about another task, or one that repeats the request -----------------------------------------------


@pytest.mark.parametrize("wrap", [lambda task: task, lambda task: {"code": 0, "data": task}])
@pytest.mark.parametrize("other", ["OTHER", 404, "abc-1234", "ABC-123", "-"])
@pytest.mark.parametrize("word", ["queued", "processing", "completed", "failed", "cancelled", "expired", "rendering"])
def test_query_reader_ignores_answer_about_another_task(wrap: Any, other: Any, word: str) -> None:
    with pytest.raises(QueryError, match=rf"about another video task \({other}\)"):
        query(wrap({**COMPLETED, "id": other, "status": word, "error": "Not Found"}))


def test_query_reader_ignores_unknown_id_of_another_task() -> None:
    with pytest.raises(QueryError, match="about another video task"):
        query({"code": -1, "id": "OTHER", "data": None})


def test_query_reader_takes_refused_key_and_rate_limit_beside_another_id() -> None:
    with pytest.raises(AuthenticationError):
        query({**LOGIN_FAILED, "id": "req-1"})
    with pytest.raises(RateLimitError):
        query({"code": 429, "id": "req-1"})


CLIP = "https://media.example.com/person.mp4?sig=1"
RESULT = "https://cdn.example.com/v.mp4"


@pytest.mark.parametrize("word", ["processing", "completed"])
def test_reader_takes_video_url_beside_audio_url_for_clip(word: str) -> None:
    content = {"id": ID, "status": word, "audioUrl": "https://media.example.com/speech.mp3", "videoUrl": CLIP}
    for task in (query(content), create(content), query({"code": 0, "data": content})):
        assert (task.status, task.video_url) == (word, None)
        assert VideoTask.from_dict(json.loads(json.dumps(task.to_dict()))).video_url is None


@pytest.mark.parametrize("name", ["video_url", "result_url"])
def test_reader_takes_result_beside_repeated_request(name: str) -> None:
    content = {"audioUrl": "https://media.example.com/speech.mp3", "videoUrl": CLIP, name: RESULT}
    assert query({"id": ID, "status": "completed", **content}).video_url == RESULT


@pytest.mark.parametrize("audio", [None, "", 0])
def test_reader_takes_video_url_beside_empty_audio_url_for_result(audio: Any) -> None:
    assert query({"id": ID, "status": "completed", "audioUrl": audio, "videoUrl": RESULT}).video_url == RESULT


@pytest.mark.parametrize("name", ["video_url", "result_url", "videoUrl"])
@pytest.mark.parametrize("repeated", [CLIP, f" {CLIP} ", CLIP.partition("?")[0], CLIP.replace("sig=1", "sig=2")])
def test_reader_takes_sent_clip_for_no_result(name: str, repeated: str) -> None:
    it = answer({"id": ID, "status": "completed", name: repeated})
    for task in (read_query(it, ID, CLIP), read_create(it, CLIP)):
        assert (task.is_completed, task.video_url) == (True, None)
        assert task.to_dict()["video_url"] is None
    assert read_query(it, ID).video_url == repeated.strip()


def test_reader_takes_result_of_other_name_behind_sent_clip() -> None:
    it = answer({"id": ID, "status": "completed", "video_url": CLIP, "result_url": RESULT})
    assert read_query(it, ID, CLIP).video_url == RESULT
    assert read_query(answer({"id": ID, "status": "completed", "video_url": RESULT}), ID, CLIP).video_url == RESULT


def test_the_id_may_come_back_as_a_number() -> None:
    assert read_query(answer({**QUEUED, "id": 77}), "77").id == "77"


# --- query: everything else -------------------------------------------------------------------------------------------

QUERY_ERRORS: list[tuple[str, int, Any, type[DigitalHumanError]]] = [
    *(("F13", status, HTML, QueryError) for status in (200, 500, 502, 503, 504, 400, 422, 302)),
    *(("F13", status, b"", QueryError) for status in (200, 204, 500)),
    ("F13", 500, spring(500, "Internal Server Error"), QueryError),
    ("F13", 200, spring(500, "Internal Server Error"), QueryError),
    ("F13", 200, {**spring(500, "failed"), "id": ID}, QueryError),
    ("F13", 500, {**QUEUED, "status": "failed"}, QueryError),
    ("F13", 502, COMPLETED, QueryError),
    ("F13", 200, json.dumps(COMPLETED).encode()[:-1], QueryError),
    *(
        ("F13", 200, content, QueryError)
        for content in (
            *(
                {},
                [],
                [COMPLETED],
                None,
                1,
                "failed",
                {"id": ID},
                {"id": ID, "status": None},
                {"id": ID, "status": 500},
            ),
            *({"data": None}, {"code": 0, "data": {}}, {"code": 1001, "msg": "?"}, {"code": 500, "msg": "busy"}),
            # an error page is never a failed task: without the id, such a word is not believed
            *({"status": "failed", "error": "Internal Server Error"}, {"status": "expired"}, {"status": "error"}),
            *({"code": 500, "status": "processing"}, {"code": "1001", "msg": "?", "data": {"status": "completed"}}),
            *({"status": ["failed"]}, {"status": {"failed": 1}}, {"id": ID, "status": True}, {"msg": "failed"}),
        )
    ),
    ("F13", 429, b"", RateLimitError),
    ("F13", 429, QUEUED, RateLimitError),
    ("F13", 200, {"code": 429, "msg": "slow down"}, RateLimitError),
    ("F14", 200, LOGIN_FAILED, AuthenticationError),
    ("F14", 200, {"code": 204, "msg": "登录验证失败"}, AuthenticationError),
    ("F14", 200, {"code": 204, "status": "failed"}, AuthenticationError),
    ("F14", 401, AUTHENTICATION_ERROR, AuthenticationError),
    ("F14", 401, b"", AuthenticationError),
    ("F14", 403, HTML, AuthenticationError),
    ("F15", 200, {"code": -1, "data": None}, VideoTaskNotFoundError),
    ("F15", 200, {"code": "-1", "data": None}, VideoTaskNotFoundError),
    ("F15", 404, spring(404, "Not Found"), VideoTaskNotFoundError),
    ("F15", 404, {"message": "No handler found for GET /x"}, VideoTaskNotFoundError),
    ("F15", 410, b"", VideoTaskNotFoundError),
]


@pytest.mark.parametrize(("row", "http_status", "content", "expected"), QUERY_ERRORS)
def test_query_row(row: str, http_status: int, content: Any, expected: type[DigitalHumanError]) -> None:
    with pytest.raises(DigitalHumanError) as caught:
        query(content, http_status)
    assert type(caught.value) is expected, row
    assert ID in str(caught.value), "the id must not get lost"
    assert f"HTTP {http_status}" in str(caught.value)


@pytest.mark.parametrize(("http_status", "error"), [(429, RateLimitError), (503, QueryError), (200, QueryError)])
def test_a_query_error_keeps_retry_after(http_status: int, error: Any) -> None:
    with pytest.raises(error) as caught:
        query(b"", http_status, retry_after="17")
    assert caught.value.retry_after == 17


# --- Retry-After ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        *(
            ("0", 0.0),
            ("3", 3.0),
            (" 12 ", 12.0),
            ("86400", 300.0),
            ("1e300", 300.0),
            ("315360000", 300.0),
            ("300", 300.0),
            ("299.5", 299.5),
            ("1.5", 1.5),
            (None, None),
            ("", None),
            ("-1", None),
        ),
        *(("soon", None), ("nan", None), ("inf", None), ("1e999", None), ("3, 4", None), ("0x10", None)),
        *(
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
            ("Thu, 01 Jan 2099 00:00:00 GMT", 300.0),
            ("Thu, 99 Jan 2099 00:00:00 GMT", None),
            ("Mon", None),
        ),
        *(("\xe9", None), ("2099-01-01T00:00:00Z", None)),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert answer(b"", 429, **({"retry_after": header} if header is not None else {})).retry_after_seconds() == seconds


@pytest.mark.parametrize("zone", [UTC, None])
def test_retry_after_as_a_date(zone: Any) -> None:
    moment = datetime.now(UTC) + timedelta(minutes=4)
    text = format_datetime(moment, usegmt=True) if zone else format_datetime(moment.replace(tzinfo=None))
    seconds = answer(b"", 429, retry_after=text).retry_after_seconds()
    assert seconds is not None
    assert 0 < seconds <= 240


@given(st.text(max_size=40))
@example("Thu, 01 Jan 1970 00:00:00 +9999999999")
@example("1 Jan 99999999999 0:0:0")
@example("9" * 5000)
def test_any_retry_after_is_a_number_or_nothing(header: str) -> None:
    seconds = answer(b"", 429, retry_after=header).retry_after_seconds()
    assert seconds is None or 0 <= seconds < float("inf")


# --- created ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("created", [1761635478, 1761635478000, "1761635478", 1761635478.0, "1761635478000"])
def test_created_in_seconds_or_milliseconds(created: Any) -> None:
    task = create({**QUEUED, "created": created})
    assert task.created == pendulum.datetime(2025, 10, 28, 7, 11, 18, tz="UTC")
    assert task.to_dict()["created"] == "2025-10-28T07:11:18+00:00"


@pytest.mark.parametrize(
    "created",
    [None, "", "yesterday", True, [], {}, 1e300, -1e300, 10**400, "nan", "inf", "9" * 400, 1e17, -(10**15)],
)
def test_created_that_is_no_moment(created: Any) -> None:
    task = create({**QUEUED, "created": created})
    assert task.id == ID
    assert task.created is None


# --- to_dict ----------------------------------------------------------------------------------------------------------


def test_to_dict_has_the_documented_names_and_what_else_came() -> None:
    assert query(COMPLETED).to_dict() == {
        "id": ID,
        "object": "video",
        "created": "2025-10-28T07:11:18+00:00",
        "model": "kyy_digitalHuman",
        "status": "completed",
        "video_url": "https://cdn.example.com/v.mp4?Expires=1",
        "md5": "d41d8cd98f00b204e9800998ecf8427e",
        "error": None,
        "progress": 100,
        "amount": "1.50",
        "actualDuration": 3.2,
    }


def test_a_task_comes_back_from_its_dict() -> None:
    task = query(COMPLETED)
    again = VideoTask.from_dict(json.loads(json.dumps(task.to_dict())))
    assert again == task
    assert again.to_dict() == task.to_dict()


DEEP = b'{"id": "a", "status": "queued", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
NESTED = b'{"id": "a", "status": "queued", "x": ' + b'{"y": ' * 200 + b"1" + b"}" * 200 + b"}"
TRAPS = [
    *(b'{"id": "a", "status": "queued", "x": ' + b'{"y": [' * n + b"1" + b"]}" * n + b"}" for n in (12, 300, 450, 490)),
    b'{"id": "a", "status": "queued", "x": NaN, "y": Infinity, "z": -Infinity}',
    b'{"id": "a", "status": "queued", "x": 1e999, "y": [-1e999]}',
    b'{"id": "a", "status": "queued", "x": ' + b"9" * 4000 + b"}",
    b'{"id": "a", "status": "queued", "x": ' + b"9" * 5000 + b"}",
    b'{"id": ' + b"9" * 50 + b', "status": "queued"}',
    b'{"id": "a", "status": "queued", "x": 18446744073709551616, "y": [-9223372036854775809]}',
    b'{"id": "a\\u0000b", "status": "queued\\u0000", "\\u0000": "\\u0000"}',
    b'{"id": "a\\ud800", "status": "queued", "x": "\\udfff", "\\ud800": 1}',
    b'{"id": "a", "status": "queued", "error": {"code": 1e999, "message": ["\\u0000"]}}',
    b'{"id": "a", "status": "queued", "created": 1e999, "md5": 5, "model": [], "object": {}}',
    b'{"id": "a", "id": "b", "status": "queued", "status": "failed"}',
    "﻿".encode() + json.dumps(QUEUED).encode(),
    json.dumps(QUEUED).encode("utf-16"),
    json.dumps(QUEUED).encode("utf-32"),
    '{"id": "é"}'.encode("latin-1"),
    b"\xff\xfe",
    DEEP,
    NESTED,
]


@pytest.mark.parametrize("body", TRAPS, ids=range(len(TRAPS)))
def test_traps_are_a_storable_task_or_a_typed_error(body: bytes) -> None:
    for read in (read_create, lambda it: read_query(it, "a")):
        try:
            task = read(Answer(200, body))
        except DigitalHumanError as error:
            message = str(error)
            assert message.isprintable()
        else:
            check_storable(task)


@pytest.mark.parametrize("http_status", [200, 500])
def test_nothing_unprintable_in_a_message(http_status: int) -> None:
    with pytest.raises(DigitalHumanError) as caught:
        create(b"\x00\x1b[31m\xff\r\n<html>\x07", http_status)
    assert str(caught.value).isprintable()


# --- properties -------------------------------------------------------------------------------------------------------


def check_storable(task: VideoTask) -> None:
    """Any XCom database can keep the dict, and Airflow's processes can tell it each other.

    That is, strict JSON without NUL, lone surrogates and integers beyond 64 bits.
    """
    assert isinstance(task.id, str)
    assert task.id
    assert isinstance(task.status, str)
    text = json.dumps(task.to_dict(), allow_nan=False)
    assert "\\u0000" not in text
    assert json.loads(text, parse_int=of_64_bits) == task.to_dict()
    json.dumps(task.to_dict(), ensure_ascii=False).encode("utf-8")
    repr(task)
    assert VideoTask.from_dict(task.to_dict()).to_dict() == task.to_dict()


def of_64_bits(digits: str) -> int:
    assert -(2**63) <= int(digits) < 2**64
    return int(digits)


def read_both(it: Answer) -> None:
    """Neither reader raises anything but its own errors, and each documented kind only."""
    try:
        check_storable(read_create(it))
    except (
        AuthenticationError,
        InsufficientBalanceError,
        RateLimitError,
        RequestRefusedError,
        SubmissionUnknownError,
    ) as error:
        str(error).encode("utf-8")
    try:
        check_storable(read_query(it, ID))
    except (AuthenticationError, VideoTaskNotFoundError, RateLimitError, QueryError) as error:
        str(error).encode("utf-8")


@given(body=st.binary(max_size=200), http_status=statuses, retry_after=headers, location=headers)
def test_any_bytes(body: bytes, http_status: int, retry_after: str | None, location: str | None) -> None:
    read_both(Answer(http_status, body, retry_after, location))


@given(content=objects, http_status=statuses, retry_after=headers, ascii_only=st.booleans())
def test_any_object(content: Any, http_status: int, retry_after: str | None, ascii_only: bool) -> None:
    body = json.dumps(content, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    read_both(Answer(http_status, body, retry_after))


@given(
    content=st.dictionaries(names.filter(lambda name: name not in ("data", "id")), values, max_size=8),
    http_status=statuses,
)
def test_nothing_without_an_id_is_a_failed_or_accepted_task(content: Mapping[str, Any], http_status: int) -> None:
    it = Answer(http_status, json.dumps(content).encode())
    with pytest.raises(DigitalHumanError):
        read_create(it)
    try:
        task = read_query(it, ID)
    except DigitalHumanError:
        return
    assert not task.is_failed
    assert isinstance(content["status"], str)


@given(
    content=objects,
    numeric=st.one_of(st.integers(), st.floats(allow_nan=False), st.booleans(), st.none()),
    http_status=statuses,
)
def test_a_status_that_is_no_string_is_never_a_state(content: Any, numeric: Any, http_status: int) -> None:
    page = {**content, "status": numeric, "data": None}
    with pytest.raises(DigitalHumanError):
        read_query(Answer(http_status, json.dumps(page).encode()), ID)
    with contextlib.suppress(DigitalHumanError):
        assert not read_create(Answer(http_status, json.dumps(page).encode())).is_failed


@given(content=objects, http_status=st.integers(300, 599))
def test_an_http_error_is_never_a_state(content: Any, http_status: int) -> None:
    for whole in (content, {**COMPLETED, **content}, {**QUEUED, "status": "failed"}):
        with pytest.raises(DigitalHumanError):
            read_query(Answer(http_status, json.dumps(whole).encode()), ID)
        with pytest.raises(DigitalHumanError):
            read_create(Answer(http_status, json.dumps(whole).encode()))


@given(cut=st.integers(0, len(json.dumps(COMPLETED)) - 1))
def test_no_part_of_an_answer_is_taken_for_the_whole(cut: int) -> None:
    body = json.dumps(COMPLETED).encode()[:cut]
    with pytest.raises(SubmissionUnknownError):
        read_create(Answer(200, body))
    with pytest.raises(QueryError):
        read_query(Answer(200, body), ID)


@given(content=objects, http_status=st.sampled_from([400, 401, 402, 403, 404, 405, 413, 415, 422, 429, 301, 307, 308]))
def test_proof_that_nothing_was_accepted_never_comes_with_a_task(content: Any, http_status: int) -> None:
    """Where another POST is allowed, no accepted task may be in the answer."""
    whole = {**content, "id": ID, "status": "queued", "data": None}
    with pytest.raises(SubmissionUnknownError):
        read_create(Answer(http_status, json.dumps(whole).encode()))


# --- the key, should a server echo it ---------------------------------------------------------------------------------

KEY = "sk-4f1d-this-is-the-key-9c2b"


@pytest.mark.parametrize(
    "content",
    [
        {"msg": f"bad key {KEY}"},
        {"code": 1001, "msg": KEY},
        {"code": KEY},
        {KEY: 1},
        {"error": {"code": "AuthenticationError", "message": f"Bearer {KEY}"}},
        {**QUEUED, "echo": KEY, KEY: [KEY, {"x": KEY}]},
        {**QUEUED, "status": "failed", "error": {"message": KEY}},
        {**QUEUED, "status": KEY, "model": KEY, "object": KEY, "md5": KEY, "error": KEY},
        {**COMPLETED, "video_url": f"https://cdn.example.com/{KEY}"},
        {"id": KEY, "status": "queued"},
        f"<html>{KEY}</html>".encode(),
        b'{"msg": "' + KEY.replace("-", "\\u002d").encode() + b'"}',
    ],
)
@pytest.mark.parametrize("http_status", [200, 401, 404, 429, 500])
def test_an_echoed_key_is_shown_nowhere(content: Any, http_status: int) -> None:
    it = answer(content, http_status, secret=KEY, location=f"https://elsewhere.example.com/{KEY}")
    shown = [repr(it), it.describe(), it.target()]
    for read in (read_create, lambda it: read_query(it, ID)):
        try:
            task = read(it)
        except DigitalHumanError as error:
            shown.append(str(error))
        else:
            shown += [repr(task), json.dumps(task.to_dict()), repr(task.raw)]
    assert not [text for text in shown if KEY in text]


@pytest.mark.parametrize("short", ["id", "video", "status", "demo", "a", "1", "sandbox", "abc-123", "e", "completed"])
def test_a_short_key_spoils_no_answer(short: str) -> None:
    content = {**COMPLETED, "video_url": "http://127.0.0.1:1/sandbox/demo/video.mp4?id=1"}
    task = query(content, secret=short)
    assert (task.id, task.is_completed, task.video_url) == (ID, True, content["video_url"])
    assert task.created == query(content).created
    assert create(content, secret=short).id == ID
    failed = query({**QUEUED, "status": "failed", "error": "no"}, secret=short)
    assert failed.is_failed
    assert failed.error is not None


@pytest.mark.parametrize("short", ["zzz", "sk-secret"])
def test_a_short_key_is_hidden_where_people_read(short: str) -> None:
    failed = query({**QUEUED, "status": "failed", "error": f"bad {short}", "msg": short, short: [short]}, secret=short)
    assert failed.error == "bad ***"
    assert short not in json.dumps(failed.to_dict())
    with pytest.raises(RequestRefusedError) as caught:
        create({"code": short, "msg": short, "error": {"message": short}}, secret=short)
    assert short not in str(caught.value)
