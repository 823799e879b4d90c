"""The hook's promises to its callers: bounded attempts, the observer's order of events, the connection test."""

import http.client
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import requests
import urllib3.util.connection
from airflow.providers.common.compat.sdk import AirflowNotFoundException, AirflowTaskTimeout

from airflow_provider_digitalhuman import exceptions
from airflow_provider_digitalhuman.api.answer import Answer
from airflow_provider_digitalhuman.api.request import VideoRequest
from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.connection import monitor, transport
from airflow_provider_digitalhuman.exceptions import (
    AuthenticationError,
    DigitalHumanError,
    InsufficientBalanceError,
    InvalidConnectionError,
    InvalidRequestError,
    QueryError,
    RateLimitError,
    RequestChangedError,
    RequestRefusedError,
    ServiceUnreachableError,
    SubmissionUnknownError,
    VideoTaskNotFoundError,
)
from airflow_provider_digitalhuman.hooks import digitalhuman as hook_module
from airflow_provider_digitalhuman.hooks.digitalhuman import DigitalHumanHook
from tests.support.raw_server import PATIENCE, Peer, RawServer, answering, http_answer

Connect = Callable[..., DigitalHumanHook]
Serve = Callable[..., RawServer]

REQUEST = VideoRequest("https://media.example.com/speech.mp3", "https://media.example.com/person.mp4")
QUEUED = http_answer(200, '{"id": "abc", "status": "queued"}')
PROCESSING = http_answer(200, '{"id": "abc", "status": "processing"}')
LOGIN_FAILED = http_answer(200, '{"code": "204", "msg": "登录验证失败"}')
UNKNOWN_ID = http_answer(200, '{"code": -1, "data": null}')
MOST_ATTEMPTS = 10


def too_many(**headers: str) -> bytes:
    return http_answer(429, '{"code": 429, "msg": "slow down"}', **headers)


# --- what the hook is -------------------------------------------------------------------------------------------------


def test_names_that_are_fixed() -> None:
    assert DigitalHumanHook.conn_type == "digitalhuman"
    assert DigitalHumanHook.default_conn_name == "digitalhuman_default"
    assert DigitalHumanHook.conn_name_attr == "digitalhuman_conn_id"
    assert DigitalHumanHook.hook_name == "DigitalHuman"
    assert DigitalHumanHook().digitalhuman_conn_id == "digitalhuman_default"
    assert DigitalHumanHook(**{DigitalHumanHook.conn_name_attr: "other"}).digitalhuman_conn_id == "other"


def test_building_a_hook_reads_no_connection() -> None:
    with DigitalHumanHook("no_such_connection"):
        pass


def test_a_media_host_that_the_api_cannot_reach_is_refused_before_anything_is_sent(connect: Connect) -> None:
    private = VideoRequest("http://192.168.1.1/a.mp3", REQUEST.video_url)
    observer = Ledger()
    with pytest.raises(InvalidRequestError, match="audio_url"):
        connect().create_video(private, observer)  # to the vendor's own address: nothing may be sent from here
    assert observer.events == []


# --- F9: 429 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["3", "3.0", None])
def test_f9_is_sent_again_after_the_wait(
    connect: Connect, serve: Serve, waits: list[float], header: str | None
) -> None:
    answer = too_many(**({"retry_after": header} if header else {}))
    server = serve(answering(answer, answer, QUEUED))
    assert connect(server.url).create_video(REQUEST).id == "abc"
    assert server.posts == 3
    assert len(waits) == 2
    assert all(wait >= (3 if header else 0.5) for wait in waits)
    assert waits[1] >= waits[0]


def test_f9_the_log_names_the_wait(
    connect: Connect, serve: Serve, waits: list[float], everything_logged: Callable[[], str]
) -> None:
    server = serve(answering(too_many(retry_after="77"), QUEUED))
    connect(server.url).create_video(REQUEST)
    assert "77.0 s" in everything_logged()


