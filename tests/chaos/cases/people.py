"""What people do: change a template, clear a task."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.chaos.cases.expected import GOES_ON, NOTHING_SENT, ONE_VIDEO
from tests.chaos.plan import (
    AFTER_INTENT,
    AFTER_RECORD,
    CLEAR,
    KILL_TASK,
    QUERY,
    Case,
    Expected,
    Range,
    Step,
    Video,
    always,
    exactly,
)
from tests.chaos.world import World


def other_requests() -> Iterator[Case]:
    """A template that renders to something else in each try."""
    yield Case(
        "another request in the second try, the first one paid for",
        GOES_ON,
        always(Video([Step(AFTER_RECORD, KILL_TASK)], renders_anew=True)),
    )
    yield Case(
        "another request in the second try, the first one unknown",
        NOTHING_SENT,
        always(Video([Step(AFTER_INTENT, KILL_TASK)], renders_anew=True)),
    )


def clears(series: str) -> Iterator[Case]:
    """A person clears the task: the explicit act."""
    two = Expected("success", posts=exactly(2), charges=exactly(2), tries=exactly(2))
    yield Case("cleared after success: a new video", two, always(Video()), afterwards=(World.clear_success,))
    yield Case(
        "cleared after an unknown outcome: a new video",
        replace(two, known=False),
        always(Video(faults=[{"on": "create", "fault": "reset", "when": "after"}])),
        afterwards=(World.clear,),
    )
    yield Case(
        "cleared after a kill around the POST was told: a new video",
        ONE_VIDEO.in_tries(3),
        always(Video([Step(AFTER_INTENT, KILL_TASK)])),
        afterwards=(World.clear,),
    )
    yield Case(
        "cleared after failure, the video still in the making: the same video",
        ONE_VIDEO.in_tries(5),
        always(Video([Step(AFTER_RECORD, KILL_TASK), *(Step(QUERY, KILL_TASK) for _ in range(3))])),
        afterwards=(World.clear,),
    )
    yield Case(
        "cleared after the vendor failed the video: a new video",
        two,
        always(Video(faults=[{"on": "create", "fault": "failed_at_once"}])),
        afterwards=(World.clear,),
    )
    # 2.11 lets a try that is about to succeed write its state over the clear's; 3.0 leaves it "restarting" for ever.
    if series not in ("2.11", "3.0"):
        yield from _clears_while_running()


def _clears_while_running() -> Iterator[Case]:
    yield Case(
        "cleared while running, after the record: the same video",
        GOES_ON,
        always(Video([Step(AFTER_RECORD, CLEAR)])),
        count=1,
    )
    yield Case(
        "cleared while running, after the intent: at most one POST",
        Expected(None, Range(0, 1), Range(0, 1), exactly(2), known=False),
        always(Video([Step(AFTER_INTENT, CLEAR)])),
        count=1,
    )
