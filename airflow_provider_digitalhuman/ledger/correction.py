"""``adopt`` and ``release``: a person names the video, or finds out that none was accepted."""

import getpass
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from airflow_provider_digitalhuman.exceptions import LedgerError
from airflow_provider_digitalhuman.ledger.access import Cleared, Downstream, Found, Instance, LedgerAccess
from airflow_provider_digitalhuman.ledger.address import TaskAddress
from airflow_provider_digitalhuman.ledger.listing import PLACEHOLDER, existing, shown_note
from airflow_provider_digitalhuman.ledger.record import ADOPTED, Stage, SubmissionRecord
from airflow_provider_digitalhuman.ledger.rules import (
    Seen,
    holds_accepted_id,
    may_be_corrected,
    named_ids,
    not_stuck,
    refuse_accepted,
    refuse_active,
    refuse_before_answer,
)


@dataclass(frozen=True, slots=True)
class Change:
    """What a command does to a record.

    :param record: to be written.
    :param done: in a word: "released".
    :param follows: what the next try does.
    :param given_up: an accepted video's ID that is given up.
    """

    record: SubmissionRecord
    done: str
    follows: str
    given_up: str | None = None


@dataclass(frozen=True, slots=True)
class Corrected:
    """What was done.

    :param cleared: None where the task was not to be cleared.
    :param next_step: for a person, where the task was not cleared.
    """

    address: TaskAddress
    change: Change
    cleared: Cleared | None = None
    next_step: str | None = None


