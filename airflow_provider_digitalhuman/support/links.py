"""The link on a task in the Airflow UI that leads to its video."""

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from airflow.providers.common.compat.sdk import BaseOperatorLink, conf

from airflow_provider_digitalhuman.support.compat import AIRFLOW

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, TaskInstanceKey

LINK_XCOM_KEY: Final = "digitalhuman_video_link"
XCOM_VIDEO_TASK: Final = "video_task"
"""Where the create operator keeps the vendor's task as it was seen last."""


class DigitalHumanVideoLink(BaseOperatorLink):
    """Leads to what is known of the video: the task instance's XComs, where ``video_task`` is kept.

    That is its status while it is being made, and where it lies afterwards. Not the video itself: its URL is signed,
    expires after about a day, and Airflow keeps links in clear. Nor the vendor's query, which needs the key.
    """

    name = "DigitalHuman video"
    xcom_key = LINK_XCOM_KEY

    def get_link(self, operator: "BaseOperator", *, ti_key: "TaskInstanceKey") -> str:
        """Return the link for a task instance."""
        return video_link(ti_key)


def push_video_link(ti: Any) -> None:
    """Show the link at once, also while the task runs and should its process be killed (Airflow 3 reads an XCom).

    For a process that goes on for long; Airflow itself shows the link when a process ends, also when it defers.
    """
    ti.xcom_push(key=LINK_XCOM_KEY, value=video_link(ti))


def video_link(ti: Any) -> str:
    """Return the address of the page on a task instance's XComs.

    :param ti: whatever has ``dag_id``, ``run_id``, ``task_id`` and ``map_index``.
    """
    dag_id, run_id, task_id = (quote(part, safe="") for part in (ti.dag_id, ti.run_id, ti.task_id))
    map_index = getattr(ti, "map_index", -1)
    if map_index is None:
        map_index = -1
    if AIRFLOW < (3, 0):
        base = conf.get("webserver", "base_url", fallback="").rstrip("/")
        return f"{base}/dags/{dag_id}/grid?dag_run_id={run_id}&task_id={task_id}&map_index={map_index}&tab=xcom"
    base = (conf.get("api", "base_url", fallback="") or "").rstrip("/")
    mapped = f"/mapped/{map_index}" if map_index >= 0 else ""
    return f"{base}/dags/{dag_id}/runs/{run_id}/tasks/{task_id}{mapped}/xcom"