def test_f9_with_a_date(connect: Connect, serve: Serve, waits: list[float]) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=90)
    server = serve(answering(too_many(retry_after=format_datetime(moment, usegmt=True)), QUEUED))
    assert connect(server.url).create_video(REQUEST).id == "abc"
    assert 30 < waits[0] <= 91


@pytest.mark.parametrize("header", ["soon", "-5", "Thu, 01 Jan 1970 00:00:00 GMT", "nan"])
def test_f9_with_a_header_that_makes_no_sense(connect: Connect, serve: Serve, waits: list[float], header: str) -> None:
    server = serve(answering(too_many(retry_after=header), QUEUED))
    assert connect(server.url).create_video(REQUEST).id == "abc"
    assert 0.5 <= waits[0] <= 10


@pytest.mark.parametrize("body", ['{"status":"queued"}', '{"data":{"status":"processing"}}', '{"status":"completed"'])
def test_hook_sends_no_second_post_after_rate_limit_with_status_of_task(
    connect: Connect, serve: Serve, waits: list[float], body: str
) -> None:
    server = serve(answering(http_answer(429, body), QUEUED))
    with pytest.raises(SubmissionUnknownError):
        connect(server.url).create_video(REQUEST, Ledger())
    assert server.posts == 1
    assert waits == []


@pytest.mark.parametrize(
    "answer",
    [
        http_answer(429, '{"id":"abc","id":null}'),
        http_answer(429, '{"msg":"slow down"}', x_task_id="abc"),
        http_answer(429, "", location="/kyyReactApiServer/v1/result/abc"),
        http_answer(429, "<html>slow down</html>", content_type="text/html", operation_location="/v1/result/abc"),
        http_answer(200, '{"code":429}', x_video_id="abc"),
    ],
)
def test_hook_sends_no_second_post_after_rate_limit_that_names_task(
    connect: Connect, serve: Serve, waits: list[float], answer: bytes
) -> None:
    server = serve(answering(answer, QUEUED))
    observer = Ledger()
    with pytest.raises(SubmissionUnknownError) as caught:
        connect(server.url).create_video(REQUEST, observer)
    assert caught.value.video_task_id == "abc"
    assert server.posts == 1
    assert observer.names == ["sending", "outcome_unknown"]
    assert waits == []


@pytest.mark.parametrize("content_type", ["application/json;charset=GBK", "application/json"])
def test_hook_reads_gbk(connect: Connect, serve: Serve, content_type: str) -> None:
    refused = '{"code": 1001, "msg": "素材 URL 无法访问"}'.encode("gbk")
    failed = '{"id": "abc", "status": "failed", "error": "风控拒绝"}'.encode("gbk")
    answers = [http_answer(200, body, content_type=content_type) for body in (refused, failed)]
    server = serve(answering(*answers))
    with connect(server.url) as hook:
        with pytest.raises(RequestRefusedError, match=r"素材 URL 无法访问.*media URL cannot be reached"):
            hook.create_video(REQUEST)
        assert hook.get_video("abc").error == "风控拒绝"


def test_f9_in_the_body_alone(connect: Connect, serve: Serve, waits: list[float]) -> None:
    server = serve(answering(http_answer(200, '{"code": "429", "msg": "slow down"}', retry_after="2"), QUEUED))
    assert connect(server.url).create_video(REQUEST).id == "abc"
    assert waits[0] >= 2


@pytest.mark.parametrize("header", [None, "2", "100"])
def test_f9_is_bounded(connect: Connect, serve: Serve, waits: list[float], header: str | None) -> None:
    server = serve(answering(too_many(**({"retry_after": header} if header else {}))))
    observer = Ledger()
    with pytest.raises(RateLimitError):
        connect(server.url).create_video(REQUEST, observer)
    assert 1 < server.posts == len(waits) + 1 <= MOST_ATTEMPTS
    assert observer.names == ["sending", "not_accepted"] * server.posts


def test_f9_a_long_wait_is_left_to_airflow(connect: Connect, serve: Serve, waits: list[float]) -> None:
    server = serve(answering(too_many(retry_after="3000")))
    with pytest.raises(RateLimitError) as caught:
        connect(server.url).create_video(REQUEST)
    assert caught.value.retry_after == 300
    assert server.posts == 1
    assert waits == []


