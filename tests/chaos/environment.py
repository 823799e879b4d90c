"""What one case is run in: a real Airflow, a sandbox, and where possible a PostgreSQL."""

from __future__ import annotations

import contextlib
import glob
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import psutil
import requests

from airflow_provider_digitalhuman.ledger.address import RECORD_KEY
from airflow_provider_digitalhuman.sandbox.testing import SandboxClient, running_sandbox
from tests.chaos.evidence import StepTrace
from tests.chaos.plan import ALL_DAGS, REFUSE_WRITES
from tests.chaos.postgres import Postgres, binaries, running_postgres
from tests.chaos.refusals import Refusals
from tools.airflow_cluster import API_SERVER, AirflowCluster, ApiError, free_ports

T = TypeVar("T")

TASK: Final = "make_video"
DAGS: Final = Path(__file__).parent / "dags"
ROOT: Final = Path(__file__).resolve().parents[2]
"""The checkout whose provider is run, whatever is installed."""
HEARTBEAT_TIMEOUT: Final = 45
"""Seconds without a heartbeat after which Airflow fails a task; its default is 300. With less than this, a busy machine
fails tasks whose case expects no failure."""
FINAL: Final = frozenset({"success", "failed"})


@dataclass
class Environment:
    """What a case is run in. The calls to Airflow's API may come from several threads.

    :param signals: folder where tries request actions from the fault injector.
    :param database: the server to pause; None on SQLite.
    :param refusals: None on Airflow below 3.3, whose records lie in another table.
    :param component_kills: how often a component was killed.
    """

    airflow: AirflowCluster
    sandbox: SandboxClient
    signals: Path
    database: Postgres | None
    refusals: Refusals | None
    lock: threading.RLock = field(default_factory=threading.RLock)
    component_kills: int = 0

    @property
    def series(self) -> str:
        """Such as ``3.3``."""
        return ".".join(self.airflow.airflow_version.split(".")[:2])

    @property
    def has_task_state_store(self) -> bool:
        """Where the records are: there, or in Variables."""
        return self.series not in ("2.11", "3.0", "3.1", "3.2")

    def call(self, request: Callable[[AirflowCluster], T], timeout: float = 240.0) -> T:
        """Call Airflow's API, again and again while it cannot be reached: some cases stop it for a while."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                with self.lock:
                    return request(self.airflow)
            except (requests.RequestException, ApiError) as error:
                lasting = isinstance(error, ApiError) and error.status_code < 500
                if lasting or time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def trigger(self, dag_id: str, run_id: str, conf: Mapping[str, Any]) -> None:
        """Start a run; a call whose answer was lost is not made twice."""

        def start(airflow: AirflowCluster) -> None:
            try:
                airflow.trigger(dag_id, conf, run_id)
            except ApiError as error:
                if error.status_code != 409:  # exists
                    raise

        self.call(start)

    def wait_for_run(self, dag_id: str, run_id: str, timeout: float) -> None:
        """Return when the run has ended."""
        deadline = time.monotonic() + timeout
        while self.call(lambda airflow: airflow.dag_run(dag_id, run_id))["state"] not in FINAL:
            if time.monotonic() > deadline:
                states = [(ti["map_index"], ti["state"], ti["try_number"]) for ti in self.instances(dag_id, run_id)]
                raise TimeoutError(f"run {run_id} of {dag_id} has not ended after {timeout:g} s: {states}")
            time.sleep(1)

    def instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The videos' task instances of a run, by map index."""
        found = self.call(lambda airflow: airflow.task_instances(dag_id, run_id))
        return sorted((ti for ti in found if ti["task_id"] == TASK), key=lambda ti: int(ti["map_index"]))

    def wait_until_deferred(self, dag_id: str, run_id: str, timeout: float = 180.0) -> None:
        """Return when all videos of a run are waited for in the triggerer."""
        deadline = time.monotonic() + timeout
        while [ti["state"] for ti in self.instances(dag_id, run_id)].count("deferred") < self.size(dag_id, run_id):
            if time.monotonic() > deadline:
                raise TimeoutError(f"run {run_id} of {dag_id} is not deferred after {timeout:g} s")
            time.sleep(0.5)

    def size(self, dag_id: str, run_id: str) -> int:
        """How many videos a run has."""
        return len(self.call(lambda airflow: airflow.dag_run(dag_id, run_id))["conf"]["videos"])

    def restart(
        self, component: str, *, whole_session: bool = False, in_between: Callable[[], None] | None = None
    ) -> None:
        """SIGKILL a component, and start it again as a service manager would."""
        with self.lock:
            if not self.airflow.pids(component):
                raise RuntimeError(f"{component} cannot be killed: it does not run")
            self.airflow.kill(component, whole_session=whole_session)
            self.component_kills += 1
            if in_between:
                in_between()
            self.airflow.start_component(component)

    def manage_services(self) -> None:
        """What a service manager does: start again what has ended, and end what a killed scheduler has left behind.

        Its idle workers would live on for ever, and hold its connections to the database open, with all their locks.
        """
        with self.lock:
            for process in self.airflow.processes("scheduler", "<idle>"):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if process.ppid() == 1:
                        process.kill()
            for component in self.airflow.components:
                if not self.airflow.pids(component):
                    self.airflow.start_component(component)

    def trace(self, video: str, number: int) -> StepTrace | None:
        """Return what is known of a step of a video; None if no try has requested it."""
        requested = self.signals / f"{video}.{number}.requested"
        if not requested.exists():
            return None
        about = json.loads(requested.read_text())
        done = requested.with_suffix(".done").exists()
        if about["action"] == REFUSE_WRITES:
            done = done and self._has_refused(about["ti_id"])
        return StepTrace(about["at"], about["action"], done)

    def _has_refused(self, ti_id: str) -> bool:
        """Whether Airflow's API server could not write the record of a task instance.

        The task itself may not notice it: its SDK repeats such a call.
        """
        log = self.airflow.component_log(API_SERVER).read_text(errors="replace")
        refused = rf" path=/execution/store/ti/{re.escape(ti_id)}/{RECORD_KEY} .*status_code=500"
        return re.search(refused, log) is not None

    def tries(self, video: str) -> int:
        """Return how many tries of a video have come to the operator.

        Airflow counts more where it lost one before that, as on a busy machine.
        """
        return len(list(self.signals.glob(f"{glob.escape(video)}.try*.audio_url")))

    def rendered(self, video: str, field: str) -> frozenset[str]:
        """Return what the tries of a video were given: ``audio_url`` or ``connection``."""
        return frozenset(file.read_text() for file in self.signals.glob(f"{glob.escape(video)}.try*.{field}"))

    def logs(self, dag_id: str, run_id: str, map_index: int) -> list[str]:
        """Return the text of each try's log."""
        folder = self.airflow.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={TASK}"
        files = sorted(
            (folder / f"map_index={map_index}" if map_index >= 0 else folder).glob("attempt=*.log*"),
            key=lambda file: (int(file.name.split("=")[1].split(".")[0]), file.name),
        )
        return [file.read_text(errors="replace") for file in files]

    def clear(self, dag_id: str, run_id: str) -> None:
        """Clear all videos of a run, as a person does; returns when they are queued again."""
        self.call(lambda airflow: airflow.clear(dag_id, run_id, [TASK]))

    def wait_until_ended(self, dag_id: str, run_id: str) -> None:
        """Return when the success callbacks of a run have ended the records of its videos."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{TASK}/state-store/{RECORD_KEY}"
        deadline = time.monotonic() + 30
        while self.has_task_state_store:
            instances = self.call(lambda airflow: airflow.task_instances(dag_id, run_id))
            records = [
                self.call(lambda airflow, index=ti["map_index"]: airflow.api("GET", path, params={"map_index": index}))
                for ti in instances
                if ti["task_id"] == TASK
            ]
            if all(record["value"]["stage"] == "returned" for record in records):
                break
            if time.monotonic() > deadline:
                raise TimeoutError(f"the records of run {run_id} of {dag_id} have not ended: {records}")
            time.sleep(0.5)


@contextlib.contextmanager
def running_environment(
    folder: Path, *, python: Path | str = sys.executable, postgres: bool = False, parallelism: int = 6
) -> Iterator[Environment]:
    """Start everything in ``folder``, and end it.

    :param folder: a temporary one.
    :param python: interpreter whose Airflow is run.
    :param postgres: whether PostgreSQL may be used; SQLite where there is none.
    """
    signals = folder / "signals"
    signals.mkdir()
    with contextlib.ExitStack() as stack:
        programs = binaries() if postgres else None
        database = stack.enter_context(running_postgres(folder / "postgres", programs)) if programs else None
        sandbox = stack.enter_context(running_sandbox(processing_seconds=1))
        airflow = AirflowCluster(
            folder / "airflow",
            DAGS,
            settings(signals)
            | connections(sandbox)
            | ({} if database else sqlite_with_lock_timeout(folder / "airflow")),
            python=python,
            database=database.url if database else "sqlite",
            parallelism=parallelism,
        )
        airflow.prepare()
        refusals = None
        if not airflow.airflow_version.startswith(("2.", "3.0.", "3.1.", "3.2.")):
            refusals = Refusals(database.dsn if database else str(airflow.home / "airflow.db"))
            refusals.install()
        airflow.launch()
        stack.callback(airflow.stop)
        for dag_id in ALL_DAGS:
            airflow.wait_until_dag_parsed(dag_id)
        yield Environment(airflow, sandbox, signals, database, refusals)


def settings(signals: Path, provider: Path = ROOT) -> dict[str, str]:
    """Return the environment of an Airflow that soon notices processes that have ended.

    :param provider: the checkout whose provider is run.
    """
    chosen = {
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": HEARTBEAT_TIMEOUT,
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": 3,
        "SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": HEARTBEAT_TIMEOUT,  # the two names of 2.x
        "SCHEDULER__ZOMBIE_DETECTION_INTERVAL": 3,
        "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": 5,
        # A scheduler delayed by a busy machine must not count as failed: its tasks would run a second time.
        "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": 120,
        "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": 15,
        "TRIGGERER__JOB_HEARTBEAT_SEC": 2,
    }
    named = {f"AIRFLOW__{name}": str(value) for name, value in chosen.items()}
    steps = "on" if provider == ROOT else "off"  # those of an earlier release have other names
    return {**named, "CHAOS_SIGNALS": str(signals), "CHAOS_STEPS": steps, "PYTHONPATH": str(provider)}


def sqlite_with_lock_timeout(home: Path) -> dict[str, str]:
    """Many processes write at once: let them wait for each other, but not longer than those who wait for their answer.

    With 60 s, a busy machine saw one lock held for all of them: API calls timed out, and the scheduler ended.
    """
    return {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home.resolve() / 'airflow.db'}?timeout=20"}


def connections(sandbox: SandboxClient) -> dict[str, str]:
    """Return the environment with the Airflow connections that a case can name."""
    (closed,) = free_ports(1)
    base: dict[str, Any] = {"conn_type": "digitalhuman", "password": sandbox.api_key, "host": sandbox.base_url}
    other: dict[str, dict[str, Any]] = {
        "default": {},
        "short_timeouts": {"extra": {"submit_timeout": 3, "query_timeout": 3}},
        "closed": {"host": f"http://127.0.0.1:{closed}/kyyReactApiServer"},
        "tls": {"host": sandbox.base_url.replace("http:", "https:"), "extra": {"connect_timeout": 3}},
        "dns": {"host": "http://no-such-host.internal"},
        "wrong_key": {"password": "not-the-key"},
    }
    return {f"AIRFLOW_CONN_DIGITALHUMAN_{name.upper()}": json.dumps(base | changed) for name, changed in other.items()}
