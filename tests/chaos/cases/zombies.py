"""Two tries at once, and one that was suspended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from tests.chaos import user_actions
from tests.chaos.cases.expected import GOES_ON, NOTHING_SENT, ONE_VIDEO
from tests.chaos.plan import (
    AFTER_INTENT,
    AFTER_RECORD,
    BEFORE_INTENT,
    BEFORE_RECORD,
    FREEZE,
    POST,
    SUSPEND,
    Case,
    Expected,
    Step,
    Video,
    always,
)

_AROUND_POST: Final = "zombies around the POST"


def zombies() -> Iterator[Case]:
    """Two tries at once: task and supervisor are stopped until Airflow has retried, and then continue."""
    yield _zombie("before the intent is written", GOES_ON, BEFORE_INTENT)
    # Too late to send, and no longer the current try.
    yield _zombie("after the intent is written", NOTHING_SENT, AFTER_INTENT)
    yield _zombie("just before the POST", NOTHING_SENT, POST)
    # What it received after Airflow had given it up is kept for the next try.
    late = _zombie("after the answer, before the record; then cleared", ONE_VIDEO.in_tries(3), BEFORE_RECORD)
    yield replace(late, afterwards=(user_actions.clear,))
    yield _zombie("after the record", GOES_ON, AFTER_RECORD)


def suspended_tries() -> Iterator[Case]:
    """Task and supervisor stop, and continue before Airflow notices: too late to send, so the try starts again."""
    once_more = replace(ONE_VIDEO, log_text="too late: this process was suspended")
    for where, at in (("after the intent is written", AFTER_INTENT), ("just before the POST", POST)):
        yield Case(
            f"asleep for 30 s {where}", once_more, always(Video([Step(at, SUSPEND)])), count=1, phase=_AROUND_POST
        )


def _zombie(where: str, expected: Expected, at: str) -> Case:
    # A stopped try holds its worker: two phases, so that workers are left for the next tries.
    phase = _AROUND_POST if at in (AFTER_INTENT, POST) else "zombies"
    return Case(f"zombie asleep {where}", expected, always(Video([Step(at, FREEZE)])), count=1, phase=phase)
