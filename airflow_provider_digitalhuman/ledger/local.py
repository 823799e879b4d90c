"""The records of submissions in the database of an Airflow 2.11, for where its REST API is not to be had."""

import json
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow_provider_digitalhuman.exceptions import LedgerError
from airflow_provider_digitalhuman.ledger.access import (
    NO_STATE,
    NOT_RUN,
    UNDER_WAY,
    Cleared,
    Downstream,
    Found,
    Instance,
    Row,
    found_in,
    merged,
    sorted_variables,
    without_record,
)
from airflow_provider_digitalhuman.ledger.address import RECORD_KEY, TaskAddress
from airflow_provider_digitalhuman.ledger.http import parsed
from airflow_provider_digitalhuman.ledger.record import SubmissionRecord
from airflow_provider_digitalhuman.support.compat import AIRFLOW

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class LocalAirflow:
    """Airflow 2.11's own database, by its own models.

    :raises LedgerError: with Airflow 3, which lets nobody but its API server at the database.
    """

    def __init__(self) -> None:
        if AIRFLOW >= (3, 0):
            raise LedgerError(
                f"--local is for Airflow 2.11, and here is Airflow {AIRFLOW[0]}.{AIRFLOW[1]}, which always has a"
                " REST API: use --url and --token (or AIRFLOW_API_URL and AIRFLOW_API_TOKEN)."
            )
        self.notes: list[str] = []

    def rows(self, dag_id: str | None, everything: bool) -> Iterator[Row]:
        """Yield the records there are: a success removes its own, so all of them can be stuck.

        With ``everything`` also notes where there is no record any more.
        """
        from airflow.models.variable import Variable
        from sqlalchemy import select

        with _session() as session:
            query = select(Variable).where(Variable.key.startswith(f"{RECORD_KEY}_", autoescape=True))
            rows = session.scalars(query.order_by(Variable.key))
            kept = [(row.key, parsed(row.get_val()), row.description) for row in rows]
        records, notes = sorted_variables(kept, dag_id, self.notes)
        for address, value in records.items():
            found = found_in(None, value, notes.pop(address, None))
            if found is not None:
                yield Row(address, found, self.instance(address))
        for address, note in notes.items() if everything else ():
            yield Row(address, without_record(note), self.instance(address))

    def read(self, address: TaskAddress) -> Found | None:
        """Return what the Variables hold, None if there is no record."""
        value, note = (self._variable(key) for key in (address.variable_key, address.note_key))
        return found_in(None, value, note)

    def _variable(self, key: str) -> Any:
        with _session() as session:
            row = session.scalar(_variable_of(key))
            return None if row is None else parsed(row.get_val())

    def instance(self, address: TaskAddress) -> Instance | None:
        """Return the task instance, None if there is none."""
        with _session() as session:
            found = session.scalar(_instances_of(address, address.task_id).filter_by(map_index=address.map_index))
            return None if found is None else Instance(found.state or NO_STATE, found.try_number)

    def write(self, address: TaskAddress, record: SubmissionRecord, before: Found) -> None:
        """Put ``record`` in the place of ``before``, and of nothing else.

        :raises LedgerError: if the Variable holds something else by now.
        """
        with _session() as session:
            row = session.scalar(_variable_of(address.variable_key).with_for_update())
            if row is None or found_in(None, parsed(row.get_val()), before.note) != before:
                raise LedgerError(f"A try of {address} has changed its record meanwhile. Nothing was changed.")
            row.set_val(json.dumps(merged(before.value, record)))

    def delete_note(self, address: TaskAddress) -> None:
        """Remove the note of a try that Airflow had given up."""
        with _session() as session:
            row = session.scalar(_variable_of(address.note_key))
            if row is not None:
                session.delete(row)

    def plan_clear(self, address: TaskAddress) -> Sequence[Downstream]:
        """Return nothing: :meth:`clear` looks what is downstream in the transaction that clears it.

        :raises LedgerError: if Airflow's database has no such task any more.
        """
        _dag(address)
        return ()

    def clear(self, address: TaskAddress, behind: Sequence[Downstream]) -> Cleared:
        """Clear the task instance and, downstream of it, what has not run.

        :raises LedgerError: if Airflow's database has no such task any more, or a try of it is under way.
        """
        models = import_module("airflow.models.taskinstance")
        dag = _dag(address)
        names = set(dag.partial_subset([address.task_id], include_downstream=True).task_dict) - {address.task_id}
        with _session() as session:
            own = session.scalar(_instances_of(address, address.task_id).filter_by(map_index=address.map_index))
            if own is None or own.state in UNDER_WAY:
                raise LedgerError(f"A try of {address} is under way by now: it was not cleared.")
            found = [one for name in sorted(names) for one in session.scalars(_instances_of(address, name))]
            chosen = [one for one in found if one.state in NOT_RUN]
            shown = Cleared(
                [_shown(own, "this task"), *(_shown(one, one.state) for one in chosen)],
                [_shown(one, one.state) for one in found if one.state and one.state not in NOT_RUN],
            )
            states = import_module("airflow.utils.state")
            models.clear_task_instances([own, *chosen], session, dag=dag, dag_run_state=states.DagRunState.QUEUED)
        return shown

    def how_to_clear(self, address: TaskAddress) -> str:
        """Return how a person clears the task instance."""
        return "Clear the task"


def _session() -> "AbstractContextManager[Any]":
    manager: AbstractContextManager[Any] = import_module("airflow.utils.session").create_session()
    return manager


def _variable_of(key: str) -> Any:
    from airflow.models.variable import Variable
    from sqlalchemy import select

    return select(Variable).where(Variable.key == key)


def _instances_of(address: TaskAddress, task_id: str) -> Any:
    from sqlalchemy import select

    model = import_module("airflow.models.taskinstance").TaskInstance
    return select(model).filter_by(dag_id=address.dag_id, run_id=address.run_id, task_id=task_id)


def _dag(address: TaskAddress) -> Any:
    # As the webserver does: from the database, without the DAG's file and what that imports.
    bag = import_module("airflow.models.dagbag").DagBag(read_dags_from_db=True)
    dag = bag.get_dag(address.dag_id)
    if dag is None or not dag.has_task(address.task_id):
        raise LedgerError(
            f"Airflow's database has no task {address.task_id} of DAG {address.dag_id} any more,"
            " so it cannot be cleared."
        )
    return dag


def _shown(instance: Any, state: str) -> str:
    return str(Downstream(instance.task_id, instance.map_index, state))