def test_f9_then_an_unknown_outcome_ends_it(connect: Connect, serve: Serve, waits: list[float]) -> None:
    server = serve(answering(too_many(), http_answer(502, "<html>")))
    observer = Ledger()
    with pytest.raises(SubmissionUnknownError):
        connect(server.url).create_video(REQUEST, observer)
    assert server.posts == 2
    assert observer.names == ["sending", "not_accepted", "sending", "outcome_unknown"]


def test_f9_with_an_id_is_not_sent_again(connect: Connect, serve: Serve, waits: list[float]) -> None:
    server = serve(answering(http_answer(429, '{"id": "abc"}')))
    with pytest.raises(SubmissionUnknownError, match="abc"):
        connect(server.url).create_video(REQUEST)
    assert server.posts == 1


# --- one POST for every other answer ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (LOGIN_FAILED, AuthenticationError),
        (http_answer(401), AuthenticationError),
        (http_answer(403), AuthenticationError),
        (http_answer(402), InsufficientBalanceError),
        (http_answer(200, '{"code": 1002, "msg": "余额不足"}'), InsufficientBalanceError),
        (http_answer(200, '{"code": 1001, "msg": "素材 URL 无法访问", "data": null}'), RequestRefusedError),
        *((http_answer(status), RequestRefusedError) for status in (400, 404, 405, 413, 415, 422)),
        *((http_answer(status), SubmissionUnknownError) for status in (500, 502, 503, 504)),
        (http_answer(200, '{"msg": "缺少必填参数: prompt"}'), SubmissionUnknownError),
    ],
)
def test_one_post(
    connect: Connect, serve: Serve, waits: list[float], answer: bytes, expected: type[DigitalHumanError]
) -> None:
    server = serve(answering(answer))
    observer = Ledger()
    with pytest.raises(DigitalHumanError) as caught:
        connect(server.url).create_video(REQUEST, observer)
    assert type(caught.value) is expected
    assert server.posts == 1
    assert waits == []
    told = "outcome_unknown" if expected is SubmissionUnknownError else "not_accepted"
    assert observer.names == ["sending", told]
    assert observer.events[-1][1] is caught.value


def test_one_post_where_it_is_accepted(connect: Connect, serve: Serve) -> None:
    server = serve(answering(QUEUED))
    observer = Ledger()
    task = connect(server.url).create_video(REQUEST, observer)
    assert server.posts == 1
    assert observer.events == [("sending", None), ("accepted", task)]


def test_f11_failed_at_once_is_accepted_all_the_same(connect: Connect, serve: Serve) -> None:
    server = serve(answering(http_answer(200, '{"id": "abc", "status": "failed", "error": "风控拒绝"}')))
    observer = Ledger()
    task = connect(server.url).create_video(REQUEST, observer)
    assert task.is_failed
    assert observer.names == ["sending", "accepted"]


# --- the observer -----------------------------------------------------------------------------------------------------


class Ledger:
    """An observer that notes what it is told, and can fail at a step.

    :param server: to note how many POSTs had arrived.
    """

    def __init__(self, fail_at: str = "", server: RawServer | None = None) -> None:
        self.events: list[tuple[str, Any]] = []
        self.posts: list[int] = []
        self._fail_at = fail_at
        self._server = server

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.events]

    def _note(self, name: str, what: Any = None) -> None:
        self.events.append((name, what))
        if self._server:
            self.posts.append(self._server.posts)
        if name == self._fail_at:
            raise LedgerIsDownError(name)

    def sending(self) -> None:
        self._note("sending")

    def not_accepted(self, why: DigitalHumanError) -> None:
        self._note("not_accepted", why)

    def outcome_unknown(self, why: SubmissionUnknownError) -> None:
        self._note("outcome_unknown", why)

    def accepted(self, task: VideoTask) -> None:
        self._note("accepted", task)


class LedgerIsDownError(Exception):
    """Not one of the provider's own."""


