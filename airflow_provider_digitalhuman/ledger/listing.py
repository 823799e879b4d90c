"""The records as the ledger command shows them: what each holds, whether it is stuck, and the commands to copy."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from airflow_provider_digitalhuman.exceptions import LedgerError
from airflow_provider_digitalhuman.ledger.access import Found, Instance, LedgerAccess, Row
from airflow_provider_digitalhuman.ledger.address import TaskAddress
from airflow_provider_digitalhuman.ledger.record import Stage, SubmissionRecord

PLACEHOLDER: Final = "VIDEO_TASK_ID"
"""In the commands to copy, where only a person can know the ID."""


class Listing:
    """What is on record.

    :param access: Airflow.
    :param options: options that the commands to copy need besides their own, such as ``--url`` and its value.
    """

    def __init__(self, access: LedgerAccess, options: Sequence[str] = ()) -> None:
        self._access = access
        self._options = options

    def rows(self, dag_id: str | None, everything: bool) -> Iterator[dict[str, Any]]:
        """Yield the records that are stuck, or all, and with these the notes that no try reads any more."""
        for row in self._access.rows(dag_id, everything):
            record = self._readable(row)
            if everything or record is None or _is_stuck(record, row.instance):
                yield self._described(row.address, row.found, record, row.instance)

    def row(self, address: TaskAddress) -> dict[str, Any]:
        """Return one record.

        :raises LedgerError: if there is none, or it cannot be read.
        """
        found = existing(self._access, address)
        return self._described(address, found, found.record(), self._access.instance(address))

    def _readable(self, row: Row) -> SubmissionRecord | None:
        try:
            return row.found.record() if row.found.value else None
        except LedgerError as error:
            self._access.notes.append(f"{row.address}: {error}")
            return None

    def _described(
        self, address: TaskAddress, found: Found, record: SubmissionRecord | None, instance: Instance | None
    ) -> dict[str, Any]:
        stuck = record is not None and _is_stuck(record, instance)
        possible = found.possible_id if stuck else None
        verbs = ["show"] if found.value else []
        if stuck and instance is not None:
            verbs += ["release", "adopt"]
        elif record is not None and record.stage is Stage.RELEASED and found.noted_id_of_post:
            # The note came after the release.
            verbs, possible = [*verbs, "adopt"], found.noted_id_of_post
        return {
            **asdict(address),
            "state": instance.state if instance else None,
            "stuck": stuck,
            "possible_id": possible,
            "late_id": found.noted_id_of_post if stuck else None,
            "record": dict(found.value),
            "orphaned_note": dict(found.note) if found.note is not None and found.has_orphan else None,
            "commands": {
                verb: address.command(verb, "" if verb != "adopt" else possible or PLACEHOLDER, self._options)
                for verb in verbs
            },
        }


def shown_note(note: Mapping[str, Any]) -> str:
    """Return a sentence about the note of a try that Airflow had given up."""
    known = f", video task {note['video_task_id']}" if note.get("video_task_id") else ""
    tried = f"try {note.get('try_number')}, sent {note.get('sent_at')}"
    return f"The note says {note.get('stage', 'nothing that can be read')}{known} ({tried})."


def existing(access: LedgerAccess, address: TaskAddress) -> Found:
    """Return what the stores hold.

    :raises LedgerError: if there is no record.
    """
    found = access.read(address)
    if found is None:
        raise LedgerError(
            f"{address} has no record of a submission. Check the three names and --map-index, and that --url is"
            " the Airflow of this task."
        )
    return found


def _is_stuck(record: SubmissionRecord, instance: Instance | None) -> bool:
    under_way = instance is not None and instance.under_way
    return record.is_open and not (record.stage is Stage.SENDING and under_way)
