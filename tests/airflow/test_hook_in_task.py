"""The hook in a task of one's own, in a real Airflow: with the task's context it pays at most once."""

import secrets
from typing import Any

from airflow_provider_digitalhuman.sandbox.testing import SandboxClient
from tests.airflow.records import wait_for_stage
from tools.airflow_cluster import AirflowCluster

DAG_ID, TASK_ID = "hook_probe", "make_video"


def start(airflow: AirflowCluster, sandbox: SandboxClient, mark: str) -> str:
    airflow.wait_until_dag_parsed(DAG_ID)
    urls = {"audio_url": sandbox.sample_audio_url, "video_url": sandbox.sample_video_url}
    return airflow.trigger(DAG_ID, {key: f"{url}?mark={mark}" for key, url in urls.items()})


def posts(sandbox: SandboxClient, mark: str) -> list[Any]:
    return [post for post in sandbox.ledger()["requests"] if mark in str(post["body"])]


def test_hook_with_context_submits_once_over_retries_and_anew_after_a_success(
    airflow: AirflowCluster, sandbox: SandboxClient
) -> None:
    mark = secrets.token_hex(6)
    run_id = start(airflow, sandbox, mark)
    assert airflow.wait_for_run(DAG_ID, run_id)["state"] == "success"
    assert airflow.task_instances(DAG_ID, run_id)[0]["try_number"] == 2
    first = airflow.xcom(DAG_ID, run_id, TASK_ID)
    assert len(posts(sandbox, mark)) == 1
    wait_for_stage(airflow, DAG_ID, run_id, TASK_ID, "returned")
    airflow.clear(DAG_ID, run_id, [TASK_ID])
    assert airflow.wait_for_run(DAG_ID, run_id)["state"] == "success"
    assert airflow.xcom(DAG_ID, run_id, TASK_ID) != first
    assert len(posts(sandbox, mark)) == 2


def test_hook_with_context_ends_the_retries_after_an_unknown_outcome(
    airflow: AirflowCluster, sandbox: SandboxClient
) -> None:
    mark = secrets.token_hex(6)
    sandbox.add_fault(on="create", fault="reset", match=mark, when="after")
    run_id = start(airflow, sandbox, mark)
    assert airflow.wait_for_run(DAG_ID, run_id)["state"] == "failed"
    assert airflow.task_instances(DAG_ID, run_id)[0]["try_number"] == 1
    airflow.clear(DAG_ID, run_id, [TASK_ID])
    assert airflow.wait_for_run(DAG_ID, run_id)["state"] == "failed"
    assert len(posts(sandbox, mark)) == 1
