"""A task that waits without our provider, and is ended in the triggerer: what the calls that ours makes take alone."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import time
from collections.abc import AsyncIterator
from http.client import HTTPSConnection
from typing import Any, Final
from urllib.parse import urlsplit

from airflow.sdk import BaseHook, BaseOperator
from airflow.sdk.bases.xcom import BaseXCom
from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent

RECORD: Final = {"state": "submitted", "video_task_id": "1", "fingerprint": "0" * 64, "generation": 0}
BODY: Final = {"audio_url": "https://media.example.com/a.mp3", "video_url": "https://media.example.com/v.mp4"}
VIDEO: Final = {"id": "1", "status": "completed", "video_url": "https://videos.example.com/1.mp4", "md5": "0" * 32}


class Floor(BaseOperator):
    """Defers.

    :param number: which one it is.
    :param seconds: that it waits.
    :param calls: whether it also makes the calls to Airflow that
        :class:`~airflow_provider_digitalhuman.operators.digitalhuman.CreateDigitalHumanVideoOperator` makes.
    :param api: of an Airflow connection, where it also makes a video and asks for it once, with what Python has.
    """

    def __init__(self, *, number: int, seconds: float, calls: bool, api: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.number, self.seconds, self.calls, self.api = number, seconds, calls, api
        self.template_fields = ("number",) if calls else ()

    def execute(self, context: Any) -> None:
        """Defer, after the calls."""
        if self.calls:
            store = context["task_state_store"]
            store.get("record")
            store.set("record", RECORD)
            if self.api:
                _make_and_ask(BaseHook.get_connection(self.api))
            store.set("record", RECORD)
            context["ti"].xcom_push("video_task", VIDEO)
            context["ti"].xcom_push("link", VIDEO["video_url"])
        self.defer(trigger=FloorTrigger(time.time() + self.seconds, self.calls), method_name="execute")


def _make_and_ask(connection: Any) -> None:
    context = ssl.create_default_context(cafile=os.environ["REQUESTS_CA_BUNDLE"])
    client = HTTPSConnection(urlsplit(connection.host).netloc, context=context)
    headers = {"Authorization": f"Bearer {connection.password}", "Content-Type": "application/json"}
    client.request("POST", "/v1/digitalHuman/videos", json.dumps(BODY), headers)
    video = json.load(client.getresponse())
    client.request("GET", f"/v1/result/{video['id']}", headers=headers)
    json.load(client.getresponse())
    client.close()


class FloorTrigger(BaseTrigger):
    """Sleeps, and ends the task.

    :param until: Unix seconds at which it ends.
    :param calls: whether it leaves as many XComs as ours does.
    """

    def __init__(self, until: float, calls: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.until, self.calls = until, calls

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        return f"{__name__}.FloorTrigger", {"until": self.until, "calls": self.calls}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Sleep."""
        await asyncio.sleep(self.until - time.time())
        if self.calls:
            ti: Any = self.task_instance
            place = {name: getattr(ti, name) for name in ("dag_id", "run_id", "task_id", "map_index")}
            for key, value in (("video_task", VIDEO), ("video_metrics", VIDEO), ("return_value", "1")):
                await BaseXCom.aset(key, value, **place)
        yield TaskSuccessEvent()
