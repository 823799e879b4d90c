"""``python -m tests.bench airflow``: mapped tasks that create and wait, on a real Airflow, ours and the common pair."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Final

import psutil
from sqlalchemy import NullPool, create_engine, text

from tests.bench.peers import KEY
from tests.bench.report import Aim, Table, shown
from tests.bench.server import Server, running_server
from tests.bench.waiter import quantile
from tests.chaos.postgres import binaries, running_postgres
from tools.airflow_cluster import FINAL_RUN_STATES, AirflowCluster, ClusterError

DAGS: Final = Path(__file__).parent / "dags"
ROOT: Final = Path(__file__).parents[2]
PAIR: Final = "bench_pair"
OURS: Final = {"bench_ours": "ours", "bench_ended": "ours, end_from_trigger"}
NAMES: Final = {
    PAIR: "HttpOperator + deferrable HttpSensor",
    **OURS,
    "bench_bare": "a bare script: the same calls to Airflow, the POST and one query",
    "bench_calls": "no video: the same calls to Airflow, ended by the trigger",
    "bench_least": "no video, no calls: deferred, and ended by the trigger",
}
SHORT: Final = 30.0
"""Seconds of a video below which the aims for short ones count."""
LONGEST_RUN: Final = 900.0
SLOTS: Final = 32
"""Tasks at a time: Airflow's own default. With few of them the makespan mostly tells of something else: 3.3.2 often
notices the end of a task's process only after 5 s, and the slot is taken until then."""
WARM_SECONDS: Final = 15.0
"""Seconds of the videos that come first, so that all is there that is made at first use, in the triggerer too."""
WARM_VIDEOS: Final = 2 * SLOTS
"""So many of them that about every one of the executor's processes has run a task."""
LOOK: Final = 1.0
"""Seconds between two looks whether a run has ended."""
SETTLE: Final = 10.0
"""Seconds after a run's end until what it took is read: what Airflow notices late would else count for the next run."""
IDLE: Final = 60.0
"""Seconds in which it is measured what Airflow takes when nothing runs."""

Figures = dict[str, float]


class Cpu:
    """CPU seconds of all processes of an Airflow, also of those that have ended.

    A process counts its own time, and that of the children it has waited for; one that is not there any more has been
    waited for by its parent.
    """

    def __init__(self, airflow: AirflowCluster) -> None:
        self._airflow = airflow

    def read(self) -> float:
        """Seconds since each process began."""
        total = 0.0
        for process in self._airflow.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += cpu_seconds(process)
        return total


def cpu_seconds(process: psutil.Process) -> float:
    """What a process has used, and its children that it has waited for."""
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def title(size: str) -> str:
    """Return the heading for so many videos of so many seconds, such as ``50x60``."""
    return "End to end: {} videos of {} s".format(*size.split("x"))


def measure(size: str, rounds: int) -> Iterator[str]:
    """Run everything, and yield the parts of the report."""
    count, seconds = (int(number) for number in size.split("x"))
    runs: dict[str, list[Figures]] = {dag_id: [] for dag_id in NAMES}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        server = stack.enter_context(running_server(folder, tls=True))
        programs, database = binaries(), "sqlite"
        if programs:
            database = stack.enter_context(running_postgres(folder / "postgres", programs)).url
        dags, env = _dags(folder / "dags"), _env(server, count, seconds)
        airflow = stack.enter_context(
            AirflowCluster(folder / "airflow", dags, env, database=database, parallelism=SLOTS)
        )
        _warm_up(airflow, server)
        idle = _idle(airflow)
        for _ in range(rounds):
            for dag_id in NAMES:
                runs[dag_id].append(_run(airflow, server, dag_id, count, seconds, idle))
    yield from _report(runs, seconds, "PostgreSQL" if programs else "SQLite")


def _report(runs: dict[str, list[Figures]], seconds: int, database: str) -> Iterator[str]:
    """Tell the medians of the runs in which every task succeeded, and how many were left out."""
    whole = {dag_id: [one for one in each if one["failed"] == 0] for dag_id, each in runs.items()}
    if lacking := [NAMES[dag_id] for dag_id, each in whole.items() if not each]:
        raise ClusterError(f"in every run some tasks failed: {', '.join(lacking)}")
    found = {dag_id: {what: median(one[what] for one in each) for what in each[0]} for dag_id, each in whole.items()}
    rounds = len(runs[PAIR])
    runs_told = f"medians of {rounds} runs in turn" if rounds > 1 else "one run each"
    yield f"LocalExecutor, {SLOTS} tasks at a time, {database}; the videos over TLS; {runs_told}.\n"
    for dag_id, each in runs.items():
        if lost := [f"{one['failed']:.0f}" for one in each if one["failed"]]:
            tasks = ", ".join(lost)
            yield f"Left out of *{NAMES[dag_id]}*: {len(lost)} of {rounds} runs; tasks that failed: {tasks}.\n"
    table = Table(
        *("", "makespan, s", "of the pair's", "done → seen p50, s", "max, s"),
        *("CPU s per video", "of the pair's", "slot s per video", "of the pair's", "connections"),
    )
    for dag_id, figures in found.items():
        _row(table, NAMES[dag_id], figures, found[PAIR])
    yield str(table)
    yield (
        "The rows without a video say what Airflow itself takes: for an empty task that defers, and for one that"
        " besides makes the calls to Airflow that ours makes (record, XComs, link) and nothing else. The bare script"
        " also sends the POST and asks once, with Python's own HTTP client; it checks nothing and waits by the clock.\n"
    )
    yield shown([aim for dag_id in OURS for aim in _aims(OURS[dag_id], seconds, whole[dag_id], whole[PAIR])])


