"""The record of a submission as Airflow's API shows it."""

import time
from dataclasses import replace
from datetime import datetime

from airflow_provider_digitalhuman.ledger.address import RECORD_KEY, TaskAddress
from airflow_provider_digitalhuman.ledger.rest import AirflowApi
from airflow_provider_digitalhuman.ledger.rules import ANSWER_CAN_COME
from tools.airflow_cluster import AirflowCluster

PATIENCE = 30.0


def wait_for_stage(airflow: AirflowCluster, dag_id: str, run_id: str, task_id: str, stage: str) -> None:
    """Return once the record is there: the success callback runs when the run may have ended already."""
    path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/state-store/{RECORD_KEY}"
    patience = time.monotonic() + PATIENCE
    while (found := airflow.api("GET", path, params={"map_index": -1})["value"]["stage"]) != stage:
        assert time.monotonic() < patience, f"{task_id}: {found} instead of {stage}"
        time.sleep(0.2)


def backdate(airflow: AirflowCluster, address: TaskAddress) -> None:
    """Move the POST of a record into the past, to where its answer cannot come any more and ``release`` works."""
    access = AirflowApi(airflow.base_url, None if airflow.is_airflow_2 else airflow.token())
    found = access.read(address)
    assert found is not None, f"{address} has no record"
    record = found.record()
    sent_at = (datetime.fromisoformat(record.sent_at) - ANSWER_CAN_COME).isoformat()
    access.write(address, replace(record, sent_at=sent_at), found)
