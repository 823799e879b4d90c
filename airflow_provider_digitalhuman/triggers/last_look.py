"""The worker's last look: a wait that failed in the triggerer is checked once by the worker before its task fails.

The triggerer has another network, CA file, proxy and HTTP client than the worker, so only the vendor's own word about
the video is final there. Nothing is submitted in here.
"""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.exceptions import DigitalHumanError, QueryError, WaitTimeoutError
from airflow_provider_digitalhuman.triggers.events import ended_by_vendor, event_of, task_of
from airflow_provider_digitalhuman.waiting.decision import Failed, VideoWait, Wait

TRIGGER_FAILED: Final = "__fail__"
"""Airflow's ``next_method`` for a task whose trigger has not sent an event: it timed out, or it could not run."""
_TRIGGER_TIMEOUT: Final = "Trigger timeout"


def event_of_failed_trigger(next_kwargs: Mapping[str, Any] | None, video_task_id: str = "") -> dict[str, Any]:
    """Return the event of a trigger that could not send one.

    :param next_kwargs: Airflow's arguments for :data:`TRIGGER_FAILED`.
    """
    reason = (next_kwargs or {}).get("error", "Unknown")
    kind = WaitTimeoutError if reason == _TRIGGER_TIMEOUT else QueryError
    named = f"video task {video_task_id}" if video_task_id else "the video"
    error = kind(f"Airflow ended the wait for {named} in the triggerer: {reason}. The video is not affected.")
    return event_of(Failed(error), video_task_id)


def end_of_wait(event: Any, video_task_id: str, query: Callable[[], VideoTask]) -> VideoTask:
    """Return the completed video that a trigger's event brings, or that the worker then sees itself.

    :param query: asks once for the video with the worker's own client.
    :raises DigitalHumanError: what ended the wait, with what the worker saw; or the vendor's word about the video.
    """
    try:
        return task_of(event, video_task_id)
    except DigitalHumanError as error:
        if ended_by_vendor(error):
            raise
        ended_by = error
    return _seen_by_both(ended_by, _asked(query), video_task_id)


def _asked(query: Callable[[], VideoTask]) -> VideoTask | DigitalHumanError:
    try:
        return query()
    except DigitalHumanError as error:
        return error
    except Exception as error:  # such as a connection that Airflow cannot look up
        return QueryError(f"{type(error).__name__}: {error}")


def _seen_by_both(error: DigitalHumanError, outcome: VideoTask | DigitalHumanError, video_task_id: str) -> VideoTask:
    kind = type(error)
    if isinstance(outcome, VideoTask):
        decision = VideoWait(video_task_id, deadline=math.inf).judge(outcome, time.time())
        if not isinstance(decision, Wait):
            return decision.result()
        seen = f"status {outcome.status!r}{' without a URL' if outcome.is_completed else ''}"
        if kind.ends_retries:  # the worker can do what the triggerer could not
            kind = QueryError
    else:
        seen = str(outcome).rstrip(".")
    raise kind(f"{error} So far the triggerer. The worker has then asked once itself: {seen}.")