def _env(server: Server, count: int, seconds: int) -> dict[str, str]:
    ours = {"conn_type": "digitalhuman", "host": server.url, "password": KEY}
    http = {"conn_type": "http", "host": server.url}
    assert server.bundle is not None
    return {
        "REQUESTS_CA_BUNDLE": server.bundle,
        "SSL_CERT_FILE": server.bundle,  # for aiohttp
        "AIRFLOW_CONN_BENCH": json.dumps(ours),
        "AIRFLOW_CONN_BENCH_HTTP": json.dumps(http),
        "BENCH_VIDEOS": str(count),
        "BENCH_SECONDS": str(seconds),
        "PYTHONPATH": str(ROOT),
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",  # nothing changes: none is read during a run
    }


def _dags(folder: Path) -> Path:
    """Return a folder with the DAGs, and with a small one of each in files of their own, for the warming up."""
    folder.mkdir()
    for file in DAGS.glob("*.py"):
        text = file.read_text()
        (folder / file.name).write_text(text)
        for dag_id in NAMES:
            text = text.replace(dag_id, _warm(dag_id))
        text = text.replace('os.environ["BENCH_VIDEOS"]', str(WARM_VIDEOS))
        text = text.replace('os.environ["BENCH_SECONDS"]', str(WARM_SECONDS))
        (folder / f"warm_{file.name}").write_text(text)
    return folder


def _warm(dag_id: str) -> str:
    return f"warm_{dag_id}"


def _warm_up(airflow: AirflowCluster, server: Server) -> None:
    server.do("reset")
    server.do("set", seconds=WARM_SECONDS)
    for dag_id in NAMES:
        airflow.wait_until_dag_parsed(_warm(dag_id))
        _wait_until_ended(airflow, airflow.trigger(_warm(dag_id)))
    time.sleep(SETTLE)


def _wait_until_ended(airflow: AirflowCluster, run_id: str) -> None:
    """Look into the database until a run has ended.

    Not by Airflow's API, whose CPU would count as the videos'. And 3.3.2 looks up each caller's token in its event
    loop: if tasks have all 15 connections of its pool just then, as 32 at a time can, it stands still for 30 s.
    """
    engine = create_engine(airflow.database, poolclass=NullPool)
    patience = time.monotonic() + LONGEST_RUN
    state = ""
    while state not in FINAL_RUN_STATES:
        if time.monotonic() > patience:
            raise ClusterError(f"run {run_id} has not ended: {state}\n{airflow.log_tail('scheduler')}")
        time.sleep(LOOK)
        with engine.connect() as connection:
            state = str(connection.scalar(text("SELECT state FROM dag_run WHERE run_id = :run_id"), {"run_id": run_id}))


def _idle(airflow: AirflowCluster) -> float:
    """CPU seconds in a second."""
    cpu = Cpu(airflow)
    before, started = cpu.read(), time.monotonic()
    time.sleep(IDLE)
    return (cpu.read() - before) / (time.monotonic() - started)


def _run(airflow: AirflowCluster, server: Server, dag_id: str, count: int, seconds: int, idle: float) -> Figures:
    airflow.wait_until_dag_parsed(dag_id)
    server.do("reset")
    server.do("set", seconds=seconds)
    cpu = Cpu(airflow)
    before, started = cpu.read(), time.monotonic()
    log = airflow.component_log("scheduler")
    said = len(log.read_text())
    run_id = airflow.trigger(dag_id)
    _wait_until_ended(airflow, run_id)
    time.sleep(SETTLE)
    used = cpu.read() - before - idle * (time.monotonic() - started)
    run = airflow.dag_run(dag_id, run_id)
    delays, counted = server.do("delays")["delays"], server.do("count")
    instances = airflow.task_instances(dag_id, run_id)
    figures = {
        "failed": float(sum(ti["state"] != "success" for ti in instances)),
        "posts": counted["posts"],
        "makespan": _seconds(run["start_date"], run["end_date"]),
        "delay_p50": quantile(delays, 0.5),
        "delay_max": max(delays, default=float("nan")),
        "cpu": used / count,
        "slots": _slot_seconds(log.read_text()[said:]) / count,
        "connections": counted["connections"],
    }
    print(f"  {dag_id} {count}x{seconds}: {run['state']} {json.dumps(figures)}", file=sys.stderr, flush=True)
    return figures


def _slot_seconds(log: str) -> float:
    """Seconds for which workers were taken, as the executor's own lines tell."""
    return sum(float(seconds) for seconds in re.findall(r"Workload finished.* duration=([0-9.]+)", log))


def _seconds(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def _row(table: Table, name: str, figures: Figures, pair: Figures) -> None:
    def share(what: str) -> str:
        return f"{figures[what] / pair[what]:.2f}"

    table.add(
        *(name, f"{figures['makespan']:.0f}", share("makespan")),
        *(f"{figures[what]:.1f}".replace("nan", "") for what in ("delay_p50", "delay_max")),
        *(f"{figures['cpu']:.2f}", share("cpu"), f"{figures['slots']:.1f}", share("slots")),
        f"{figures['connections']:.0f}",
    )


def _aims(name: str, seconds: int, ours: list[Figures], pair: list[Figures]) -> Iterator[Aim]:
    aims = (
        {"makespan": ("makespan", 0.5), "delay_p50": ("done → seen p50", 0.1)}
        if seconds < SHORT
        else {"cpu": ("CPU per video", 1 / 3), "slots": ("slot seconds per video", 1 / 2.5)}
    )
    for figure, (what, most) in aims.items():
        middle = median(one[figure] for one in pair)
        yield Aim(
            f"{name}: {what}, of the pair's",
            median(one[figure] for one in ours) / middle,
            most,
            f" ({min(one[figure] for one in ours) / middle:.3g} to {max(one[figure] for one in ours) / middle:.3g})",
        )