def test_every_step_is_told_before_the_next_is_taken(connect: Connect, serve: Serve, waits: list[float]) -> None:
    server = serve(answering(too_many(), too_many(), QUEUED))
    observer = Ledger(server=server)
    connect(server.url).create_video(REQUEST, observer)
    assert observer.names == ["sending", "not_accepted"] * 2 + ["sending", "accepted"]
    assert observer.posts == [0, 1, 1, 2, 2, 3]


def test_an_intent_that_cannot_be_written_down_prevents_the_post(
    connect: Connect, serve: Serve, waits: list[float]
) -> None:
    server = serve(answering(QUEUED))
    with pytest.raises(LedgerIsDownError):
        connect(server.url).create_video(REQUEST, Ledger(fail_at="sending"))
    assert server.connections == 0
    assert waits == []


@pytest.mark.parametrize(
    ("step", "answer"),
    [
        ("accepted", QUEUED),
        ("not_accepted", too_many()),
        ("not_accepted", http_answer(400)),
        ("outcome_unknown", http_answer(502)),
    ],
)
def test_an_outcome_that_cannot_be_written_down_ends_it(
    connect: Connect, serve: Serve, waits: list[float], step: str, answer: bytes
) -> None:
    server = serve(answering(answer))
    with pytest.raises(LedgerIsDownError):
        connect(server.url).create_video(REQUEST, Ledger(fail_at=step))
    assert server.posts == 1


# --- whatever is raised -----------------------------------------------------------------------------------------------

INTERRUPTIONS = [KeyboardInterrupt, SystemExit, AirflowTaskTimeout]
RAISED = [*INTERRUPTIONS, TypeError, MemoryError, RecursionError, OSError, LedgerIsDownError, InvalidConnectionError]
REFUSED = http_answer(400)


def is_interruption(error: type[BaseException]) -> bool:
    return not issubclass(error, Exception)


@pytest.mark.parametrize("error", RAISED)
@pytest.mark.parametrize("place", ["intent", "body", "json", "adapter", "headers", "pool", "network"])
def test_exception_before_first_byte_releases_record(
    connect: Connect,
    serve: Serve,
    waits: list[float],
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    error: type[BaseException],
) -> None:
    server = serve(answering(QUEUED))
    hook, observer = connect(server.url), Ledger()
    owner, name = {
        "intent": (Ledger, "sending"),
        "body": (VideoRequest, "body"),
        "json": (transport.json, "dumps"),
        "adapter": (transport.Transport, "_adapter"),
        "headers": (transport.Transport, "_headers"),
        "pool": (requests.adapters.HTTPAdapter, "send"),
        "network": (urllib3.util.connection, "create_connection"),
    }[place]
    monkeypatch.setattr(owner, name, _raise(error))
    # What an HTTP library raises means that the API cannot be reached, which is tried again.
    is_wrapped = place in ("pool", "network") and not is_interruption(error)
    with pytest.raises(ServiceUnreachableError if is_wrapped else error):
        hook.create_video(REQUEST, observer)
    assert server.posts == 0
    assert set(observer.names) - {"sending"} == {"not_accepted"}
    assert len(waits) == (4 if is_wrapped else 0)


@pytest.mark.parametrize("error", RAISED)
def test_failed_release_is_only_logged_and_original_error_raised(
    connect: Connect,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    everything_logged: Callable[[], str],
    error: type[BaseException],
) -> None:
    server = serve(answering(QUEUED))
    hook, observer = connect(server.url), Ledger(fail_at="not_accepted")
    monkeypatch.setattr(Ledger, "sending", _raise(error))
    with pytest.raises(error):
        hook.create_video(REQUEST, observer)
    assert server.posts == 0
    assert observer.names == ["not_accepted"]
    assert "not_accepted" in everything_logged()  # the words of LedgerIsDownError


