"""The submission of one task instance: carries out what the ledger decides, and writes down every step."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from airflow_provider_digitalhuman.api.endpoints import TASK_RECORD_LIFETIME
from airflow_provider_digitalhuman.api.redact import redact_url
from airflow_provider_digitalhuman.exceptions import (
    DigitalHumanError,
    LedgerError,
    OnUnknownSubmission,
    OnVideoFailed,
    SubmissionUnknownError,
)
from airflow_provider_digitalhuman.fingerprint import fingerprint
from airflow_provider_digitalhuman.ledger import (
    ADOPTED,
    Action,
    Attempt,
    Stage,
    SubmissionRecord,
    decide,
)

if TYPE_CHECKING:
    from airflow_provider_digitalhuman.api.request import VideoRequest
    from airflow_provider_digitalhuman.api.response import VideoTask
    from airflow_provider_digitalhuman.ledger_stores import RecordStore

T = TypeVar("T")

STORE_BACKOFF: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds before each further access to a store that failed: a database that restarts must not cost an ID."""

log = logging.getLogger(__name__)


class Submission:
    """One task instance's record, and the steps that change it. It observes the hook's POSTs.

    :param store: where the record lives.
    :param generation: ``ti.max_tries``, see :class:`~airflow_provider_digitalhuman.ledger.Attempt`.
    :param try_number: Airflow's.
    :raises LedgerError: if the store cannot be read or written: no POST leaves then.
    """

    def __init__(self, store: "RecordStore", generation: int, try_number: int) -> None:
        self._store = store
        self._generation = generation
        self._try_number = try_number
        self._sent = ""
        self._fingerprint = ""
        self.record = self._read()

    @property
    def outlasts_try(self) -> bool:
        """Whether the next try finds the record."""
        return self._store.outlasts_try

    def may_send(
        self,
        request: "VideoRequest",
        base_url: str,
        on_unknown_submission: OnUnknownSubmission,
        on_video_failed: OnVideoFailed,
    ) -> bool:
        """Tell whether ``request`` may be sent; False where the record's video is to be gone on with.

        :raises SubmissionUnknownError: where neither may be done.
        """
        self._fingerprint = fingerprint(request, base_url)
        self._sent = (
            f"audio_url={redact_url(request.audio_url)} video_url={redact_url(request.video_url)} to {base_url}"
        )
        attempt = Attempt(fingerprint=self._fingerprint, generation=self._generation, try_number=self._try_number)
        decision = decide(self.record, attempt, on_unknown_submission, on_video_failed)
        if self.record is None:
            return True
        if decision.action is Action.STOP:
            self._write(self.record.at(Stage.UNKNOWN, generation=self._generation))
            detail = self.record.detail or "It ended around the POST."
            raise SubmissionUnknownError(
                f"Nothing is submitted: {decision.why}. {detail} {self._told_unknown(self.record)}"
            )
        if decision.action is Action.SEND:
            known = "".join(f" Before this, it was given the video task ID {known}." for known in self.record.known_ids)
            log.warning("Submitting again: %s.%s", decision.why, known)
            return True
        differs = self.record.fingerprint not in (self._fingerprint, ADOPTED)
        log.log(
            logging.WARNING if differs else logging.INFO,
            "Not submitting: %s. Going on with video task %s.",
            decision.why,
            self.record.video_task_id,
        )
        if self.record.generation != self._generation:
            self._write(self.record.at(self.record.stage, generation=self._generation))
        return False

    def sending(self) -> None:
        """Write down the intent: the POST leaves next."""
        self._write(
            SubmissionRecord(
                stage=Stage.SENDING,
                fingerprint=self._fingerprint,
                generation=self._generation,
                try_number=self._try_number,
                sent_at=datetime.now(UTC).isoformat(timespec="seconds"),
                sent=self._sent,
                earlier=self.record.known_ids if self.record else (),
            )
        )

    def not_accepted(self, why: DigitalHumanError) -> None:
        """Write down that nothing was accepted."""
        self._advance(Stage.RELEASED, detail=str(why))

    def outcome_unknown(self, why: SubmissionUnknownError) -> None:
        """Write down that the outcome is unknown.

        :raises SubmissionUnknownError: ``why``, with what a person needs to find out.
        """
        self._advance(Stage.UNKNOWN, detail=str(why))
        if self.record is not None:
            raise SubmissionUnknownError(f"{why} {self._told_unknown(self.record)}") from why

    def accepted(self, task: "VideoTask") -> None:
        """Write down the ID."""
        log.info("Accepted: the video task ID is %s, its status %s.", task.id, task.status)
        told = replace(task, raw={}, video_url=None)  # which would be signed, and dead before the record is
        self._advance(Stage.SUBMITTED, video_task_id=task.id, video_task=told.to_dict())

    def recorded_task(self) -> "VideoTask":
        """Return the accepted task as it was written down.

        :raises LedgerError: if none was.
        """
        from airflow_provider_digitalhuman.api.response import VideoTask

        if self.record is None or self.record.video_task_id is None:
            raise LedgerError("The record of the submission holds no video task.")
        return VideoTask.from_dict({"id": self.record.video_task_id, **(self.record.video_task or {})})

    def succeeded(self) -> None:
        """Write down that the task instance has succeeded, not before Airflow has that: a clear pays again then."""
        if self.record is not None and self.record.stage is Stage.SUBMITTED:
            record = self.record.at(Stage.RETURNED, generation=self._generation)
            _patiently("written", lambda: self._store.end(record.to_json()), "")

    def completed(self) -> None:
        """Write down that the video was made: what the vendor says of it later is no failed video."""
        self._advance(Stage.SUBMITTED, completed=True)

    def failed(self, why: DigitalHumanError) -> None:
        """Write down that the vendor ended the task without a video."""
        if not (self.record and self.record.completed and self._is_young()):
            self._advance(Stage.FAILED, detail=str(why))

    def not_found(self, why: DigitalHumanError) -> None:
        """Write down that the API has forgotten the video, once it is so old that this is to be believed (F15).

        A younger one can be there again after an outage, and a clear must not pay for another one then.
        """
        if not self._is_young():
            self.failed(why)

    def _is_young(self) -> bool:
        return self.record is not None and _seconds_since(self.record.sent_at) < TASK_RECORD_LIFETIME

    def _advance(self, stage: Stage, **changes: Any) -> None:
        if self.record is None:  # after a deferral, where the store is this try's memory only
            return
        self._write(self.record.at(stage, generation=self._generation, **changes))

    def _read(self) -> SubmissionRecord | None:
        value = _patiently("read", self._store.read, "")
        return None if value is None else SubmissionRecord.from_json(value)

    def _write(self, record: SubmissionRecord) -> None:
        value = record.to_json()
        known = f" The video task ID is {record.video_task_id}: note it down." if record.video_task_id else ""

        _patiently("written", lambda: self._store.write(value), known)
        self.record = record

    def _told_unknown(self, record: SubmissionRecord) -> str:
        remedy = "before you clear this task: that submits again."
        if self.outlasts_try:
            remedy = (
                "of that time. If there is one, adopt its ID; if there is none, release the record"
                " (digitalhuman-ledger, docs/ledger.md). Clearing the task now submits again."
            )
        sent = f"Try {record.try_number} sent it at {record.sent_at}: {record.sent}."
        # Airflow can give up a try that runs: what it learned after that is only in its log.
        logged = "" if record.try_number == self._try_number else " Its log may name the ID."
        return f"{sent}{logged} Look in the vendor's console for a task {remedy}"


def _seconds_since(moment: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()


def _patiently(done: str, access: Callable[[], T], known: str) -> T:
    for delay in STORE_BACKOFF:
        try:
            return access()
        except Exception as error:
            log.warning(
                "The record of the submission could not be %s (%s). Trying again in %g s.%s", done, error, delay, known
            )
            time.sleep(delay)
    try:
        return access()
    except Exception as error:
        raise LedgerError(f"The record of the submission could not be {done}: {error}.{known}") from error
