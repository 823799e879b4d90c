"""A task whose process is killed in the middle of the transfer: one payment, a whole file or none, one asset event."""

import hashlib
import json
import secrets
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_digitalhuman.sandbox.testing import SandboxClient
from tools.airflow_cluster import AirflowCluster

DAG_ID, TASKS = "kill_probe", ("blocking", "deferred")


class Probe:
    """One run of the probe DAG; the half-written transfers are its own doing."""

    def __init__(self, airflow: AirflowCluster, sandbox: SandboxClient, archive: Path) -> None:
        self.airflow, self.sandbox, self.archive = airflow, sandbox, archive
        self.mark, self.run_id = secrets.token_hex(6), ""
        self.seen: dict[str, set[str]] = {task: set() for task in TASKS}

    def run(self) -> str:
        self.airflow.wait_until_dag_parsed(DAG_ID)
        conf = {
            "audio_url": f"{self.sandbox.sample_audio_url}?mark={self.mark}",
            "video_url": self.sandbox.sample_video_url,
            "archive": str(self.archive),
        }
        self.run_id = self.airflow.trigger(DAG_ID, conf)
        return str(self.airflow.wait_for_run(DAG_ID, self.run_id, on_poll=self._look)["state"])

    def _look(self, _run: dict[str, Any]) -> None:
        """What somebody sees who watches the archive and the asset events all along."""
        announced = {event["source_task_id"] for event in self.events()}
        for task in TASKS:
            visible = [file for file in self.files(task) if not file.name.startswith(".")]
            self.seen[task] |= {hashlib.md5(file.read_bytes()).hexdigest() for file in visible}
            assert visible or task not in announced, "announced before it was there"

    def files(self, task: str) -> list[Path]:
        folder = self.archive / task
        return list(folder.iterdir()) if folder.exists() else []

    def notes(self, task: str) -> list[Any]:
        """What the task's own processes have found in the archive: the try, the moment, and sizes by name."""
        return [json.loads(line) for line in (self.archive / f"{task}.notes").read_text().splitlines()]

    def events(self) -> list[dict[str, Any]]:
        params = {"source_dag_id": DAG_ID, "source_run_id": self.run_id}
        events: list[dict[str, Any]] = self.airflow.api("GET", "/assets/events", params=params)["asset_events"]
        return events

    def in_ledger(self, what: str, task: str) -> list[dict[str, Any]]:
        mine = f"mark={self.mark}&task={task}"
        return [entry for entry in self.sandbox.ledger()[what] if mine in str(entry["body"])]


@pytest.fixture(scope="module")
def killed(airflow: AirflowCluster, sandbox: SandboxClient, tmp_path_factory: pytest.TempPathFactory) -> Probe:
    """The run, when it is over. A first query finds the deferred task's video unfinished, so that it does defer."""
    probe = Probe(airflow, sandbox, tmp_path_factory.mktemp("kill") / "archive")
    probe.archive.mkdir()
    sandbox.add_fault(on="query", fault="status_word", word="processing", match=f"mark={probe.mark}&task=deferred")
    assert probe.run() == "success"
    return probe


@pytest.mark.parametrize("task", TASKS)
def test_a_killed_transfer_leaves_nothing_visible(killed: Probe, task: str) -> None:
    whole = killed.files(task)[0].stat().st_size
    start, half, again = killed.notes(task)
    assert start == [1, "before the first write", {}]
    assert half[:2] == [1, "half written"]
    ((name, size),) = half[2].items()
    assert name.startswith(".")
    assert name.endswith(".part")
    assert 0 < size < whole
    assert again == [2, "before the first write", {}], "what the killed process has left is swept before anything else"


@pytest.mark.parametrize("task", TASKS)
def test_the_next_try_completes_it_and_tidies_up(killed: Probe, task: str) -> None:
    (video,) = killed.in_ledger("tasks", task)
    (stored,) = killed.files(task)
    assert stored.name == f"{video['id']}.mp4"
    assert hashlib.md5(stored.read_bytes()).hexdigest() == video["md5"]
    assert killed.seen[task] == {video["md5"]}, "at no time was anything else there under that name"
    tries = {ti["task_id"]: ti["try_number"] for ti in killed.airflow.task_instances(DAG_ID, killed.run_id)}
    assert tries[task] == 2


@pytest.mark.parametrize("task", TASKS)
def test_it_is_paid_for_once(killed: Probe, task: str) -> None:
    assert len(killed.in_ledger("requests", task)) == 1
    (charged,) = killed.in_ledger("tasks", task)
    assert killed.airflow.xcom(DAG_ID, killed.run_id, task) == charged["id"]


@pytest.mark.parametrize("task", TASKS)
def test_it_is_announced_once_and_not_before_it_is_whole(killed: Probe, task: str) -> None:
    (event,) = [event for event in killed.events() if event["source_task_id"] == task]
    (stored,) = killed.files(task)
    (video,) = killed.in_ledger("tasks", task)
    assert {key: event["extra"][key] for key in ("id", "md5", "uri")} == {
        "id": video["id"],
        "md5": video["md5"],
        "uri": f"file://{stored}",
    }
    assert datetime.fromisoformat(event["timestamp"]).timestamp() > stored.stat().st_ctime


def test_the_deferred_one_was_killed_after_its_wait(killed: Probe) -> None:
    """Otherwise it would be the blocking one a second time."""
    assert "in the triggerer" in killed.airflow.task_log(DAG_ID, killed.run_id, "deferred", 1)
