"""With durable=False no record holds a retry back, so once a video was accepted there must be no retry."""

import json
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowTaskTimeout

from airflow_provider_digitalhuman.exceptions import ServiceUnreachableError, VideoFailedError, WaitTimeoutError
from tests.unit.raw_server import answering, http_answer

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
    assert isinstance(caught.value.__cause__, WaitTimeoutError)
    assert "v1" in str(caught.value)


@pytest.mark.parametrize("point", ["_submit_or_go_on", "_waited_for"])
def test_a_try_that_airflow_times_out_is_not_retried(connect, serve, context, make_operator, monkeypatch, point):
    server = serve(answers("queued", "processing"))
    connect(server.url)
    operator = waiting(make_operator, server.url)

    def takes_too_long(*_: Any) -> None:
        raise AirflowTaskTimeout("execution_timeout")

    monkeypatch.setattr(operator, point, takes_too_long)
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


def test_with_a_record_a_wait_that_timed_out_is_retried(connect, serve, context, make_operator):
    server = serve(answers("queued", "processing"))
    connect(server.url)
    operator = waiting(make_operator, server.url)
    operator.durable = True
    with pytest.raises(WaitTimeoutError):
        operator.execute(context)
