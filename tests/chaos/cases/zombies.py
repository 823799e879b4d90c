"""Two tries at once."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.cases.expected import GOES_ON, ID_IN_THE_LOG
from tests.chaos.plan import (
    AFTER_RECORD,
    BEFORE_INTENT,
    BEFORE_RECORD,
    FREEZE,
    POST,
    Case,
    Expected,
    Range,
    Step,
    Video,
    always,
    exactly,
)


def zombies() -> Iterator[Case]:
    """Two tries at once: task and supervisor stand still until Airflow has retried, and then wake up."""
    yield _zombie("before the intent is written", GOES_ON, BEFORE_INTENT)
    # It may send its POST in the moment before its supervisor ends it; 2.11 then even takes its word for the end.
    yield _zombie("just before the POST", Expected(None, Range(0, 1), Range(0, 1), exactly(2)), POST)
    yield _zombie("after the answer, before the record", ID_IN_THE_LOG, BEFORE_RECORD)
    yield _zombie("after the record", GOES_ON, AFTER_RECORD)


def _zombie(where: str, expected: Expected, at: str) -> Case:
    return Case(f"zombie asleep {where}", expected, always(Video([Step(at, FREEZE)])), count=1, phase="zombies")
