"""Ending a task in the triggerer (Airflow 3.3 and later), with what a worker would leave of it."""

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

from airflow.providers.common.compat.sdk import XCOM_RETURN_KEY, XCom
from airflow.triggers.base import TaskSuccessEvent, TriggerEvent

from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.support.links import LINK_XCOM_KEY, XCOM_VIDEO_TASK, video_link
from airflow_provider_digitalhuman.support.metrics import XCOM_METRICS, VideoMetrics, send, video_metrics

TaskKind = Literal["create", "sensor"]


async def end_task(kind: TaskKind, ti: Any, task: VideoTask, times: Mapping[str, float | None]) -> TriggerEvent:
    """Leave a task's XComs, and return the event that ends it as a success.

    The XComs go the way that a worker's go: those that Airflow 3.3 takes from the event reach the next task as the text
    of their JSON.

    :param ti: the task instance as the triggerer knows it.
    :param task: the completed video.
    :param times: of :meth:`~airflow_provider_digitalhuman.waiting.decision.VideoWait.times`.
    """
    metrics = video_metrics(ti.try_number, "success", task, **times)
    place = {name: getattr(ti, name) for name in ("dag_id", "run_id", "task_id")}
    map_index = -1 if ti.map_index is None else ti.map_index
    for key, value in _xcoms(kind, ti, task, metrics).items():
        await XCom.aset(key, value, **place, map_index=map_index)
    if kind == "create":
        await asyncio.to_thread(send, ti, metrics)
    return TaskSuccessEvent()


def _xcoms(kind: TaskKind, ti: Any, task: VideoTask, metrics: VideoMetrics) -> dict[str, Any]:
    if kind == "sensor":  # which may never have been in a worker, where Airflow pushes the link
        return {LINK_XCOM_KEY: video_link(ti), XCOM_RETURN_KEY: task.to_dict()}
    return {XCOM_VIDEO_TASK: task.to_dict(), XCOM_METRICS: metrics.to_dict(), XCOM_RETURN_KEY: task.id}
