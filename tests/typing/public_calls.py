"""Public calls as DAG authors write them: not run, only checked by mypy (`make lint`).

A `type: ignore` is a call that must stay an error: mypy reports one that is not needed any more.
"""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, assert_type

from airflow.providers.common.compat.sdk import Context, ObjectStoragePath
from pendulum import DateTime

from airflow_provider_digitalhuman.api.request import VideoRequest
from airflow_provider_digitalhuman.api.response import TaskStatus, VideoTask
from airflow_provider_digitalhuman.exceptions import (
    DigitalHumanError,
    OnUnknownSubmission,
    OnVideoFailed,
    RateLimitError,
    SubmissionUnknownError,
    VideoFailedError,
)
from airflow_provider_digitalhuman.hooks.digitalhuman import DigitalHumanHook
from airflow_provider_digitalhuman.operators.digitalhuman import (
    CreateDigitalHumanVideoOperator,
    DownloadDigitalHumanVideoOperator,
)
from airflow_provider_digitalhuman.sandbox.testing import SandboxClient, running_sandbox
from airflow_provider_digitalhuman.sensors.digitalhuman import DigitalHumanVideoSensor
from airflow_provider_digitalhuman.triggers.digitalhuman import DigitalHumanVideoTrigger


def create(context: Context) -> None:
    least = CreateDigitalHumanVideoOperator(task_id="create", audio_url="https://…/a.mp3", video_url="https://…/v.mp4")
    assert_type(least.execute(context), str)
    assert_type(least.execute_complete(context, {}), str)
    CreateDigitalHumanVideoOperator(
        task_id="create",
        audio_url="https://…/a.mp3",
        video_url="https://…/v.mp4",
        model="kyy_digitalHuman",
        model_version=1,
        side_face=True,
        tilted_face="{{ params.tilted }}",
        digitalhuman_conn_id="digitalhuman_default",
        check_media=True,
        wait_for_completion=True,
        deferrable=True,
        poll_interval=timedelta(seconds=10),
        timeout=600,
        end_from_trigger=False,
        destination=Path("/data/video.mp4"),
        storage_conn_id="aws_default",
        overwrite=True,
        durable=True,
        on_unknown_submission="resubmit",
        on_video_failed="retry",
        retries=3,
    )
    CreateDigitalHumanVideoOperator(
        task_id="create",
        audio_url=None,  # type: ignore[arg-type]
        video_url="https://…/v.mp4",
        timeout="3600",  # type: ignore[arg-type]
        on_unknown_submission="retry",  # type: ignore[arg-type]
        on_video_failed="resubmit",  # type: ignore[arg-type]
    )
    CreateDigitalHumanVideoOperator(task_id="create", audio_url="https://…/a.mp3")  # type: ignore[call-arg]
    CreateDigitalHumanVideoOperator("create", "https://…/a.mp3", "https://…/v.mp4")  # type: ignore[call-arg]


def download(context: Context, path: ObjectStoragePath) -> None:
    operator = DownloadDigitalHumanVideoOperator(
        task_id="archive",
        video_task_id="vt-1",
        destination=path,
        storage_conn_id=None,
        overwrite=False,
        max_bytes=1_000_000,
        digitalhuman_conn_id="digitalhuman_default",
    )
    assert_type(operator.execute(context), str)
    DownloadDigitalHumanVideoOperator(task_id="archive", video_task_id="vt-1")  # type: ignore[call-arg]


def wait(context: Context) -> None:
    sensor = DigitalHumanVideoSensor(
        task_id="wait",
        video_task_id="vt-1",
        digitalhuman_conn_id="digitalhuman_default",
        deferrable=True,
        start_from_trigger=True,
        end_from_trigger=True,
        poke_interval=timedelta(seconds=30),
        timeout=timedelta(hours=1),
        mode="reschedule",
        soft_fail=True,
    )
    assert_type(sensor.execute_complete(context, {}), dict[str, Any])
    DigitalHumanVideoSensor(task_id="wait")  # type: ignore[call-arg]
    assert_type(DigitalHumanVideoTrigger("digitalhuman_default", "vt-1").serialize(), tuple[str, dict[str, Any]])


def submit(context: Context) -> str:
    request = VideoRequest(
        "https://…/a.mp3",
        "https://…/v.mp4",
        model="kyy_digitalHuman",
        model_version=2,
        side_face=None,
        tilted_face=None,
    )
    with DigitalHumanHook("digitalhuman_default") as hook:
        assert_type(hook.create_video(request), VideoTask)
        assert_type(hook.get_video("vt-1"), VideoTask)
        assert_type(hook.test_connection(), tuple[bool, str])
        hook.create_video("https://…/a.mp3")  # type: ignore[arg-type]
        return hook.create_video(request, context=context).id


def look_at(task: VideoTask) -> None:
    assert_type(task.status, str)
    assert_type(task.is_completed, bool)
    assert_type(task.is_failed, bool)
    assert_type(task.created, DateTime | None)
    assert_type(task.video_url, str | None)
    assert_type(task.to_dict(), dict[str, Any])
    assert_type(VideoTask.from_dict({"id": "vt-1"}), VideoTask)
    assert_type(TaskStatus(task.status), TaskStatus)
    task.status = "completed"  # type: ignore[misc]


def catch(error: DigitalHumanError) -> None:
    assert_type(error.ends_retries, bool)
    if isinstance(error, SubmissionUnknownError):
        assert_type(error.video_task_id, str | None)
    elif isinstance(error, VideoFailedError):
        assert_type(error.task, VideoTask | None)
    elif isinstance(error, RateLimitError):
        assert_type(error.retry_after, float | None)


def choose(unknown: OnUnknownSubmission, failed: OnVideoFailed) -> None:
    assert_type(unknown, Literal["fail", "resubmit"])
    assert_type(failed, Literal["fail", "retry"])


def sandbox() -> Iterator[SandboxClient]:
    with running_sandbox(processing_seconds=0.5, state_dir=Path("/tmp/sandbox")) as client:
        assert_type(client, SandboxClient)
        assert_type(client.base_url, str)
        assert_type(client.add_fault(on="create", fault="reset", when="after"), dict[str, Any])
        assert_type(client.ledger(), dict[str, Any])
        yield client