@pytest.mark.parametrize("error", RAISED)
@pytest.mark.parametrize("place", ["head", "body", "end", "decoding"])
def test_exception_after_first_byte_is_unknown_outcome(
    connect: Connect, serve: Serve, waits: list[float], monkeypatch: pytest.MonkeyPatch, place: str, error: Any
) -> None:
    arrived = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        arrived.set()
        peer.send(QUEUED)

    def raise_when_arrived(*_: Any, **__: Any) -> None:
        arrived.wait(PATIENCE)
        raise error

    server = serve(script)
    hook, observer = connect(server.url), Ledger()
    owner, name = {
        "head": (http.client.HTTPResponse, "begin"),
        "body": (transport, "pieces"),
        "end": (monitor.RequestMonitor, "finish"),
        "decoding": (monitor, "decoded"),
    }[place]
    monkeypatch.setattr(owner, name, raise_when_arrived)
    with pytest.raises(error if is_interruption(error) else SubmissionUnknownError):
        hook.create_video(REQUEST, observer)
    assert server.posts == 1
    assert observer.names == ["sending", "outcome_unknown"]
    assert error.__name__ in str(observer.events[-1][1])
    assert waits == []


@pytest.mark.parametrize("error", RAISED)
@pytest.mark.parametrize("answer", [QUEUED, too_many(), REFUSED])
@pytest.mark.parametrize("place", ["json_object", "describe"])
def test_fault_of_reader_is_unknown_outcome(
    connect: Connect,
    serve: Serve,
    waits: list[float],
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    answer: bytes,
    error: Any,
) -> None:
    if place == "describe" and answer is QUEUED:
        place = "storable_id"  # nothing is shown of an acceptance
        answer = http_answer(200, '{"code": 0, "data": {"taskId": "T"}}')
    server = serve(answering(answer))
    hook, observer = connect(server.url), Ledger()
    monkeypatch.setattr(Answer, place, _raise(error))
    with pytest.raises(error if is_interruption(error) else SubmissionUnknownError):
        hook.create_video(REQUEST, observer)
    assert server.posts == 1
    assert observer.names == ["sending", "outcome_unknown"]
    assert waits == []


@pytest.mark.parametrize("error", INTERRUPTIONS)
@pytest.mark.parametrize("place", ["close", "read"])
@pytest.mark.parametrize(
    ("answer", "step"), [(QUEUED, "accepted"), (REFUSED, "not_accepted"), (http_answer(502), "outcome_unknown")]
)
def test_interruption_loses_no_answer_that_is_there(
    connect: Connect,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    answer: bytes,
    step: str,
    error: type[BaseException],
) -> None:
    """A time-out of Airflow's comes when the answer is whole, and nobody has read it yet."""
    server = serve(answering(answer))
    hook, observer = connect(server.url), Ledger()
    owner, name = {"close": (requests.Response, "close"), "read": (hook_module, "read_create")}[place]
    monkeypatch.setattr(owner, name, _raise(error))
    with pytest.raises(error):
        hook.create_video(REQUEST, observer)
    assert server.posts == 1
    assert observer.names == ["sending", step]
    if step == "accepted":
        assert observer.events[-1][1].id == "abc"


