"""The money: the record of one task instance's submission, and what a try may do when it finds one.

The API has no idempotency key, no list and no cancel. So the intent is written down *before* the POST, and
:func:`decide`, a pure function, allows a further POST only where it is proven that none was accepted, where a person
has released the record, or where the task instance ended well or with a failed video and runs again after a clear.
docs/ledger.md has the whole table; the tests read it.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

from airflow_provider_digitalhuman.exceptions import LedgerError, OnUnknownSubmission, OnVideoFailed

ADOPTED: Final = "adopted"
"""In place of a fingerprint: a person has named the video, whatever the request looks like."""
VERSION: Final = 2
_READABLE: Final = (1, VERSION)


class Stage(StrEnum):
    """How far a submission got."""

    SENDING = "sending"
    """The POST is about to leave, or has left; no answer is known. Where a process died here, nobody knows."""
    RELEASED = "released"
    """It is proven that nothing was accepted, or a person has found that out."""
    UNKNOWN = "unknown"
    """As *sending*, and the task has failed with an error that says so."""
    SUBMITTED = "submitted"
    """Accepted; the vendor's task ID is in the record."""
    FAILED = "failed"
    """Accepted, and ended by the vendor without a video."""
    RETURNED = "returned"
    """The task instance has succeeded, and Airflow knows it."""


class RunFacts(NamedTuple):
    """What tells a DAG run from another one of the same name.

    :param started_at: ISO 8601; a clear of the run or of one of its tasks, or queueing it again, can change it.
    :param clears: how often tasks of the run have been cleared; it never decreases.
    :param run_after: ISO 8601, Airflow's word for when the run was due (3.0 and later); it never changes. Of a run that
        was triggered it is that moment.
    :param row: the run's number in Airflow's database (2.11); it never changes.

    None: not known.
    """

    started_at: str | None = None
    clears: int | None = None
    run_after: str | None = None
    row: int | None = None

    def differs_in(self, field: str, other: "RunFacts") -> bool:
        """Whether both know the field, and it is not the same."""
        mine, others = getattr(self, field), getattr(other, field)
        return None not in (mine, others) and mine != others


class Attempt(NamedTuple):
    """The present try of a task instance.

    :param fingerprint: of the request that it would send.
    :param legacy_fingerprint: the same, as records of version 1 hold it.
    :param media: fingerprint of the audio and the video alone.
    :param generation: ``ti.max_tries``: the same over automatic retries; a clear sets it anew, nearly always to
        another number.
    :param try_number: Airflow's.
    :param retries: the task's, in the present DAG file.
    :param one_of_many: whether the task instance can come to stand for another input: one of several of a mapped task,
        or a task of the author's own code.
    :param run: what is known of the DAG run.
    """

    fingerprint: str
    legacy_fingerprint: str
    media: str
    generation: int
    try_number: int
    retries: int
    one_of_many: bool
    run: RunFacts


