"""Kills while a video is waited for, in a worker or in the triggerer."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.cases.expected import GOES_ON, ID_IN_THE_LOG, NOTHING_SENT, ONE_VIDEO
from tests.chaos.cases.kills import phase_of
from tests.chaos.plan import (
    AFTER_INTENT,
    AFTER_RECORD,
    BEFORE_RECORD,
    BLOCKING,
    DEFERRED,
    KILL_BOTH,
    KILL_TASK,
    QUERY,
    RETURNING,
    Case,
    Expected,
    Step,
    Video,
    always,
)


def waiting() -> Iterator[Case]:
    """Kills while the video is made, in a worker or in the triggerer."""
    takes = {"on": "task", "fault": "takes", "seconds": 8}
    for way, dag_id in (("waiting in the worker", BLOCKING), ("deferred", DEFERRED)):

        def case(name: str, expected: Expected, at: str, action: str, *, way: str = way, dag_id: str = dag_id) -> Case:
            faults = [] if expected is NOTHING_SENT else [takes]  # which is about a video that was begun
            return Case(
                f"{way}: {name}",
                expected,
                always(Video([Step(at, action)], faults)),
                dag_id=dag_id,
                phase=phase_of(action),
            )

        yield Case(f"{way}: nothing goes wrong", ONE_VIDEO, always(Video(faults=[takes])), dag_id=dag_id)
        yield case("task killed after the record", GOES_ON, AFTER_RECORD, KILL_TASK)
        yield case("task killed while it asks", GOES_ON, QUERY, KILL_TASK)
        yield case("task and supervisor killed while it asks", GOES_ON, QUERY, KILL_BOTH)
        yield case("task killed when all is done, before Airflow knows", GOES_ON, RETURNING, KILL_TASK)
        yield case("task killed after the intent", NOTHING_SENT, AFTER_INTENT, KILL_TASK)
        yield case("task killed after the answer, before the record", ID_IN_THE_LOG, BEFORE_RECORD, KILL_TASK)