@pytest.mark.parametrize("error", INTERRUPTIONS)
def test_interruption_in_middle_of_answer_keeps_id_that_was_read(
    connect: Connect, serve: Serve, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    server = serve(answering(http_answer(200, '{"id": "T-1", "status": "queued"' + " " * 100 + "}")))
    hook, observer = connect(server.url), Ledger()
    pieces = transport.pieces

    def first_piece_only(answer: requests.Response) -> Any:
        for piece in pieces(answer):
            yield piece[:60]
            raise error

    monkeypatch.setattr(transport, "pieces", first_piece_only)
    with pytest.raises(error):
        hook.create_video(REQUEST, observer)
    assert server.posts == 1
    assert observer.names == ["sending", "outcome_unknown"]
    assert observer.events[-1][1].video_task_id == "T-1"


@pytest.mark.parametrize("error", INTERRUPTIONS)
@pytest.mark.parametrize(("answer", "step"), [(QUEUED, "accepted"), (http_answer(502), "outcome_unknown")])
def test_interrupted_write_of_outcome_is_made_again(
    connect: Connect,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    answer: bytes,
    step: str,
    error: type[BaseException],
) -> None:
    server = serve(answering(answer))
    hook, observer = connect(server.url), Ledger()
    written = getattr(Ledger, step)
    interruptions = iter([error])

    def interrupted_once(self: Ledger, what: Any) -> None:
        for interruption in interruptions:
            raise interruption
        written(self, what)

    monkeypatch.setattr(Ledger, step, interrupted_once)
    with pytest.raises(error):
        hook.create_video(REQUEST, observer)
    assert server.posts == 1
    assert observer.names == ["sending", step]


@pytest.mark.parametrize("error", [TypeError, AirflowTaskTimeout])
def test_key_in_words_of_exception_is_not_written_down(
    connect: Connect, serve: Serve, monkeypatch: pytest.MonkeyPatch, key: str, error: type[BaseException]
) -> None:
    def reveal(*_: Any) -> None:
        raise error(f"no such header: Bearer {key}")

    server = serve(answering(QUEUED))
    for owner, name in ((transport.Transport, "_headers"), (monitor.RequestMonitor, "finish")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, reveal)
            observer = Ledger()
            with pytest.raises((error, SubmissionUnknownError)):
                connect(server.url).create_video(REQUEST, observer)
            assert key not in str(observer.events[-1][1])
            assert "no such header" in str(observer.events[-1][1])


@pytest.mark.parametrize("password", ["p%C3%A4ss", "p%FCss", "%E5%AF%86%E7%A0%81"])
@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
def test_proxy_login_outside_ascii_is_refused_before_intent(
    connect: Connect, serve: Serve, password: str, scheme: str
) -> None:
    proxy = serve(answering(QUEUED))
    observer = Ledger()
    proxies = f"{scheme}://user:{password}@127.0.0.1:{proxy.port}"
    with pytest.raises(InvalidConnectionError, match="outside ASCII") as caught:
        connect("http://api.example.com", extra={"proxies": proxies}).create_video(REQUEST, observer)
    assert password not in str(caught.value)
    assert observer.events == []
    assert proxy.connections == 0


def _raise(error: type[BaseException]) -> Callable[..., None]:
    def raising(*args: Any, **kwargs: Any) -> None:
        raise error

    return raising


# --- get_video --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        LOGIN_FAILED,
        UNKNOWN_ID,
        too_many(),
        http_answer(401),
        http_answer(404),
        http_answer(500),
        http_answer(200, "<html>"),
        http_answer(200),
        http_answer(200, '{"id": "abc", "status"'),
    ],
)
def test_a_query_is_repeated_and_the_task_lives_on(
    connect: Connect, serve: Serve, waits: list[float], answer: bytes
) -> None:
    server = serve(answering(answer, answer, PROCESSING))
    assert connect(server.url).get_video("abc").status == "processing"
    assert len(server.requests) == 3
    assert len(waits) == 2
    assert all(wait >= 0.5 for wait in waits)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (LOGIN_FAILED, AuthenticationError),
        (http_answer(401), AuthenticationError),
        (UNKNOWN_ID, VideoTaskNotFoundError),
        (http_answer(404), VideoTaskNotFoundError),
        (too_many(), RateLimitError),
        (http_answer(500), QueryError),
        (http_answer(200, "<html>"), QueryError),
    ],
)
def test_a_query_is_not_repeated_for_ever(
    connect: Connect, serve: Serve, waits: list[float], answer: bytes, expected: type[DigitalHumanError]
) -> None:
    server = serve(answering(answer))
    with pytest.raises(expected, match="abc"):
        connect(server.url).get_video("abc")
    assert 1 < len(server.requests) == len(waits) + 1 <= MOST_ATTEMPTS
    assert server.posts == 0


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "rendering"])
def test_a_state_is_not_asked_for_twice(connect: Connect, serve: Serve, waits: list[float], status: str) -> None:
    server = serve(answering(http_answer(200, json.dumps({"id": "abc", "status": status}))))
    assert connect(server.url).get_video("abc").status == status
    assert len(server.requests) == 1
    assert waits == []


