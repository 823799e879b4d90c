"""The record of a submission as Airflow's API shows it."""

import time

from airflow_provider_digitalhuman.ledger_address import RECORD_KEY
from tools.airflow_cluster import AirflowCluster

PATIENCE = 30.0


def wait_for_stage(airflow: AirflowCluster, dag_id: str, run_id: str, task_id: str, stage: str) -> None:
    """Return once the record is there: the success callback runs when the run may have ended already."""
    path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/state-store/{RECORD_KEY}"
    patience = time.monotonic() + PATIENCE
    while (found := airflow.api("GET", path, params={"map_index": -1})["value"]["stage"]) != stage:
        assert time.monotonic() < patience, f"{task_id}: {found} instead of {stage}"
        time.sleep(0.2)