class SubmissionRecord(NamedTuple):
    """What is written down of a submission. No key, and no query string of a URL.

    :param stage: how far it got.
    :param fingerprint: of the request that was sent.
    :param generation: the :class:`Attempt`'s that sent it, or went on with it last.
    :param try_number: of the try that sent it.
    :param sent_at: ISO 8601, just before the POST.
    :param sent: what was sent and where to, for people to read.
    :param video_task_id: the vendor's task ID, once known.
    :param video_task: the task as it was accepted, as JSON types.
    :param completed: True once the video was seen completed and could not be archived; else None.
    :param detail: why it was released, is unknown or failed.
    :param earlier: IDs that this task instance paid for before, oldest first.
    :param media: fingerprint of the audio and the video alone; None in a record of version 1.
    :param retries: the task's at that time; None in a record of version 1.
    :param run: the DAG run; None in a record of version 1.
    :param possible_id: an ID that stood in an answer which proves nothing.
    """

    stage: Stage
    fingerprint: str
    generation: int
    try_number: int
    sent_at: str
    sent: str
    video_task_id: str | None = None
    video_task: Mapping[str, Any] | None = None
    completed: bool | None = None
    detail: str | None = None
    earlier: Sequence[str] = ()
    media: str | None = None
    retries: int | None = None
    run: RunFacts | None = None
    possible_id: str | None = None

    @property
    def known_ids(self) -> tuple[str, ...]:
        """All IDs that this task instance was given, or may have been given, oldest first."""
        return (*self.earlier, *(known for known in (self.video_task_id or self.possible_id,) if known))

    @property
    def is_open(self) -> bool:
        """Whether nobody can tell what became of the POST."""
        return self.stage in (Stage.SENDING, Stage.UNKNOWN)

    def at(self, stage: Stage, **changes: Any) -> "SubmissionRecord":
        """Return the record at another stage."""
        return self._replace(stage=stage, **changes)

    def is_of(self, attempt: Attempt) -> bool:
        """Whether the record is about the request that ``attempt`` would send."""
        return self.fingerprint in (ADOPTED, attempt.fingerprint, attempt.legacy_fingerprint)

    def has_media_of(self, attempt: Attempt) -> bool:
        """Whether audio and video are those that ``attempt`` would send, as far as the record can tell."""
        return self.is_of(attempt) or self.media == attempt.media

    def is_same_post(self, other: "SubmissionRecord") -> bool:
        """Whether both are about one and the same POST."""
        return (self.try_number, self.sent_at, self.fingerprint) == (other.try_number, other.sent_at, other.fingerprint)

    def is_of_the_video(self, video_task_id: str) -> bool:
        """Whether the task instance still goes on with this video, and nobody has named another or released it."""
        return self.video_task_id == video_task_id and self.stage is not Stage.RELEASED

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON types, what is empty left out."""
        fields = self._asdict() | {
            "stage": self.stage.value,
            "earlier": list(self.earlier),
            "run": _without_none(self.run._asdict()) if self.run else None,
        }
        return {"version": VERSION, **_without_none(fields)}

    @classmethod
    def from_json(cls, value: Any) -> "SubmissionRecord":
        """Read a record of this version or an earlier one.

        :raises LedgerError: if it is not one: that is not the same as no record.
        """
        try:
            if value["version"] not in _READABLE:
                raise ValueError(f"written by a later version of this provider: {value['version']!r}")
            fields = {key: value[key] for key in cls._fields if key in value}
            run = fields.get("run")
            converted = {
                "stage": Stage(fields["stage"]),
                "generation": int(fields["generation"]),
                "earlier": tuple(fields.get("earlier", ())),
                "run": RunFacts(**{key: run[key] for key in RunFacts._fields if key in run})
                if run is not None
                else None,
            }
            record = cls(**(fields | converted))
        except (TypeError, KeyError, ValueError) as error:
            raise LedgerError(f"The record of the submission cannot be read ({error!r}): {value!r}.") from error
        if record.stage in _ACCEPTED and not record.video_task_id:
            raise LedgerError(f"The record of the submission says {record.stage} but holds no ID: {value!r}.")
        return record


_ACCEPTED: Final = frozenset({Stage.SUBMITTED, Stage.FAILED, Stage.RETURNED})


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value not in (None, [])}


class Happened(StrEnum):
    """Why the task instance runs although there is a record."""

    RETRY = "retry"
    """Airflow tries again by itself."""
    CLEAR = "clear"
    """The task instance was cleared, by a person or by a program."""
    EITHER = "either"
    """One of the two: Airflow's numbers do not tell."""
    OTHER_RUN = "other run"
    """The record belongs to a run that was deleted; this one was made under its name."""