def test_a_query_obeys_retry_after(connect: Connect, serve: Serve, waits: list[float]) -> None:
    server = serve(answering(too_many(retry_after="11"), http_answer(503, retry_after="12"), PROCESSING))
    connect(server.url).get_video("abc")
    assert [round(wait) for wait in waits] == [11, 12]


def test_query_video_asks_once(connect: Connect, serve: Serve, waits: list[float]) -> None:
    server = serve(answering(http_answer(500)))
    with pytest.raises(QueryError):
        connect(server.url).query_video("abc")
    assert len(server.requests) == 1


def test_a_key_replaced_in_the_connection_is_picked_up(connect: Connect, serve: Serve, waits: list[float]) -> None:
    def script(peer: Peer) -> None:
        while request := peer.read_request():
            good = request.headers["authorization"] == "Bearer new-key-of-the-account"
            peer.send(PROCESSING if good else LOGIN_FAILED)

    server = serve(script)
    hook = connect(server.url)
    with pytest.raises(AuthenticationError):
        hook.query_video("abc")
    connect(server.url, password="new-key-of-the-account")
    assert hook.query_video("abc").status == "processing"


def test_a_connection_that_cannot_be_looked_up_again_is_used_as_it_was(
    connect: Connect, serve: Serve, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = connect(serve(answering(LOGIN_FAILED, PROCESSING)).url)
    with pytest.raises(AuthenticationError):
        hook.query_video("abc")

    def away(*_: Any) -> None:
        raise AirflowNotFoundException("the API server did not answer")

    monkeypatch.setattr(DigitalHumanHook, "get_connection", away)
    assert hook.query_video("abc").status == "processing"


@pytest.mark.parametrize("video_task_id", ["", "  ", None, 1.5])
def test_an_id_that_is_none_is_not_asked_for(
    connect: Connect, serve: Serve, waits: list[float], video_task_id: Any
) -> None:
    server = serve(answering(PROCESSING))
    with pytest.raises(InvalidRequestError, match="video_task_id"):
        connect(server.url).get_video(video_task_id)
    assert server.requests == []


# --- the connection test ----------------------------------------------------------------------------------------------

SPRING_404 = '{"timestamp": "2026-01-01", "status": 404, "error": "Not Found", "path": "/x"}'


@pytest.mark.parametrize(
    ("answer", "works", "words"),
    [
        (UNKNOWN_ID, True, "did not refuse the key"),
        (LOGIN_FAILED, False, "refused the key"),
        (http_answer(401, '{"error": {"code": "AuthenticationError"}}'), False, "refused the key"),
        (http_answer(403), False, "refused the key"),
        (http_answer(404, '{"message": "No handler found for GET /x"}'), False, "Base URL"),
        (http_answer(404, SPRING_404), False, "Base URL"),
        (http_answer(404, "<html>Not Found</html>"), False, "Base URL"),
        (http_answer(200, "<html>Welcome</html>"), False, "no more"),
        (http_answer(200), False, "no more"),
        (http_answer(200, '{"code": 500, "msg": "busy"}'), False, "no more"),
        (http_answer(200, '{"id": "x", "status": "queued"}'), False, "no more"),
        (http_answer(302, location="https://elsewhere.example.com/"), False, "no more"),
        (http_answer(500), False, "no more"),
        (http_answer(503), False, "no more"),
        (too_many(), False, "no more"),
    ],
)
def test_connection_test(
    connect: Connect, serve: Serve, waits: list[float], key: str, answer: bytes, works: bool, words: str
) -> None:
    server = serve(answering(answer))
    result = connect(server.url).test_connection()
    assert isinstance(result, tuple)
    assert result[0] is works
    assert words.lower() in result[1].lower()
    assert key not in result[1]
    assert [request.method for request in server.requests] == ["GET"]
    assert waits == []


def test_the_connection_test_asks_for_an_id_that_cannot_exist(connect: Connect, serve: Serve) -> None:
    server = serve(answering(UNKNOWN_ID))
    hook = connect(server.url + "/base")
    hook.test_connection()
    hook.test_connection()
    first, second = (request.target for request in server.requests)
    assert first.startswith("/base/v1/result/")
    assert first != second


@pytest.mark.parametrize("host", ["http://127.0.0.1:1", "https://no-such-host.invalid"])
def test_the_connection_test_without_a_server(connect: Connect, key: str, host: str) -> None:
    works, message = connect(host).test_connection()
    assert works is False
    assert f"no answer from {host}" in message
    assert "Check the Base URL of the connection, the network and the proxy." in message
    assert "connection-test" not in message
    assert key not in message


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"password": ""}, "The field API key"),
        ({"host": "ftp://api.example.com"}, "The Base URL"),
        ({"extra": {"submit_timeout": "long"}}, "Extra.submit_timeout"),
    ],
)
def test_the_connection_test_of_a_bad_connection(connect: Connect, fields: dict[str, Any], words: str) -> None:
    works, message = connect(**fields, conn_id="made_up").test_connection()
    assert works is False
    assert message.startswith(words)
    assert "made_up" not in message


