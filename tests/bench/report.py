"""Tables and aims in Markdown, and the file that keeps them."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import Final, NamedTuple

RESULTS: Final = Path(__file__).parent / "RESULTS.md"
_HEAD: Final = """# Measured

Written by `python -m tests.bench`: `make bench` runs the parts that need no Airflow around them, `make bench
PARTS="triggerer airflow"` those that do. All rows of a table come from one run on the same machine, in turn; read the
ratios.
"""


class Table:
    """A Markdown table."""

    def __init__(self, *columns: str) -> None:
        self._rows = [columns, ("---",) * len(columns)]

    def add(self, *cells: str) -> None:
        """Add a row."""
        self._rows.append(cells)

    def __str__(self) -> str:
        return "".join(f"| {' | '.join(cells)} |\n" for cells in self._rows)


class Aim(NamedTuple):
    """A figure, and what it is to be at most."""

    what: str
    figure: float
    most: float
    remark: str = ""

    @property
    def met(self) -> bool:
        """True if it is."""
        return self.figure <= self.most


def shown(aims: list[Aim]) -> str:
    """The aims as a table."""
    table = Table("aim", "at most", "measured", "")
    for aim in aims:
        table.add(aim.what, f"{aim.most:.3g}", f"{aim.figure:.3g}{aim.remark}", "met" if aim.met else "**not met**")
    return str(table)


def write(title: str, text: str) -> None:
    """Put a part into the file, in place of the one of the same title."""
    known = RESULTS.read_text() if RESULTS.exists() else _HEAD
    parts = re.split(r"(?m)^(?=## )", known)
    setting = f"Airflow {version('apache-airflow')}, Python {platform.python_version()}, {os.cpu_count()} cores.\n"
    part = f"## {title}\n\n{setting}\n{text.strip()}\n\n"
    others = [one for one in parts[1:] if not one.startswith(f"## {title}\n")]
    RESULTS.write_text("".join([_HEAD, "\n", *sorted([*others, part])]).rstrip() + "\n")
