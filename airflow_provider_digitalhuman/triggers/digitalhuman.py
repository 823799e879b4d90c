"""The trigger: waits for one video in the triggerer, and wakes the task up when the wait has ended."""

import math
import random
import time
from asyncio import sleep
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from airflow.triggers.base import BaseTrigger, StartTriggerArgs, TriggerEvent

from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.exceptions import InvalidRequestError
from airflow_provider_digitalhuman.triggers.ending import TaskKind, end_task
from airflow_provider_digitalhuman.triggers.events import event_of
from airflow_provider_digitalhuman.waiting.decision import Done, Failed, VideoWait, checked_video_task_id
from airflow_provider_digitalhuman.waiting.poller import Client, poller_for

__all__ = ["DigitalHumanVideoTrigger"]

EARLIEST_EVENT: Final = 10.0
"""Seconds after the deferral before which no event leaves: Airflow 3.3 can fail a task that is woken up at once,
because the end of the worker's process is noticed up to 5 s late (apache/airflow issues 66374 and 67287)."""
DEFERRAL_MARGIN: Final = 300.0
"""Seconds that Airflow's own time-out of the deferral comes after the deadline, so that ours, which says more, wins: it
can be as late as the poller's last query, its grace and its sweep."""
RESTART_SPREAD: Final = 5.0
"""Seconds over which the first queries are spread when a triggerer takes over many waiting videos at once."""


