"""The record of one task instance's submission: what is written down of it, and how it is read again.

It is written *before* the POST, because the API has no idempotency key, no list and no cancel. What a try may do when
it finds a record is decided by :func:`airflow_provider_digitalhuman.ledger.decision.decide`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, Final

from airflow_provider_digitalhuman.exceptions import LedgerError

ADOPTED: Final = "adopted"
"""In place of a fingerprint: a person has named the video, whatever the request looks like."""
VERSION: Final = 2
_READABLE: Final = (1, VERSION)


class Stage(StrEnum):
    """How far a submission got."""

    SENDING = "sending"
    """The POST is about to leave, or has left; no answer is known. Where a process died here, the outcome is unknown.
    """
    RELEASED = "released"
    """It is proven that nothing was accepted, or a person has found that out."""
    UNKNOWN = "unknown"
    """As *sending*, and the task has failed with an error that says so."""
    SUBMITTED = "submitted"
    """Accepted; the vendor's task ID is in the record."""
    FAILED = "failed"
    """Accepted, and ended by the vendor without a video."""
    RETURNED = "returned"
    """The task instance has succeeded, and Airflow has the success."""


_ACCEPTED: Final = frozenset({Stage.SUBMITTED, Stage.FAILED, Stage.RETURNED})


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What distinguishes a DAG run from another one of the same name.

    :param started_at: ISO 8601; a clear of the run or of one of its tasks, or queueing it again, can change it.
    :param clears: how often tasks of the run have been cleared; it never decreases.
    :param run_after: ISO 8601, when the run was due (Airflow 3.0 and later); it never changes. Of a run that was
        triggered it is that moment.
    :param row: the run's number in Airflow's database (2.11); it never changes.

    None: not known.
    """

    started_at: str | None = None
    clears: int | None = None
    run_after: str | None = None
    row: int | None = None

    def differs_in(self, field: str, other: "RunFacts") -> bool:
        """Whether the field is known in both, and not the same."""
        mine, others = getattr(self, field), getattr(other, field)
        return None not in (mine, others) and mine != others

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "RunFacts":
        """Read what :meth:`SubmissionRecord.to_json` has written."""
        return cls(**{key: value[key] for key in _names(cls) if key in value})


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """What distinguishes one request from another.

    :param request: of the whole request.
    :param legacy: the same, as records of version 1 hold it.
    :param media: of the audio and the video alone.
    """

    request: str
    legacy: str
    media: str


@dataclass(frozen=True, slots=True)
class SubmissionRecord:
    """What is written down of a submission. No key, and no query string of a URL.

    :param stage: how far it got.
    :param fingerprint: of the request that was sent; or :data:`ADOPTED`.
    :param generation: ``ti.max_tries`` of the try that sent it, or went on with it last.
    :param try_number: of the try that sent it.
    :param sent_at: ISO 8601, just before the POST.
    :param sent: what was sent and where to, for people to read.
    :param video_task_id: the vendor's task ID, once known.
    :param video_task: the video task as it was accepted, as JSON types.
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
        """Whether it is not known if the POST was accepted."""
        return self.stage in (Stage.SENDING, Stage.UNKNOWN)

    @property
    def is_adopted(self) -> bool:
        """Whether a person has named the video."""
        return self.fingerprint == ADOPTED

    def at(self, stage: Stage, **changes: Any) -> "SubmissionRecord":
        """Return the record at another stage."""
        return replace(self, stage=stage, **changes)

    def is_of(self, request: Fingerprints) -> bool:
        """Whether the record is about this request."""
        return self.is_adopted or self.fingerprint in (request.request, request.legacy)

    def has_media_of(self, request: Fingerprints) -> bool:
        """Whether audio and video are those of this request, as far as the record holds that."""
        return self.is_of(request) or self.media == request.media

    def is_same_post(self, other: "SubmissionRecord") -> bool:
        """Whether both are about one and the same POST."""
        return (self.try_number, self.sent_at, self.fingerprint) == (other.try_number, other.sent_at, other.fingerprint)

    def is_of_the_video(self, video_task_id: str) -> bool:
        """Whether the task instance still goes on with this video, and no person has named another or released it."""
        return self.video_task_id == video_task_id and self.stage is not Stage.RELEASED

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON types, what is empty left out."""
        values = {name: getattr(self, name) for name in RECORD_FIELDS} | {
            "stage": self.stage.value,
            "earlier": list(self.earlier),
            "run": _without_none({name: getattr(self.run, name) for name in _names(RunFacts)}) if self.run else None,
        }
        return {"version": VERSION, **_without_none(values)}

    @classmethod
    def from_json(cls, value: Any) -> "SubmissionRecord":
        """Read a record of this version or an earlier one.

        :raises LedgerError: if it is not one: that is not the same as no record.
        """
        try:
            if value["version"] not in _READABLE:
                raise ValueError(f"written by a later version of this provider: {value['version']!r}")
            values = {key: value[key] for key in RECORD_FIELDS if key in value}
            run = values.get("run")
            converted = {
                "stage": Stage(values["stage"]),
                "generation": int(values["generation"]),
                "earlier": tuple(values.get("earlier", ())),
                "run": None if run is None else RunFacts.from_json(run),
            }
            record = cls(**(values | converted))
        except (TypeError, KeyError, ValueError) as error:
            raise LedgerError(f"The record of the submission cannot be read ({error!r}): {value!r}.") from error
        if record.stage in _ACCEPTED and not record.video_task_id:
            raise LedgerError(f"The record of the submission says {record.stage} but holds no ID: {value!r}.")
        return record


def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


RECORD_FIELDS: Final = _names(SubmissionRecord)
"""The keys of a record in JSON, besides ``version``."""


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in (None, [])}
