"""What a try may do when it finds a record: a pure function.

It allows a further POST only where it is proven that none was accepted, where a person has released the record, or
where the task instance ended well or with a failed video and runs again after a clear. docs/ledger.md has the whole
table; the tests read it.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from airflow_provider_digitalhuman.exceptions import OnUnknownSubmission, OnVideoFailed
from airflow_provider_digitalhuman.ledger.record import Fingerprints, Stage, SubmissionRecord
from airflow_provider_digitalhuman.ledger.try_facts import TryFacts

OUTCOME_UNKNOWN: Final = "a submission was sent, and whether it was accepted is not known"


class Cause(StrEnum):
    """Why the task instance runs although there is a record."""

    RETRY = "retry"
    """Airflow tries again by itself."""
    CLEAR = "clear"
    """The task instance was cleared, by a person or by a program."""
    EITHER = "either"
    """One of the two: Airflow's numbers fit both."""
    OTHER_RUN = "other run"
    """The record belongs to a run that was deleted; this one was made under its name."""


def cause_of(record: SubmissionRecord, facts: TryFacts) -> Cause:
    """Return why the present try runs, from what a task can read in Airflow."""
    if _is_of_another_run(record, facts):
        return Cause.OTHER_RUN
    # A try that is no later one than the record's belongs to a task instance that was deleted and made again.
    if record.try_number >= facts.try_number:
        return Cause.EITHER
    if record.generation != facts.generation:
        return Cause.CLEAR
    return Cause.EITHER if _may_be_cleared(record, facts) else Cause.RETRY


def _is_of_another_run(record: SubmissionRecord, facts: TryFacts) -> bool:
    """Return whether that is certain. A new ``started_at`` does not prove it: a run can be queued again."""
    then, now = record.run, facts.run
    if then is None:
        return False
    fewer_clears = then.clears is not None and now.clears is not None and now.clears < then.clears
    return fewer_clears or then.differs_in("row", now) or then.differs_in("run_after", now)


def _may_be_cleared(record: SubmissionRecord, facts: TryFacts) -> bool:
    """Return whether a clear can have set ``ti.max_tries`` to the same number: the tries so far + retries.

    That is so where ``retries`` was lowered in the DAG file.
    """
    then, now = record.run, facts.run
    if then is None or record.retries != facts.retries:
        return True
    return then.differs_in("clears", now) or then.differs_in("started_at", now)


@dataclass(frozen=True, slots=True)
class Send:
    """Submit.

    :param why: in words for the log.
    """

    why: str


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on with the video of the record; no POST.

    :param why: in words for the log.
    :param differs: whether the request is another one by now.
    """

    why: str
    differs: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """Fail without a POST and without further retries.

    :param why: in words for the error.
    :param unknown: whether it is not known if the POST was accepted; else the request is another one by now.
    """

    why: str
    unknown: bool


SubmitDecision = Send | Resume | Stop


def decide(
    record: SubmissionRecord | None,
    facts: TryFacts,
    request: Fingerprints,
    on_unknown_submission: OnUnknownSubmission = "fail",
    on_video_failed: OnVideoFailed = "fail",
) -> SubmitDecision:
    """Decide what a try may do that finds ``record`` and would send ``request``."""
    if record is None:
        return Send("nothing was submitted before")
    cause = cause_of(record, facts)
    if cause is Cause.OTHER_RUN:
        return Send("the record belongs to a deleted run of the same name")
    match record.stage:
        case Stage.RELEASED:
            return Send(f"the last submission was not accepted ({record.detail})")
        case Stage.SENDING | Stage.UNKNOWN:
            if on_unknown_submission == "resubmit":
                return Send("on_unknown_submission='resubmit' accepts the risk of paying twice")
            return Stop(OUTCOME_UNKNOWN, unknown=True)
        case Stage.SUBMITTED:
            return _decide_submitted(record, facts, request, cause)
        case Stage.RETURNED:  # written only once Airflow has the success
            return Send("the task had ended well and runs again, which asks for a new video")
        case Stage.FAILED:
            if cause is Cause.CLEAR:
                return Send("the last video failed and the task was cleared")
            if on_video_failed == "retry":
                return Send("the last video failed, and on_video_failed='retry' asks for another one")
            return Resume("this video was already submitted")


def _decide_submitted(record: SubmissionRecord, facts: TryFacts, request: Fingerprints, cause: Cause) -> SubmitDecision:
    if record.is_of(request):
        return Resume("this video was already submitted")
    differs = f"the request differs now (fingerprint {request.request}, paid for {record.fingerprint})"
    if cause is Cause.CLEAR:
        return Send(f"the task was cleared and {differs}")
    if cause is Cause.EITHER:
        return Stop(f"{differs}, and Airflow's numbers do not say whether this is a retry or a clear", unknown=False)
    if facts.one_of_many and not record.has_media_of(request):
        return Stop(f"{differs}: this task instance stands for another input by now", unknown=False)
    return Resume(f"a video was already submitted and paid for; {differs}", differs=True)
