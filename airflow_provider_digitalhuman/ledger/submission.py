"""The submission of one task instance: carries out what the ledger decides, and writes down every step."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NoReturn

from airflow_provider_digitalhuman.api.endpoints import TASK_RECORD_LIFETIME
from airflow_provider_digitalhuman.api.redact import redact_url
from airflow_provider_digitalhuman.api.request import VideoRequest
from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.exceptions import (
    NOT_KNOWN,
    DigitalHumanError,
    LedgerError,
    OnUnknownSubmission,
    OnVideoFailed,
    RequestChangedError,
    SubmissionUnknownError,
)
from airflow_provider_digitalhuman.ledger.decision import Resume, Send, Stop, decide
from airflow_provider_digitalhuman.ledger.explanation import explain_change, explain_unknown
from airflow_provider_digitalhuman.ledger.fingerprint import (
    fingerprint,
    legacy_fingerprint,
    media_fingerprint,
)
from airflow_provider_digitalhuman.ledger.record import Fingerprints, Stage, SubmissionRecord
from airflow_provider_digitalhuman.ledger.signature_warning import unrecognised_signature
from airflow_provider_digitalhuman.ledger.stored_record import StoredRecord
from airflow_provider_digitalhuman.ledger.stores import RecordStore
from airflow_provider_digitalhuman.ledger.try_facts import TryFacts

log = logging.getLogger(__name__)

LINES_ABOVE = "What to do is in the log lines above this error"


class Submission:
    """One task instance's record, and the steps that change it. It observes the hook's POSTs.

    :param store: where the record lives.
    :param facts: of the present try.
    :raises LedgerError: if the store cannot be read or written: no POST leaves then.
    """

    def __init__(self, store: RecordStore, facts: TryFacts) -> None:
        self._facts = facts
        self._fingerprints: Fingerprints | None = None
        self._posting = False
        self._sent = ""
        self._stored = StoredRecord(store)
        self.record = self._stored.value
        self.outlasts_try = store.outlasts_try
        """Whether the next try finds the record."""

    def decide(
        self,
        request: VideoRequest,
        base_url: str,
        on_unknown_submission: OnUnknownSubmission = "fail",
        on_video_failed: OnVideoFailed = "fail",
    ) -> Send | Resume:
        """Return whether ``request`` is to be sent, or the record's video to be gone on with.

        :raises SubmissionUnknownError: where neither may be done: it is not known whether the last POST was accepted.
        :raises RequestChangedError: where neither may be done: the record's video is another request's.
        """
        self._fingerprints = fingerprints = Fingerprints(
            request=fingerprint(request, base_url),
            legacy=legacy_fingerprint(request, base_url),
            media=media_fingerprint(request),
        )
        self._sent = f"{request.shown_media()} to {base_url}"
        self._stored.take_over_note()
        self.record = self._stored.value
        decision = decide(self.record, self._facts, fingerprints, on_unknown_submission, on_video_failed)
        if isinstance(decision, Send):
            self._log_submission(decision)
            _warn_of_unrecognised_signatures(request)
            return decision
        assert self.record is not None  # decide() submits where there is none
        if isinstance(decision, Stop):
            self._stop(self.record, decision)
        self._resume(self.record, decision)
        return decision

    def sending(self) -> None:
        """Write down the intent: the POST leaves next."""
        fingerprints = self._fingerprints
        if fingerprints is None:
            raise LedgerError("decide() comes before sending().")
        record = SubmissionRecord(
            stage=Stage.SENDING,
            fingerprint=fingerprints.request,
            media=fingerprints.media,
            try_number=self._facts.try_number,
            sent_at=datetime.now(UTC).isoformat(timespec="seconds"),
            sent=self._sent,
            earlier=self.record.known_ids if self.record else (),
            **self._of_this_try(),
        )
        self.record = record  # also where the write fails: it can have been carried out, and is taken back then
        self._write(record)
        self._posting = True

    def not_accepted(self, why: DigitalHumanError) -> None:
        """Write down that nothing was accepted."""
        self._advance(Stage.RELEASED, detail=str(why))

    def outcome_unknown(self, why: SubmissionUnknownError) -> None:
        """Write down that the outcome is unknown, and an ID that stood in the answer.

        :raises SubmissionUnknownError: in place of ``why``, which is in the log with what a person needs to find out.
        """
        self._advance(Stage.UNKNOWN, detail=str(why), possible_id=why.video_task_id)
        if self.record is not None:
            self._fail_as_unknown(self.record)

    def accepted(self, task: VideoTask) -> None:
        """Write down the ID."""
        log.info("Accepted: the video task ID is %s, its status %s.", task.id, task.status)
        kept = replace(task, raw={}, video_url=None)  # a URL would be signed, and expire before the record does
        self._advance(Stage.SUBMITTED, video_task_id=task.id, video_task=kept.to_dict())

    def recorded_task(self) -> VideoTask:
        """Return the accepted video task as it was written down.

        :raises LedgerError: if none was.
        """
        if self.record is None or self.record.video_task_id is None:
            raise LedgerError("The record of the submission holds no video task.")
        return VideoTask.from_dict({"id": self.record.video_task_id, **(self.record.video_task or {})})

    @property
    def is_adopted(self) -> bool:
        """Whether a person has named the video."""
        return self.record is not None and self.record.is_adopted

    def check_is_of(self, video_task_id: str) -> None:
        """Refuse what is known of a video that the task instance does not go on with any more.

        :raises LedgerError: if a person has adopted another video, or released the record, while this one was waited
            for. The next try does what the record says.
        """
        if self.record is not None and not self.record.is_of_the_video(video_task_id):
            now = f"{self.record.stage}, video task {self.record.video_task_id}"
            raise LedgerError(
                f"This try has waited for video task {video_task_id}, but the record of the submission says {now}: it"
                " was changed meanwhile. The next try goes by the record."
            )

    def succeeded(self) -> None:
        """Write down that the task instance has succeeded, not before Airflow has that: a clear pays again then."""
        if self.record is not None and self.record.stage is Stage.SUBMITTED:
            record = self.record.at(Stage.RETURNED, **self._of_this_try())
            self._stored.end(record)
            self.record = record

    def completed(self) -> None:
        """Write down that the video was made: a later answer of the vendor does not make it a failed one."""
        self._advance(Stage.SUBMITTED, completed=True)

    def failed(self, why: DigitalHumanError) -> None:
        """Write down that the vendor ended the video task without a video."""
        if not (self.record and self.record.completed and self._is_young()):
            self._advance(Stage.FAILED, detail=str(why))

    def not_found(self, why: DigitalHumanError) -> None:
        """Write down that the API no longer knows the video, once it is older than the vendor keeps records (F15).

        A younger one can be there again after an outage, and a clear must not pay for another one then.
        """
        if not self._is_young():
            self.failed(why)

    def _of_this_try(self) -> dict[str, Any]:
        """Return what every record of this try holds, also one that another try has begun."""
        return {"generation": self._facts.generation, "retries": self._facts.retries, "run": self._facts.run}

    def _is_young(self) -> bool:
        return self.record is not None and _seconds_since(self.record.sent_at) < TASK_RECORD_LIFETIME

    def _log_submission(self, decision: Send) -> None:
        if self.record is not None:
            known = "".join(f" Before this, it was given the video task ID {known}." for known in self.record.known_ids)
            log.warning("Submitting again: %s.%s", decision.why, known)

    def _resume(self, record: SubmissionRecord, decision: Resume) -> None:
        level = logging.WARNING if decision.differs else logging.INFO
        log.log(level, "Not submitting: %s. Going on with video task %s.", decision.why, record.video_task_id)
        renewed = record.at(record.stage, **self._of_this_try())
        if renewed != record:
            self._write(renewed)

    def _stop(self, record: SubmissionRecord, decision: Stop) -> NoReturn:
        if decision.unknown:
            if record.stage is not Stage.UNKNOWN:
                self._write(record.at(Stage.UNKNOWN))
            self._fail_as_unknown(record, "Nothing is submitted. ")
        _log_lines(explain_change(record, self._facts.address, why=decision.why, asked=self._sent))
        raise RequestChangedError(
            f"This task instance has paid for video task {record.video_task_id}, of another request: nothing is"
            f" submitted, and no video is returned. {LINES_ABOVE}."
        ) from None

    def _fail_as_unknown(self, record: SubmissionRecord, result: str = "") -> NoReturn:
        _log_lines(
            explain_unknown(
                record, self._facts.address, try_number=self._facts.try_number, outlasts_try=self.outlasts_try
            )
        )
        where = f"{LINES_ABOVE} (and in the output of digitalhuman-ledger list)" if self.outlasts_try else LINES_ABOVE
        # One traceback: what led to this is in the lines.
        raise SubmissionUnknownError(
            f"{result}{NOT_KNOWN}. {where}.",
            video_task_id=record.possible_id,
        ) from None

    def _advance(self, stage: Stage, **changes: Any) -> None:
        if self.record is None:  # after a deferral, where the store is this try's memory only
            return
        self._write(self.record.at(stage, **self._of_this_try(), **changes))

    def _write(self, record: SubmissionRecord) -> None:
        self._stored.write(record, note_on_failure=self._posting)
        self._posting = False
        self.record = record


def _log_lines(lines: Iterable[str]) -> None:
    for line in lines:
        log.error("%s", line)


def _warn_of_unrecognised_signatures(request: VideoRequest) -> None:
    """Log before paying that a later try may take the same file for another one."""
    for medium in request.media:
        if why := unrecognised_signature(medium.url):
            log.warning(
                "%s=%s: %s. If it is signed anew for the next try, that try takes it for another file: a cleared task"
                " then pays for another video.",
                medium.name,
                redact_url(medium.url),
                why,
            )


def _seconds_since(moment: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
