"""The money: the record of one task instance's submission, and what a try may do when it finds one.

The API has no idempotency key, no list and no cancel. So the intent is written down *before* the POST, and
:func:`decide`, a pure function, lets a further POST go only where it is proven that none was accepted, or
where a person cleared the task after having been told.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

from airflow_provider_digitalhuman.exceptions import LedgerError, OnUnknownSubmission, OnVideoFailed

ADOPTED: Final = "adopted"
"""In place of a fingerprint: a person has named the video, whatever the request looks like."""
_VERSION: Final = 1


class Stage(StrEnum):
    """How far a submission got."""

    SENDING = "sending"
    """The POST is about to leave, or has left; no answer is known. Where a process died here, nobody knows."""
    RELEASED = "released"
    """It is proven that nothing was accepted."""
    UNKNOWN = "unknown"
    """As *sending*, and the task has failed saying so: people can know."""
    SUBMITTED = "submitted"
    """Accepted; the vendor's task ID is in the record."""
    FAILED = "failed"
    """Accepted, and ended by the vendor without a video."""
    RETURNED = "returned"
    """The task instance has succeeded, and Airflow knows it."""


class Attempt(NamedTuple):
    """The present try of a task instance.

    :param fingerprint: of the request that it would send.
    :param generation: ``ti.max_tries``: the same over automatic retries, and set anew by every clear. (The
        difference to ``retries`` would also change when someone edits ``retries`` in the DAG file.)
    :param try_number: Airflow's.
    """

    fingerprint: str
    generation: int
    try_number: int


class SubmissionRecord(NamedTuple):
    """What is written down of a submission. No key, and no query string of a URL.

    :param stage: how far it got.
    :param fingerprint: of the request that was sent.
    :param generation: the :class:`Attempt`'s that sent it.
    :param try_number: of the try that sent it.
    :param sent_at: ISO 8601, just before the POST.
    :param sent: what was sent and where to, for people to read.
    :param video_task_id: the vendor's task ID, once known.
    :param video_task: the task as it was accepted, as JSON types.
    :param completed: True once the video was seen completed and could not be archived; else None.
    :param detail: why it was released, is unknown or failed.
    :param earlier: IDs that this task instance paid for before, oldest first.
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

    @property
    def known_ids(self) -> tuple[str, ...]:
        """All IDs that this task instance was given, oldest first."""
        return (*self.earlier, *((self.video_task_id,) if self.video_task_id else ()))

    def at(self, stage: Stage, **changes: Any) -> "SubmissionRecord":
        """Return the record at another stage."""
        return self._replace(stage=stage, **changes)

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON types, what is empty left out."""
        fields = self._asdict() | {"stage": self.stage.value, "earlier": list(self.earlier)}
        return {"version": _VERSION, **{key: value for key, value in fields.items() if value not in (None, [])}}

    @classmethod
    def from_json(cls, value: Any) -> "SubmissionRecord":
        """Read a record.

        :raises LedgerError: if it is not one: that is not the same as no record.
        """
        try:
            if value["version"] != _VERSION:
                raise ValueError(f"written by a later version of this provider: {value['version']!r}")
            fields = {key: value[key] for key in cls._fields if key in value}
            converted = {
                "stage": Stage(fields["stage"]),
                "generation": int(fields["generation"]),
                "earlier": tuple(fields.get("earlier", ())),
            }
            record = cls(**(fields | converted))
        except (TypeError, KeyError, ValueError) as error:
            raise LedgerError(f"The record of the submission cannot be read ({error!r}): {value!r}.") from error
        if record.stage in _ACCEPTED and not record.video_task_id:
            raise LedgerError(f"The record of the submission says {record.stage} but holds no ID: {value!r}.")
        return record


_ACCEPTED: Final = frozenset({Stage.SUBMITTED, Stage.FAILED, Stage.RETURNED})


class Action(StrEnum):
    """What a try may do."""

    SEND = "send"
    GO_ON = "go on"
    """With the video of the record; no POST."""
    STOP = "stop"
    """Fail without a POST and without further retries."""


class Decision(NamedTuple):
    """What a try may do, and why, in words for the log."""

    action: Action
    why: str


def decide(
    record: SubmissionRecord | None,
    attempt: Attempt,
    on_unknown_submission: OnUnknownSubmission = "fail",
    on_video_failed: OnVideoFailed = "fail",
) -> Decision:
    """Decide what a try may do that finds ``record``."""
    if record is None:
        return Decision(Action.SEND, "nothing was submitted before")
    cleared = record.generation != attempt.generation
    match record.stage:
        case Stage.RELEASED:
            return Decision(Action.SEND, f"the last submission was not accepted ({record.detail})")
        case Stage.SENDING | Stage.UNKNOWN:
            return _decide_unknown(record, cleared, on_unknown_submission)
        case Stage.SUBMITTED:
            return _decide_submitted(record, attempt, cleared)
        case Stage.RETURNED:
            if cleared:
                return Decision(Action.SEND, "the task had ended well and was cleared, which asks for a new video")
            return Decision(Action.GO_ON, "this video was already submitted and returned")
        case Stage.FAILED:
            if cleared:
                return Decision(Action.SEND, "the last video failed and the task was cleared")
            if on_video_failed == "retry":
                return Decision(Action.SEND, "the last video failed, and on_video_failed='retry' asks for another one")
            return Decision(Action.GO_ON, "this video was already submitted")


def _decide_unknown(record: SubmissionRecord, cleared: bool, on_unknown: OnUnknownSubmission) -> Decision:
    if on_unknown == "resubmit":
        return Decision(Action.SEND, "on_unknown_submission='resubmit' accepts the risk of paying twice")
    if cleared and record.stage is Stage.UNKNOWN:
        return Decision(Action.SEND, "the last outcome was unknown, and the task was cleared after it had said so")
    return Decision(Action.STOP, "a submission left, and whether it was accepted is not known")


def _decide_submitted(record: SubmissionRecord, attempt: Attempt, cleared: bool) -> Decision:
    if record.fingerprint in (attempt.fingerprint, ADOPTED):
        return Decision(Action.GO_ON, "this video was already submitted")
    differs = f"the request differs now (fingerprint {attempt.fingerprint}, paid for {record.fingerprint})"
    if cleared:
        return Decision(Action.SEND, f"the task was cleared and {differs}")
    return Decision(Action.GO_ON, f"a video was already submitted and paid for; {differs}")
