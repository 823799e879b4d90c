"""The trigger's event: how a wait in the triggerer ended, carried to the worker that goes on."""

import json
from typing import Any

import pytest

from airflow_provider_digitalhuman import exceptions
from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.exceptions import (
    AuthenticationError,
    DigitalHumanError,
    VideoFailedError,
    WaitTimeoutError,
)
from airflow_provider_digitalhuman.triggers.events import (
    Event,
    ended_by_vendor,
    event_of,
    task_of,
    times_of,
    video_task_id_of,
)
from airflow_provider_digitalhuman.waiting.decision import Done, Failed

URL = "https://cdn.example.com/v.mp4?sign=s3cr3t"
VIDEO = VideoTask("v1", "completed", video_url=URL, md5="ab", raw={"amount": 1.5})
FAILED = VideoTask("v1", "failed", error="风控拒绝")
TIMES = {"queue_seconds": 4.0, "processing_seconds": None}


def carried(end: Done | Failed, times: Any = None) -> Any:
    """Return the event as Airflow brings it: through JSON."""
    return json.loads(json.dumps(event_of(end, "v1", times)))


def test_completed_event_brings_video() -> None:
    event = carried(Done(VIDEO), TIMES)
    assert (event["status"], event["video_task_id"], event["times"]) == ("completed", "v1", TIMES)
    task = task_of(event)
    assert task == VIDEO
    assert task.raw["amount"] == 1.5


@pytest.mark.parametrize("error", [WaitTimeoutError("Too late."), AuthenticationError("No."), DigitalHumanError("?")])
def test_failed_event_brings_same_error(error: DigitalHumanError) -> None:
    event = carried(Failed(error))
    assert (event["status"], event["video_task_id"], event["video_task"]) == ("failed", "v1", None)
    with pytest.raises(DigitalHumanError) as caught:
        task_of(event)
    assert (type(caught.value), str(caught.value)) == (type(error), str(error))


@pytest.mark.parametrize("task", [FAILED, None])
def test_event_of_failed_video_brings_vendors_task(task: VideoTask | None) -> None:
    with pytest.raises(VideoFailedError, match=r"^It failed\.$") as caught:
        task_of(carried(Failed(VideoFailedError("It failed.", task))))
    assert caught.value.task == task


def test_event_of_newer_release_is_plain_error() -> None:
    with pytest.raises(DigitalHumanError, match="Something new") as caught:
        task_of({"status": "failed", "error": "NewerError", "message": "Something new"})
    assert type(caught.value) is DigitalHumanError


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        (None, "NoneType"),
        ("completed", "str"),
        ({}, r"\[\]"),
        ({"status": "completed"}, r"\['status'\]"),
        ({"video_task": {"id": "v1"}, "status": "completed"}, r"\['status', 'video_task'\]"),
        ({"status": "completed", "video_task": {"status": "completed", "video_url": URL}}, "status"),
        ({"status": "completed", "video_task": {**VIDEO.to_dict(), "video_url": None}}, "status"),
        ({"status": "completed", "video_task": {**VIDEO.to_dict(), "status": "processing"}}, "status"),
        ({"status": "completed", "video_task": "v1"}, "status"),
        ({"status": "fine", "video_task": VIDEO.to_dict()}, "status"),
        ({"status": "failed", "error": "WaitTimeoutError"}, "error"),
        ({"status": "failed", "error": "VideoFailedError", "message": "No."}, "error"),
        ({"status": "failed", "error": ["x"], "message": "No."}, "error"),
    ],
)
def test_event_that_is_not_understood_never_ends_well(event: Any, shown: str) -> None:
    with pytest.raises(DigitalHumanError, match=f"cannot be understood .*{shown}.*another try goes on") as caught:
        task_of(event)
    assert not caught.value.ends_retries


def test_times_come_back_or_are_none() -> None:
    assert times_of(carried(Done(VIDEO), TIMES)) == TIMES
    assert times_of(carried(Done(VIDEO))) == {}
    for event in (None, "x", {}, {"times": None}, {"times": [1]}):
        assert times_of(event) == {}


def test_event_hides_signed_url_in_log() -> None:
    event = event_of(Done(VIDEO), "v1")
    assert isinstance(event, Event)
    assert repr(event) == str(event) == "video task v1: completed"
    assert str(event_of(Failed(WaitTimeoutError("Too late.")), "v1")) == "video task v1: WaitTimeoutError"


def test_event_names_video_task_that_was_waited_for() -> None:
    assert video_task_id_of(carried(Done(VIDEO))) == "v1"
    assert video_task_id_of(carried(Failed(WaitTimeoutError("Too late.")))) == "v1"


@pytest.mark.parametrize("event", [None, "completed", {}, {"video_task_id": None}, {"video_task_id": 7}])
def test_event_without_readable_id_names_none(event: Any) -> None:
    assert video_task_id_of(event) is None


ERRORS = [kind for kind in vars(exceptions).values() if isinstance(kind, type) and issubclass(kind, DigitalHumanError)]


@pytest.mark.parametrize("kind", ERRORS)
def test_only_failed_video_is_vendors_own_word(kind: type[DigitalHumanError]) -> None:
    with pytest.raises(DigitalHumanError) as caught:
        task_of(carried(Failed(kind("It ended."))))
    assert ended_by_vendor(caught.value) is (kind is VideoFailedError)


@pytest.mark.parametrize("event", [None, {}, {"status": "failed", "error": "NewerError", "message": "Something new"}])
def test_event_that_is_not_understood_is_not_vendors_own_word(event: Any) -> None:
    with pytest.raises(DigitalHumanError) as caught:
        task_of(event)
    assert not ended_by_vendor(caught.value)


@pytest.mark.parametrize("waited_for", ["v1", " v1 ", ""])
def test_event_about_video_that_was_waited_for_is_taken(waited_for: str) -> None:
    assert task_of(carried(Done(VIDEO)), waited_for) == VIDEO


@pytest.mark.parametrize("end", [Done(VIDEO), Failed(VideoFailedError("It failed.", FAILED))])
def test_event_about_another_video_is_not_understood(end: Done | Failed) -> None:
    with pytest.raises(DigitalHumanError, match="cannot be understood") as caught:
        task_of(carried(end), "v2")
    assert type(caught.value) is DigitalHumanError


def test_failure_without_video_task_is_no_other_video() -> None:
    with pytest.raises(WaitTimeoutError, match="Too late"):
        task_of(carried(Failed(WaitTimeoutError("Too late."))), "v2")
