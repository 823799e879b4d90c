"""`make demo`, `make up`, `make down`: a real Airflow and the sandbox, with no key and at no charge."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import secrets
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from airflow_provider_digitalhuman.sandbox.testing import SandboxClient
from tools.airflow_cluster import (
    AirflowCluster,
    ClusterError,
    exit_on_signals,
    free_ports,
    is_port_free,
    leaders_alive,
    stop_home,
)

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".work" / "demo"
OUTPUT = ROOT / "demo-output"
DAGS = ROOT / "dags_examples"
DAG_ID = "digitalhuman_pipeline"
PROCESSING_SECONDS = 5
UI_PORT = 8080
STARTED = time.monotonic()
NOTES = {"deferred": " (submitted; the triggerer waits for the video, no worker slot is held)"}


class DemoError(RuntimeError):
    """The demo's result is wrong."""


def say(message: str) -> None:
    """Print a line of progress."""
    print(f"[{time.monotonic() - STARTED:5.1f} s] {message}", flush=True)


class Sandbox(SandboxClient):
    """The stand-in server as a process of its own, as a user would start it."""

    def __init__(self, log: Path, state_dir: Path) -> None:
        """Start it on a free port and return when it listens."""
        api_key = f"sandbox-{secrets.token_hex(12)}"
        with log.open("ab") as errors:
            self.server = subprocess.Popen(
                [
                    *(sys.executable, "-m", "airflow_provider_digitalhuman.sandbox", "--port", "0"),
                    *("--api-key", api_key, "--processing-seconds", str(PROCESSING_SECONDS)),
                    *("--state-dir", str(state_dir)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        try:
            super().__init__(_read_base_url(self.server), api_key)
        except BaseException:
            self.server.kill()
            raise

    def connection(self) -> str:
        """The Airflow connection to it, as Airflow reads it from an environment variable."""
        return json.dumps({"conn_type": "digitalhuman", "password": self.api_key, "host": self.base_url})


def _read_base_url(server: subprocess.Popen[bytes], timeout: float = 60.0) -> str:
    assert server.stdout is not None
    ready, _, _ = select.select([server.stdout], [], [], timeout)
    line = server.stdout.readline().decode() if ready else ""
    found = re.search(r"listening on (http\S+)", line)
    if not found:
        raise DemoError(f"the sandbox did not start; its first line was {line!r}")
    return found[1]


@contextlib.contextmanager
def running_airflow(port: int | None = None, *, serve_logs: bool = False) -> Iterator[tuple[AirflowCluster, Sandbox]]:
    """Airflow and the sandbox, connected; both end with the block unless the cluster is detached."""
    cluster = AirflowCluster(HOME, DAGS, port=port, parallelism=2, serve_logs=serve_logs)
    say(f"Airflow {cluster.airflow_version}: preparing its database in {_relative(HOME)}")
    cluster.prepare()
    try:
        sandbox = Sandbox(cluster.component_log("sandbox"), HOME / "sandbox")
        cluster.adopt("sandbox", sandbox.server)
        say(f"The sandbox stands in for the vendor's server at {sandbox.base_url}")
        cluster.env["AIRFLOW_CONN_DIGITALHUMAN_DEFAULT"] = sandbox.connection()
        cluster.env["DIGITALHUMAN_SAMPLE_AUDIO_URL"] = sandbox.sample_audio_url
        cluster.env["DIGITALHUMAN_SAMPLE_VIDEO_URL"] = sandbox.sample_video_url
        cluster.env["DIGITALHUMAN_ARCHIVE"] = str(OUTPUT)
        cluster.env["PYTHONDONTWRITEBYTECODE"] = "1"  # dags_examples stays as it is
        say(f"Starting {', '.join(cluster.components)} (logs: {_relative(cluster.log_dir)})")
        cluster.launch()
        say("Airflow is healthy")
        yield cluster, sandbox
    except BaseException:
        cluster.stop()
        raise


def run() -> None:
    """Make one video, check it and print what it cost."""
    if leaders_alive(HOME):
        raise DemoError("an Airflow that `make up` started is still running here; end it first with `make down`")
    shutil.rmtree(HOME, ignore_errors=True)  # the rest of an interrupted demo must not become part of this one
    with running_airflow() as (airflow, sandbox):
        airflow.wait_until_dag_parsed(DAG_ID)
        path, duration = _make_video(airflow, sandbox)
        charged = _charged(sandbox)
        say("Ending Airflow and the sandbox")
        airflow.stop()
    _print_result(path, duration, charged)


def _make_video(airflow: AirflowCluster, sandbox: Sandbox) -> tuple[Path, float]:
    """Run the DAG; return the archived file and its duration."""
    say(f"DAG {DAG_ID} is parsed; triggering it")
    run_id = airflow.trigger(DAG_ID)
    _follow(airflow, run_id)
    video_task_id = str(airflow.xcom(DAG_ID, run_id, "create_video"))
    say(f"The task create_video returned the vendor's task ID: {video_task_id}")
    path = _archived_file(airflow, run_id)
    return path, _check(path, airflow.xcom(DAG_ID, run_id, "create_video", key="video_task")["md5"], sandbox)


def _print_result(path: Path, duration: float, charged: int) -> None:
    print(
        f"""
The video:   {_relative(path)} ({duration:.1f} s, {path.stat().st_size:,} bytes, MD5 as reported)
The ledger:  {charged} video submitted and charged (by the sandbox: no money, no key)
In the UI:   make up      starts Airflow with this run in it and prints the address;
             there: Dags > {DAG_ID} > the run > create_video > XCom
             make down    ends it"""
    )


def up() -> None:
    """Start everything, detached, and print where the UI is."""
    if leaders_alive(HOME):
        say("Already running; end it with `make down`.")
        return
    port = UI_PORT if is_port_free(UI_PORT) else free_ports(1)[0]
    with running_airflow(port, serve_logs=True) as (airflow, sandbox):
        airflow.wait_until_dag_parsed(DAG_ID)
        airflow.detach()
    print(
        f"""
Airflow UI:  {airflow.base_url}   (no login: every visitor is an admin; reachable from this machine only)
Try it:      {airflow.base_url}/dags/{DAG_ID} > Trigger; the form is filled with the sandbox's sample media
Sandbox:     {sandbox.base_url}   (what it charged: {sandbox.root_url}/sandbox/ledger)
End it:      make down"""
    )


def down() -> None:
    """End what :func:`up` started."""
    say("Ended Airflow and the sandbox." if stop_home(HOME) else "Nothing was running.")


def _follow(airflow: AirflowCluster, run_id: str) -> None:
    """Wait for the end of the run and report each change of a task's state."""
    seen: dict[str, str] = {}

    def report_changes(_run: dict[str, Any]) -> None:
        for instance in airflow.task_instances(DAG_ID, run_id):
            name, state = instance["task_id"], instance["state"]
            if state and seen.get(name) != state:
                seen[name] = state
                say(f"  task {name}: {state}{NOTES.get(state, '')}")

    ended = airflow.wait_for_run(DAG_ID, run_id, timeout=180, on_poll=report_changes)
    if ended["state"] != "success":
        logs = [airflow.task_log(DAG_ID, run_id, name) for name, state in seen.items() if state == "failed"]
        raise DemoError("the DAG run failed:\n" + "\n".join(logs)[-4000:])


def _archived_file(airflow: AirflowCluster, run_id: str) -> Path:
    archive = airflow.xcom(DAG_ID, run_id, "create_video", key="archive")
    return Path(archive["path"].removeprefix("file://"))


def _check(path: Path, reported_md5: str, sandbox: Sandbox) -> float:
    """Compare the file with the reported MD5 and with the speech; return its duration."""
    md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    if md5 != reported_md5:
        raise DemoError(f"{path}: MD5 is {md5}, the server reported {reported_md5}")
    speech = path.with_suffix(".speech")
    try:
        speech.write_bytes(requests.get(sandbox.sample_audio_url, timeout=60).content)
        expected = _duration(speech)
    finally:
        speech.unlink(missing_ok=True)
    duration = _duration(path)
    if abs(duration - expected) > 0.2:
        raise DemoError(f"{path}: lasts {duration:.2f} s, the speech {expected:.2f} s")
    say(f"The file is complete (MD5 {md5}) and lasts {duration:.2f} s, the speech {expected:.2f} s")
    return duration


def _duration(path: Path) -> float:
    import av

    with av.open(path) as media:
        for stream in media.streams.video:  # every picture must be decodable, not only the header
            for _ in media.decode(stream):
                pass
        assert media.duration is not None
        return media.duration / 1_000_000


def _charged(sandbox: Sandbox) -> int:
    ledger = sandbox.ledger()
    charged = int(ledger["charged"])
    if charged != 1:
        raise DemoError(f"exactly one video must have been charged, but the ledger is: {json.dumps(ledger, indent=2)}")
    return charged


def _relative(path: Path) -> str:
    return f".{os.sep}{path.relative_to(ROOT)}"


def main() -> int:
    """Run the command named by the arguments."""
    parser = argparse.ArgumentParser(prog="python -m tools.demo", description=__doc__)
    parser.add_argument("command", choices=("run", "up", "down"))
    command = parser.parse_args().command
    exit_on_signals()
    try:
        {"run": run, "up": up, "down": down}[command]()
    except KeyboardInterrupt:
        say("Interrupted; nothing is left running.")
        return 130
    except (DemoError, ClusterError, requests.RequestException) as error:
        print(f"\nFAILED: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
