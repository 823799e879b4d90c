"""A triggerer that is killed while many videos wait: none is lost, none is submitted twice, the deadlines stay."""

import json
import re
import secrets
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from cryptography.fernet import Fernet

from airflow_provider_digitalhuman.sandbox.testing import SandboxClient
from tools.airflow_cluster import AirflowCluster

DAG_ID, TASK_ID, VIDEOS = "restart_probe", "wait", 50
PATIENCE = 240.0


@pytest.fixture
def endless(sandbox: SandboxClient) -> Iterator[SandboxClient]:
    """A sandbox whose videos are made for as long as the test does not say otherwise."""
    sandbox.clear_faults()
    sandbox.add_fault(on="query", fault="status_word", word="processing", times=None)
    yield sandbox
    sandbox.clear_faults()


def test_a_killed_triggerer_loses_nothing(
    airflow: AirflowCluster, endless: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = secrets.token_hex(6)
    conf = {"audio_url": f"{endless.sample_audio_url}?mark={mark}", "video_url": endless.sample_video_url}
    airflow.wait_until_dag_parsed(DAG_ID)
    run_id = airflow.trigger(DAG_ID, conf)
    _until(lambda: _states(airflow, run_id) == {"deferred": VIDEOS}, "all to be deferred")
    before = _waiting(airflow)
    assert len(before) == VIDEOS

    airflow.kill("triggerer", whole_session=True)
    asked = endless.ledger()["queries"]
    # The new one takes over what belongs to one that has not been heard of for so long; the default is 30.
    monkeypatch.setitem(airflow.env, "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD", "10")
    airflow.start_component("triggerer")
    _until(lambda: endless.ledger()["queries"] >= asked + VIDEOS, "the new triggerer to ask for the videos")
    assert _waiting(airflow) == before, "same videos, same deadlines"

    endless.clear_faults()
    assert airflow.wait_for_run(DAG_ID, run_id, timeout=PATIENCE)["state"] == "success"
    assert _posts(endless, mark) == dict.fromkeys(range(VIDEOS), 1)
    assert {ti["try_number"] for ti in airflow.task_instances(DAG_ID, run_id)} == {1}
    returned = {airflow.xcom(DAG_ID, run_id, TASK_ID, map_index=number) for number in range(VIDEOS)}
    assert returned == set(before) == {task["id"] for task in endless.ledger()["tasks"] if mark in str(task["body"])}


def _until(reached: Callable[[], bool], what: str) -> None:
    patience = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < patience, f"waited {PATIENCE:g} s for {what}"
        time.sleep(0.5)


def _states(airflow: AirflowCluster, run_id: str) -> Counter[str]:
    return Counter(str(ti["state"]) for ti in airflow.task_instances(DAG_ID, run_id))


def _waiting(airflow: AirflowCluster) -> dict[str, Any]:
    """The arguments of the triggers that Airflow keeps, by the video."""
    with closing(sqlite3.connect(f"file:{airflow.home / 'airflow.db'}?mode=ro", uri=True)) as connection:
        kept = [
            row[0] for row in connection.execute("SELECT kwargs FROM trigger WHERE classpath LIKE '%DigitalHuman%'")
        ]
    fernet = Fernet(airflow.env["AIRFLOW__CORE__FERNET_KEY"])
    # Airflow encrypts them, or does not: 3.3 keeps those of a deferral as they are.
    triggers = [json.loads(text if text.startswith("{") else fernet.decrypt(text.encode())) for text in kept]
    return {str(trigger["video_task_id"]): trigger for trigger in triggers}


def _posts(sandbox: SandboxClient, mark: str) -> dict[int, int]:
    bodies = [str(post["body"]) for post in sandbox.ledger()["requests"] if mark in str(post["body"])]
    return dict(sorted(Counter(int(found[1]) for body in bodies if (found := re.search(r"video=(\d+)", body))).items()))
