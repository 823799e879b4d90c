"""`make mutation`: changes the money core in one place at a time, and lists the changes that no test detects.

The parent process imports Airflow once and forks for each change. The checkout is only read: each of the two processes
works in its own copy.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NoReturn

from tools.mutants import Mutant, mutants_of

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGE: Final = "airflow_provider_digitalhuman"
TESTS: Final[dict[str, tuple[str, ...]]] = {
    "ledger/fingerprint": ("api/test_request_table", "ledger/test_fingerprint", "test_golden"),
    "ledger/signed_urls": ("ledger/test_fingerprint",),
    "ledger/submission": (
        "ledger/test_submission",
        "ledger/test_stores",
        "hooks/test_recorded_submission",
        "operators/test_not_durable",
    ),
    "ledger/stored_record": ("ledger/test_submission", "ledger/test_stores"),
    "ledger/decision": ("ledger/test_decision", "ledger/test_submission"),
    "ledger/record": (
        "ledger/test_record",
        "ledger/test_decision",
        "test_golden",
        "ledger/test_stores",
        "ledger/test_submission",
    ),
    "api/response": ("api/test_response", "test_golden"),
    "api/reader": ("api/test_possible_ids", "api/test_wire_forms_of_text", "api/test_reader"),
    "api/meanings": ("api/test_meanings",),
    "api/possible_ids": ("api/test_possible_ids", "api/test_reader"),
    "api/head": ("api/test_possible_ids",),
    "api/request": ("api/test_request_table", "api/test_request"),
    "waiting/decision": ("waiting/test_decision",),
    "triggers/events": ("triggers/test_events", "test_golden"),
}
"""Module of the money core -> files in tests/unit, those that detect most changes first."""
JUDGED: Final = ROOT / "tests" / "mutation" / "judged.json"
"""Module -> change, as it is printed -> why the change makes no difference that matters."""
MINIMUM_KILLED: Final = 0.95
OUTPUT: Final = "output.txt"
"""File with the output of the tests, in a copy of the checkout."""
PROCESSES: Final = 2
RUN_TIME_FACTOR: Final = 5.0
"""A run may take this many times as long as without a change, plus 20 s."""
MEMORY: Final = 8 << 30
"""Limit of a run's address space in bytes: a change can build an endless list."""


class Copy:
    """A copy of the checkout, and the current run of the tests in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        shutil.copytree(ROOT, path, ignore=shutil.ignore_patterns(".*", "__pycache__", "dist", "build", "demo-output"))
        self.pid = 0
        self.started = 0.0

    def run(self, module: Path, source: str, tests: Sequence[str]) -> None:
        """Start the tests with ``source`` as the content of ``module``, in a process of its own."""
        path = self.path / PACKAGE / module
        path.write_text(source)
        for stale in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            stale.unlink()
        self.started = time.monotonic()
        self.pid = os.fork()
        if not self.pid:
            _run_tests(self.path, tests)

    def ended(self, longest: float) -> str | None:
        """Return ``survived``, ``killed`` or ``timed out``; None while the tests run."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            return "killed" if status else "survived"
        if time.monotonic() - self.started < longest:
            return None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        return "timed out"


def _pytest(root: Path, *arguments: str) -> int:
    import pytest

    os.chdir(root)
    os.environ["PYTHONPATH"] = str(root)
    sys.path.insert(0, str(root))
    with (root / OUTPUT).open("w") as output, contextlib.redirect_stdout(output):
        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *arguments])
    sys.path.remove(str(root))
    return int(code)


def _run_tests(root: Path, tests: Sequence[str]) -> NoReturn:
    code = 1
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        code = _pytest(root, "--tb=line", *tests)
    finally:
        os._exit(code)


def _warm_up(root: Path, tests: Sequence[str]) -> None:
    """Import what the tests import, then drop the modules of the provider and of the tests."""
    from hypothesis import Phase, settings

    # One failing example is enough: shrinking it would take long.
    settings.register_profile("mutation", deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate))
    os.environ["HYPOTHESIS_PROFILE"] = "mutation"
    if _pytest(root, "--collect-only", *tests):
        raise SystemExit(f"The tests cannot be collected:\n{(root / OUTPUT).read_text()}")
    for name in [name for name in sys.modules if name.split(".")[0] in (PACKAGE, "tests")]:
        del sys.modules[name]
    gc.freeze()  # the garbage collector of a run skips what it inherits


def _outcomes(module: Path, tests: Sequence[str], copies: Sequence[Copy]) -> Iterator[tuple[Mutant, str]]:
    source = (ROOT / PACKAGE / module).read_text()
    for place in copies:  # this also leaves the compiled files
        place.run(module, source, tests)
        while (outcome := place.ended(600.0)) is None:
            time.sleep(0.01)
        if outcome != "survived":
            raise SystemExit(f"The tests fail without a change:\n{(place.path / OUTPUT).read_text()}")
        longest = RUN_TIME_FACTOR * (time.monotonic() - place.started) + 20.0
    waiting, running = mutants_of(source), dict[Copy, Mutant]()
    while waiting or running:
        for place in copies:
            if place not in running and waiting:
                running[place] = waiting.pop(0)
                place.run(module, running[place].source, tests)
            if place in running and (outcome := place.ended(longest)):
                yield running.pop(place), outcome
        time.sleep(0.01)
    for place in copies:
        (place.path / PACKAGE / module).write_text(source)


def _test_module(module: str, copies: Sequence[Copy], judged: dict[str, str]) -> bool:
    path = Path(f"{module}.py")
    counts, unjudged, matched = Counter[str](), 0, set()
    for mutant, outcome in _outcomes(path, _test_files(module), copies):
        counts[outcome] += 1
        if outcome != "survived":
            continue
        if mutant.change in judged:
            matched.add(mutant.change)
            continue
        unjudged += 1
        print(f"  {PACKAGE}/{path}:{mutant.line}: {mutant.change}", flush=True)
    real = counts.total() - len(matched)
    share = (real - unjudged) / real
    print(
        f"{path}: {counts.total()} changes, {counts['killed']} killed, {counts['timed out']} timed out,"
        f" {counts['survived']} survived, {len(matched)} of them judged: {share:.1%} of the real ones found",
        flush=True,
    )
    for change in judged.keys() - matched:
        print(f"  judged, but not among the survivors: {change}")
    return share >= MINIMUM_KILLED


def _test_files(module: str) -> list[str]:
    return [f"tests/unit/{name}.py" for name in TESTS[module]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Mutate the modules named by the arguments, or all; return 0 if enough of the changes are detected."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"default: all of {', '.join(TESTS)}")
    modules = [name.removesuffix(".py") for name in parser.parse_args(arguments).modules] or list(TESTS)
    if unknown := set(modules) - set(TESTS):
        parser.error(f"no tests are named for {', '.join(sorted(unknown))}")
    judged = json.loads(JUDGED.read_text())
    with tempfile.TemporaryDirectory(prefix="mutation-") as temporary:
        os.environ["AIRFLOW_HOME"] = f"{temporary}/airflow"
        copies = [Copy(Path(temporary, str(number))) for number in range(PROCESSES)]
        _warm_up(copies[0].path, sorted({file for module in modules for file in _test_files(module)}))
        passed = [_test_module(module, copies, judged.get(f"{module}.py", {})) for module in modules]
        os.chdir(ROOT)
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
