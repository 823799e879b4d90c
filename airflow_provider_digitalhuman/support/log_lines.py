"""Short lines for a task's log: Airflow's log view does not wrap lines."""

import unicodedata
from collections.abc import Iterator
from typing import Final

COLUMNS: Final = 88
"""What the log view of Airflow 3.3 shows of a line, with its time and level, in a browser window of 1,300 pixels."""


def short_lines(text: str, indent: str = "") -> Iterator[str]:
    """Yield ``text`` in lines that the log view shows whole; no word is broken: an ID or a URL stays whole."""
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}" if line else indent + word
            if line and _columns(longer) > COLUMNS:
                yield line
                longer = indent + word
            line = longer
        if line:
            yield line


def _columns(text: str) -> int:
    """Return the columns that ``text`` takes: a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)
