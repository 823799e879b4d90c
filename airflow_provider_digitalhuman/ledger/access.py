"""What ``digitalhuman-ledger`` needs of Airflow, and what it finds there, by whichever way."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from airflow_provider_digitalhuman.exceptions import LedgerError
from airflow_provider_digitalhuman.ledger.address import ADDRESS, NOTE_SUFFIX, RECORD_KEY, TaskAddress
from airflow_provider_digitalhuman.ledger.record import RECORD_FIELDS, SubmissionRecord

NO_STATE: Final = "no state"
"""Shown for a task instance that was cleared: Airflow has no word for that."""
UNDER_WAY: Final = frozenset({"scheduled", "queued", "running", "restarting"})
"""States of a task instance whose POST may still be on its way, or come."""
WAITING: Final = frozenset({"deferred", "up_for_reschedule"})
"""States of a task instance that goes on by itself, with the video that it has read already."""
RETRYING: Final = "up_for_retry"
"""State of a task instance whose next try can start at any moment."""
NOT_RUN: Final = frozenset({"upstream_failed", "skipped"})
"""States of a downstream task instance that waited in vain for the one that is cleared."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A task instance as Airflow shows it.

    :param state: its state; :data:`NO_STATE` once it was cleared.
    :param try_number: of its present or last try.
    :param uuid: changes with each hand-over (Airflow 3); empty on Airflow 2.
    """

    state: str
    try_number: int
    uuid: str = ""

    @property
    def under_way(self) -> bool:
        """Whether its POST may still be on its way, or come."""
        return self.state in UNDER_WAY

    @property
    def waits(self) -> bool:
        """Whether it goes on by itself with what it has read, unless it is cleared."""
        return self.state in WAITING

    @property
    def goes_on(self) -> bool:
        """Whether Airflow goes on with it although nobody clears it."""
        return self.waits or self.state == RETRYING

    def is_still(self, before: "Instance") -> bool:
        """Whether this is ``before``, which was not cleared since."""
        # Airflow 2 has no number that a clear changes at once; a new try that waits has a later one.
        return self.uuid == before.uuid if before.uuid else self == before


@dataclass(frozen=True, slots=True)
class Found:
    """What the stores hold about one task instance.

    :param value: the JSON object that counts: of the task state store, else of the Variable; empty if there is none.
    :param variable: the JSON object of the Variable, None if there is none.
    :param note: of a try that Airflow had given up, None if there is none.
    """

    value: Mapping[str, Any]
    variable: Mapping[str, Any] | None = None
    note: Mapping[str, Any] | None = None

    def record(self) -> SubmissionRecord:
        """Return the record.

        :raises LedgerError: if the object is not one.
        """
        return SubmissionRecord.from_json(self.value)

    @property
    def noted_id_of_post(self) -> str | None:
        """The ID that the vendor gave to the very POST of this record, and that its try could not write into it."""
        note = self._own_note
        return note.video_task_id if note else None

    @property
    def noted_id(self) -> str | None:
        """The ID that a note names, whichever POST of this task instance it is about."""
        return _text((self.note or {}).get("video_task_id"))

    @property
    def has_orphan(self) -> bool:
        """Whether there is a note that no try reads any more."""
        if self.note is None:
            return False
        note = self._own_note
        return note is None or not self.record().is_open

    @property
    def possible_id(self) -> str | None:
        """An ID that may be the video's: in the note of a try, in a broken answer, or only in the copy."""
        known = (self.noted_id_of_post, self.value.get("possible_id"), (self.variable or {}).get("video_task_id"))
        return next((one for one in map(_text, known) if one and one != self.value.get("video_task_id")), None)

    @property
    def _own_note(self) -> SubmissionRecord | None:
        """The note, if it can be read and is about the POST of this record."""
        try:
            note, record = SubmissionRecord.from_json(self.note), self.record()
        except LedgerError:
            return None
        if record.is_adopted:  # which stands in the place of the fingerprint of the same POST
            record = replace(record, fingerprint=note.fingerprint)
        return note if note.is_same_post(record) else None


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the list; ``instance`` is None where Airflow has no such task instance any more."""

    address: TaskAddress
    found: Found
    instance: Instance | None


@dataclass(frozen=True, slots=True)
class Cleared:
    """What a clear did, task instances as ``task_id`` or ``task_id [map_index]``."""

    cleared: Sequence[str]
    left_alone: Sequence[str] = ()


@dataclass(frozen=True, slots=True, order=True)
class Downstream:
    """One task instance downstream of the one to clear."""

    task_id: str
    map_index: int
    state: str

    def __str__(self) -> str:
        mapped = f" [{self.map_index}]" if self.map_index >= 0 else ""
        return f"{self.task_id}{mapped} ({self.state})"


class LedgerAccess(Protocol):
    """What the commands need of Airflow."""

    notes: list[str]
    """What a list could not show, in sentences."""

    def rows(self, dag_id: str | None, everything: bool) -> Iterator[Row]:
        """Yield the records there are; without ``everything`` only where a submission can be stuck."""

    def read(self, address: TaskAddress) -> Found | None:
        """Return what the stores hold, None if there is no record."""

    def instance(self, address: TaskAddress) -> Instance | None:
        """Return the task instance, None if there is none."""

    def write(self, address: TaskAddress, record: SubmissionRecord, before: Found) -> None:
        """Put ``record`` in the place of ``before``."""

    def delete_note(self, address: TaskAddress) -> None:
        """Remove the note of a try that Airflow had given up."""

    def plan_clear(self, address: TaskAddress) -> Sequence[Downstream]:
        """Return what is downstream of the task instance; raises where it could not be cleared."""

    def clear(self, address: TaskAddress, behind: Sequence[Downstream]) -> Cleared:
        """Clear the task instance and, of those downstream, what has not run."""

    def how_to_clear(self, address: TaskAddress) -> str:
        """Return how a person clears the task instance, as the beginning of a sentence."""


def found_in(entry: Any, variable: Any, note: Any) -> Found | None:
    """Return what the stores hold, from the parsed texts of each; None if there is no record."""
    value = variable if entry is None else entry
    if value is None:
        return None
    copy, kept_note = (one if isinstance(one, Mapping) else None for one in (variable, note))
    return Found(value if isinstance(value, Mapping) else {"value": value}, copy, kept_note)


def without_record(note: Any) -> Found:
    """Return what the stores hold where there is a note and no record."""
    return Found({}, None, note if isinstance(note, Mapping) else {"value": note})


def merged(before: Mapping[str, Any], record: SubmissionRecord) -> dict[str, Any]:
    """Return the record as JSON, with what else stood beside it."""
    beside = {key: value for key, value in before.items() if key not in (*RECORD_FIELDS, "version")}
    return beside | record.to_json()


def sorted_variables(
    variables: Iterable[tuple[str, Any, str | None]], dag_id: str | None, notes: list[str]
) -> tuple[dict[TaskAddress, Any], dict[TaskAddress, Any]]:
    """Return records and notes of tries that were given up, each by task instance; drop all other Variables.

    :param variables: key, parsed value and description of each.
    :param dag_id: of this DAG only, unless None.
    :param notes: gets a sentence about each one that names no task instance.
    """
    records: dict[TaskAddress, Any] = {}
    of_tries: dict[TaskAddress, Any] = {}
    for key, value, description in variables:
        if not key.startswith(f"{RECORD_KEY}_"):
            continue
        address = _address_of_variable(key.removesuffix(NOTE_SUFFIX), value, description)
        if address is None:
            notes.append(
                f"The Variable {key} names no task instance (its description was edited): look at it in Airflow's UI."
            )
        elif dag_id in (None, address.dag_id):
            (of_tries if key.endswith(NOTE_SUFFIX) else records)[address] = value
    return records, of_tries


def _address_of_variable(key: str, value: Any, description: str | None) -> TaskAddress | None:
    """Return whose record a Variable holds; None where neither its value nor its description names that."""
    named = TaskAddress.from_json(value.get(ADDRESS)) if isinstance(value, Mapping) else None
    named = named or TaskAddress.from_description(description or "")
    return named if named and named.variable_key == key else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
