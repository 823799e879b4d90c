"""The submission of one task instance: carries out what the ledger decides, and writes down every step."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, TypeVar

from airflow_provider_digitalhuman.api.endpoints import TASK_RECORD_LIFETIME
from airflow_provider_digitalhuman.api.redact import redact_url
from airflow_provider_digitalhuman.exceptions import (
    DigitalHumanError,
    LedgerError,
    OnUnknownSubmission,
    OnVideoFailed,
    RequestChangedError,
    SubmissionUnknownError,
)
from airflow_provider_digitalhuman.ledger.address import TaskAddress
from airflow_provider_digitalhuman.ledger.fingerprint import (
    fingerprint,
    legacy_fingerprint,
    media_fingerprint,
)
from airflow_provider_digitalhuman.ledger.record import (
    ADOPTED,
    Attempt,
    Resume,
    RunFacts,
    Send,
    Stage,
    Stop,
    SubmissionRecord,
    decide,
)
from airflow_provider_digitalhuman.ledger.signature_warning import unrecognised_signature

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_digitalhuman.api.request import VideoRequest
    from airflow_provider_digitalhuman.api.response import VideoTask
    from airflow_provider_digitalhuman.ledger.stores import RecordStore

T = TypeVar("T")

STORE_BACKOFF: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds before each further access to a store that failed: a database that restarts must not cost an ID."""

log = logging.getLogger(__name__)


class TryFacts(NamedTuple):
    """What Airflow lets a try know of itself.

    :param address: the task instance.
    :param generation: ``ti.max_tries``, see :class:`~airflow_provider_digitalhuman.ledger.record.Attempt`.
    :param try_number: Airflow's.
    :param retries: the task's.
    :param run: the DAG run.
    :param own_code: whether the author's own code submits, which can ask for one video and then for another.
    """

    address: TaskAddress
    generation: int
    try_number: int
    retries: int
    run: RunFacts
    own_code: bool

    @classmethod
    def of(cls, context: "Context", retries: int | None, *, own_code: bool = False) -> "TryFacts":
        """Read them from Airflow's context.

        :param retries: the task's, in the present DAG file.
        """
        ti, run = context["ti"], _run_facts(context.get("dag_run"))
        return cls(TaskAddress.of(ti), ti.max_tries, ti.try_number, retries or 0, run, own_code)


