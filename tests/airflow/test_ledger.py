"""Retries, clears and the command line against a real Airflow: who may submit again, and who may not."""

import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from airflow_provider_digitalhuman.sandbox.testing import SandboxClient
from tests.airflow.records import wait_for_stage
from tools.airflow_cluster import AirflowCluster

DAG_ID, BEHIND, TASK_ID = "ledger_probe", "ledger_probe_behind", "create_video"


@dataclass
class Probe:
    """One run of the probe DAG; its media carry a mark of their own, so that its POSTs can be counted."""

    airflow: AirflowCluster
    sandbox: SandboxClient
    mark: str
    dag_id: str = DAG_ID
    run_id: str = ""

    def start(self) -> str:
        self.airflow.wait_until_dag_parsed(self.dag_id)
        urls = {"audio_url": self.sandbox.sample_audio_url, "video_url": self.sandbox.sample_video_url}
        self.run_id = self.airflow.trigger(self.dag_id, {key: f"{url}?mark={self.mark}" for key, url in urls.items()})
        return self.state()

    def clear(self) -> str:
        self.airflow.clear(self.dag_id, self.run_id, [TASK_ID])
        return self.state()

    def state(self) -> str:
        return str(self.airflow.wait_for_run(self.dag_id, self.run_id)["state"])

    def posts(self) -> list[dict[str, Any]]:
        return [post for post in self.sandbox.ledger()["requests"] if self.mark in str(post["body"])]

    def tries(self) -> int:
        return int(self.airflow.task_instances(self.dag_id, self.run_id)[0]["try_number"])

    def log(self, try_number: int) -> str:
        return self.airflow.task_log(self.dag_id, self.run_id, TASK_ID, try_number)

    def xcom(self) -> str:
        return str(self.airflow.xcom(self.dag_id, self.run_id, TASK_ID))

    def wait_for_stage(self, stage: str) -> None:
        wait_for_stage(self.airflow, self.dag_id, self.run_id, TASK_ID, stage)

    def ledger(self, *arguments: str, code: int = 0) -> str:
        token = self.airflow.request("GET", "/auth/token").json()["access_token"]
        done = ledger_command("--url", self.airflow.base_url, "--token", token, *arguments)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


def ledger_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "airflow_provider_digitalhuman.ledger_cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@contextmanager
def running_redirect(to: str) -> Iterator[str]:
    """A proxy that leads elsewhere, as one that wants https does."""

    class Redirect(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", to + self.path)
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Redirect) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def probe(airflow: AirflowCluster, sandbox: SandboxClient) -> Probe:
    return Probe(airflow, sandbox, secrets.token_hex(6))


def test_clearing_a_success_makes_a_new_video(probe: Probe) -> None:
    assert probe.start() == "success"
    first = probe.xcom()
    probe.wait_for_stage("returned")
    assert probe.clear() == "success"
    assert probe.xcom() != first
    assert len(probe.posts()) == 2
    assert first in probe.log(2), "the ID that was paid for before is named"


def test_a_task_that_airflow_fails_behind_its_return_is_cleared_without_paying_again(probe: Probe) -> None:
    probe.dag_id = BEHIND
    assert probe.start() == "failed"
    probe.wait_for_stage("submitted")
    (paid,) = (task["id"] for task in probe.sandbox.ledger()["tasks"] if probe.mark in str(task["body"]))
    assert probe.clear() == "success"
    assert (probe.xcom(), len(probe.posts())) == (paid, 1)
    probe.wait_for_stage("returned")


@pytest.mark.parametrize(
    ("fault", "when"), [("reset", "before"), ("reset", "after"), ("http_status", "after"), ("no_id", "after")]
)
def test_an_unknown_outcome_ends_the_retries(probe: Probe, fault: str, when: str) -> None:
    probe.sandbox.add_fault(on="create", fault=fault, match=probe.mark, when=when)
    assert probe.start() == "failed"
    assert (probe.tries(), len(probe.posts())) == (1, 1)
    assert "not known whether the video was accepted" in probe.log(1)


def test_clearing_an_unknown_outcome_submits_again(probe: Probe) -> None:
    probe.sandbox.add_fault(on="create", fault="close", match=probe.mark, when="after")
    assert probe.start() == "failed"
    assert probe.clear() == "success"
    assert len(probe.posts()) == 2


def test_a_refusal_ends_the_retries_and_a_clear_submits(probe: Probe) -> None:
    probe.sandbox.add_fault(on="create", fault="error_code", match=probe.mark)
    assert probe.start() == "failed"
    assert (probe.tries(), len(probe.posts())) == (1, 1)
    assert probe.clear() == "success"
    assert len(probe.posts()) == 2


def test_a_stuck_submission_is_listed_and_adopted(probe: Probe) -> None:
    probe.sandbox.add_fault(on="create", fault="reset", match=probe.mark, when="after")
    assert probe.start() == "failed"
    where = (DAG_ID, probe.run_id, TASK_ID)
    assert probe.run_id in probe.ledger("list")
    assert '"stage": "unknown"' in probe.ledger("show", *where)

    in_console = next(task["id"] for task in probe.sandbox.ledger()["tasks"] if probe.mark in str(task["body"]))
    assert "is empty" in probe.ledger("adopt", *where, " ", code=1)
    assert "mistyped" in probe.ledger("adopt", *where, "mistyped")
    assert in_console in probe.ledger("adopt", *where, in_console)  # what was said by mistake can be said anew
    assert probe.run_id not in probe.ledger("list")
    assert probe.clear() == "success"
    assert probe.xcom() == in_console
    assert len(probe.posts()) == 1


def test_a_submission_that_is_under_way_is_not_stuck(probe: Probe) -> None:
    probe.sandbox.add_fault(on="create", fault="hang", match=probe.mark, when="before", seconds=8)
    ended = ThreadPoolExecutor().submit(probe.start)
    patience = time.monotonic() + 60
    while not probe.posts():
        assert time.monotonic() < patience
        time.sleep(0.1)
    assert probe.run_id not in probe.ledger("list")
    refused = probe.ledger("release", DAG_ID, probe.run_id, TASK_ID, code=1)
    assert "its record says sending, and the task is in state running" in refused
    ended.result(timeout=120)


def test_a_stuck_submission_is_released(probe: Probe) -> None:
    probe.sandbox.add_fault(on="create", fault="reset", match=probe.mark, when="before")
    assert probe.start() == "failed"
    where = (DAG_ID, probe.run_id, TASK_ID)
    assert "released" in probe.ledger("release", *where)
    assert "is not stuck" in probe.ledger("release", *where, code=1)
    assert probe.clear() == "success"
    assert len(probe.posts()) == 2
    assert probe.run_id in probe.ledger("list", "--all", "--dag-id", DAG_ID)


def test_the_command_says_in_a_sentence_what_it_cannot_do(probe: Probe) -> None:
    assert "no record" in probe.ledger("show", DAG_ID, "no-such-run", TASK_ID, code=1)
    wrong = ledger_command("--url", "http://127.0.0.1:9", "list")
    assert wrong.returncode == 1
    assert "does not answer" in wrong.stderr
    with running_redirect(probe.airflow.base_url) as elsewhere:
        redirected = ledger_command("--url", elsewhere, "release", DAG_ID, "some-run", TASK_ID)
    assert redirected.returncode == 1
    assert f"redirects to {probe.airflow.base_url}" in redirected.stderr
    assert "Traceback" not in wrong.stderr
