"""VideoTask as it is stored: its dict comes back as it was, and is not read as an answer of the vendor's."""

import json
from typing import Any

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_digitalhuman.api.response import TaskStatus, VideoTask

TASK = VideoTask(
    "v/1",
    "completed",
    object="video",
    created=pendulum.datetime(2025, 10, 28, 7, 11, 18, tz="UTC"),
    model="kyy_digitalHuman",
    video_url="https://cdn.example.com/v.mp4?sign=x",
    md5="9e107d9d372bb6826bd81d3542a419d6",
    raw={"id": "v/1", "amount": 1.5, **dict.fromkeys(("videoUrl", "result_url", "resultUrl"), "https://h/v.mp4")},
)


def stored(task: VideoTask) -> VideoTask:
    return VideoTask.from_dict(json.loads(json.dumps(task.to_dict())))


def test_stored_task_is_read_as_it_was_written() -> None:
    assert stored(TASK) == TASK
    assert stored(TASK).to_dict() == TASK.to_dict()
    assert stored(TASK).raw["amount"] == 1.5
    assert TASK.to_dict().keys() & {"videoUrl", "result_url", "resultUrl"} == set()


texts = st.none() | st.text()


@given(
    status=st.sampled_from([*TaskStatus, "rendering", " Completed ", "排队中"]),
    video_url=st.sampled_from([None, "v.mp4", " https://h/v.mp4 "]),
    md5=st.sampled_from([None, "?", "md5:9E107D9D372BB6826BD81D3542A419D6"]),
    error=texts,
    model=texts,
    extra=st.dictionaries(st.sampled_from(["msg", "message", "audioUrl", "code", "progress", "data"]), texts),
)
def test_reader_of_answers_does_not_touch_what_is_stored(extra: dict[str, Any], **fields: Any) -> None:
    task = VideoTask("v1", raw=extra, **fields)
    assert stored(task) == task
    assert stored(task).to_dict() == task.to_dict()


def test_record_can_hold_id_alone() -> None:
    assert VideoTask.from_dict({"id": "v1"}) == VideoTask("v1", "queued")


@pytest.mark.parametrize("value", [{}, {"id": None}, {"id": ""}, {"id": 7}, {"status": "queued"}])
def test_dict_without_id_is_no_task(value: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no task ID"):
        VideoTask.from_dict(value)


@pytest.mark.parametrize("status", TaskStatus)
def test_task_is_running_completed_or_failed(status: TaskStatus) -> None:
    task = VideoTask("v1", status)
    assert task.is_known_status
    assert task.is_completed is (status == "completed")
    assert task.is_failed is (status in ("failed", "cancelled", "expired"))


def test_vocabulary_is_the_vendors() -> None:
    assert set(TaskStatus) == {"queued", "processing", "completed", "failed", "cancelled", "expired"}


def test_stored_failure_keeps_its_reason() -> None:
    failed = VideoTask("v1", "failed", error="风控拒绝", raw={"msg": "no face", "code": 7})
    assert stored(failed).error == "风控拒绝"
    assert stored(VideoTask("v1", "failed", raw={"msg": "no face", "code": 7})).error is None
