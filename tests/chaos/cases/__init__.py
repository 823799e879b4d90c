"""The table of cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from tests.chaos import user_actions
from tests.chaos.cases.components import components, deferred_waits, refused_writes
from tests.chaos.cases.faults import faults
from tests.chaos.cases.kills import kills_of_the_supervisor, kills_of_the_task
from tests.chaos.cases.mapped import mapped
from tests.chaos.cases.user_actions import clears, clears_of_3_4, other_requests
from tests.chaos.cases.waiting import waiting
from tests.chaos.cases.zombies import suspended_tries, zombies
from tests.chaos.plan import (
    DEFERRED,
    KILL_TASK,
    KILL_TASK_ONCE_ACCEPTED,
    ONCE,
    Case,
    Range,
)

FAST: Final = (
    "task killed before the intent is written",
    "task killed after the intent, before the POST",
    "task killed after the POST left, before the answer",
    "task killed after the answer, before the record",
    "task killed after the record",
    "another request in the second try, the first one paid for",
    "cleared after success: a new video",
    "cleared after an unknown outcome: nothing is sent",
    "cleared, then released and cleared after an unknown outcome: a new video",
    "cleared as on 3.4 after the record: the same video",
    "run deleted after the record and made anew, for another request: a new video",
    "cleared after failure, the video still in the making: the same video",
    "database refuses for 6 s before the write of submitted",
    "F9: 429 until Airflow retries",
    "deferred: task killed when all is done, before Airflow knows",
)
"""What `make test` runs, too."""


def all_cases(series: str, seeds: Sequence[int] = (1, 2, 3)) -> list[Case]:
    """The long suite for this Airflow; below 3.3 only what is done to processes, fewer of each."""
    if series != "3.3":
        return _below_3_3(series)
    return [
        *kills_of_the_task(),
        *kills_of_the_supervisor(),
        *zombies(),
        *suspended_tries(),
        *(case for seed in seeds for case in faults(seed)),
        *other_requests(),
        *clears(series),
        *clears_of_3_4(),
        *refused_writes(),
        *(mapped(seed) for seed in seeds),
        mapped(seeds[0], DEFERRED),
        *waiting(),
        *components(),
        *deferred_waits(),
    ]


def fast_cases(series: str = "3.3") -> list[Case]:
    """The cases of ``FAST``, one video each."""
    return [replace(case, count=1) for case in all_cases(series, seeds=(1,)) if case.name in FAST]


def _below_3_3(series: str) -> list[Case]:
    supervisor = [_ends_either_way(case) if series == "2.11" else case for case in kills_of_the_supervisor()]
    cases = [
        *kills_of_the_task(),
        *supervisor,
        *zombies(),
        *suspended_tries(),
        *other_requests(),
        *clears(series),
        *waiting(),
    ]
    cases = [replace(case, count=1) for case in (*cases, next(deferred_waits()))]
    return [held for case in cases if (held := _on_3_0(case))] if series == "3.0" else cases


def _ends_either_way(case: Case) -> Case:
    """On 2.11 a task without its supervisor still writes to the database, and may succeed."""
    return replace(case, expected=replace(case.expected, state=None, tries=Range(1, 2), log_text=""))


def _on_3_0(case: Case) -> Case | None:
    """3.0 fails a killed task at once, whatever its retries: so the task is cleared, unless that is another case."""
    (video,) = case.videos()
    kills = [step.at for step in video.steps if step.action in (KILL_TASK, KILL_TASK_ONCE_ACCEPTED)]
    if not kills or case.dag_id == ONCE:
        return case
    if len(kills) > 1 or video.renders_differently or case.afterwards:
        return None
    return replace(case, name=f"{case.name}; cleared", afterwards=(user_actions.clear,))
