"""Two tries at once, and one that stood still."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from tests.chaos import person
from tests.chaos.cases.expected import GOES_ON, NOTHING_SENT, ONE_VIDEO
from tests.chaos.plan import (
    AFTER_INTENT,
    AFTER_RECORD,
    BEFORE_INTENT,
    BEFORE_RECORD,
    FREEZE,
    NAP,
    POST,
    Case,
    Expected,
    Step,
    Video,
    always,
)

_AROUND_POST: Final = "zombies around the POST"


def zombies() -> Iterator[Case]:
    """Two tries at once: task and supervisor stand still until Airflow has retried, and then wake up."""
    yield _zombie("before the intent is written", GOES_ON, BEFORE_INTENT)
    # Too late to send, and no longer the try that Airflow runs.
    yield _zombie("after the intent is written", NOTHING_SENT, AFTER_INTENT)
    yield _zombie("just before the POST", NOTHING_SENT, POST)
    # What it learned when Airflow had given it up waits for the next try.
    late = _zombie("after the answer, before the record; then cleared", ONE_VIDEO.in_tries(3), BEFORE_RECORD)
    yield replace(late, afterwards=(person.clear,))
    yield _zombie("after the record", GOES_ON, AFTER_RECORD)


def naps() -> Iterator[Case]:
    """Task and supervisor stand still, and wake up before Airflow notices: too late to send, so it starts again."""
    once_more = replace(ONE_VIDEO, says="this process stood still")
    for where, at in (("after the intent is written", AFTER_INTENT), ("just before the POST", POST)):
        yield Case(f"asleep for 30 s {where}", once_more, always(Video([Step(at, NAP)])), count=1, phase=_AROUND_POST)


def _zombie(where: str, expected: Expected, at: str) -> Case:
    # A try that stands still holds its worker: two phases, so that workers are left for the next tries.
    phase = _AROUND_POST if at in (AFTER_INTENT, POST) else "zombies"
    return Case(f"zombie asleep {where}", expected, always(Video([Step(at, FREEZE)])), count=1, phase=phase)
