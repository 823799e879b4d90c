"""One run of a DAG that submits, and the command line on it."""

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_digitalhuman.sandbox.testing import SandboxClient
from tests.airflow.records import wait_for_stage
from tools.airflow_cluster import AirflowCluster

ROOT = Path(__file__).resolve().parents[2]
DAG_ID, BEHIND, MAPPED, TASK_ID = "ledger_probe", "ledger_probe_behind", "ledger_probe_mapped", "create_video"


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

    def posts(self, mark: str = "") -> list[dict[str, Any]]:
        return [post for post in self.sandbox.ledger()["requests"] if (mark or self.mark) in str(post["body"])]

    def in_console(self, mark: str = "") -> str:
        """The ID of the newest video task that the vendor has accepted."""
        return [task["id"] for task in self.sandbox.ledger()["tasks"] if (mark or self.mark) in str(task["body"])][-1]

    def instances(self) -> dict[tuple[str, int], dict[str, Any]]:
        rows = self.airflow.task_instances(self.dag_id, self.run_id)
        return {(row["task_id"], row["map_index"]): row for row in rows}

    def tries(self) -> int:
        return int(self.airflow.task_instances(self.dag_id, self.run_id)[0]["try_number"])

    def log(self, try_number: int) -> str:
        return self.airflow.task_log(self.dag_id, self.run_id, TASK_ID, try_number)

    def xcom(self, map_index: int = -1) -> str:
        return str(self.airflow.xcom(self.dag_id, self.run_id, TASK_ID, map_index=map_index)).strip('"')

    def wait_for_stage(self, stage: str) -> None:
        wait_for_stage(self.airflow, self.dag_id, self.run_id, TASK_ID, stage)

    @property
    def where(self) -> tuple[str, str, str]:
        return self.dag_id, self.run_id, TASK_ID

    def ledger(self, *arguments: str, code: int = 0) -> str:
        """Run ``digitalhuman-ledger`` with the address and a token in its environment, as its users have them."""
        done = ledger_command(*arguments, env=self._environment())
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def local_ledger(self, *arguments: str, code: int = 0) -> str:
        """Run it with the Airflow under test, where that is installed."""
        done = ledger_command("--local", *arguments, python=str(self.airflow.python), env=self.airflow.env)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def copied(self, output: str, verb: str) -> list[str]:
        """The arguments of the command that ``output`` shows to copy for this run, as a shell takes them apart."""
        lines = [line.strip() for line in output.splitlines() if f"digitalhuman-ledger {verb} " in line]
        (line,) = (line for line in lines if self.run_id in line)
        program, *arguments = shlex.split(line)
        assert program == "digitalhuman-ledger"
        return arguments

    def _environment(self) -> dict[str, str]:
        told = {"AIRFLOW_API_URL": self.airflow.base_url}
        if not self.airflow.is_airflow_2:  # whose API is open to all in these tests
            told["AIRFLOW_API_TOKEN"] = self.airflow.request("GET", "/auth/token").json()["access_token"]
        return {**os.environ, **told}


def ledger_command(
    *arguments: str, python: str = sys.executable, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [python, "-m", "airflow_provider_digitalhuman.ledger.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, env=env)
