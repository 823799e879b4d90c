"""A task that waits without a video, and is ended in the triggerer: what Airflow itself takes for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from airflow.sdk import BaseOperator
from airflow.sdk.bases.xcom import BaseXCom
from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent

RECORD: Final = {"state": "submitted", "video_task_id": "1", "fingerprint": "0" * 64, "generation": 0}
VIDEO: Final = {"id": "1", "status": "completed", "video_url": "https://videos.example.com/1.mp4", "md5": "0" * 32}


class Floor(BaseOperator):
    """Defers.

    :param number: which one it is.
    :param seconds: that it waits.
    :param calls: whether it also makes the calls to Airflow that
        :class:`~airflow_provider_digitalhuman.operators.digitalhuman.CreateDigitalHumanVideoOperator` makes.
    """

    def __init__(self, *, number: int, seconds: float, calls: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.number, self.seconds, self.calls = number, seconds, calls
        self.template_fields = ("number",) if calls else ()

    def execute(self, context: Any) -> None:
        """Defer, after the calls."""
        if self.calls:
            store = context["task_state_store"]
            store.get("record")
            store.set("record", RECORD)
            store.set("record", RECORD)
            context["ti"].xcom_push("video_task", VIDEO)
            context["ti"].xcom_push("link", VIDEO["video_url"])
        self.defer(trigger=FloorTrigger(self.seconds, self.calls), method_name="execute")


class FloorTrigger(BaseTrigger):
    """Sleeps, and ends the task.

    :param seconds: that it sleeps.
    :param calls: whether it leaves as many XComs as ours does.
    """

    def __init__(self, seconds: float, calls: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seconds, self.calls = seconds, calls

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        return f"{__name__}.FloorTrigger", {"seconds": self.seconds, "calls": self.calls}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Sleep."""
        await asyncio.sleep(self.seconds)
        if self.calls:
            ti: Any = self.task_instance
            place = {name: getattr(ti, name) for name in ("dag_id", "run_id", "task_id", "map_index")}
            for key, value in (("video_task", VIDEO), ("video_metrics", VIDEO), ("return_value", "1")):
                await BaseXCom.aset(key, value, **place)
        yield TaskSuccessEvent()