def what_happened(record: SubmissionRecord, attempt: Attempt) -> Happened:
    """Tell why ``attempt`` runs, from what Airflow lets a task know."""
    if _is_of_another_run(record, attempt):
        return Happened.OTHER_RUN
    # A try that is no later one than the record's belongs to a task instance that was deleted and made again.
    if record.try_number >= attempt.try_number:
        return Happened.EITHER
    if record.generation != attempt.generation:
        return Happened.CLEAR
    return Happened.EITHER if _may_be_cleared(record, attempt) else Happened.RETRY


def _is_of_another_run(record: SubmissionRecord, attempt: Attempt) -> bool:
    """Tell whether that is certain. A new ``started_at`` does not prove it: a run can be queued again."""
    then, now = record.run, attempt.run
    if then is None:
        return False
    fewer_clears = then.differs_in("clears", now) and (now.clears or 0) < (then.clears or 0)
    return fewer_clears or then.differs_in("row", now) or then.differs_in("run_after", now)


def _may_be_cleared(record: SubmissionRecord, attempt: Attempt) -> bool:
    """Tell whether a clear can have left ``ti.max_tries`` at the same number: the tries so far + retries.

    That is so where ``retries`` was lowered in the DAG file.
    """
    then, now = record.run, attempt.run
    if then is None or record.retries != attempt.retries:
        return True
    return then.differs_in("clears", now) or then.differs_in("started_at", now)


class Send(NamedTuple):
    """Submit.

    :param why: in words for the log.
    """

    why: str


class Resume(NamedTuple):
    """Go on with the video of the record; no POST.

    :param why: in words for the log.
    :param differs: whether the request is another one by now.
    """

    why: str
    differs: bool = False


class Stop(NamedTuple):
    """Fail without a POST and without further retries.

    :param why: in words for the error.
    :param unknown: whether nobody can tell what became of the POST; else the request is another one by now.
    """

    why: str
    unknown: bool


SubmitDecision = Send | Resume | Stop


def decide(
    record: SubmissionRecord | None,
    attempt: Attempt,
    on_unknown_submission: OnUnknownSubmission = "fail",
    on_video_failed: OnVideoFailed = "fail",
) -> SubmitDecision:
    """Decide what a try may do that finds ``record``."""
    if record is None:
        return Send("nothing was submitted before")
    happened = what_happened(record, attempt)
    if happened is Happened.OTHER_RUN:
        return Send("the record belongs to a deleted run of the same name")
    match record.stage:
        case Stage.RELEASED:
            return Send(f"the last submission was not accepted ({record.detail})")
        case Stage.SENDING | Stage.UNKNOWN:
            if on_unknown_submission == "resubmit":
                return Send("on_unknown_submission='resubmit' accepts the risk of paying twice")
            return Stop("a submission left, and whether it was accepted is not known", unknown=True)
        case Stage.SUBMITTED:
            return _decide_submitted(record, attempt, happened)
        case Stage.RETURNED:  # written only once Airflow has the success
            return Send("the task had ended well and runs again, which asks for a new video")
        case Stage.FAILED:
            if happened is Happened.CLEAR:
                return Send("the last video failed and the task was cleared")
            if on_video_failed == "retry":
                return Send("the last video failed, and on_video_failed='retry' asks for another one")
            return Resume("this video was already submitted")


def _decide_submitted(record: SubmissionRecord, attempt: Attempt, happened: Happened) -> SubmitDecision:
    if record.is_of(attempt):
        return Resume("this video was already submitted")
    differs = f"the request differs now (fingerprint {attempt.fingerprint}, paid for {record.fingerprint})"
    if happened is Happened.CLEAR:
        return Send(f"the task was cleared and {differs}")
    if happened is Happened.EITHER:
        return Stop(f"{differs}, and Airflow does not tell whether this is a retry or a clear", unknown=False)
    if attempt.one_of_many and not record.has_media_of(attempt):
        return Stop(f"{differs}: this task instance stands for another input by now", unknown=False)
    return Resume(f"a video was already submitted and paid for; {differs}", differs=True)
