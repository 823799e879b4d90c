"""What users and programs do: change a template, clear a task, release a record, delete a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from tests.chaos import user_actions
from tests.chaos.cases.expected import GOES_ON, HANGS, NOTHING_SENT, ONE_VIDEO, PAID_AND_UNKNOWN
from tests.chaos.plan import (
    AFTER_INTENT,
    AFTER_RECORD,
    CLEAR,
    KILL_TASK,
    KILL_TASK_ONCE_ACCEPTED,
    ONCE,
    ONCE_COPY,
    POST,
    QUERY,
    UNMAPPED,
    Action,
    Case,
    Expected,
    Range,
    Step,
    Video,
    always,
    exactly,
)

TWO_VIDEOS: Final = Expected("success", posts=exactly(2), charges=exactly(2), tries=exactly(2))
ACCEPTED_THEN_RESET: Final[Mapping[str, Any]] = {"on": "create", "fault": "reset", "when": "after"}
UNKNOWN: Final = Video(faults=[ACCEPTED_THEN_RESET])
SENDING: Final = Video([Step(POST, KILL_TASK_ONCE_ACCEPTED)], [HANGS])
PAID: Final = Video([Step(AFTER_RECORD, KILL_TASK)])


def other_requests() -> Iterator[Case]:
    """A template that renders to something else in each try."""
    another = replace(PAID, renders_differently=True)
    refused = Expected("failed", exactly(1), exactly(1), exactly(2), names_id=True, log_text="no video is returned")
    yield Case("another request in the second try, the first one paid for", refused, always(another))
    yield Case(
        "another request in the second try, the first one paid for, no mapped task",
        GOES_ON,
        always(another),
        count=1,
        dag_id=UNMAPPED,
    )
    yield Case(
        "another request in the second try, the first one unknown",
        NOTHING_SENT,
        always(Video([Step(AFTER_INTENT, KILL_TASK)], renders_differently=True)),
    )
    yield Case(
        "another request, refused, then cleared: a new video",
        TWO_VIDEOS.in_tries(3),
        always(another),
        afterwards=(user_actions.clear,),
    )


def clears(series: str) -> Iterator[Case]:
    """A run that has ended is cleared, or deleted and created again; a record is released or adopted before."""
    yield Case(
        "cleared after success: a new video", TWO_VIDEOS, always(Video()), afterwards=(user_actions.clear_success,)
    )
    yield Case(
        "cleared after an unknown outcome: nothing is sent",
        PAID_AND_UNKNOWN,
        always(UNKNOWN),
        afterwards=(user_actions.clear,),
    )
    yield Case(
        "cleared, then released and cleared after an unknown outcome: a new video",
        replace(TWO_VIDEOS, known=False).in_tries(3),
        always(UNKNOWN),
        afterwards=(user_actions.clear, user_actions.release_and_clear),
    )
    yield Case(
        "adopted and cleared after an unknown outcome: the same video",
        GOES_ON,
        always(UNKNOWN),
        afterwards=(user_actions.adopt_and_clear,),
    )
    yield Case(
        "cleared after a kill around the POST was reported: nothing is sent",
        NOTHING_SENT.in_tries(3),
        always(Video([Step(AFTER_INTENT, KILL_TASK)])),
        afterwards=(user_actions.clear,),
    )
    yield Case(
        "released and cleared after a kill around the POST was reported: a new video",
        ONE_VIDEO.in_tries(3),
        always(Video([Step(AFTER_INTENT, KILL_TASK)])),
        afterwards=(user_actions.release_and_clear,),
    )
    yield Case(
        "cleared after failure, the video still in the making: the same video",
        ONE_VIDEO.in_tries(5),
        always(Video([Step(AFTER_RECORD, KILL_TASK), *(Step(QUERY, KILL_TASK) for _ in range(3))])),
        afterwards=(user_actions.clear,),
    )
    yield Case(
        "cleared after the vendor failed the video: a new video",
        TWO_VIDEOS,
        always(Video(faults=[{"on": "create", "fault": "failed_at_once"}])),
        afterwards=(user_actions.clear,),
    )
    yield from _without_retries()
    yield from _created_again()
    # On 3.0 the trigger of TriggerDagRunOperator never ends, and without it Airflow does not retry the operator (seen).
    if series != "3.0":
        yield Case(
            "cleared three times by another DAG after an unknown outcome: nothing is sent",
            PAID_AND_UNKNOWN.in_tries(4),
            always(UNKNOWN),
            afterwards=(user_actions.reset_by_other_dag,),
            count=1,
            phase="reset by another DAG",
        )
    # 2.11 lets a try that is about to succeed write its state over the clear's; 3.0 leaves it "restarting" for ever.
    if series not in ("2.11", "3.0"):
        yield from _clears_while_running()


def _without_retries() -> Iterator[Case]:
    """A record that nobody has looked at since its try was killed."""
    yield Case(
        "cleared after the only try was killed in mid-POST: nothing is sent",
        PAID_AND_UNKNOWN,
        always(SENDING),
        dag_id=ONCE,
        afterwards=(user_actions.clear,),
    )
    yield Case(
        "cleared after the only try was killed after the record: the same video",
        GOES_ON,
        always(PAID),
        dag_id=ONCE,
        afterwards=(user_actions.clear,),
    )


def _created_again() -> Iterator[Case]:
    """A record belongs to one run, and not to another one of the same name."""
    again = TWO_VIDEOS.in_tries(1)
    yield Case(
        "run deleted after the record and made anew, for another request: a new video",
        again,
        always(PAID),
        dag_id=ONCE,
        afterwards=(user_actions.delete_and_recreate,),
    )
    yield Case(
        "run deleted after an unknown outcome and made anew, for another request: a new video",
        replace(again, known=False),
        always(UNKNOWN),
        dag_id=ONCE,
        afterwards=(user_actions.delete_and_recreate,),
    )


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


def clears_of_3_4() -> Iterator[Case]:
    """The clear of Airflow 3.4, imitated on 3.3: it empties the task state store and leaves the second copy."""

    def case(name: str, expected: Expected, video: Video, action: Action) -> Case:
        return Case(f"cleared as on 3.4 {name}", expected, always(video), dag_id=ONCE_COPY, afterwards=(action,))

    yield case("after the record: the same video", GOES_ON, PAID, user_actions.discard_state_and_clear)
    yield case(
        "after a kill in mid-POST: nothing is sent", PAID_AND_UNKNOWN, SENDING, user_actions.discard_state_and_clear
    )
    yield case(
        "after an unknown outcome: nothing is sent", PAID_AND_UNKNOWN, UNKNOWN, user_actions.discard_state_and_clear
    )
    yield case("after an adoption: the same video", GOES_ON, UNKNOWN, user_actions.adopt_then_discard_state_and_clear)
    yield case("after success: a new video", TWO_VIDEOS, Video(), user_actions.discard_state_of_success_and_clear)
