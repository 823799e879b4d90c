"""The hook alone, called from a task of one's own: with the task's context it pays at most once."""

import json
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowTaskTimeout

from airflow_provider_digitalhuman.api.request import VideoRequest
from airflow_provider_digitalhuman.exceptions import (
    LedgerError,
    RequestChangedError,
    SubmissionUnknownError,
    VideoTaskNotFoundError,
)
from airflow_provider_digitalhuman.hooks import recorded_submission
from airflow_provider_digitalhuman.ledger.address import RECORD_KEY
from airflow_provider_digitalhuman.ledger.record import ADOPTED
from airflow_provider_digitalhuman.support import compat
from airflow_provider_digitalhuman.support.retries import final_if_unknown
from tests.support.errors import tracebacks
from tests.support.raw_server import answering, http_answer

TASK = {"id": "v1", "object": "video", "created": 1761635478, "model": "m", "status": "queued", "error": None}
ACCEPTED = http_answer(200, json.dumps(TASK))
PROCESSING = http_answer(200, json.dumps({**TASK, "status": "processing"}))


def request(server, name="a"):
    return VideoRequest(f"{server.url}/{name}.mp3", f"{server.url}/v.mp4")


@pytest.fixture
def task_context(context, ti, monkeypatch):
    """A running task's context, whose success callbacks can be called as Airflow does."""
    ti.task = SimpleNamespace(retries=2, on_success_callback=None)
    monkeypatch.setattr(recorded_submission, "has_succeeded", lambda _: True)
    return context


def accept_then_close(peer):
    """The connection ends with this function."""
    peer.read_request()


def next_try(ti, *, cleared=False):
    ti.try_number += 1
    ti.max_tries += 5 if cleared else 0
    ti.task = SimpleNamespace(retries=2, on_success_callback=None)


def succeed(context):
    for callback in context["ti"].task.on_success_callback:
        callback(context)


def test_hook_with_context_sends_one_post_over_all_tries(connect, serve, task_context, ti):
    server = serve(answering(ACCEPTED, PROCESSING))
    hook = connect(server.url)
    assert hook.create_video(request(server), context=task_context).id == "v1"
    for _ in range(2):  # the task has failed after the call
        next_try(ti)
        assert hook.create_video(request(server), context=task_context).status == "processing"
    assert server.posts == 1


def test_hook_with_context_stops_all_retries_after_an_unknown_outcome(connect, serve, task_context, ti):
    server = serve(accept_then_close)
    hook = connect(server.url)
    for _ in range(3):
        with pytest.raises(SubmissionUnknownError, match="digitalhuman-ledger") as caught:
            hook.create_video(request(server), context=task_context)
        assert isinstance(caught.value, AirflowFailException), "which Airflow does not retry"
        assert tracebacks(caught.value) == 1
        next_try(ti, cleared=True)
    assert server.posts == 1


def test_operator_that_does_not_know_the_outcome_shows_one_traceback(connect, serve, context, make_operator, caplog):
    server = serve(accept_then_close)
    connect(server.url)
    urls = {"audio_url": f"{server.url}/a.mp3", "video_url": f"{server.url}/v.mp4"}
    for _ in range(2):
        caplog.clear()
        with pytest.raises(AirflowFailException, match="It is not known whether") as caught:
            make_operator(**urls).execute(context)
        assert tracebacks(caught.value) == 1
        assert len(str(caught.value)) < 220
        logged = " ".join(entry.getMessage().strip() for entry in caplog.records)
        assert "no whole answer came" in logged, "what happened is in the log"
        assert "digitalhuman-ledger adopt" in caplog.text
        context["ti"].try_number += 1
    assert server.posts == 1


def test_hook_without_context_ends_the_retries_after_an_unknown_outcome(connect, serve):
    server = serve(accept_then_close)
    with pytest.raises(SubmissionUnknownError, match="not known whether") as caught:
        connect(server.url).create_video(request(server))
    assert isinstance(caught.value, AirflowFailException)
    assert server.posts == 1


def test_hook_with_context_submits_again_after_a_success(connect, serve, task_context, ti):
    server = serve(answering(ACCEPTED, PROCESSING))
    hook = connect(server.url)
    hook.create_video(request(server), context=task_context)
    succeed(task_context)
    next_try(ti, cleared=True)
    hook.create_video(request(server), context=task_context)
    assert server.posts == 2


def test_hook_with_context_ends_the_record_only_where_airflow_has_the_success(
    connect, serve, task_context, ti, monkeypatch, caplog
):
    own = []
    ti.task.on_success_callback = own.append
    server = serve(answering(ACCEPTED, PROCESSING))
    hook = connect(server.url)
    hook.create_video(request(server), context=task_context)
    monkeypatch.setattr(recorded_submission, "has_succeeded", lambda _: False)
    succeed(task_context)
    assert own == [task_context], "the author's own callback is called as well"
    next_try(ti)
    hook.create_video(request(server), context=task_context)
    assert server.posts == 1

    def fails(_):
        raise ConnectionError("Airflow is away")

    monkeypatch.setattr(recorded_submission, "has_succeeded", fails)
    succeed(task_context)
    assert "was not ended" in caplog.text


