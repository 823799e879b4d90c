"""The operator's waits on a real Airflow: they end alike in a worker, after the triggerer and in it; one POST each."""

import secrets
from typing import Any

import pytest

from airflow_provider_digitalhuman.sandbox.testing import SandboxClient
from airflow_provider_digitalhuman.support.links import LINK_XCOM_KEY
from tests.airflow.records import wait_for_stage
from tools.airflow_cluster import AirflowCluster

DAG_ID, TASKS = "wait_probe", ("blocking", "deferred", "ended")
ONE_EACH = dict.fromkeys(TASKS, 1)


class Probe:
    """One run of the probe DAG."""

    def __init__(self, airflow: AirflowCluster, sandbox: SandboxClient) -> None:
        self.airflow, self.sandbox, self.mark, self.run_id = airflow, sandbox, secrets.token_hex(6), ""

    def run(self) -> str:
        self.airflow.wait_until_dag_parsed(DAG_ID)
        conf = {
            "audio_url": f"{self.sandbox.sample_audio_url}?mark={self.mark}",
            "video_url": self.sandbox.sample_video_url,
        }
        self.run_id = self.airflow.trigger(DAG_ID, conf)
        return str(self.airflow.wait_for_run(DAG_ID, self.run_id)["state"])

    def wait_for_stages(self, **stages: str) -> None:
        for task_id, stage in stages.items():
            wait_for_stage(self.airflow, DAG_ID, self.run_id, task_id, stage)

    def clear(self) -> str:
        self.airflow.clear(DAG_ID, self.run_id, list(TASKS))
        return str(self.airflow.wait_for_run(DAG_ID, self.run_id)["state"])

    def posts(self) -> dict[str, int]:
        bodies = [str(post["body"]) for post in self.sandbox.ledger()["requests"] if self.mark in str(post["body"])]
        return {task: sum(f"task={task}" in body for body in bodies) for task in TASKS}

    def xcom(self, task: str, key: str = "return_value") -> Any:
        return self.airflow.xcom(DAG_ID, self.run_id, task, key=key)

    def log(self, task: str, try_number: int = 1) -> str:
        return self.airflow.task_log(DAG_ID, self.run_id, task, try_number)

    def tries(self) -> dict[str, int]:
        return {row["task_id"]: row["try_number"] for row in self.airflow.task_instances(DAG_ID, self.run_id)}


@pytest.fixture
def probe(airflow: AirflowCluster, sandbox: SandboxClient) -> Probe:
    return Probe(airflow, sandbox)


@pytest.fixture(scope="module")
def succeeded(airflow: AirflowCluster, sandbox: SandboxClient) -> Probe:
    """A run in which nothing went wrong; the second test clears it."""
    probe = Probe(airflow, sandbox)
    assert probe.run() == "success"
    return probe


def test_all_waits_return_the_same(succeeded: Probe) -> None:
    probe = succeeded
    assert probe.posts() == ONE_EACH
    for task in TASKS:
        video = probe.xcom(task, "video_task")
        assert video.keys() == probe.xcom("blocking", "video_task").keys()
        assert video["id"] == probe.xcom(task)
        assert video["status"] == "completed"
        assert video["video_url"]
        assert len(video["md5"]) == 32
        assert probe.xcom(task, "metrics")["outcome"] == "success"
        assert probe.xcom(task, "metrics").keys() == probe.xcom("blocking", "metrics").keys()
        assert probe.xcom(task, LINK_XCOM_KEY)
    assert "in the triggerer" in probe.log("deferred")
    assert "the task ends here, in the triggerer" in probe.log("ended")
    assert "the task ends here" not in probe.log("deferred")


def test_a_clear_after_success_makes_another_video_but_only_the_second_one_where_the_triggerer_ended_the_task(
    succeeded: Probe,
) -> None:
    probe, first = succeeded, succeeded.xcom("ended")
    probe.wait_for_stages(blocking="returned", deferred="returned", ended="submitted")
    assert probe.clear() == "success"
    assert probe.posts() == {"blocking": 2, "deferred": 2, "ended": 1}
    assert probe.xcom("ended") == first
    probe.wait_for_stages(blocking="returned", deferred="returned", ended="returned")
    assert probe.clear() == "success"
    assert probe.posts() == {"blocking": 3, "deferred": 3, "ended": 2}
    assert probe.xcom("ended") != first


def test_a_failed_video_fails_both_for_good_and_a_clear_makes_another(probe: Probe) -> None:
    probe.sandbox.add_fault(on="task", fault="fails", match=probe.mark, times=len(TASKS))
    assert probe.run() == "failed"
    assert probe.posts() == ONE_EACH
    assert probe.tries() == ONE_EACH
    for task in TASKS:
        assert f"Video task {probe.xcom(task, 'video_task')['id']} ended as 'failed'" in probe.log(task)
    assert probe.clear() == "success"
    assert probe.posts() == dict.fromkeys(TASKS, 2)


def test_trouble_with_queries_does_not_end_a_wait(probe: Probe) -> None:
    for fault in ("http_status", "invalid_json", "rate_limited", "status_word", "unauthorized"):
        probe.sandbox.add_fault(on="query", fault=fault, times=2)
    assert probe.run() == "success"
    assert probe.posts() == ONE_EACH
    assert probe.tries() == ONE_EACH
