"""Airflow is upgraded while videos are in the making: the records of the old Airflow are found by the new one."""

from __future__ import annotations

import base64
import contextlib
import secrets
import subprocess
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from airflow_provider_digitalhuman.sandbox.testing import SandboxClient, running_sandbox
from tests.chaos.cases.expected import ONE_VIDEO, PAID_AND_UNKNOWN
from tests.chaos.environment import DAGS, ROOT, Environment, connections, settings, sqlite_with_lock_timeout
from tests.chaos.invariants import Verdict, name_of
from tests.chaos.plan import CREATE, DEFERRED, Case, Expected, Range, Video, always
from tests.chaos.postgres import Postgres, binaries, running_postgres
from tests.chaos.runner import begin, keys_of, observe, read_variable, run_id_of, times_injected, wait
from tools.airflow_cluster import AirflowCluster

OLD_SERIES: Final = ("2.11", "3.1", "3.2")
EARLIER: Final = "9d2bcb5"
"""The last commit whose records are of version 1."""
_TIMEOUT_SECONDS: Final = 300.0


def upgrades(old_series: Sequence[str], pythons: Mapping[str, Path], new: Path) -> Iterator[Verdict]:
    """Upgrade each of these Airflows, with the records of this code, and with those of an earlier commit's.

    :param pythons: interpreter of each old Airflow.
    :param new: interpreter of the new Airflow.
    """
    with earlier_provider() as earlier:
        for series in old_series:
            for provider in (ROOT, earlier):
                whose = "this code" if provider == ROOT else f"commit {EARLIER}"
                verdicts = [Verdict(case) for case in cases(f"{series} to 3.3, records of {whose}")]
                try:
                    _upgrade(verdicts, pythons[series], provider, new)
                except Exception:
                    for verdict in verdicts:
                        verdict.violations.append(traceback.format_exc())
                yield from verdicts


@contextlib.contextmanager
def earlier_provider() -> Iterator[Path]:
    """A checkout of the earlier commit, as long as it is needed."""
    git = ["git", "-C", str(ROOT), "worktree"]
    with tempfile.TemporaryDirectory(prefix="earlier-", ignore_cleanup_errors=True) as folder:
        checkout = Path(folder) / "provider"
        subprocess.run([*git, "add", "--detach", "--quiet", str(checkout), EARLIER], timeout=120, check=True)
        try:
            yield checkout
        finally:
            subprocess.run([*git, "remove", "--force", str(checkout)], timeout=120, check=True)


def cases(name: str) -> list[Case]:
    """A video that is waited for in the triggerer, and one whose POST is on its way, when the old Airflow is killed."""
    takes = Video(faults=[{"on": "task", "fault": "takes", "seconds": 60}])
    hangs = Video(faults=[{"on": "create", "fault": "hang", "when": "after", "seconds": 300}])
    return [
        Case(f"{name}: deferred", _in_one_try_or_two(ONE_VIDEO), always(takes), count=1, dag_id=DEFERRED),
        Case(f"{name}: in mid-POST", _in_one_try_or_two(PAID_AND_UNKNOWN), always(hangs), count=1, dag_id=CREATE),
    ]


def _in_one_try_or_two(expected: Expected) -> Expected:
    """Airflow starts a task that an upgrade has interrupted once more, under the same number or the next one."""
    return replace(expected, tries=Range(1, 2))


def _upgrade(verdicts: Sequence[Verdict], old: Path, provider: Path, new: Path) -> None:
    started = time.time()
    with (
        tempfile.TemporaryDirectory(prefix="upgrade-", ignore_cleanup_errors=True) as folder,
        _database(Path(folder)) as database,
        running_sandbox(processing_seconds=1) as sandbox,
    ):
        home, signals = Path(folder) / "airflow", Path(folder) / "signals"
        signals.mkdir()
        # What a real deployment keeps over an upgrade: what encrypts its Variables.
        key = {"AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()}
        with _environment(home, signals, sandbox, old, provider, key, database) as environment:
            faults = _leave_under_way(environment, [verdict.case for verdict in verdicts])
            environment.airflow.kill_all()
        (home / "airflow.cfg").unlink(missing_ok=True)  # written by the old Airflow, with its own defaults
        with _environment(home, signals, sandbox, new, ROOT, key, database) as environment:
            wait(environment, verdicts)
            ledger, injected = sandbox.ledger(), times_injected(environment, faults)
            for verdict in verdicts:
                verdict.videos += observe(environment, verdict.case, ledger, injected, cleared_at=())
                verdict.judge(component_kills=0)
                verdict.seconds = time.time() - started


@contextlib.contextmanager
def _database(folder: Path) -> Iterator[Postgres | None]:
    """PostgreSQL, as deployments use it; None, for SQLite, where there is none.

    On SQLite the migration from 3.2 to 3.3 deletes the task instances that are deferred (seen on 3.2.2 and 3.3.2).
    """
    programs = binaries()
    if programs is None:
        yield None
        return
    with running_postgres(folder / "postgres", programs) as database:
        yield database


@contextlib.contextmanager
def _environment(
    home: Path,
    signals: Path,
    sandbox: SandboxClient,
    python: Path,
    provider: Path,
    key: Mapping[str, str],
    database: Postgres | None,
) -> Iterator[Environment]:
    env = {**settings(signals, provider), **connections(sandbox), **key}
    if database is None:
        env |= sqlite_with_lock_timeout(home)
    url = database.url if database else "sqlite"
    with AirflowCluster(home, DAGS, env, python=python, database=url) as airflow:
        yield Environment(airflow, sandbox, signals, database, None)


def _leave_under_way(environment: Environment, started: Sequence[Case]) -> dict[str, list[int]]:
    """Start the cases one after the other; return, with the numbers of their faults, when each is where it shall be.

    :raises TimeoutError: if one does not come there.
    """
    deferred, posting = started
    faults: dict[str, list[int]] = {}
    for case in started:
        environment.airflow.wait_until_dag_parsed(case.dag_id)
    faults |= begin(environment, deferred)
    _wait_for(environment, deferred, "deferred", "submitted")
    faults |= begin(environment, posting)
    _wait_for(environment, posting, "running", "sending")
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    name = f"{run_id_of(posting)}.0"
    while not any(name_of(task["body"]) == name for task in environment.sandbox.ledger()["tasks"]):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the POST of {name} has not arrived")
        time.sleep(0.2)
    return faults


def _wait_for(environment: Environment, case: Case, state: str, stage: str) -> None:
    """Return when the case's task instance is in this state, and its record, a Variable, at this stage."""
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    (key, _late), seen = keys_of(case.dag_id, run_id_of(case), 0), None
    while seen != (state, stage):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{case.name}: {seen} in place of {(state, stage)}")
        time.sleep(0.5)
        record: dict[str, Any] = read_variable(environment, key) or {}
        seen = next(
            ((ti["state"], record.get("stage")) for ti in environment.instances(case.dag_id, run_id_of(case))), None
        )