def test_hook_with_context_refuses_a_second_video_in_the_same_try(connect, serve, task_context):
    server = serve(answering(ACCEPTED, PROCESSING))
    hook = connect(server.url)
    hook.create_video(request(server), context=task_context)
    with pytest.raises(RequestChangedError, match="v1") as caught:
        hook.create_video(request(server, "b"), context=task_context)
    assert isinstance(caught.value, AirflowFailException)
    assert server.posts == 1


def test_hook_with_context_refuses_a_second_video_in_a_later_try(connect, serve, task_context, ti):
    server = serve(answering(ACCEPTED, PROCESSING))
    hook = connect(server.url)
    hook.create_video(request(server), context=task_context)
    next_try(ti)
    assert hook.create_video(request(server), context=task_context).id == "v1"
    with pytest.raises(RequestChangedError, match="v1"):
        hook.create_video(request(server, "b"), context=task_context)
    assert server.posts == 1


def test_hook_with_context_sends_one_post_from_many_threads(connect, serve, task_context):
    server = serve(answering(ACCEPTED, PROCESSING))
    hook = connect(server.url)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: hook.create_video(request(server), context=task_context).id, range(4)))
    assert (made, server.posts) == (["v1"] * 4, 1)


def test_hook_with_context_sends_nothing_where_no_record_outlasts_the_try(connect, serve, ti, monkeypatch):
    server = serve(answering(ACCEPTED, PROCESSING))
    ti.task = SimpleNamespace(retries=2, on_success_callback=None)
    monkeypatch.setattr(compat, "HAS_TASK_STATE_STORE", True)
    with pytest.raises(LedgerError, match="no task_state_store"):
        connect(server.url).create_video(request(server), context={"ti": ti})
    assert server.posts == 0


def test_hook_with_context_lets_a_clear_submit_after_the_vendor_has_failed_the_video(connect, serve, task_context, ti):
    failed = http_answer(200, json.dumps({**TASK, "status": "failed", "error": "policy"}))
    server = serve(answering(ACCEPTED, failed))
    hook = connect(server.url)
    assert not hook.create_video(request(server), context=task_context).is_failed
    next_try(ti)
    assert hook.create_video(request(server), context=task_context).is_failed
    assert server.posts == 1
    next_try(ti, cleared=True)
    hook.create_video(request(server), context=task_context)
    assert server.posts == 2


def test_adopted_id_that_the_api_does_not_know_is_not_returned(connect, serve, task_context, ti, records, waits):
    server = serve(answering(ACCEPTED, http_answer(404, json.dumps({"message": "No handler found"}))))
    hook = connect(server.url)
    hook.create_video(request(server), context=task_context)
    next_try(ti)
    assert hook.create_video(request(server), context=task_context).id == "v1", "an outage says the same"
    for key, text in records.values.items():
        records.values[key] = json.dumps(json.loads(text) | {"fingerprint": ADOPTED})
    next_try(ti)
    with pytest.raises(VideoTaskNotFoundError):
        hook.create_video(request(server), context=task_context)


def test_execution_timeout_in_a_bare_call_ends_the_retries_once_the_request_has_left(connect, serve, monkeypatch):
    def strikes(*_):
        raise AirflowTaskTimeout("execution_timeout")

    server = serve(answering(ACCEPTED, PROCESSING))
    with monkeypatch.context() as before:
        before.setattr("airflow_provider_digitalhuman.connection.transport.json.dumps", strikes)
        with pytest.raises(AirflowTaskTimeout):
            connect(server.url).create_video(request(server))
    assert server.posts == 0
    monkeypatch.setattr("airflow_provider_digitalhuman.hooks.digitalhuman.read_create", strikes)
    with pytest.raises(SubmissionUnknownError, match="execution_timeout") as caught:
        connect(server.url).create_video(request(server))
    assert isinstance(caught.value, AirflowFailException)
    assert server.posts == 1


def test_hook_with_context_returns_the_recorded_task_where_the_api_does_not_answer(
    connect, serve, task_context, ti, waits
):
    server = serve(answering(ACCEPTED, http_answer(500, "")))
    hook = connect(server.url)
    hook.create_video(request(server), context=task_context)
    next_try(ti)
    assert hook.create_video(request(server), context=task_context).status == "queued"
    assert server.posts == 1


def test_hook_with_context_keeps_the_record_where_the_operator_does(
    connect, serve, task_context, ti, records, make_operator
):
    server = serve(answering(ACCEPTED, PROCESSING))
    hook = connect(server.url)
    hook.create_video(request(server), context=task_context)
    assert any(key.startswith(RECORD_KEY) for key in records.values)
    next_try(ti)
    urls = {"audio_url": f"{server.url}/a.mp3", "video_url": f"{server.url}/v.mp4"}
    assert make_operator(**urls, retries=2).execute(task_context) == "v1"
    assert server.posts == 1


def test_final_errors_are_the_errors_they_stand_for():
    with pytest.raises(SubmissionUnknownError) as unknown, final_if_unknown():
        raise SubmissionUnknownError("why", video_task_id="v?")
    assert (str(unknown.value), unknown.value.video_task_id) == ("why An ID stands in the answer: v?.", "v?")
    with pytest.raises(ValueError, match="other"), final_if_unknown():
        raise ValueError("other")
