"""Airflow's scheduler loads the provider before it forks, so that a task process has nothing of it to load."""

import pytest

from airflow_provider_digitalhuman.sandbox.testing import SandboxClient
from tools.airflow_cluster import AirflowCluster

DAG_ID = "preload_probe"


@pytest.fixture(scope="module")
def run_id(airflow: AirflowCluster, sandbox: SandboxClient) -> str:
    airflow.wait_until_dag_parsed(DAG_ID)
    conf = {"audio_url": sandbox.sample_audio_url, "video_url": sandbox.sample_video_url}
    run_id = airflow.trigger(DAG_ID, conf)
    assert airflow.wait_for_run(DAG_ID, run_id)["state"] == "success"
    return run_id


PROCESSES = [
    ("create_blocking", "loaded_first"),
    ("create_deferred", "loaded_first"),
    ("create_deferred", "loaded_second"),
    ("sensor_reschedule", "loaded_first"),
    ("sensor_deferrable", "loaded_first"),
]
"""Of a sensor the first only: its video is there when it begins."""


@pytest.mark.parametrize(("task_id", "told"), PROCESSES)
def test_a_task_process_loads_nothing_more_of_the_provider(
    airflow: AirflowCluster, run_id: str, task_id: str, told: str
) -> None:
    assert airflow.xcom(DAG_ID, run_id, task_id, key=told) == []
