"""Where the record of a submission lives: something that outlasts a try, whatever dies."""

import json
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from airflow_provider_digitalhuman import compat
from airflow_provider_digitalhuman.exceptions import LedgerError
from airflow_provider_digitalhuman.ledger_address import RECORD_KEY, TaskAddress

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

log = logging.getLogger(__name__)
_ABSENT: Final = object()


class RecordStore(Protocol):
    """Holds one JSON object for one task instance (DAG, run, task, map index)."""

    outlasts_try: bool
    """Whether the next try finds it."""

    def read(self) -> Any:
        """Return the object, or None if there is none. Raises if that cannot be told."""

    def write(self, value: Mapping[str, Any]) -> None:
        """Keep the object. Raises if it was not kept."""

    def end(self, value: Mapping[str, Any]) -> None:
        """Keep the object, or none any more, now that the task instance has succeeded."""


class TaskStateRecordStore:
    """The task state store of Airflow 3.3 and later."""

    outlasts_try = True

    def __init__(self, accessor: Any, ti: Any) -> None:
        self._accessor = accessor
        self._ti = ti

    def read(self) -> Any:
        """Return the object, or None if there is none.

        :raises LedgerError: if there is one, but what it refers to is gone: that is not the same.
        """
        value = self._accessor.get(RECORD_KEY, _ABSENT)
        if value is None:
            raise LedgerError(f"Airflow has the entry {RECORD_KEY}, but its state store backend has lost what is in it")
        return None if value is _ABSENT else value

    def write(self, value: Mapping[str, Any]) -> None:
        """Keep the object for good: the run's deletion ends it, and no retention can end it sooner.

        Airflow's own store has committed it when it answers (3.3.0 to 3.3.2). What somebody else's does is not known.

        :raises LedgerError: if such a store has taken it and does not have it.
        """
        compat.write_task_state(self._ti, RECORD_KEY, value)
        if not compat.task_state_is_airflows_own() and (kept := self.read()) != value:
            raise LedgerError(f"the store gave back {kept!r} instead of the record")

    def end(self, value: Mapping[str, Any]) -> None:
        """Keep the object."""
        self.write(value)


class VariableRecordStore:
    """An Airflow Variable of its own: all that outlasts a try below Airflow 3.3.

    Airflow lets any process write it, also a try that it has given up, or that was cleared and does not know yet. So
    a record is begun only by the try that Airflow runs, and neither changed nor removed where somebody else has changed
    it.

    :param is_current_try: tells whether Airflow still takes this try for the running one.
    """

    outlasts_try = True

    def __init__(self, key: str, description: str, is_current_try: Callable[[], bool]) -> None:
        self._key = key
        self._description = description
        self._is_current_try = is_current_try
        self._seen: str | None = None

    def read(self) -> Any:
        """Return the object, or None if there is none."""
        self._seen = compat.read_variable(self._key)
        return None if self._seen is None else json.loads(self._seen)

    def write(self, value: Mapping[str, Any]) -> None:
        """Keep the object.

        :raises LedgerError: if another try has been at work since the last access.
        """
        text = json.dumps(value)
        found = compat.read_variable(self._key)
        # Not asked of the ID's record: an ID is to be kept, whoever has it.
        if found not in (self._seen, text) or (found is None and not self._is_current_try()):
            raise LedgerError("Airflow has given up this try, and another one takes its place")
        compat.write_variable(self._key, text, self._description)
        if (kept := compat.read_variable(self._key)) != text:  # some versions only log that they could not write it
            raise LedgerError(f"Airflow has {kept!r} instead of the record")
        self._seen = text

    def end(self, value: Mapping[str, Any]) -> None:
        """Remove the Variable; the next record of this task instance is that of a new video."""
        if compat.read_variable(self._key) == self._seen:
            compat.delete_variable_on_success(self._key)


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


def store_for(context: "Context", durable: bool) -> RecordStore:
    """Return the store for the task instance of ``context``."""
    if not durable:
        return MemoryRecordStore()
    accessor = context.get("task_state_store")
    if accessor is not None:
        return TaskStateRecordStore(accessor, context["ti"])
    if not compat.HAS_TASK_STATE_STORE:
        return _variable_store(context)
    log.warning(
        "There is no task state store here, so nothing outlasts this try: a submission whose outcome is unknown is not"
        " retried, but a try that dies around the POST leaves no trace for the next one."
    )
    return MemoryRecordStore()


def _variable_store(context: "Context") -> VariableRecordStore:
    ti = context["ti"]
    address = TaskAddress.of(ti)
    return VariableRecordStore(address.variable_key, address.description, lambda: compat.is_current_try(ti))
