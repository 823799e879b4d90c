"""What a trigger sends to the task that it resumes: the end of a wait as JSON types, and back.

The event holds everything that the resumed task needs: ``dag.test()`` drops the arguments of the deferral.
"""

from collections.abc import Mapping
from typing import Any, Final

from airflow_provider_digitalhuman import exceptions
from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.exceptions import DigitalHumanError, VideoFailedError
from airflow_provider_digitalhuman.waiting.decision import Done, Failed

_ERRORS: Final = {
    name: kind
    for name, kind in vars(exceptions).items()
    if isinstance(kind, type) and issubclass(kind, DigitalHumanError)
}


class Event(dict[str, Any]):
    """A payload whose ``repr`` keeps the signed URL of the video out of the log lines of Airflow's triggerer."""

    def __repr__(self) -> str:
        return f"video task {self.get('video_task_id')}: {self.get('error') or 'completed'}"

    __str__ = __repr__


def event_of(end: Done | Failed, video_task_id: str, times: Mapping[str, float | None] | None = None) -> Event:
    """Return the payload that says how a wait ended.

    :param times: of :meth:`VideoWait.times`.
    """
    common = {"video_task_id": video_task_id, "times": dict(times or {})}
    if isinstance(end, Done):
        return Event(status="completed", video_task=end.task.to_dict(), **common)
    task = end.error.task if isinstance(end.error, VideoFailedError) else None
    return Event(
        status="failed",
        error=type(end.error).__name__,
        message=str(end.error),
        video_task=task.to_dict() if task else None,
        **common,
    )


def task_of(event: Any, video_task_id: str = "") -> VideoTask:
    """Return the completed task that ``event`` brings.

    :param video_task_id: the one that was waited for, where it is known.
    :raises DigitalHumanError: the error that ended the wait, of the same class and with the same message as the
        blocking wait raises it; or, for an event that cannot be understood or is about another video, one that says so.
    """
    try:
        if _is_of_another(event, video_task_id):
            error: DigitalHumanError = _not_understood(event)
        elif event["status"] == "failed":
            error = _error_of(event)
        else:
            task = VideoTask.from_dict(event["video_task"])
            if event["status"] == "completed" and task.is_completed and task.video_url:
                return task
            error = _not_understood(event)
    except (KeyError, TypeError, ValueError, AttributeError):
        error = _not_understood(event)
    raise error


def ended_by_vendor(error: DigitalHumanError) -> bool:
    """Return whether ``error`` is the vendor's own word about the video, so that no further query is needed.

    All else can come from where the triggerer runs: another network, proxy, CA file, connection or HTTP client than the
    worker's. An answer that the worker gets decides then.

    :param error: the error of :func:`task_of`.
    """
    return isinstance(error, VideoFailedError)


def video_task_id_of(event: Any) -> str | None:
    """Return the vendor's ID of the task that was waited for; None where the event does not name it."""
    video_task_id = event.get("video_task_id") if isinstance(event, dict) else None
    return video_task_id if isinstance(video_task_id, str) else None


def times_of(event: Any) -> dict[str, float | None]:
    """Return the times that ``event`` brings; none, where it comes from an older triggerer."""
    times = event.get("times") if isinstance(event, dict) else None
    return times if isinstance(times, dict) else {}


def _is_of_another(event: Mapping[str, Any], video_task_id: str) -> bool:
    task = event.get("video_task")
    if not task or not video_task_id:
        return False
    return str(task["id"]).strip() != video_task_id.strip()


def _error_of(event: dict[str, Any]) -> DigitalHumanError:
    kind = _ERRORS.get(event["error"], DigitalHumanError)  # a newer triggerer can know more of them
    if kind is VideoFailedError:
        task = event["video_task"]
        return VideoFailedError(event["message"], VideoTask.from_dict(task) if task else None)
    return kind(event["message"])


def _not_understood(event: Any) -> DigitalHumanError:
    shown = sorted(event) if isinstance(event, dict) else type(event).__name__
    return DigitalHumanError(
        f"The trigger's event cannot be understood ({shown}). The video is not affected: another try goes on waiting"
        " for it."
    )
