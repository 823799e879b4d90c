"""What each task process loads of this provider itself, and does not get from the process it was forked from."""

import sys
from typing import Any

from airflow.providers.common.compat.sdk import DAG

PACKAGE = "airflow_provider_digitalhuman"
INHERITED = frozenset(sys.modules)

from airflow_provider_digitalhuman.operators.digitalhuman import CreateDigitalHumanVideoOperator  # noqa: E402
from airflow_provider_digitalhuman.sensors.digitalhuman import DigitalHumanVideoSensor  # noqa: E402


def tell(context: Any, when: str) -> None:
    """Push the names of the modules that this process had to load."""
    loaded = [name for name in sys.modules if name.startswith(PACKAGE) and name not in INHERITED]
    context["ti"].xcom_push(key=f"loaded_{when}", value=loaded)


class Telling:
    """Tells it at the end of each process, also of one that defers."""

    def execute(self, context: Any, **airflows: Any) -> Any:
        """Do what the operator does, and tell."""
        try:
            return super().execute(context, **airflows)  # type: ignore[misc]
        finally:
            tell(context, "first")

    def execute_complete(self, context: Any, event: Any) -> Any:
        """Do what the operator does, and tell."""
        try:
            return super().execute_complete(context, event)  # type: ignore[misc]
        finally:
            tell(context, "second")


class Create(Telling, CreateDigitalHumanVideoOperator):
    """Ours, telling."""


class Sensor(Telling, DigitalHumanVideoSensor):
    """Ours, telling."""


with DAG(dag_id="preload_probe", schedule=None, params={"audio_url": "", "video_url": ""}):
    for deferrable, how, sensor in ((False, "blocking", "reschedule"), (True, "deferred", "deferrable")):
        create = Create(
            task_id=f"create_{how}",
            audio_url="{{ params.audio_url }}",
            video_url="{{ params.video_url }}",
            wait_for_completion=True,
            deferrable=deferrable,
            timeout=120,
        )
        Sensor(
            task_id=f"sensor_{sensor}",
            video_task_id=create.output,
            deferrable=deferrable,
            mode="poke" if deferrable else "reschedule",
            timeout=120,
        )
