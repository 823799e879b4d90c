"""The worker's last look: what failed in the triggerer is asked about once by the worker before the task fails."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSensorTimeout, TaskDeferred

from airflow_provider_digitalhuman.exceptions import DigitalHumanError, QueryError, VideoFailedError, WaitTimeoutError
from airflow_provider_digitalhuman.sensors.digitalhuman import DigitalHumanVideoSensor
from tests.support.raw_server import answering, http_answer
from tests.support.studio import FILE, Studio

NOT_THE_VENDORS_WORD = (
    "WaitTimeoutError",
    "InvalidConnectionError",
    "ConnectionMissingError",
    "AuthenticationError",
    "QueryError",
    "VideoTaskNotFoundError",
    "VideoUrlMissingError",
    "ErrorOfNewerRelease",
)
Make = Callable[..., Any]


def failed_event(error: str, **changes: Any) -> dict[str, Any]:
    return {"status": "failed", "video_task_id": "v1", "error": error, "message": "It ended so.", **changes}


@pytest.fixture
def studio(connect: Callable[..., Any]) -> Iterator[Studio]:
    server = Studio()
    connect(server.url)
    yield server
    server.close()


@pytest.fixture
def deferred(studio: Studio, make_operator: Make, context: dict[str, Any]) -> Make:
    """Defer the operator, and return it as Airflow makes it for the second process."""
    context["outlet_events"] = {}

    def make(**arguments: Any) -> Any:
        given = {**studio.media, "wait_for_completion": True, "deferrable": True, **arguments}
        studio.status = "processing"
        with pytest.raises(TaskDeferred):
            make_operator(**given).execute(context)
        studio.requests.clear()
        return make_operator(**given)

    return make


@pytest.mark.parametrize("error", NOT_THE_VENDORS_WORD)
def test_operator_completes_video_that_worker_sees(
    studio: Studio, deferred: Make, context: dict[str, Any], ti: Any, tmp_path: Path, error: str
) -> None:
    operator = deferred(destination=f"{tmp_path}/")
    studio.status = "completed"
    assert operator.execute_complete(context, failed_event(error)) == "v1"
    assert (tmp_path / "v1.mp4").read_bytes() == FILE
    assert (ti.xcoms["video_task"]["status"], ti.xcoms["metrics"]["outcome"]) == ("completed", "success")
    assert [request.method for request in studio.requests if "/out" not in request.target] == ["GET", "GET"]


@pytest.mark.parametrize("error", NOT_THE_VENDORS_WORD)
def test_operator_fails_with_what_both_saw(
    studio: Studio, deferred: Make, context: dict[str, Any], ti: Any, error: str
) -> None:
    operator = deferred()
    with pytest.raises(DigitalHumanError, match=r"It ended so\. .*The worker .*status 'processing'") as caught:
        operator.execute_complete(context, failed_event(error))
    assert not caught.value.ends_retries  # the worker got an answer: another try goes on waiting
    assert ti.xcoms["metrics"]["outcome"] == "failed"
    assert [request.method for request in studio.requests] == ["GET"]
    studio.status = "completed"
    assert operator.execute(context) == "v1"
    assert [request.method for request in studio.requests] == ["GET", "GET"]


def test_operator_keeps_final_error_where_worker_sees_the_same(
    connect: Any, serve: Any, context: dict[str, Any], make_operator: Make
) -> None:
    server = serve(answering(http_answer(401)))
    connect(server.url)
    media = {"audio_url": f"{server.url}/a.mp3", "video_url": f"{server.url}/v.mp4"}
    operator = make_operator(**media, wait_for_completion=True, deferrable=True)
    with pytest.raises(AirflowFailException, match=r"It ended so\. .*The worker .*digitalhuman_default"):
        operator.execute_complete(context, failed_event("AuthenticationError"))
    assert [request.method for request in server.requests] == ["GET"]


def test_operator_takes_vendors_word_without_asking(studio: Studio, deferred: Make, context: dict[str, Any]) -> None:
    operator = deferred()
    event = failed_event("VideoFailedError", video_task={"id": "v1", "status": "failed"})
    with pytest.raises(AirflowFailException, match=r"^It ended so\.$"):
        operator.execute_complete(context, event)
    assert studio.requests == []


@pytest.mark.parametrize("named", [{"video_task_id": "v1"}, {}])
@pytest.mark.parametrize("status", ["completed", "failed"])
def test_operator_takes_event_about_another_video_for_none(
    studio: Studio, deferred: Make, context: dict[str, Any], named: dict[str, str], status: str
) -> None:
    operator = deferred()
    studio.status = "completed"
    another = {"id": "v2", "status": status, "video_url": "https://media.example.com/another.mp4"}
    event = {"status": status, "error": "VideoFailedError", "message": "No.", "video_task": another, **named}
    assert operator.execute_complete(context, event) == "v1"
    assert [request.method for request in studio.requests] == ["GET"]


def test_operator_fails_as_vendor_says_where_worker_sees_failed_video(
    studio: Studio, deferred: Make, context: dict[str, Any], ti: Any
) -> None:
    operator = deferred()
    studio.status, studio.error = "failed", "风控拒绝"
    with pytest.raises(AirflowFailException, match="风控拒绝") as caught:
        operator.execute_complete(context, failed_event("WaitTimeoutError"))
    assert isinstance(caught.value.__context__, VideoFailedError)
    assert ti.xcoms["video_task"]["status"] == "failed"


@pytest.mark.parametrize("reason", ["Trigger timeout", "Trigger failure"])
def test_operator_looks_after_trigger_that_sent_no_event(
    studio: Studio, deferred: Make, context: dict[str, Any], reason: str
) -> None:
    operator = deferred()
    with pytest.raises(WaitTimeoutError if "timeout" in reason else QueryError, match=f"{reason}.*'processing'"):
        operator.resume_execution("__fail__", {"error": reason}, context)
    studio.status = "completed"
    assert operator.resume_execution("__fail__", {"error": reason}, context) == "v1"
    assert [request.method for request in studio.requests] == ["GET", "GET"]


def test_operator_asks_nothing_where_no_id_is_known(
    studio: Studio, context: dict[str, Any], make_operator: Any
) -> None:
    operator = make_operator(**studio.media, wait_for_completion=True, deferrable=True)
    with pytest.raises(QueryError, match=r"Trigger failure.*ID of the video task is not known"):
        operator.resume_execution("__fail__", {"error": "Trigger failure"}, context)
    assert studio.requests == []


def a_sensor(**arguments: Any) -> DigitalHumanVideoSensor:
    return DigitalHumanVideoSensor(task_id="wait", video_task_id="v1", deferrable=True, **arguments)


@pytest.mark.parametrize("error", NOT_THE_VENDORS_WORD)
def test_sensor_returns_video_that_worker_sees(studio: Studio, context: dict[str, Any], error: str) -> None:
    assert a_sensor().execute_complete(context, failed_event(error))["status"] == "completed"
    assert [request.method for request in studio.requests] == ["GET"]


@pytest.mark.parametrize("reason", ["Trigger timeout", "Trigger failure"])
def test_sensor_looks_after_trigger_that_sent_no_event(studio: Studio, context: dict[str, Any], reason: str) -> None:
    for arguments in ({}, {"soft_fail": True}):
        resumed = a_sensor(**arguments).resume_execution("__fail__", {"error": reason}, context)
        assert resumed["status"] == "completed"
    studio.status = "processing"
    with pytest.raises(AirflowSensorTimeout if "timeout" in reason else QueryError, match=f"{reason}.*'processing'"):
        a_sensor().resume_execution("__fail__", {"error": reason}, context)


def test_sensor_takes_event_about_another_video_for_none(studio: Studio, context: dict[str, Any]) -> None:
    another = {"id": "v2", "status": "completed", "video_url": "https://media.example.com/another.mp4"}
    event = {"status": "completed", "video_task": another, "video_task_id": "v2"}
    assert a_sensor().execute_complete(context, event)["id"] == "v1"
    assert [request.method for request in studio.requests] == ["GET"]


def test_sensor_names_missing_connection_of_worker(context: dict[str, Any]) -> None:
    sensor = a_sensor(digitalhuman_conn_id="nobody")
    with pytest.raises(AirflowSensorTimeout, match=r"It ended so\. .*nobody"):
        sensor.execute_complete(context, failed_event("WaitTimeoutError"))
