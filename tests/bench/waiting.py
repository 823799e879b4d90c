"""``python -m tests.bench waiting``: what a waiting video costs, ours and the others side by side in one run."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.bench.peers import PEERS, environment
from tests.bench.report import Aim, Table, shown
from tests.bench.server import Server, running_server
from tests.bench.waiter import Load

ROOT: Final = Path(__file__).resolve().parents[2]
SHORTEST: Final = 5.0
"""Seconds between two queries for a video that the vendor asks for at least."""
MANY: Final = 10_000
RATE_FOR_MANY: Final = 400.0
"""Ceiling of queries per second for so many; 10,000 videos are asked for once in 25 s with it."""
ENOUGH: Final = 10_000.0
GRACE: Final = 60.0

Figures = dict[str, Any]


class Case(NamedTuple):
    """One row of the table."""

    peer: str
    size: int
    tls: bool = True
    interval: float = SHORTEST
    window: float = 20.0
    rate: float = ENOUGH
    storm: int | None = None
    limit: float = 120.0

    @property
    def cycle(self) -> float:
        """Seconds in which each video is asked for once."""
        return max(self.interval, self.size / self.rate)


HEAD: Final = ("ours", "http")
TEN_QUERIES: Final = Case("ours", 1_000, window=45.0)
CASES: Final = [
    *(Case(peer, 1, interval=1.0, window=45.0, limit=90.0) for peer in PEERS),  # few queries a second: seen for longer
    *(Case(peer, 100, interval=1.0, window=8.0, limit=60.0) for peer in PEERS),
    Case("openai", 1_000, limit=60.0),
    Case("dbt", 1_000, limit=90.0),
    TEN_QUERIES,
    *(Case(peer, 1_000, tls=False) for peer in ("ours", "http")),
    Case("ours", MANY, window=25.0, rate=RATE_FOR_MANY, limit=240.0),
]
STORMS: Final = [Case(peer, 100, window=15.0, storm=storm, limit=60.0) for storm in (429, 403) for peer in HEAD]


def run(case: Case, server: Server) -> Figures:
    """Measure once, in a process of its own."""
    load = Load(
        peer=case.peer,
        size=case.size,
        interval=case.interval,
        cycle=case.cycle,
        window=case.window,
        limit=case.limit,
        steering=server.steering,
        storm=case.storm,
        finish=case.storm is None,
    )
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "tests.bench.waiter", json.dumps(load._asdict())],
            cwd=ROOT,
            env={**inherited, "AIRFLOW_HOME": home, **environment(case.peer, server.url, server.bundle, case.rate)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=case.limit + GRACE,
            check=True,
        )
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def median(runs: list[Figures]) -> Figures:
    """The median of each figure."""
    return {name: statistics.median(run[name] for run in runs if name in run) for name in runs[0]}


def measure(rounds: int, size: int, only_head: bool) -> Iterator[str]:
    """Run everything, and yield the parts of the report."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = {tls: stack.enter_context(running_server(folder, tls=tls)) for tls in (True, False)}

        def say(case: Case) -> Figures:
            figures = run(case, servers[case.tls])
            print(f"  {case.peer} x {case.size}: {json.dumps(figures)}", file=sys.stderr, flush=True)
            return figures

        head: dict[str, list[Figures]] = {peer: [] for peer in HEAD}
        for _ in range(rounds):  # in turn, so that what else the machine does hits both alike
            for peer in HEAD:
                head[peer].append(say(Case(peer, size)))
        medians = {peer: median(runs) for peer, runs in head.items()}
        rows = [(Case(peer, size), medians[peer]) for peer in HEAD]
        if not only_head:
            rows += [(case, say(case)) for case in CASES]
        yield f"Medians of {rounds} runs in turn for the first two rows, one run for the others.\n"
        yield _table(rows)
        storms = [] if only_head else [(case, say(case)) for case in STORMS]
        if storms:
            yield _storm_table(storms)
        yield shown(list(_aims(head, dict(rows), storms)))