class Submission:
    """One task instance's record, and the steps that change it. It observes the hook's POSTs.

    :param store: where the record lives.
    :param facts: of the present try.
    :raises LedgerError: if the store cannot be read or written: no POST leaves then.
    """

    def __init__(self, store: "RecordStore", facts: TryFacts) -> None:
        self._store = store
        self._facts = facts
        self._attempt: Attempt | None = None
        self._posting = False
        self._sent = ""
        self.record = self._read()

    @property
    def outlasts_try(self) -> bool:
        """Whether the next try finds the record."""
        return self._store.outlasts_try

    def decide(
        self,
        request: "VideoRequest",
        base_url: str,
        on_unknown_submission: OnUnknownSubmission = "fail",
        on_video_failed: OnVideoFailed = "fail",
    ) -> Send | Resume:
        """Return whether ``request`` is to be sent, or the record's video to be gone on with.

        :raises SubmissionUnknownError: where neither may be done: nobody can tell what became of the last POST.
        :raises RequestChangedError: where neither may be done: the record's video is another request's.
        """
        self._attempt = attempt = self._attempt_at(request, base_url)
        self._sent = f"{request.shown_media()} to {base_url}"
        if self.record is not None and (self.record.is_open or self.record.stage is Stage.RELEASED):
            self._take_over_late(self.record)
        decision = decide(self.record, attempt, on_unknown_submission, on_video_failed)
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
        attempt = self._attempt
        if attempt is None:
            raise LedgerError("decide() comes before sending().")
        record = SubmissionRecord(
            stage=Stage.SENDING,
            fingerprint=attempt.fingerprint,
            media=attempt.media,
            try_number=attempt.try_number,
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

        :raises SubmissionUnknownError: ``why``, with what a person needs to find out.
        """
        self._advance(Stage.UNKNOWN, detail=str(why), possible_id=why.video_task_id)
        if self.record is not None:
            told = SubmissionUnknownError(
                f"{why} {self._explained_unknown(self.record)}", video_task_id=why.video_task_id
            )
            raise told from why

    def accepted(self, task: "VideoTask") -> None:
        """Write down the ID."""
        log.info("Accepted: the video task ID is %s, its status %s.", task.id, task.status)
        kept = replace(task, raw={}, video_url=None)  # which would be signed, and dead before the record is
        self._advance(Stage.SUBMITTED, video_task_id=task.id, video_task=kept.to_dict())

    def recorded_task(self) -> "VideoTask":
        """Return the accepted task as it was written down.

        :raises LedgerError: if none was.
        """
        from airflow_provider_digitalhuman.api.response import VideoTask

        if self.record is None or self.record.video_task_id is None:
            raise LedgerError("The record of the submission holds no video task.")
        return VideoTask.from_dict({"id": self.record.video_task_id, **(self.record.video_task or {})})

    @property
    def is_adopted(self) -> bool:
        """Whether a person has named the video."""
        return self.record is not None and self.record.fingerprint == ADOPTED

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
            _with_backoff("written", lambda: self._store.end(record.to_json()), "")
            self.record = record

    def completed(self) -> None:
        """Write down that the video was made: what the vendor says of it later is no failed video."""
        self._advance(Stage.SUBMITTED, completed=True)

    def failed(self, why: DigitalHumanError) -> None:
        """Write down that the vendor ended the task without a video."""
        if not (self.record and self.record.completed and self._is_young()):
            self._advance(Stage.FAILED, detail=str(why))

    def not_found(self, why: DigitalHumanError) -> None:
        """Write down that the API has forgotten the video, once it is older than such records live (F15).

        A younger one can be there again after an outage, and a clear must not pay for another one then.
        """
        if not self._is_young():
            self.failed(why)

    def _attempt_at(self, request: "VideoRequest", base_url: str) -> Attempt:
        facts = self._facts
        return Attempt(
            fingerprint=fingerprint(request, base_url),
            legacy_fingerprint=legacy_fingerprint(request, base_url),
            media=media_fingerprint(request),
            generation=facts.generation,
            try_number=facts.try_number,
            retries=facts.retries,
            one_of_many=facts.own_code or facts.address.map_index >= 0,
            run=facts.run,
        )

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
        if not decision.unknown:
            raise RequestChangedError(self._explained_change(record, decision.why))
        if record.stage is not Stage.UNKNOWN:
            self._write(record.at(Stage.UNKNOWN))
        detail = record.detail or f"The process of try {record.try_number} ended during the POST."
        raise SubmissionUnknownError(
            f"Nothing is submitted: {decision.why}. {detail} {self._explained_unknown(record)}",
            video_task_id=record.possible_id,
        )

    def _advance(self, stage: Stage, **changes: Any) -> None:
        if self.record is None:  # after a deferral, where the store is this try's memory only
            return
        self._write(self.record.at(stage, **self._of_this_try(), **changes))

    def _read(self) -> SubmissionRecord | None:
        value = _with_backoff("read", self._store.read, "")
        return None if value is None else SubmissionRecord.from_json(value)

    def _write(self, record: SubmissionRecord) -> None:
        value = record.to_json()
        known = f" The video task ID is {record.video_task_id}: note it down." if record.video_task_id else ""
        left = tried = False

        def write() -> None:
            nonlocal left, tried
            try:
                self._store.write(value)
            except Exception:
                # Airflow may have given up this try, and end its process within seconds: not after the back-off.
                if self._posting and not left:
                    tried, left = True, self._leave_late(value)
                raise
            if tried:  # also where leaving it failed: it can have been carried out
                self._drop_late()

        _with_backoff("written", write, known)
        self._posting = False
        self.record = record

    def _leave_late(self, value: dict[str, Any]) -> bool:
        try:
            self._store.leave_late(value)
        except Exception as error:
            log.warning("What this try has learned could not be left for the next one: %s", error)
            return False
        return True

    def _drop_late(self) -> None:
        try:
            self._store.drop_late()
        except Exception as error:
            log.warning("What an earlier try has left could not be removed: %s", error)

    def _take_over_late(self, record: SubmissionRecord) -> None:
        """Learn what the try that sent the POST has left after Airflow had given it up."""
        value = _with_backoff("read", self._store.read_late, "")
        late = None if value is None else SubmissionRecord.from_json(value)
        if late is None or not late.is_same_post(record):
            return
        if record.stage is Stage.RELEASED and late.stage is not Stage.SUBMITTED:  # a person knew more
            return
        log.warning(
            "Try %d has left a note after Airflow had given it up: the submission is %s%s.",
            late.try_number,
            late.stage,
            f", the video task ID is {late.video_task_id}" if late.video_task_id else "",
        )
        self._write(late.at(late.stage, generation=record.generation, earlier=record.earlier))
        self._drop_late()

    def _explained_unknown(self, record: SubmissionRecord) -> str:
        sent = f"Try {record.try_number} sent it at {record.sent_at}: {record.sent}."
        # Airflow can give up a try that runs: what it learned after that is only in its log.
        logged = "" if record.try_number == self._facts.try_number else " Its log may name the ID."
        look = f"{sent}{logged} Look in the vendor's console for a task"
        if not self.outlasts_try:
            return f"{look} before you clear this task: that submits again."
        from airflow_provider_digitalhuman.support.compat import LEDGER_OPTIONS

        address = self._facts.address
        return (
            f"{look} of that time. If it is there, go on with it:"
            f" {address.command('adopt', record.possible_id or 'VIDEO_TASK_ID', LEDGER_OPTIONS)}"
            f" If it is not there after five minutes: {address.command('release', options=LEDGER_OPTIONS)}"
            " Clearing the task without one of the two submits nothing (docs/ledger.md)."
        )

    def _explained_change(self, record: SubmissionRecord, why: str) -> str:
        from airflow_provider_digitalhuman.support.compat import LEDGER_OPTIONS

        adopt = self._facts.address.command("adopt", record.video_task_id or "", LEDGER_OPTIONS)
        return (
            f"Nothing is submitted, and no video is returned: {why}. This task instance has paid for video task"
            f" {record.video_task_id} (try {record.try_number}, {record.sent_at}: {record.sent}); now it asks for"
            f" {self._sent}. To make, and pay for, the video of the present request, clear the task."
            f" To go on with the paid one: {adopt}"
        )


def _warn_of_unrecognised_signatures(request: "VideoRequest") -> None:
    """Say before paying that a later try may take the same file for another one."""
    for medium in request.media:
        if why := unrecognised_signature(medium.url):
            log.warning(
                "%s=%s: %s. If it is signed anew for the next try, that try takes it for another file: a cleared task"
                " then pays for another video.",
                medium.name,
                redact_url(medium.url),
                why,
            )


def _run_facts(dag_run: Any) -> RunFacts:
    def moment(name: str) -> str | None:
        value = getattr(dag_run, name, None)
        return value.astimezone(UTC).isoformat() if value else None

    return RunFacts(
        started_at=moment("start_date"),
        clears=getattr(dag_run, "clear_number", None),
        run_after=moment("run_after"),
        row=getattr(dag_run, "id", None),
    )


def _seconds_since(moment: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()


def _with_backoff(done: str, access: Callable[[], T], known: str) -> T:
    # Also where Airflow has given up this try: it ends the process meanwhile, before Airflow 2 takes its end for the
    # task's.
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
