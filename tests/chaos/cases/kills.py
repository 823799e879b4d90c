"""SIGKILL to a task's process and its supervisor, at each point of a try."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.chaos.cases.expected import GOES_ON, HANGS, ID_IN_THE_LOG, NOTHING_SENT, ONE_VIDEO, PAID_AND_UNKNOWN
from tests.chaos.plan import (
    AFTER_INTENT,
    AFTER_RECORD,
    AFTER_RELEASE,
    ANSWERED,
    BEFORE_INTENT,
    BEFORE_RECORD,
    BEFORE_UNKNOWN,
    KILL_BOTH,
    KILL_BOTH_ONCE_ACCEPTED,
    KILL_SUPERVISOR,
    KILL_SUPERVISOR_ONCE_ACCEPTED,
    KILL_TASK,
    KILL_TASK_ONCE_ACCEPTED,
    POST,
    QUERY,
    RETURNING,
    Case,
    Expected,
    Step,
    Video,
    always,
    exactly,
)


def kills_of_the_task() -> Iterator[Case]:
    """SIGKILL to the task's process, or to its whole worker, at each point of the first try."""
    for who, action, once_accepted in (
        ("task", KILL_TASK, KILL_TASK_ONCE_ACCEPTED),
        ("task and supervisor", KILL_BOTH, KILL_BOTH_ONCE_ACCEPTED),
    ):
        # The part of the task's log that a killed supervisor had not read is lost.
        logged = ID_IN_THE_LOG if action == KILL_TASK else PAID_AND_UNKNOWN
        yield _kill(f"{who} killed before the intent is written", GOES_ON, BEFORE_INTENT, action)
        yield _kill(f"{who} killed after the intent, before the POST", NOTHING_SENT, AFTER_INTENT, action)
        yield _kill(
            f"{who} killed after the POST left, before the answer", PAID_AND_UNKNOWN, POST, once_accepted, HANGS
        )
        yield _kill(f"{who} killed with the answer, before reading it", PAID_AND_UNKNOWN, ANSWERED, action)
        yield _kill(f"{who} killed after the answer, before the record", logged, BEFORE_RECORD, action)
        yield _kill(f"{who} killed after the record", GOES_ON, AFTER_RECORD, action)
        yield _kill(f"{who} killed when all is done, before Airflow knows", GOES_ON, RETURNING, action)
    yield Case(
        "task killed in the first three tries, the video paid for in the first",
        ONE_VIDEO.in_tries(4),
        always(Video([Step(AFTER_RECORD, KILL_TASK), Step(QUERY, KILL_TASK), Step(RETURNING, KILL_TASK)])),
    )
    yield Case(
        "task killed after a 429 was written down",
        Expected("success", posts=exactly(2), charges=exactly(1), tries=exactly(2)),
        always(Video([Step(AFTER_RELEASE, KILL_TASK)], [{"on": "create", "fault": "rate_limited"}])),
    )
    yield Case(
        "task killed before an unknown outcome is written down",
        PAID_AND_UNKNOWN,
        always(Video([Step(BEFORE_UNKNOWN, KILL_TASK)], [{"on": "create", "fault": "reset", "when": "after"}])),
    )


def _kill(name: str, expected: Expected, at: str, action: str, *faults: Mapping[str, Any]) -> Case:
    phase = phase_of(action)
    return Case(
        name, expected, always(Video([Step(at, action)], faults)), count=3 if phase == "tasks" else 2, phase=phase
    )


def phase_of(action: str) -> str:
    """Killed workers are replaced only when the others have no more work: these cases run in a phase of their own."""
    return "tasks" if action in (KILL_TASK, KILL_TASK_ONCE_ACCEPTED) else "workers"


def kills_of_the_supervisor() -> Iterator[Case]:
    """SIGKILL to the supervisor alone: the task runs on for a while, without access to records and log."""
    yield _kill("supervisor killed before the intent is written", GOES_ON, BEFORE_INTENT, KILL_SUPERVISOR)
    # The orphan sends its POST at once, but cannot report the ID.
    yield _kill("supervisor killed just before the POST", PAID_AND_UNKNOWN, POST, KILL_SUPERVISOR)
    yield _kill(
        "supervisor killed after the POST left, before the answer",
        PAID_AND_UNKNOWN,
        POST,
        KILL_SUPERVISOR_ONCE_ACCEPTED,
        {**HANGS, "seconds": 6},
    )
    yield _kill(
        "supervisor killed after the answer, before the record", PAID_AND_UNKNOWN, BEFORE_RECORD, KILL_SUPERVISOR
    )
    yield _kill("supervisor killed after the record", GOES_ON, AFTER_RECORD, KILL_SUPERVISOR)
    yield _kill("supervisor killed when all is done, before Airflow knows", GOES_ON, RETURNING, KILL_SUPERVISOR)
