"""IDs where nobody looks: in the head of an answer, and under a name that stands twice."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_digitalhuman.api.answer import Answer
from airflow_provider_digitalhuman.api.head import header_ids
from airflow_provider_digitalhuman.api.reader import read_create
from airflow_provider_digitalhuman.exceptions import (
    AuthenticationError,
    DigitalHumanError,
    RateLimitError,
    RequestRefusedError,
    SubmissionUnknownError,
)

ID = "abc-123"


def wire(*lines: str, status: int = 429, body: bytes = b'{"msg": "slow down"}', end: str = "\r\n") -> Answer:
    head = end.join([f"HTTP/1.1 {status} Some Words", "Content-Type: application/json", *lines, "", ""])
    location = next((line.partition(": ")[2] for line in lines if line.lower().startswith("location:")), None)
    return Answer(status, body, location=location, wire=head.encode("latin-1") + body)


NAMING = [
    *(f"X-Task-Id: {ID}", f"x-taskid: {ID}", f"Task-ID:{ID}", f"X-DigitalHuman-Video-Id: {ID}", f"X-Job_Id: {ID} "),
    *(f"Location: /v1/result/{ID}", f"Location: https://h/kyyReactApiServer/v1/result/{ID}?token=x"),
    *(f"Location: /v1/digitalHuman/videos/{ID}/", f"location: /v1/status?taskId={ID}&x=1", f"Location: /?id={ID}"),
    *(f"Content-Location: /v1/result/{ID}", f"Operation-Location: https://h/operations/{ID}"),
    *(f'Link: </v1/result/{ID}>; rel="status"', f"Refresh: 5; url=/v1/result/{ID}", f"X-Project-Id: {ID}"),
]


@pytest.mark.parametrize("line", NAMING)
@pytest.mark.parametrize("status", [429, 400, 401, 404, 308])
def test_create_reader_takes_task_that_head_names_for_unknown(line: str, status: int) -> None:
    for end in ("\r\n", "\n"):
        for body in (b'{"msg": "slow down"}', b"", b"<html>", b'{"data": null}'):
            with pytest.raises(SubmissionUnknownError) as caught:
                read_create(wire(line, status=status, body=body, end=end))
            assert caught.value.video_task_id == ID


def test_create_reader_takes_task_that_location_names_for_unknown_without_the_wire() -> None:
    with pytest.raises(SubmissionUnknownError) as caught:
        read_create(Answer(429, b"", location=f"/v1/result/{ID}"))
    assert caught.value.video_task_id == ID


def test_create_reader_names_id_of_head_where_the_body_is_broken() -> None:
    with pytest.raises(SubmissionUnknownError) as caught:
        read_create(wire(f"X-Task-Id: {ID}", status=502, body=b"<html>"))
    assert caught.value.video_task_id == ID


@pytest.mark.parametrize(
    ("line", "status", "kind"),
    [
        *((f"{name}: {ID}", 429, RateLimitError) for name in ("X-Request-Id", "X-Trace-Id", "X-B3-TraceId", "ETag")),
        *((f"{name}: {ID}", 429, RateLimitError) for name in ("X-Log-Id", "Set-Cookie", "X-Taskid-Format", "Via")),
        *(("Location: /v1/digitalHuman/videos", status, RequestRefusedError) for status in (301, 307, 308)),
        ("Location: https://h/projects/p/videos/v1/digitalHuman/videos/", 308, RequestRefusedError),
        ("Location: https://login.example.com/", 401, AuthenticationError),
        ("X-Task-Id:", 429, RateLimitError),
        ("X-Task-Id:  ", 429, RateLimitError),
    ],
)
def test_create_reader_takes_other_heads_for_what_they_are(
    line: str, status: int, kind: type[DigitalHumanError]
) -> None:
    with pytest.raises(kind):
        read_create(wire(line, status=status))


def test_head_behind_an_interim_answer_is_read() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
    final = wire(f"X-Task-Id: {ID}", f"X-Task-Id: {ID}", body=b"HTTP/1.1 200 OK\r\nX-Task-Id: b\r\n\r\n").wire
    assert header_ids(final) == header_ids(interim + final) == header_ids(interim + interim + final) == (ID,)
    assert header_ids(b"HTTP/1.1 103 Early\r\nX-Task-Id: cut") == ("cut",)
    assert header_ids(b"HTTP/1.1 429 X-Task-Id: 7\r\nETag: 1\r\n\r\n") == ()
    assert header_ids(b"HTTP/1.1 200 OK\r\n\r\nX-Task-Id: in the body\r\n\r\n") == ()
    assert header_ids(b"HTTP/1.1 429 No\r\nX-Task-Id:\r\n  abc\r\n\r\n") == ("abc",)
    assert header_ids(b"HTTP/1.1 429 No\r\nX-Task-Id: cut") == ("cut",)
    assert header_ids(b"", "/v1/result/a%2Fb") == ("a/b",)


@given(st.binary(max_size=200), st.none() | st.text(max_size=50))
def test_any_head_is_read(data: bytes, location: str | None) -> None:
    assert all(isinstance(value, str) for value in header_ids(b"HTTP/1.1 " + data, location))


# --- a name that stands twice -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b'{"id":"abc-123","id":null}',
        b'{"id":null,"id":"abc-123"}',
        b'{"ID":"abc-123","id":null}',
        b'{"data":{"id":"abc-123","id":""}}',
        b'{"data":{"id":"abc-123"},"data":null}',
        b'{"data":"{\\"id\\":\\"abc-123\\",\\"id\\":null}"}',
        b'{"taskId":"abc-123","taskId":null}',
        b'{"id":"abc-123","status":"queued","status":null,"id":null}',
    ],
)
@pytest.mark.parametrize("status", [429, 200])
def test_create_reader_takes_id_of_a_name_that_stands_twice_for_unknown(status: int, body: bytes) -> None:
    if status == 200 and body.endswith(b'"id":"abc-123"}'):
        assert read_create(Answer(200, body)).id == ID
        return
    with pytest.raises(SubmissionUnknownError) as caught:
        read_create(Answer(status, body))
    assert caught.value.video_task_id == ID


@pytest.mark.parametrize(
    "body",
    [
        b'{"code":1001,"code":null}',
        b'{"code":0,"code":1001}',
        b'{"msg":"x","code":429,"code":1}',
        b'{"a":[{"b":1,"b":2}]}',
    ],
)
@pytest.mark.parametrize("status", [200, 400, 429])
def test_answer_that_contradicts_itself_proves_no_refusal(status: int, body: bytes) -> None:
    with pytest.raises(SubmissionUnknownError):
        read_create(Answer(status, body))


@pytest.mark.parametrize(("body", "kind"), [(b'{"id":null,"id":null,"msg":"x","msg":"x"}', RateLimitError)])
def test_equal_values_of_a_name_contradict_nothing(body: bytes, kind: Any) -> None:
    with pytest.raises(kind):
        read_create(Answer(429, body))