class DigitalHumanVideoTrigger(BaseTrigger):
    """Waits for one video. All triggers of a connection share one poller, its HTTP connections and its rate limiter.

    What is serialized holds no secret, and only absolute times, so that a restart of the triggerer changes nothing.

    :param digitalhuman_conn_id: ID of the Airflow connection.
    :param video_task_id: the vendor's task ID.
    :param deadline: Unix seconds at which the wait fails; None for a task that has started in the triggerer: then it
        follows from the time-out that Airflow has set and keeps, see ``start_trigger_args``.
    :param poll_interval: seconds between two queries of a young video; None: 5 to 10, as the vendor asks.
    :param submitted_at: Unix seconds of the create where they are known.
    :param not_before: Unix seconds before which no query and no event leaves.
    :param ends_task: the kind of task that is not woken up but ended here, once its video is completed (Airflow 3.3 and
        later); None for any that goes on in a worker. A wait that fails always wakes the task up, for its retries.
    """

    def __init__(
        self,
        digitalhuman_conn_id: str,
        video_task_id: str,
        deadline: float | None = None,
        poll_interval: float | None = None,
        submitted_at: float | None = None,
        not_before: float = 0.0,
        ends_task: TaskKind | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.digitalhuman_conn_id = digitalhuman_conn_id
        self.video_task_id = video_task_id
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.submitted_at = submitted_at
        self.not_before = not_before
        self.ends_task = ends_task

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and exactly the constructor's arguments."""
        return (
            "airflow_provider_digitalhuman.triggers.digitalhuman.DigitalHumanVideoTrigger",
            {
                "digitalhuman_conn_id": self.digitalhuman_conn_id,
                "video_task_id": self.video_task_id,
                "deadline": self.deadline,
                "poll_interval": self.poll_interval,
                "submitted_at": self.submitted_at,
                "not_before": self.not_before,
                "ends_task": self.ends_task,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait through the shared poller, and send the one event that says how it ended."""
        first_in = max(self.not_before - time.time(), RESTART_SPREAD * random.random())  # noqa: S311
        end: Done | Failed
        times: dict[str, float | None] = {}
        try:
            wait = self._wait()
        except InvalidRequestError as error:
            end = Failed(error)
        else:
            end = await poller_for(self.digitalhuman_conn_id, _open_client).wait_for(wait, first_in, self.log.info)
            times = wait.times()
        await sleep(max(0.0, self.not_before - time.time()))
        # Nothing may follow: Airflow 3.3 takes a trigger that is slow to end for one that was killed.
        yield await self._end_task(end, times) or TriggerEvent(  # type: ignore[no-untyped-call]
            event_of(end, self.video_task_id, times)
        )

    async def _end_task(self, end: Done | Failed, times: dict[str, float | None]) -> TriggerEvent | None:
        """Return the event that ends the task; None where it must be woken up."""
        ti = getattr(self, "task_instance", None)  # dag.test() has none, and no way to end a task from here
        if not self.ends_task or ti is None or not isinstance(end, Done):
            return None
        if self.ends_task == "create" and _may_be_the_clip(end.task):
            return None
        try:
            event = await end_task(self.ends_task, ti, end.task, times)
        except Exception as error:
            self.log.warning("The task cannot be ended here, so it goes back to a worker: %r", error)
            return None
        self.log.info("Video task %s is completed; the task ends here, in the triggerer.", self.video_task_id)
        return event

    def _wait(self) -> VideoWait:
        return VideoWait(
            checked_video_task_id(self.video_task_id),
            deadline=self._deadline_of_airflow() if self.deadline is None else self.deadline,
            poll_interval=self.poll_interval,
            submitted_at=self.submitted_at,
        )

    def _deadline_of_airflow(self) -> float:
        ends: datetime | None = getattr(self, "timeout_after", None)
        if ends is None:
            return math.inf
        return (ends if ends.tzinfo else ends.replace(tzinfo=UTC)).timestamp() - DEFERRAL_MARGIN

    async def on_kill(self) -> None:
        """Log what becomes of the video (Airflow 3.3 and later).

        Airflow also calls this where nobody killed anything, such as when another triggerer has taken over; there is
        nothing to cancel at the vendor, so nothing is done.
        """
        self.log.warning(
            "This trigger is to stop waiting for video task %s: the Airflow task was marked or cleared, or another"
            " triggerer has taken it over. The vendor has no cancel: the video goes on and is charged, and can be"
            " picked up under this ID.",
            self.video_task_id,
        )


async def _open_client(digitalhuman_conn_id: str, present: Client | None) -> Client:
    # A worker imports this module to defer, and has no use for aiohttp.
    from airflow_provider_digitalhuman.connection.query_client import open_client

    return await open_client(digitalhuman_conn_id, present)


def _may_be_the_clip(task: VideoTask) -> bool:
    """Return whether the video's URL stands under the request's own name: only a worker knows what was sent."""
    return bool(task.video_url) and task.video_url == task.raw.get("videoUrl") != task.raw.get("video_url")


def deferral(
    video_task_id: str,
    *,
    digitalhuman_conn_id: str,
    deadline: float,
    poll_interval: float | None = None,
    submitted_at: float | None = None,
    ends_task: TaskKind | None = None,
) -> dict[str, Any]:
    """Return the arguments ``trigger`` and ``timeout`` for ``BaseOperator.defer``.

    :param deadline: Unix seconds, as for :class:`~airflow_provider_digitalhuman.waiting.decision.VideoWait`.
    :param ends_task: as for :class:`DigitalHumanVideoTrigger`.
    """
    now = time.time()
    trigger = DigitalHumanVideoTrigger(
        digitalhuman_conn_id=digitalhuman_conn_id,
        video_task_id=video_task_id,
        deadline=deadline,
        poll_interval=poll_interval,
        submitted_at=submitted_at,
        not_before=now + EARLIEST_EVENT,
        ends_task=ends_task,
    )
    return {"trigger": trigger, "timeout": timedelta(seconds=max(0.0, deadline - now) + DEFERRAL_MARGIN)}


def start_trigger_args(
    *,
    video_task_id: str,
    digitalhuman_conn_id: str,
    timeout: float,
    poll_interval: float | None,
    ends_task: TaskKind | None = None,
) -> StartTriggerArgs:
    """Return what starts a waiting task in the triggerer (Airflow 3.3 and later).

    No deadline can be known when the DAG is parsed. Airflow keeps the moment at which its own time-out ends, also when
    the triggerer restarts; the trigger computes its deadline from that.

    :param timeout: seconds to wait.
    :param ends_task: as for :class:`DigitalHumanVideoTrigger`.
    """
    return StartTriggerArgs(
        trigger_cls="airflow_provider_digitalhuman.triggers.digitalhuman.DigitalHumanVideoTrigger",
        trigger_kwargs={
            "digitalhuman_conn_id": digitalhuman_conn_id,
            "video_task_id": video_task_id,
            "poll_interval": poll_interval,
            "ends_task": ends_task,
        },
        next_method="execute_complete",
        timeout=timedelta(seconds=timeout + DEFERRAL_MARGIN),
    )
