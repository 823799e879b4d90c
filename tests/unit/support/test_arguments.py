"""Durations, paths and rendered texts: taken, or refused with the argument, its value, the cure and the task."""

import json
import math
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath

from airflow_provider_digitalhuman.exceptions import InvalidRequestError
from airflow_provider_digitalhuman.operators.digitalhuman import (
    CreateDigitalHumanVideoOperator,
    DownloadDigitalHumanVideoOperator,
)
from airflow_provider_digitalhuman.sensors.digitalhuman import DigitalHumanVideoSensor
from airflow_provider_digitalhuman.support.arguments import checked_seconds, checked_video_task_id, path_text
from tests.support.raw_server import answering, http_answer
from tests.unit.operators.test_create_operator import dag

MEDIA = {"audio_url": "https://media.example.com/a.mp3", "video_url": "https://media.example.com/v.mp4"}
NO_DURATIONS = ["3600", "", True, -1, math.nan, math.inf, 1e12, [60], timedelta(seconds=-5), complex(1, 2)]


def create(**arguments: Any) -> Any:
    return CreateDigitalHumanVideoOperator(task_id="make", **{**MEDIA, **arguments})


def sensor(**arguments: Any) -> Any:
    return DigitalHumanVideoSensor(**{"task_id": "make", "video_task_id": "v1", **arguments})


@pytest.mark.parametrize("make", [create, sensor], ids=["create", "sensor"])
@pytest.mark.parametrize("given", [600, 600.0, timedelta(minutes=10)])
def test_duration_is_seconds_or_timedelta(make: Any, given: Any) -> None:
    assert make(timeout=given).timeout == 600
    interval = "poll_interval" if make is create else "poke_interval"
    assert getattr(make(**{interval: given}), interval) == 600


@pytest.mark.parametrize("value", NO_DURATIONS, ids=repr)
@pytest.mark.parametrize(
    ("make", "argument"),
    [(create, "timeout"), (create, "poll_interval"), (sensor, "timeout"), (sensor, "poke_interval")],
    ids=["create-timeout", "create-poll", "sensor-timeout", "sensor-poke"],
)
def test_what_is_no_duration_is_refused_with_cure_and_task(make: Any, argument: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=rf"^Task 'make': {argument}=.*{argument}=600") as caught:
        make(**{argument: value})
    assert repr(value) in str(caught.value)


def test_sensor_may_ask_just_once() -> None:
    assert sensor(timeout=0).timeout == 0
    with pytest.raises(InvalidRequestError):
        checked_seconds("timeout", 0)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (Path("/data/videos/x.mp4"), "/data/videos/x.mp4"),
        (ObjectStoragePath("file:///data/{video_task_id}.mp4"), "file:///data/{video_task_id}.mp4"),
        ("/data/x.mp4", "/data/x.mp4"),
    ],
    ids=["path", "object store", "text"],
)
def test_destination_is_taken_as_its_text(given: Any, text: str) -> None:
    assert create(destination=given, wait_for_completion=True).destination == text
    download = DownloadDigitalHumanVideoOperator(task_id="download", video_task_id="v1", destination=given)
    assert download.destination == text


def test_relative_path_is_refused_as_its_text_is() -> None:
    with pytest.raises(InvalidRequestError, match=r"^Task 'make': destination='videos/x\.mp4'"):
        create(destination=Path("videos/x.mp4"), wait_for_completion=True)
    with pytest.raises(InvalidRequestError, match=r"^Task 'download': destination="):
        DownloadDigitalHumanVideoOperator(task_id="download", video_task_id="v1", destination=Path("x.mp4"))


def test_argument_that_is_no_path_is_left_as_it_is() -> None:
    with dag():
        output = create().output
    assert path_text(output) is output
    assert path_text(None) is None


# --- native rendering -------------------------------------------------------------------------------------------------

WRITTEN = ["20250101_0007", "0x1F", "1e5", "007", "0b11", "1_0", "1,2", "123", "5j", "v1", "T-1"]


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("written", WRITTEN)
def test_id_reaches_api_as_it_was_written(
    connect: Any, serve: Any, context: dict[str, Any], native: bool, written: str
) -> None:
    server = serve(
        answering(http_answer(200, f'{{"id": "{written}", "status": "completed", "video_url": "http://x/y"}}'))
    )
    connect(server.url)
    with dag(render_template_as_native_obj=native):
        operator = sensor(video_task_id="{{ params.x }}")
    context["params"] = {"x": written}
    operator.render_template_fields(context)
    assert operator.execute(context)["id"] == written
    assert server.requests[0].target == f"/v1/result/{written.replace(',', '%2C')}"


@pytest.mark.parametrize("kind", [DownloadDigitalHumanVideoOperator, DigitalHumanVideoSensor])
def test_id_that_native_rendering_has_changed_is_refused_in_mapped_task(
    connect: Any, serve: Any, context: dict[str, Any], ti: Any, kind: Any
) -> None:
    """Airflow renders the fields of a mapped task without asking the operator."""
    server = serve(answering(http_answer(500)))
    connect(server.url)
    more = {"destination": "/data/x.mp4"} if kind is DownloadDigitalHumanVideoOperator else {}
    with dag(render_template_as_native_obj=True):
        operator = kind(task_id="make", video_task_id="{{ params.x }}", **more)
    operator.video_task_id = 202501010007
    ti.map_index = 0
    with pytest.raises(AirflowFailException, match=r"video_task_id=202501010007 .*render_template_as_native_obj"):
        operator.execute(context)
    assert server.requests == []


@pytest.mark.parametrize("written", ["3", "0x1F", "m-1", "20250101_0007"])
def test_model_reaches_api_as_it_was_written(connect: Any, serve: Any, context: dict[str, Any], written: str) -> None:
    server = serve(answering(http_answer(200, '{"id": "v1", "status": "queued"}')))
    connect(server.url)
    with dag(render_template_as_native_obj=True):
        operator = create(model="{{ params.x }}", audio_url=f"{server.url}/a.mp3", video_url=f"{server.url}/v.mp4")
    context["params"] = {"x": written}
    operator.render_template_fields(context)
    operator.execute(context)
    assert json.loads(server.requests[0].body)["model"] == written


def test_model_of_nothing_is_left_to_connection(context: dict[str, Any]) -> None:
    with dag(render_template_as_native_obj=True):
        operator = create(model="{{ params.x }}")
    context["params"] = {"x": None}
    operator.render_template_fields(context)
    assert operator.model is None


def test_model_that_native_rendering_has_changed_is_refused_in_mapped_task(
    connect: Any, context: dict[str, Any], ti: Any
) -> None:
    connect("http://127.0.0.1:9")
    with dag(render_template_as_native_obj=True):
        operator = create(model="{{ params.x }}")
    operator.model, ti.map_index = 31, 3
    with pytest.raises(AirflowFailException, match=r"model=31 .*render_template_as_native_obj"):
        operator.execute(context)


@pytest.mark.parametrize("value", [None, "", " ", "None", True, 7.5, ["a"]])
def test_value_that_is_no_task_id_is_refused(value: object) -> None:
    with pytest.raises(InvalidRequestError, match="no task ID"):
        checked_video_task_id(value)


@pytest.mark.parametrize("value", ["7", 7])
def test_number_is_taken_as_id_of_digits(value: object) -> None:
    assert checked_video_task_id(value) == "7"
