"""What a video cost and how long it took, as far as it is known: into XCom and into Airflow's metrics."""

import logging
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final, Literal

from airflow_provider_digitalhuman.api.response import VideoTask

Counter = Literal["videos", "downloads"]

XCOM_METRICS: Final = "metrics"
STATS_PREFIX: Final = "digitalhuman."

_AMOUNT: Final = ("amount",)
_DURATION: Final = ("actualDuration", "actual_duration")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VideoMetrics:
    """The cost and the times of one video, as one try saw them. What is not known is None.

    :param outcome: how the try ended.
    :param try_number: Airflow's number of the try: a value of another try is never added to this one's.
    :param video_task_id: the vendor's task ID.
    :param status: the vendor's word for the task's state.
    :param model: the model's name as the vendor echoes it.
    :param amount: what the vendor charged, in the vendor's own unit and form (undocumented for this endpoint).
    :param actual_duration: what the vendor reports under this name (undocumented for this endpoint).
    :param queue_seconds: from acceptance until the vendor was seen working on it; as exact as the polling.
    :param processing_seconds: from then until it was seen completed; as exact as the polling.
    :param transfer_seconds: of the download; 0 if the file was there already.
    :param size: bytes of the archived file.
    """

    outcome: Literal["success", "failed"]
    try_number: int
    video_task_id: str | None = None
    status: str | None = None
    model: str | None = None
    amount: float | str | None = None
    actual_duration: float | str | None = None
    queue_seconds: float | None = None
    processing_seconds: float | None = None
    transfer_seconds: float | None = None
    size: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types, every field present."""
        return asdict(self)


def cost_fields(task: VideoTask) -> dict[str, float | str]:
    """Return the cost fields that the vendor sent, if any: ``amount`` and ``actual_duration``, as they came."""
    found = {"amount": _number_or_text(task, _AMOUNT), "actual_duration": _number_or_text(task, _DURATION)}
    return {name: value for name, value in found.items() if value is not None}


def video_metrics(
    try_number: int, outcome: Literal["success", "failed"], task: VideoTask | None = None, **known: Any
) -> VideoMetrics:
    """Put together what is known.

    :param try_number: Airflow's.
    :param task: the video task as the API reported it last.
    :param known: ``queue_seconds``, ``processing_seconds``, ``transfer_seconds``, ``size``, ``video_task_id``.
    """
    reported = {} if task is None else {"video_task_id": task.id, "status": task.status, "model": task.model}
    costs = {} if task is None else cost_fields(task)
    return VideoMetrics(outcome, try_number, **{**known, **reported, **costs})


def report(ti: Any, metrics: VideoMetrics, counter: Counter = "videos") -> None:
    """Push the XCom ``metrics`` and :func:`send` the figures. Trouble in here never fails the task."""
    try:
        ti.xcom_push(key=XCOM_METRICS, value=metrics.to_dict())
    except Exception:
        _log.warning("The metrics of video task %s could not be kept.", metrics.video_task_id, exc_info=True)
    send(ti, metrics, counter)


def send(ti: Any, metrics: VideoMetrics, counter: Counter = "videos") -> None:
    """Send the figures to Airflow's metrics. Trouble in here never fails the task.

    Counters ``digitalhuman.<counter>.success`` and ``.failed``; timers ``digitalhuman.queue``, ``.processing`` and
    ``.transfer``; gauges ``digitalhuman.amount``, ``.actual_duration`` and ``.size``. Where the backend has tags:
    ``dag_id``, ``task_id``, ``try_number``, ``status`` and ``outcome``.

    :param counter: ``downloads`` for a task that only archives, so that no video is counted twice.
    """
    try:
        _send(metrics, ti, counter)
    except Exception:
        _log.warning("The metrics of video task %s could not be sent.", metrics.video_task_id, exc_info=True)


def _send(metrics: VideoMetrics, ti: Any, counter: str) -> None:
    from airflow.providers.common.compat.sdk import Stats

    tags = {
        "dag_id": str(ti.dag_id),
        "task_id": str(ti.task_id),
        "try_number": str(metrics.try_number),
        "status": metrics.status or "unknown",
        "outcome": metrics.outcome,
    }
    Stats.incr(f"{STATS_PREFIX}{counter}.{metrics.outcome}", tags=tags)
    for name, seconds in _timers(metrics):
        Stats.timing(STATS_PREFIX + name, timedelta(seconds=seconds), tags=tags)
    for name in ("amount", "actual_duration", "size"):
        if (value := _finite(getattr(metrics, name))) is not None:
            Stats.gauge(STATS_PREFIX + name, value, tags=tags)


def _timers(metrics: VideoMetrics) -> Iterator[tuple[str, float]]:
    for name in ("queue", "processing", "transfer"):
        seconds = getattr(metrics, f"{name}_seconds")
        if seconds is not None:
            yield name, seconds


def _number_or_text(task: VideoTask, names: tuple[str, ...]) -> float | str | None:
    for name in names:
        value = task.raw.get(name)
        if isinstance(value, int | float | str) and not isinstance(value, bool) and value != "":
            return value
    return None


def _finite(value: float | str | None) -> float | None:
    try:
        number = math.nan if value is None else float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
