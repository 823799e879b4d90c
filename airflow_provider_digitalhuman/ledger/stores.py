"""Where the record of a submission is kept: in a place that outlasts a try, whichever process dies."""

import json
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from airflow_provider_digitalhuman.exceptions import LedgerError
from airflow_provider_digitalhuman.ledger.address import ADDRESS, COPIED, RECORD_KEY, TaskAddress
from airflow_provider_digitalhuman.ledger.record import Stage
from airflow_provider_digitalhuman.support import compat

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

log = logging.getLogger(__name__)
_ABSENT: Final = object()
_NEEDS_COPY: Final = frozenset({Stage.SENDING, Stage.UNKNOWN, Stage.SUBMITTED, Stage.FAILED})
"""A clear must not find these gone."""


class RecordStore(Protocol):
    """Holds one JSON object for one task instance (DAG, run, task, map index)."""

    outlasts_try: bool
    """Whether the next try finds it."""

    def read(self) -> Any:
        """Return the object, or None if there is none. Raises if that is not known."""

    def write(self, value: Mapping[str, Any]) -> None:
        """Keep the object. Raises if it was not kept."""

    def end(self, value: Mapping[str, Any]) -> None:
        """Keep the object, or none any more, now that the task instance has succeeded."""

    def write_note(self, value: Mapping[str, Any]) -> None:
        """Keep, beside the object, what became of the POST of a try that Airflow has given up."""

    def read_note(self) -> Any:
        """Return that note, None if there is none."""

    def delete_note(self) -> None:
        """Remove the note."""


class _NoteVariable:
    """The note of a try that Airflow has given up: beside the record, so that it overwrites no later try's."""

    def __init__(self, address: TaskAddress) -> None:
        self._key = address.note_key
        self._description = address.description

    def write_note(self, value: Mapping[str, Any]) -> None:
        """Keep the note."""
        compat.write_variable(self._key, json.dumps(value), self._description)

    def read_note(self) -> Any:
        """Return the note, or None."""
        text = compat.read_variable(self._key)
        return None if text is None else json.loads(text)

    def delete_note(self) -> None:
        """Remove the note."""
        compat.delete_variable(self._key)


class TaskStateRecordStore(_NoteVariable):
    """The task state store of Airflow 3.3 and later, and, where a clear empties that, a copy in a Variable.

    The copy is also how a record is found that Airflow below 3.3 has written before an upgrade.

    :param keeps_copy: whether each record is written to the Variable as well.
    """

    outlasts_try = True

    def __init__(self, accessor: Any, ti: Any, *, keeps_copy: bool) -> None:
        address = TaskAddress.of(ti)
        super().__init__(address)
        self._accessor = accessor
        self._ti = ti
        self._address = address
        self._keeps_copy = keeps_copy
        self._copied = keeps_copy

    def read(self) -> Any:
        """Return the object, or None if there is none in either place.

        :raises LedgerError: if there is one, but what it refers to is gone: that is not the same.
        """
        value = self._accessor.get(RECORD_KEY, _ABSENT)
        if value is None:
            raise LedgerError(f"Airflow has the entry {RECORD_KEY}, but its state store backend has lost what is in it")
        if value is not _ABSENT:
            self._copied = self._copied or bool(value.get(COPIED))
            if self._keeps_copy and not value.get(COPIED) and value.get("stage") in _NEEDS_COPY:
                self.write(value)  # begun where no copy was kept
            return value
        text = compat.read_variable(self._address.variable_key)
        if text is None:
            return None
        self._copied = True
        return json.loads(text)

    def write(self, value: Mapping[str, Any]) -> None:
        """Keep the object for good: the run's deletion ends it, and no retention can end it sooner.

        The task state store first, as it refuses a try that Airflow has given up. Airflow's own has committed the entry
        when it answers (3.3.0 to 3.3.2). Whether another backend has is not known.

        :raises LedgerError: if such a store has taken it and does not have it.
        """
        entry = {**value, COPIED: True} if self._copied else dict(value)
        compat.write_task_state(self._accessor, self._ti, RECORD_KEY, entry)
        if not compat.task_state_is_airflows_own() and (kept := self._accessor.get(RECORD_KEY)) != entry:
            raise LedgerError(f"the store gave back {kept!r} instead of the record")
        if self._copied:
            self._write_copy(value)

    def _write_copy(self, value: Mapping[str, Any]) -> None:
        text = json.dumps({**value, ADDRESS: self._address.to_json()})
        try:
            compat.write_variable(self._address.variable_key, text, self._address.description)
        except Exception as error:
            if value["stage"] == Stage.SENDING:  # nothing is sent yet
                raise
            log.warning("The copy of the record could not be written, the record itself is: %s", error)

    def end(self, value: Mapping[str, Any]) -> None:
        """Keep the object, and remove the copy first: a process that dies in between must leave no copy behind."""
        if self._copied:
            compat.delete_variable(self._address.variable_key)
            self._copied = False
        self.write(value)