def test_a_bad_connection_fails_before_anything_is_sent(connect: Connect) -> None:
    observer = Ledger()
    with pytest.raises(InvalidConnectionError):
        connect("http://127.0.0.1:1", password="").create_video(REQUEST, observer)
    assert observer.events == []


# --- errors -----------------------------------------------------------------------------------------------------------

ENDS_RETRIES = {
    "InvalidRequestError": True,
    "InvalidConnectionError": True,
    "ServiceUnreachableError": False,
    "RateLimitError": False,
    "AuthenticationError": True,
    "InsufficientBalanceError": True,
    "RequestRefusedError": True,
    "SubmissionUnknownError": True,
    "QueryError": False,
    "VideoTaskNotFoundError": True,
    "VideoFailedError": True,
    "WaitTimeoutError": False,
    "DownloadError": False,
}


@pytest.mark.parametrize(("name", "ends_retries"), ENDS_RETRIES.items())
def test_which_errors_end_airflows_retries(name: str, ends_retries: bool) -> None:
    from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

    from airflow_provider_digitalhuman.support.retries import airflow_retries

    error_class = getattr(exceptions, name)
    assert issubclass(error_class, DigitalHumanError)
    assert not issubclass(error_class, AirflowException)
    error = error_class("what happened")
    with pytest.raises(AirflowFailException if ends_retries else error_class, match="what happened") as caught, (
        airflow_retries()
    ):  # fmt: skip
        raise error
    if error_class in (SubmissionUnknownError, RequestChangedError):  # in one traceback
        assert isinstance(caught.value, error_class)
        assert caught.value.__suppress_context__
    else:
        assert (caught.value.__context__ if ends_retries else caught.value) is error


def test_errors_of_others_pass() -> None:
    from airflow_provider_digitalhuman.support.retries import airflow_retries

    with pytest.raises(KeyError), airflow_retries():
        raise KeyError


def test_no_meaning_is_caught_with_another() -> None:
    meanings = [getattr(exceptions, name) for name in ENDS_RETRIES]
    for one in meanings:
        assert [other for other in meanings if issubclass(other, one)] == [one]


def test_every_error_has_the_one_base() -> None:
    classes = [value for value in vars(exceptions).values() if isinstance(value, type)]
    raised = [value for value in classes if issubclass(value, Exception)]
    assert [value for value in raised if not issubclass(value, DigitalHumanError)] == []


def test_the_errors_import_no_airflow() -> None:
    import subprocess
    import sys

    program = (
        "import sys; import airflow_provider_digitalhuman.exceptions; print([m for m in sys.modules if m == 'airflow'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_connection_refused_is_no_bare_requests_error(connect: Connect, waits: list[float]) -> None:
    with pytest.raises(ServiceUnreachableError, match=r"127\.0\.0\.1:1"):
        connect("http://127.0.0.1:1").create_video(REQUEST)
