"""A whole component, or the database, fails at the wrong moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.chaos.cases.expected import ONE_VIDEO
from tests.chaos.environment import Environment
from tests.chaos.plan import (
    AFTER_INTENT,
    AFTER_RECORD,
    BEFORE_INTENT,
    BEFORE_RECORD,
    BEFORE_RETURNED,
    BEFORE_UNKNOWN,
    CREATE,
    DEFERRED,
    KILL_SCHEDULER,
    KILL_WORKER_HOST,
    PAUSE_API_SERVER,
    PAUSE_DATABASE,
    REFUSE_WRITES,
    RESTART_API_SERVER,
    RETURNING,
    Case,
    Expected,
    Least,
    Range,
    Step,
    Video,
    always,
    exactly,
)
from tools.airflow_cluster import API_SERVER


def refused_writes() -> Iterator[Case]:
    """The metadata database refuses the record for some seconds, with an error."""
    for at in (BEFORE_INTENT, BEFORE_RECORD, BEFORE_RETURNED):
        yield Case(
            f"database refuses for 6 s {at.replace('write', 'the write')}",
            ONE_VIDEO,
            always(Video([Step(at, REFUSE_WRITES)])),
        )
    yield Case(
        "database refuses for 6 s before the write of released",
        Expected("success", posts=exactly(2), charges=exactly(1), tries=exactly(1)),
        always(Video([Step("before write of released", REFUSE_WRITES)], [{"on": "create", "fault": "rate_limited"}])),
    )
    yield Case(
        "database refuses for 6 s before the write of unknown",
        Expected("failed", exactly(1), exactly(1), exactly(1), known=False, log_text="It is not known"),
        always(Video([Step(BEFORE_UNKNOWN, REFUSE_WRITES)], [{"on": "create", "fault": "close", "when": "after"}])),
    )


def components(dag_id: str = CREATE) -> Iterator[Case]:
    """A whole component is killed, restarted or paused at each point."""
    points = (BEFORE_INTENT, AFTER_INTENT, BEFORE_RECORD, AFTER_RECORD, RETURNING)

    def one_at_each_point(action: str, certain: bool) -> Any:
        return lambda number, _rng: Video([Step(points[number % len(points)], action)], certain=certain)

    # A try that ends by what another video's try has requested may never reach its own point.
    any_end = Expected(None, Range(0, 1), Range(0, 1), tries=Range(1, 4), known=False)
    held_up = Expected("success", exactly(1), exactly(1), tries=Range(1, 2))
    for name, action, expected in (
        ("scheduler killed at each point", KILL_SCHEDULER, any_end),
        ("scheduler and all workers killed at each point", KILL_WORKER_HOST, any_end),
        ("API server restarted at each point", RESTART_API_SERVER, any_end),
        ("API server stands still for 8 s at each point", PAUSE_API_SERVER, held_up),
        ("database stands still for 8 s at each point", PAUSE_DATABASE, held_up),
    ):
        make = one_at_each_point(action, certain=expected is held_up)
        yield Case(name, expected, make, count=5, dag_id=dag_id, phase=name, least=Least(steps=3, faults=0))


def deferred_waits() -> Iterator[Case]:
    """SIGKILL to whole components while videos are waited for in the triggerer."""
    takes = Video(faults=[{"on": "task", "fault": "takes", "seconds": 25}])
    for name, component, whole_session in (
        ("triggerer", "triggerer", False),
        ("scheduler", "scheduler", False),
        ("scheduler and all workers", "scheduler", True),
        ("API server", API_SERVER, False),
    ):

        def kill_component(
            environment: Environment,
            dag_id: str,
            run_id: str,
            component: str = component,
            whole_session: bool = whole_session,
        ) -> None:
            environment.wait_until_deferred(dag_id, run_id)
            environment.restart(component, whole_session=whole_session)

        case = Case(f"deferred: {name} killed while videos are waited for", ONE_VIDEO, always(takes), dag_id=DEFERRED)
        yield replace(case, meanwhile=kill_component, component_kills=1, phase=name)