class VariableRecordStore(_NoteVariable):
    """An Airflow Variable of its own: all that outlasts a try below Airflow 3.3.

    Airflow lets any process write it, also a try that it has given up, or that was cleared and has not noticed yet. So
    a record is begun only by the try that Airflow runs, and neither changed nor removed where another process has
    changed it.

    :param is_current_try: returns whether Airflow still takes this try for the running one.
    """

    outlasts_try = True

    def __init__(self, address: TaskAddress, is_current_try: Callable[[], bool]) -> None:
        super().__init__(address)
        self._address = address
        self._record_key = address.variable_key
        self._is_current_try = is_current_try
        self._seen: str | None = None

    def read(self) -> Any:
        """Return the object, or None if there is none."""
        self._seen = compat.read_variable(self._record_key)
        return None if self._seen is None else json.loads(self._seen)

    def write(self, value: Mapping[str, Any]) -> None:
        """Keep the object.

        :raises LedgerError: if another process has changed the record since the last access, if Airflow runs another
            try, or if the Variable was not written.
        """
        text = json.dumps({**value, ADDRESS: self._address.to_json()})
        found = compat.read_variable(self._record_key)
        # A record that exists may be advanced by a try that was given up: its ID is to be kept.
        if found not in (self._seen, text) or (found is None and not self._is_current_try()):
            raise LedgerError("another process has changed it, or Airflow runs another try by now")
        compat.write_variable(self._record_key, text, self._address.description)
        if (kept := compat.read_variable(self._record_key)) != text:  # some versions only log that they could not
            raise LedgerError(f"Airflow has {kept!r} instead of the record")
        self._seen = text

    def end(self, value: Mapping[str, Any]) -> None:
        """Remove the Variable; the next record of this task instance is that of a new video."""
        if compat.read_variable(self._record_key) == self._seen:
            compat.delete_variable(self._record_key, with_success=True)


class MemoryRecordStore:
    """Keeps the record for this try only: where there is nothing better, or the author asked for no more."""

    outlasts_try = False

    def __init__(self) -> None:
        self._value: Any = None

    def read(self) -> Any:
        """Return the object, or None if there is none."""
        return self._value

    def write(self, value: Mapping[str, Any]) -> None:
        """Keep the object."""
        self._value = dict(value)

    def end(self, value: Mapping[str, Any]) -> None:
        """Keep the object."""
        self.write(value)

    def write_note(self, value: Mapping[str, Any]) -> None:
        """Keep nothing: no later try reads it."""

    def read_note(self) -> Any:
        """Return None."""

    def delete_note(self) -> None:
        """There is nothing to remove."""


def store_for(context: "Context", durable: bool) -> RecordStore:
    """Return the store for the task instance of ``context``."""
    if not durable:
        return MemoryRecordStore()
    accessor, ti = context.get("task_state_store"), context["ti"]
    if accessor is not None:
        return TaskStateRecordStore(accessor, ti, keeps_copy=compat.keeps_record_copy())
    if not compat.HAS_TASK_STATE_STORE:
        return VariableRecordStore(TaskAddress.of(ti), lambda: compat.is_current_try(ti))
    log.warning(
        "There is no task state store here, so nothing outlasts this try: a submission whose outcome is unknown is not"
        " retried, but a try that dies around the POST leaves no trace for the next one."
    )
    return MemoryRecordStore()
