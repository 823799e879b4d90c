"""``python -m tests.bench triggerer``: the CPU that a query takes in a real triggerer, ours and the http one's."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import psutil

from tests.bench.end_to_end import cpu_seconds
from tests.bench.peers import CONN_ID, PEERS, environment
from tests.bench.report import Aim, Table, shown
from tests.bench.server import Server, running_server
from tests.bench.waiting import ENOUGH, HEAD
from tests.chaos.postgres import binaries, running_postgres
from tools.airflow_cluster import AirflowCluster, ClusterError

T = TypeVar("T")

DAGS: Final = Path(__file__).parent / "dags_triggerer"
TASKS: Final = 10
"""Tasks in a DAG. A task that starts in the triggerer takes all of its DAG there, which is read and kept for each."""
SETTLE: Final = 5.0
IDLE: Final = 20.0
WINDOW: Final = 120.0
"""Seconds that are measured. Not many more: after two minutes ours asks less often, and what Airflow itself takes for a
waiting task then falls on half as many queries."""
MOST_HUNG: Final = 3
LONGEST_START: Final = 600.0
"""Seconds in which each task must have a line in its log beside Airflow's own, and each video have been asked for
twice."""


class HungError(ClusterError):
    """Not all triggers got under way."""


class Reading(NamedTuple):
    """What has been used and asked since the beginning, or between two readings.

    :param runner: CPU seconds of the process whose event loop runs the triggers.
    :param supervisor: CPU seconds of its parent, which starts the triggers and writes what they log.
    :param lines: that they have logged. Each wakes the supervisor up, and it asks the database for more to do.
    """

    seconds: float
    runner: float
    supervisor: float
    requests: float
    connections: float
    lines: float

    @property
    def cpu_per_query(self) -> float:
        """Milliseconds, both processes."""
        return self.per_query(self.runner + self.supervisor)

    def without(self, other: Reading) -> Reading:
        """Take away the CPU that another one has used, in as much time."""
        share = self.seconds / other.seconds
        runner, supervisor = (used - share * by for used, by in zip(self[1:3], other[1:3], strict=True))
        return self._replace(runner=runner, supervisor=supervisor)

    def per_query(self, seconds: float) -> float:
        """So many seconds for all queries, in milliseconds for one."""
        return seconds / self.requests * 1e3 if self.requests else float("nan")


class Run(NamedTuple):
    """What one kind of trigger came to.

    :param waiting: tasks that waited in the triggerer to the end of the window.
    :param used: in the window, what an idle triggerer uses taken away.
    """

    waiting: int
    idle: Reading
    used: Reading

    @property
    def cpu_per_query(self) -> float:
        """Milliseconds, both processes."""
        return self.used.cpu_per_query


def measure(size: int, rounds: int) -> Iterator[str]:
    """Run everything, in turn, and yield the parts of the report."""
    programs = binaries()
    turns: list[dict[str, Run]] = []
    hung: Counter[str] = Counter()
    with ExitStack() as stack:
        server_folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        server = stack.enter_context(running_server(server_folder, tls=True))
        for _ in range(rounds):
            turns.append({peer: _run_to_the_end(peer, size, server, programs, hung) for peer in HEAD})
            print(f"  ratio: {_ratio(turns[-1]):.4f}", file=sys.stderr, flush=True)
    database, told = (
        ("PostgreSQL" if programs else "SQLite"),
        f"{rounds} runs each, in turn" if rounds > 1 else "one run",
    )
    yield (
        f"{database}, TLS; {told}; {WINDOW:.0f} s of each measured, and the one of the median ratio shown. CPU is"
        " without an idle triggerer's.\n"
    )
    for peer, times in hung.items():
        name = PEERS[peer].name
        yield f"Made again, as not all of them got under way in {LONGEST_START:.0f} s: {name}, {times} times.\n"
    turns.sort(key=_ratio)
    yield _table(_middle(turns))
    remark = f" ({_ratio(turns[0]):.3f} to {_ratio(turns[-1]):.3f})" if rounds > 1 else ""
    yield shown([Aim("CPU per query in the triggerer, of HttpSensorTrigger's", _ratio(_middle(turns)), 0.05, remark)])


def _middle(ordered: Sequence[T]) -> T:
    return ordered[(len(ordered) - 1) // 2]


def _ratio(turn: dict[str, Run]) -> float:
    ours, http = (turn[peer].cpu_per_query for peer in HEAD)
    return ours / http


def _run_to_the_end(peer: str, size: int, server: Server, programs: Path | None, hung: Counter[str]) -> Run:
    """Measure once; a triggerer can stop for good while it takes many triggers over (seen on 3.3.2)."""
    while True:
        try:
            return _run(peer, size, server, programs)
        except HungError as error:
            print(error, file=sys.stderr, flush=True)
            hung[peer] += 1
            if hung[peer] > MOST_HUNG:
                raise


def _run(peer: str, size: int, server: Server, programs: Path | None) -> Run:
    """Measure once, with an Airflow of its own: the connection of each peer has the same name."""
    server.do("reset")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        database = "sqlite"
        if programs:
            database = stack.enter_context(running_postgres(folder / "postgres", programs)).url
        env = _env(peer, size, server)
        airflow = stack.enter_context(AirflowCluster(folder / "airflow", DAGS, env, database=database))
        dag_ids = [f"bench_waiting_{first}" for first in range(0, size, TASKS)]
        for dag_id in dag_ids:
            airflow.wait_until_dag_parsed(dag_id)
        time.sleep(SETTLE)
        idle = _window(airflow, server, IDLE)
        for dag_id in dag_ids:
            airflow.trigger(dag_id)
        _wait_until_under_way(airflow, server, size)
        used = _window(airflow, server, WINDOW)
        run = Run(_waiting(airflow), idle, used.without(idle))
    told = {"idle": idle._asdict(), "used": used._asdict(), "ms": run.cpu_per_query, "waiting": run.waiting}
    print(f"  {peer} x {size}: {json.dumps(told)}", file=sys.stderr, flush=True)
    return run


def _env(peer: str, size: int, server: Server) -> dict[str, str]:
    return {
        **environment(peer, server.url, server.bundle, ENOUGH),
        "BENCH_PEER": peer,
        "BENCH_CONN_ID": CONN_ID,
        "BENCH_VIDEOS": str(size),
        "BENCH_TASKS": str(TASKS),
        "AIRFLOW__TRIGGERER__CAPACITY": str(2 * size),
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",  # not once more in the window
    }


def _wait_until_under_way(airflow: AirflowCluster, server: Server, size: int) -> None:
    patience = time.monotonic() + LONGEST_START
    while not (_lines(airflow) >= 2 * size and _is_asked_for(server, size)):
        if time.monotonic() > patience:
            raise HungError(f"not under way: {server.do('count')}\n{airflow.log_tail('triggerer')}")
        time.sleep(0.5)


def _is_asked_for(server: Server, size: int) -> bool:
    counted = server.do("count")
    return counted["videos_asked"] >= size and counted["least_asked"] >= 2


def _window(airflow: AirflowCluster, server: Server, seconds: float) -> Reading:
    before = _read(airflow, server)
    time.sleep(seconds)
    after = _read(airflow, server)
    return Reading(*(to - since for since, to in zip(before, after, strict=True)))


def _read(airflow: AirflowCluster, server: Server) -> Reading:
    cpu = {True: 0.0, False: 0.0}
    for process in airflow.processes("triggerer"):
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            cpu[process.pid == os.getsid(process.pid)] += cpu_seconds(process)
    now, counted = time.monotonic(), server.do("count")
    return Reading(now, cpu[False], cpu[True], counted["requests"], counted["connections"], _lines(airflow))


def _lines(airflow: AirflowCluster) -> int:
    return sum(log.read_bytes().count(b"\n") for log in (airflow.home / "logs").rglob("*.trigger.*.log"))


def _waiting(airflow: AirflowCluster) -> int:
    params = {"state": "deferred", "limit": 1}
    return int(airflow.api("GET", "/dags/~/dagRuns/~/taskInstances", params=params)["total_entries"])


def _table(runs: dict[str, Run]) -> str:
    table = Table(
        *("trigger", "waiting", "CPU, % of a core", "idle", "log lines", "queries/s", "CPU per query, ms"),
        *("of HttpSensorTrigger's", "in the runner, ms", "in its supervisor, ms"),
        *("connections opened", "for queries"),
    )
    http = runs["http"]
    for peer, run in runs.items():
        used, idle = run.used, run.idle
        of_queries = (
            f"{used.requests / used.seconds:.1f}",
            f"{run.cpu_per_query:.3f}",
            f"{run.cpu_per_query / http.cpu_per_query:.3f}",
            f"{used.per_query(used.runner):.3f}",
            f"{used.per_query(used.supervisor):.3f}",
            f"{used.connections:.0f}",
            f"{used.requests:.0f}",
        )
        table.add(
            PEERS[peer].name,
            f"{run.waiting:,}",
            *(f"{(each.runner + each.supervisor) / each.seconds:.1%}".rstrip("%") for each in (used, idle)),
            f"{used.lines:.0f}",
            *of_queries,
        )
    return str(table)
