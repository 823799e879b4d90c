"""With durable=False no record holds a retry back, so once a video was accepted there must be no retry."""

import json
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowTaskTimeout

from airflow_provider_digitalhuman.archive import archiving as archive
from airflow_provider_digitalhuman.exceptions import (
    DownloadError,
    QueryError,
    ServiceUnreachableError,
    VideoFailedError,
    VideoUrlMissingError,
    WaitTimeoutError,
)
from airflow_provider_digitalhuman.operators.run import CreateRun
from tests.support.raw_server import answering, http_answer
from tests.support.studio import FILE, Studio

TASK = {"id": "v1", "object": "video", "created": 1761635478, "model": "m", "error": None}


def answers(create: str, query: str) -> Any:
    return answering(
        http_answer(200, json.dumps({**TASK, "status": create})),
        http_answer(200, json.dumps({**TASK, "status": query})),
    )


def waiting(make_operator: Any, url: str, **arguments: Any) -> Any:
    media = {"audio_url": f"{url}/a.mp3", "video_url": f"{url}/v.mp4"}
    return make_operator(**media, wait_for_completion=True, timeout=0.2, poll_interval=0.1, durable=False, **arguments)


def test_a_wait_that_timed_out_is_not_retried(connect, serve, context, make_operator):
    server = serve(answers("queued", "processing"))
    connect(server.url)
    with pytest.raises(AirflowFailException, match="a clear submits and pays again") as caught:
        waiting(make_operator, server.url).execute(context)
    assert isinstance(caught.value.__context__, WaitTimeoutError)
    assert "v1" in str(caught.value)


@pytest.mark.parametrize("point", ["submit", "_wait_here"])
def test_a_try_that_airflow_times_out_is_not_retried(connect, serve, context, make_operator, monkeypatch, point):
    server = serve(answers("queued", "processing"))
    connect(server.url)
    operator = waiting(make_operator, server.url)

    def takes_too_long(*_: Any) -> None:
        raise AirflowTaskTimeout("execution_timeout")

    monkeypatch.setattr(CreateRun, point, takes_too_long)
    with pytest.raises(AirflowFailException, match="a clear submits and pays again"):
        operator.execute(context)


@pytest.mark.parametrize("error", ["Trigger timeout", "Trigger failure"])
def test_a_deferral_that_went_wrong_is_not_retried(context, make_operator, error):
    operator = waiting(make_operator, "http://127.0.0.1:9", deferrable=True)
    with pytest.raises(AirflowFailException, match="a clear submits and pays again"):
        operator.resume_execution("__fail__", {"error": error}, context)
    operator.durable = True  # then the record holds a second submission back
    with pytest.raises(Exception, match=error) as caught:
        operator.resume_execution("__fail__", {"error": error}, context)
    assert not isinstance(caught.value, AirflowFailException)


def test_a_failed_video_is_retried_where_the_author_wants_it(connect, serve, context, make_operator):
    server = serve(answers("queued", "failed"))
    connect(server.url)
    with pytest.raises(VideoFailedError):
        waiting(make_operator, server.url, on_video_failed="retry").execute(context)


def test_what_was_not_accepted_may_be_retried(connect, context, make_operator, waits):
    connect("http://127.0.0.1:9")
    with pytest.raises(ServiceUnreachableError):
        waiting(make_operator, "http://127.0.0.1:9").execute(context)


@pytest.fixture
def studio(connect, context, monkeypatch):
    context["outlet_events"] = {}
    monkeypatch.setattr(archive, "BACKOFF", (0.01,))
    monkeypatch.setattr(archive, "URL_BACKOFF", (0.01,))
    server = Studio()
    connect(server.url)
    yield server
    server.close()


def test_each_try_without_record_pays_and_nothing_is_stored(studio, context, make_operator, records):
    for number in (1, 2):
        assert make_operator(**studio.media, durable=False).execute(context) == f"v{number}"
    assert studio.posts == 2
    assert records.values == {}


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        ("WaitTimeoutError", WaitTimeoutError),
        ("VideoUrlMissingError", VideoUrlMissingError),
        ("QueryError", QueryError),
        ("VideoFailedError", VideoFailedError),
        ("AuthenticationError", QueryError),  # the worker's own look was answered
    ],
)
def test_wait_in_triggerer_that_failed_is_not_retried(studio, context, make_operator, error, cause):
    studio.status = "processing"
    event = {"status": "failed", "error": error, "message": "It ended so.", "video_task": None, "video_task_id": "v1"}
    operator = waiting(make_operator, studio.url, deferrable=True)
    with pytest.raises(AirflowFailException, match=r"It ended so\..* But no record outlasts this try") as caught:
        operator.execute_complete(context, event)
    assert type(caught.value.__context__) is cause
    assert studio.posts == 0


def test_failed_video_after_wait_in_triggerer_is_retried_where_author_wants_it(studio, context, make_operator):
    event = {"status": "failed", "error": "VideoFailedError", "message": "No.", "video_task": None}
    with pytest.raises(VideoFailedError):
        waiting(make_operator, studio.url, deferrable=True, on_video_failed="retry").execute_complete(context, event)


def test_event_that_is_not_understood_is_not_retried(studio, context, make_operator):
    with pytest.raises(AirflowFailException, match="cannot be understood"):
        waiting(make_operator, studio.url, deferrable=True).execute_complete(context, {"status": "fine"})


@pytest.mark.parametrize("deferred", [True, False])
def test_download_that_failed_is_not_retried(studio, context, make_operator, tmp_path, deferred):
    studio.file_status = 500
    operator = waiting(make_operator, studio.url, destination=f"{tmp_path}/")
    task = {"id": "v1", "status": "completed", "video_url": f"{studio.url}/out.mp4"}
    event = {"status": "completed", "video_task": task, "video_task_id": "v1"}
    with pytest.raises(AirflowFailException, match="a clear submits and pays again") as caught:
        operator.execute_complete(context, event) if deferred else operator.execute(context)
    assert isinstance(caught.value.__context__, DownloadError)
    assert "v1" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_video_that_was_awaited_in_triggerer_is_archived(studio, context, ti, make_operator, tmp_path):
    task = {"id": "v1", "status": "completed", "video_url": f"{studio.url}/out.mp4"}
    operator = waiting(make_operator, studio.url, deferrable=True, destination=f"{tmp_path}/")
    assert operator.execute_complete(context, {"status": "completed", "video_task": task}) == "v1"
    assert (tmp_path / "v1.mp4").read_bytes() == FILE
    assert (ti.xcoms["metrics"]["outcome"], ti.xcoms["video_task"]["id"]) == ("success", "v1")


def test_with_a_record_a_wait_that_timed_out_is_retried(connect, serve, context, make_operator):
    server = serve(answers("queued", "processing"))
    connect(server.url)
    operator = waiting(make_operator, server.url)
    operator.durable = True
    with pytest.raises(WaitTimeoutError):
        operator.execute(context)