class Correction:
    """Changes the record of one task instance, unless a try comes in between.

    :param access: Airflow.
    :param address: the task instance.
    :param options: options that the commands to copy need besides their own, such as ``--url`` and its value.
    """

    def __init__(self, access: LedgerAccess, address: TaskAddress, options: Sequence[str] = ()) -> None:
        self._access = access
        self._address = address
        self._options = options

    def release(self, *, clear: bool, force: bool = False) -> Corrected:
        """Record that a person found out that nothing was accepted: the next try submits.

        :param force: also where the record holds the ID of an accepted video, and the task has failed.
        :raises LedgerError: if it may not be released now, or a try came in between.
        """
        seen = self._look()
        forced = holds_accepted_id(seen.record)
        if forced:
            refuse_accepted(self._address, seen, force)
        elif not may_be_corrected(seen.record):
            raise LedgerError(not_stuck(self._address, seen))
        refuse_active(self._address, seen, clear)
        noted = seen.found.noted_id_of_post
        if noted and not (forced and noted == seen.record.video_task_id):
            raise LedgerError(
                f"{self._address} was accepted as video task {noted}: its try noted that after Airflow had given it"
                f" up. Nothing was changed. Go on with that video: {self._command('adopt', noted)}"
            )
        if not forced:
            refuse_before_answer(self._address, seen.record)
        record = seen.record.at(
            Stage.RELEASED,
            video_task_id=None,
            video_task=None,
            completed=None,
            earlier=named_ids(seen),
            detail=f"released by {_person()}; before: {seen.record.detail}",
        )
        given_up = seen.record.video_task_id if forced else None
        return self._carry_out(seen, Change(record, "released", "its next try submits", given_up), clear)

    def adopt(self, video_task_id: str, *, clear: bool) -> Corrected:
        """Record the ID that a person found in the vendor's console: the next try goes on with that video.

        :raises LedgerError: if the ID is none, it may not be adopted now, or a try came in between.
        """
        video_task_id = video_task_id.strip()
        if video_task_id in ("", PLACEHOLDER):
            problem = "is empty" if not video_task_id else f"is still the word {PLACEHOLDER}"
            raise LedgerError(f"VIDEO_TASK_ID {problem}: give the ID that the vendor's console shows.")
        seen = self._look()
        record = seen.record
        # A person may also go on with a paid video although the request has changed, or although it was released
        # before the note came that names it.
        own = record.stage is Stage.SUBMITTED and record.video_task_id == video_task_id
        noted = record.stage is Stage.RELEASED and seen.found.noted_id_of_post == video_task_id
        if not (may_be_corrected(record) or own or noted):
            raise LedgerError(not_stuck(self._address, seen))
        refuse_active(self._address, seen, clear)
        if record.video_task_id not in (None, video_task_id):  # what is known is known of the other one
            record = replace(record, video_task=None, completed=None)
        adopted = record.at(
            Stage.SUBMITTED,
            video_task_id=video_task_id,
            fingerprint=ADOPTED,
            earlier=tuple(one for one in named_ids(seen) if one != video_task_id),
            detail=f"adopted by {_person()}",
        )
        change = Change(adopted, "adopted", f"its next try goes on with video task {video_task_id}")
        return self._carry_out(seen, change, clear)

    def _look(self) -> Seen:
        found = existing(self._access, self._address)
        record, instance = found.record(), self._access.instance(self._address)
        if instance is None:
            raise LedgerError(
                f"{self._address} is no task instance of Airflow any more, so nothing can go on with its video. Nothing"
                f" was changed. Its record can be deleted: the Variable {self._address.variable_key}."
            )
        return Seen(found, record, instance)

    def _carry_out(self, seen: Seen, change: Change, clear: bool) -> Corrected:
        """Write the record, and clear the task; look before and after whether a try came in between.

        No store can rule that out. A task that waits goes on with what it has read until it is cleared, so it is
        cleared at once, and looked at afterwards; any other one is cleared only if no try came.
        """
        behind = self._access.plan_clear(self._address) if clear else None
        self._refuse_if_changed(seen)
        self._access.write(self._address, change.record, seen.found)
        cleared = None
        if behind is not None and seen.instance.waits:
            cleared = self._clear(seen, change, behind)
            self._look_after_clear(seen, change)
        else:
            self._look_after_write(seen, change)
        if seen.found.note is not None:
            self._delete_note()
        if behind is None:
            return Corrected(self._address, change, next_step=self._next_step(change))
        return Corrected(self._address, change, cleared or self._clear(seen, change, behind))

    def _refuse_if_changed(self, seen: Seen) -> None:
        # The state last: a try that has written anything is under way by then.
        found, instance = self._access.read(self._address), self._access.instance(self._address)
        if found != seen.found or instance != seen.instance:
            now = "gone" if found is None else found.value.get("stage")
            raise LedgerError(
                f"A try of {self._address} came in between (the record is now {now}). Nothing was changed."
            )

    def _clear(self, seen: Seen, change: Change, behind: Sequence[Downstream]) -> Cleared:
        try:
            return self._access.clear(self._address, behind)
        except LedgerError as error:
            until = " Until it is cleared, it goes on with what it has read." if seen.instance.waits else ""
            raise LedgerError(
                f"{self._address} was {change.done}, but not cleared: {error}{until} {self._next_step(change)}"
            ) from error

    def _look_after_write(self, seen: Seen, change: Change) -> None:
        after, instance = self._access.read(self._address), self._access.instance(self._address)
        kept = None if after is None else after.record()
        if kept is None or _essence(kept) != _essence(change.record) or instance != seen.instance:
            raise LedgerError(
                f"A TRY CAME IN BETWEEN: {change.record.stage} was written for {self._address}, and at the same moment"
                f" Airflow went on with the task. {_now(kept, instance)} It was not cleared. Wait until the task has"
                f" ended, and look again: {self._command('show')}"
            )
        self._refuse_new_note(seen, after, "It was not cleared.")

    def _look_after_clear(self, seen: Seen, change: Change) -> None:
        after, instance = self._access.read(self._address), self._access.instance(self._address)
        if instance is not None and instance.is_still(seen.instance):
            raise LedgerError(
                f"{self._address} was {change.done}, and Airflow accepted the clear, but the task was not cleared: in"
                f" state {instance.state}, it still waits for what it had read before. {self._next_step(change)}"
            )
        kept = None if after is None else after.record()
        if kept is None or _essence(kept) != _essence(change.record):
            raise LedgerError(
                f"A TRY CAME IN BETWEEN: {change.record.stage} was written for {self._address}, the task was cleared,"
                f" and a try has written over it. {_now(kept, instance)} Wait until the task has ended, and look again:"
                f" {self._command('show')}"
            )
        self._refuse_new_note(seen, after, "It was cleared.")

    def _refuse_new_note(self, seen: Seen, after: Found | None, cleared: str) -> None:
        if after is not None and after.note not in (None, seen.found.note):
            look = self._command("adopt", after.noted_id_of_post) if after.noted_id_of_post else self._command("show")
            raise LedgerError(
                f"A NOTE CAME IN BETWEEN: the record of {self._address} was written, and at the same moment a try that"
                f" Airflow had given up wrote a note. {shown_note(after.note)} {cleared} Look at it: {look}"
            )

    def _delete_note(self) -> None:
        try:
            self._access.delete_note(self._address)
        except LedgerError as error:  # it is about a POST that is settled, so no try reads it
            self._access.notes.append(f"the Variable {self._address.note_key} is no longer needed: {error}")

    def _next_step(self, change: Change) -> str:
        return f"{self._access.how_to_clear(self._address)}: {change.follows}."

    def _command(self, verb: str, video_task_id: str = "") -> str:
        return self._address.command(verb, video_task_id, self._options)


def _essence(record: SubmissionRecord) -> tuple[Any, ...]:
    # Texts are left out: Airflow's API masks in a Variable what it takes for a secret.
    return record.stage, record.video_task_id, record.fingerprint, record.try_number, record.sent_at


def _now(record: SubmissionRecord | None, instance: Instance | None) -> str:
    state, stage = instance.state if instance else "gone", record.stage if record else "gone"
    return f"Its state is now {state}, its record {stage}."


def _person() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError, ImportError):  # no LOGNAME, and a uid without an entry in passwd, as in OpenShift
        name = f"uid {os.getuid()}"
    return f"{name} at {datetime.now(UTC).isoformat(timespec='seconds')}"