def _table(rows: list[tuple[Case, Figures]]) -> str:
    table = Table(
        *("trigger", "waiting", "", "queries/s", "CPU per query, ms", "of HttpSensorTrigger's"),
        *("connections", "for queries", "lag p99 above idle, ms", "lag max, ms", "kB per video"),
        *("done → event p50, s", "max, s", "forgotten"),
    )
    http = {(case.size, case.tls): figures for case, figures in rows if case.peer == "http"}
    for case, figures in rows:
        peer = http.get((case.size, case.tls), {}).get("cpu_per_query")
        told = figures["cpu_per_query"] > 0  # of few queries, what is left above an idle loop's can be less than noise
        table.add(
            PEERS[case.peer].name + (" (loop blocked, given up)" if figures["gave_up"] else ""),
            f"{case.size:,}",
            "TLS" if case.tls else "plain",
            f"{figures['queries_per_second']:.1f}",
            f"{figures['cpu_per_query']:.2f}" if told else "in the noise",
            f"{figures['cpu_per_query'] / peer:.3f}" if peer and told else "",
            f"{figures['connections_in_all']:.0f}",
            f"{figures['queries_in_all']:.0f}",
            f"{figures['lag_p99'] - figures['idle_lag_p99']:.1f}",
            f"{figures['lag_max']:.0f}",
            f"{figures['kilobytes']:.1f}" if case.size >= 100 else "",
            *(f"{figures[name]:.1f}" if name in figures else "" for name in ("delay_p50", "delay_max")),
            f"{figures['forgotten']:.0f}" if "forgotten" in figures else "",
        )
    return str(table)


def _storm_table(rows: list[tuple[Case, Figures]]) -> str:
    table = Table("storm", "trigger", "waiting", "seconds", "requests", "the vendor's interval allows", "connections")
    for case, figures in rows:
        table.add(
            f"HTTP {case.storm}",
            PEERS[case.peer].name,
            f"{case.size:,}",
            f"{figures['seconds']:.0f}",
            f"{figures['queries']:.0f}",
            f"{allowed(case, figures):.0f}",
            f"{figures['connections_in_all']:.0f}",
        )
    return str(table)


def allowed(case: Case, figures: Figures) -> float:
    """Queries that one in 5 s for each video would come to."""
    return case.size * (1 + float(figures["seconds"]) / SHORTEST)


def _aims(
    head: dict[str, list[Figures]], rows: dict[Case, Figures], storms: list[tuple[Case, Figures]]
) -> Iterator[Aim]:
    ours, http = (median(head[peer]) for peer in HEAD)
    pairs = zip(head["ours"], head["http"], strict=True)
    ratios = sorted(one["cpu_per_query"] / other["cpu_per_query"] for one, other in pairs)
    spread = f" (single runs {ratios[0]:.3f} to {ratios[-1]:.3f})"
    yield Aim("CPU per query, of HttpSensorTrigger's", ours["cpu_per_query"] / http["cpu_per_query"], 0.12, spread)
    longest = rows.get(TEN_QUERIES, ours)
    per_video = longest["queries_in_all"] / TEN_QUERIES.size
    yield Aim(f"connections for 1,000 videos, {per_video:.1f} queries each", longest["connections_in_all"], 50)
    yield Aim("lag p99 above idle at 1,000, ms", ours["lag_p99"] - ours["idle_lag_p99"], 10)
    yield Aim("memory per video, of HttpSensorTrigger's", ours["kilobytes"] / http["kilobytes"], 1 / 3)
    for case, figures in rows.items():
        if case.size == MANY:
            yield Aim("lag p99 above idle at 10,000, ms", figures["lag_p99"] - figures["idle_lag_p99"], 100)
            yield Aim("queries/s at 10,000", figures["queries_per_second"], case.rate * 1.01)
            yield Aim("forgotten of 10,000", figures["forgotten"], 0)
            yield Aim("longest done → event at 10,000, in cycles", figures["delay_max"] / case.cycle, 2)
    for case, figures in storms:
        if case.peer == "ours":
            share = figures["queries"] / allowed(case, figures)
            yield Aim(f"requests in a storm of {case.storm}, of what is allowed", share, 1)
