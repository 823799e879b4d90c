"""`make matrix`: the unit tests and the main job on every supported Airflow, each in its own environment."""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SERIES = tuple(path.stem.removeprefix("airflow-") for path in (ROOT / "constraints").glob("airflow-*.txt"))
STEP_TIMEOUT = 900.0


class Row(NamedTuple):
    """The results of one Airflow series."""

    series: str
    setup: str
    unit_tests: str
    real_run: str
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether every step succeeded."""
        return (self.setup, self.unit_tests, self.real_run) == ("ok", "ok", "ok")


def main(arguments: Sequence[str] | None = None) -> int:
    """Test the series named by the arguments, or all; return 0 if all of them pass."""
    parser = argparse.ArgumentParser(prog="python -m tools.matrix", description=__doc__)
    parser.add_argument("series", nargs="*", help=f"default: all of {', '.join(_ordered(SERIES))}")
    chosen = parser.parse_args(arguments).series or _ordered(SERIES)
    if unknown := set(chosen) - set(SERIES):
        parser.error(f"no constraints for Airflow {', '.join(sorted(unknown))}")
    rows = [_test_series(series) for series in chosen]
    print(_table(rows))
    return 0 if all(row.passed for row in rows) else 1


def _ordered(series: Sequence[str]) -> list[str]:
    return sorted(series, key=lambda text: [int(part) for part in text.split(".")])


def _test_series(series: str) -> Row:
    started = time.monotonic()
    python = ROOT / f".venv-{series}" / "bin" / "python"
    setup = _set_up(series, python)
    unit_tests = real_run = "-"
    if setup == "ok":
        unit_tests = _step(
            f"Airflow {series}: unit tests", [str(python), "-m", "pytest", "-q", "-n", "2", "tests/unit"]
        )
        # pytest runs with this interpreter; only Airflow's processes run with the other one.
        tests = ["tests/airflow/test_main_job.py", "tests/airflow/test_ledger_cli.py"]
        job = [sys.executable, "-m", "pytest", "-q", *tests, f"--airflow-python={python}"]
        real_run = _step(f"Airflow {series}: the main job on a real Airflow", job)
    return Row(series, setup, unit_tests, real_run, time.monotonic() - started)


def _set_up(series: str, python: Path) -> str:
    """Create the environment, and again whenever what it installs has changed."""
    constraints = ROOT / "constraints" / f"airflow-{series}.txt"
    expected = hashlib.sha256(constraints.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    stamp = python.parent.parent / ".ready"
    if stamp.exists() and stamp.read_text() == expected:
        return "ok"
    uv = [sys.executable, "-m", "uv"]
    venv = [*uv, "venv", "--quiet", "--allow-existing", "--python", _interpreter(series), str(python.parent.parent)]
    pins = [line for line in constraints.read_text().splitlines() if line.startswith("apache-airflow==")]
    install = [*uv, "pip", "install", "--quiet", "--python", str(python), "--constraints", str(constraints)]
    for command in (venv, [*install, *pins, "apache-airflow-providers-standard", "--editable", ".[test]"]):
        if (outcome := _step(f"Airflow {series}: setting up {python.parent.parent.name}", command)) != "ok":
            return outcome
    stamp.write_text(expected)
    return "ok"


def _interpreter(series: str) -> str:
    """Return the Python for this series: Airflow 2.11 supports up to 3.12."""
    return "3.12" if series == "2.11" and sys.version_info >= (3, 13) else sys.executable


def _step(title: str, command: list[str]) -> str:
    print(f"\n==> {title}", flush=True)
    try:
        done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, timeout=STEP_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return f"more than {STEP_TIMEOUT:g} s"
    return "ok" if done.returncode == 0 else f"FAILED ({done.returncode})"


def _table(rows: Sequence[Row]) -> str:
    lines = ["", f"{'Airflow':<9}{'set-up':<14}{'unit tests':<14}{'real run':<14}{'seconds':>7}"]
    lines += [
        f"{row.series:<9}{row.setup:<14}{row.unit_tests:<14}{row.real_run:<14}{row.seconds:>7.0f}" for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
