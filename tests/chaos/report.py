"""The table of a run, on the terminal and in RESULTS.md."""

from __future__ import annotations

import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.chaos.invariants import Verdict
from tests.chaos.plan import Range

RESULTS: Final = Path(__file__).parent / "RESULTS.md"
_HEAD: Final = """# Proof by destruction

Written by `make chaos`: a real Airflow, the sandbox, and processes that are killed at the worst moments; `retries=3`
everywhere. What the columns mean:

- **task runs**: tries that came to the operator. **POSTs**: create requests that reached the server.
- **double charges**: charges beyond one for the same video between two clears. **IDs lost**: accepted IDs that neither
  the record, nor XCom, nor a task's log knows, and no error says so. Both must be 0.
- **said unknown**: accepted IDs that died with their process before any line of code could write them down
  (or with the only process that could have passed them on). The task has failed, and its error says when what was sent.
- **verdict**: also whether each kill, freeze, clear and fault of the case has happened, and in how many tries the task
  ended. `python -m tests.chaos --self-test` leaves all of them out, and each case must fail.
"""

_LIMITS: Final = """
Below Airflow 3.3 the record lies in an Airflow Variable, which knows nothing of tries. What this version cannot hold:

- A try that Airflow has given up, or that was cleared while it ran, asks before it begins or ends a record whether it
  is still the one that Airflow runs. What happens **within the milliseconds between** this look and the write is not
  seen, and can lead to a second POST. On 3.3 Airflow itself refuses the record of such a try.
- A task that is cleared while it runs is not tried on 3.0, which leaves it in the state "restarting" for ever, and not
  on 2.11, where a try that succeeds before it learns of the clear writes its own state over it. If Airflow then runs
  the task again, another video is made, as after a clear of any task that had succeeded.
- Airflow 3.0 fails a task at once whose process is killed, whatever its `retries` (not where the supervisor dies, too).
  Nothing is paid twice, but nothing goes on either before a person clears the task; so it is cleared here.
- The Variable is deleted when the task has succeeded. Whoever deletes it sooner takes the protection away.
"""


class Row(NamedTuple):
    """One line of the table: a case, over all its seeds."""

    case: str
    videos: int
    task_runs: int
    posts: int
    expected: Range
    charges: int
    double_charges: int
    ids_lost: int
    reported_unknown: int
    violations: int

    @property
    def verdict(self) -> str:
        """In a word."""
        return "ok" if not self.violations else f"{self.violations} VIOLATIONS"

    def cells(self) -> list[str]:
        """The line's texts."""
        numbers = (self.videos, self.task_runs, self.posts, self.expected, self.charges)
        losses = (self.double_charges, self.ids_lost, self.reported_unknown)
        return [self.case, *map(str, (*numbers, *losses)), self.verdict]


COLUMNS: Final = (
    "case",
    "videos",
    "task runs",
    "POSTs",
    "charges expected",
    "charges seen",
    "double charges",
    "IDs lost",
    "said unknown",
    "verdict",
)


def rows(verdicts: Sequence[Verdict]) -> list[Row]:
    """The table, its totals last."""
    by_name: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        by_name.setdefault(verdict.case.name, []).append(verdict)
    table = [_row(name, of_one_case) for name, of_one_case in by_name.items()]
    return [*table, _row("**total**", verdicts)]


def _row(name: str, verdicts: Sequence[Verdict]) -> Row:
    least = sum(verdict.case.expected.charges.least * verdict.case.count for verdict in verdicts)
    most = sum(verdict.case.expected.charges.most * verdict.case.count for verdict in verdicts)
    return Row(
        name,
        sum(len(verdict.videos) for verdict in verdicts),
        sum(verdict.task_runs for verdict in verdicts),
        sum(verdict.posts for verdict in verdicts),
        Range(least, most),
        sum(verdict.charges for verdict in verdicts),
        sum(verdict.double_charges for verdict in verdicts),
        sum(verdict.ids_lost for verdict in verdicts),
        sum(verdict.ids_reported_unknown for verdict in verdicts),
        sum(len(verdict.violations) for verdict in verdicts),
    )


def on_terminal(table: Sequence[Row]) -> str:
    """The table with aligned columns."""
    lines = [list(COLUMNS), *(row.cells() for row in table)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def write(series: str, airflow_version: str, database: str, table: Sequence[Row], seconds: float) -> None:
    """Put the table into RESULTS.md, in the place of this series' last one."""
    how = f"Airflow {airflow_version}, {database}, Python {platform.python_version()}, {seconds / 60:.0f} minutes."
    _write_section(f"Airflow {series}", how, table, "" if series == "3.3" else _LIMITS)


def write_upgrades(database: str, table: Sequence[Row], seconds: float) -> None:
    """Put the table of the upgrades into RESULTS.md."""
    how = f"{database}, the old Airflow killed, `airflow db migrate` with the new one, {seconds / 60:.0f} minutes."
    _write_section("Upgrades to Airflow 3.3", how, table)


def _write_section(title: str, how: str, table: Sequence[Row], note: str = "") -> None:
    parts = re.split(r"(?m)^(?=## )", RESULTS.read_text()) if RESULTS.exists() else []
    sections = {part.splitlines()[0][3:]: part.strip() + "\n" for part in parts if part.startswith("## ")}
    lines = [
        *(f"## {title}", "", how, ""),
        f"| {' | '.join(COLUMNS)} |",
        f"|---|{'---:|' * (len(COLUMNS) - 2)}---|",
        *(f"| {' | '.join(row.cells())} |" for row in table),
        *([note.rstrip()] if note else []),
    ]
    sections[title] = "\n".join(lines) + "\n"
    RESULTS.write_text("\n".join([_HEAD, *(sections[name] for name in sorted(sections, key=_place))]))


def _place(title: str) -> list[int]:
    """The newest Airflow first, what is about none last."""
    version = re.fullmatch(r"Airflow ([0-9.]+)", title)
    return [-int(number) for number in version[1].split(".")] if version else [0]
