"""Kill, freeze and break a real Airflow at the worst moments; check that nothing is paid twice and no ID is lost.

The table of results is printed. A complete run also writes it to RESULTS.md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.chaos import report
from tests.chaos.cases import all_cases, fast_cases
from tests.chaos.environment import ROOT, running_environment
from tests.chaos.evidence import ABSENT
from tests.chaos.invariants import Verdict
from tests.chaos.plan import NOTHING_BY_CHANCE
from tests.chaos.postgres import binaries
from tests.chaos.runner import run_cases
from tests.chaos.upgrades import OLD_SERIES, upgrades
from tools.airflow_cluster import exit_on_signals


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases that the arguments name; 0 if nothing was violated."""
    options = _parser().parse_args(arguments)
    exit_on_signals()
    if options.upgrades:
        return _upgrades(OLD_SERIES if options.series == ["3.3"] else options.series)
    if options.self_test:
        return max(_self_test(series, options.only) for series in options.series)
    codes = [
        _run(series, options.seeds, options.only, one=options.one, postgres=not options.sqlite)
        for series in options.series
    ]
    return max(codes)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "series", nargs="*", default=["3.3"], help="Airflow series (default: 3.3); `make matrix` sets up older ones"
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[1, 2, 3], help="seeds of the random choices (default: 1 2 3)"
    )
    parser.add_argument(
        "--only", nargs="+", default=[""], help="run only cases whose name contains one of these texts; keep RESULTS.md"
    )
    parser.add_argument("--one", action="store_true", help="run each case with one video; keep RESULTS.md")
    parser.add_argument("--sqlite", action="store_true", help="use SQLite even if PostgreSQL is available")
    parser.add_argument(
        "--self-test", action="store_true", help="run the fast cases without their faults: each of them must fail"
    )
    parser.add_argument(
        "--upgrades",
        action="store_true",
        help="instead of the cases, upgrade Airflow from these series (default: all) to 3.3 with videos in progress",
    )
    return parser


def _run(series: str, seeds: Sequence[int], only: Sequence[str], *, one: bool, postgres: bool) -> int:
    python = python_of(series)
    cases = [case for case in all_cases(series, seeds) if any(text in case.name for text in only)]
    if one:
        cases = [replace(case, count=1, least=NOTHING_BY_CHANCE) for case in cases]
    started = time.monotonic()
    verdicts: list[Verdict] = []
    if postgres:
        _install_drivers(python)
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as folder:
        print(f"==> Airflow {series}: {len(cases)} cases", flush=True)
        with running_environment(Path(folder), python=python, postgres=postgres) as environment:
            for verdict in run_cases(environment, cases):
                verdicts.append(verdict)
                print(f"{verdict.case.name}: {'ok' if not verdict.violations else verdict.violations}", flush=True)
            version, database = environment.airflow.airflow_version, "PostgreSQL" if environment.database else "SQLite"
    table = report.rows(verdicts)
    print(f"\n{report.on_terminal(table)}\n{time.monotonic() - started:.0f} s", flush=True)
    if only == [""] and not one:
        report.write(series, version, database, table, time.monotonic() - started)
    return 1 if any(verdict.violations for verdict in verdicts) else 0


def python_of(series: str) -> Path:
    """Return the interpreter whose Airflow is of this series."""
    return Path(sys.executable) if series == "3.3" else ROOT / f".venv-{series}" / "bin" / "python"


def _upgrades(series: Sequence[str]) -> int:
    verdicts: list[Verdict] = []
    started = time.monotonic()
    for one in (*series, "3.3"):
        _install_drivers(python_of(one))
    for verdict in upgrades(series, {one: python_of(one) for one in series}, python_of("3.3")):
        verdicts.append(verdict)
        print(f"{verdict.case.name}: {verdict.violations or 'ok'}", flush=True)
    table = report.rows(verdicts)
    print(f"\n{report.on_terminal(table)}\n{time.monotonic() - started:.0f} s", flush=True)
    if tuple(series) == OLD_SERIES:
        report.write_upgrades("PostgreSQL" if binaries() else "SQLite", table, time.monotonic() - started)
    return 1 if any(verdict.violations for verdict in verdicts) else 0


def _self_test(series: str, only: Sequence[str]) -> int:
    """Run the fast cases with nothing done to any video; 1 if one of them does not detect that."""
    cases = [case for case in fast_cases(series) if any(text in case.name for text in only)]
    undetected = []
    with (
        tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as folder,
        running_environment(Path(folder), python=python_of(series), parallelism=4) as environment,
    ):
        for verdict in run_cases(environment, cases, leave_out=True):
            seen = [what for what in verdict.violations if ABSENT in what]
            what = f"fails, as it must: {verdict.violations}" if seen else "DETECTS NOTHING"
            print(f"{verdict.case.name}: {what}", flush=True)
            if not seen:
                undetected.append(verdict.case.name)
    print(
        f"Airflow {series}: {len(cases) - len(undetected)} of {len(cases)} cases fail with the fault left out",
        flush=True,
    )
    return 1 if undetected or not cases else 0


def _install_drivers(python: Path) -> None:
    """PostgreSQL's drivers, for the Airflow that is run and for this program: they are in no constraints below 3.3."""
    uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet"]
    pins = ROOT / "constraints" / "airflow-3.3.txt"
    drivers = [line for line in pins.read_text().splitlines() if line.startswith(("asyncpg==", "psycopg2-binary=="))]
    for one in {python, Path(sys.executable)}:
        subprocess.run(
            [*uv, "--python", str(one), *drivers], cwd=ROOT, stdin=subprocess.DEVNULL, timeout=300, check=True
        )


if __name__ == "__main__":
    sys.exit(main())
