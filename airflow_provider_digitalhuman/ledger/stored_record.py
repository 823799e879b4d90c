"""A record in its store: read and written with back-off, with the note of a try that Airflow has given up."""

import logging
from collections.abc import Mapping
from typing import Any

from airflow_provider_digitalhuman.ledger.backoff import with_backoff
from airflow_provider_digitalhuman.ledger.record import Stage, SubmissionRecord
from airflow_provider_digitalhuman.ledger.stores import RecordStore

log = logging.getLogger(__name__)


class StoredRecord:
    """One task instance's record as the store holds it.

    :param store: where it lives. ``value`` is what was found there, a note taken over included.
    :raises LedgerError: if it cannot be read.
    """

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        value = with_backoff("read", store.read)
        self.value = None if value is None else SubmissionRecord.from_json(value)

    def write(self, record: SubmissionRecord, *, note_on_failure: bool) -> None:
        """Write ``record`` in place of the one that is there.

        :param note_on_failure: write a note at the first failure: Airflow may have given up this try, and end its
            process within seconds, so not after the back-off. It is removed once the record is written.
        :raises LedgerError: if it cannot be written.
        """
        value = record.to_json()
        known = f" The video task ID is {record.video_task_id}: note it down." if record.video_task_id else ""
        noted = tried = False

        def write() -> None:
            nonlocal noted, tried
            try:
                self._store.write(value)
            except Exception:
                if note_on_failure and not noted:
                    tried, noted = True, self._write_note(value)
                raise
            if tried:  # also where the note failed: it can have been written
                self._delete_note()

        with_backoff("written", write, known)
        self.value = record

    def end(self, record: SubmissionRecord) -> None:
        """Write the last record of a task instance that has succeeded.

        :raises LedgerError: if it cannot be written.
        """
        with_backoff("written", lambda: self._store.end(record.to_json()))

    def take_over_note(self) -> None:
        """Go on with what the try that sent this POST has noted after Airflow had given it up.

        :raises LedgerError: if the note cannot be read, or the record cannot be written.
        """
        record = self.value
        if record is None or not (record.is_open or record.stage is Stage.RELEASED):
            return
        value = with_backoff("read", self._store.read_note)
        note = None if value is None else SubmissionRecord.from_json(value)
        if note is None or not note.is_same_post(record):
            return
        if record.stage is Stage.RELEASED and note.stage is not Stage.SUBMITTED:  # a person knew more
            return
        log.warning(
            "A note of try %d, written after Airflow had given it up: the submission is %s%s.",
            note.try_number,
            note.stage,
            f", the video task ID is {note.video_task_id}" if note.video_task_id else "",
        )
        taken_over = note.at(note.stage, generation=record.generation, earlier=record.earlier)
        self.write(taken_over, note_on_failure=False)
        self._delete_note()

    def _write_note(self, value: Mapping[str, Any]) -> bool:
        try:
            self._store.write_note(value)
        except Exception as error:
            log.warning("What became of the POST of this try could not be noted for the next one: %s", error)
            return False
        return True

    def _delete_note(self) -> None:
        try:
            self._store.delete_note()
        except Exception as error:
            log.warning("The note of an earlier try could not be removed: %s", error)
