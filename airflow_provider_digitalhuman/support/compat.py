"""Every difference between the Airflow versions that this provider runs on."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from airflow import __version__ as airflow_version
from airflow.providers.common.compat.sdk import conf

AIRFLOW: Final = tuple(int(part) for part in airflow_version.split(".")[:2])
HAS_TASK_STATE_STORE: Final = AIRFLOW >= (3, 3)
HAS_START_FROM_TRIGGER: Final = AIRFLOW >= (3, 3)
"""Below it is either commented out (3.1, 3.2) or renders no templates (2.11), and a task ID comes from one."""
HAS_END_FROM_TRIGGER: Final = HAS_TASK_STATE_STORE
"""Below it, the worker that ends a task must tidy up the record of its submission."""
CLEAR_DISCARDS_TASK_STATE: Final = AIRFLOW >= (3, 4)
"""From there on a clear empties the task state store of a task instance, unless it is asked to keep it."""
LEDGER_OPTIONS: Final = ("--local",) if AIRFLOW < (3, 0) else ()
"""What the ledger command needs here: the REST API of Airflow 2 is closed by default, and clears no mapped task."""
_AIRFLOWS_OWN: Final = "airflow.state.metastore.MetastoreBackend"


def heartbeat_timeout() -> float:
    """Return the seconds without a heartbeat after which Airflow gives up a running task, as configured here."""
    option = "task_instance_heartbeat_timeout" if AIRFLOW >= (3, 0) else "scheduler_zombie_task_threshold"
    return float(conf.getfloat("scheduler", option, fallback=300.0))


def mask_secret(secret: str) -> None:
    """Have Airflow mask ``secret`` wherever it is logged."""
    place = "airflow.sdk.log"
    if AIRFLOW < (3, 1):
        place = "airflow.sdk.execution_time.secrets_masker"
    if AIRFLOW < (3, 0):
        place = "airflow.utils.log.secrets_masker"
    import_module(place).mask_secret(secret)


def first_rescheduled_at(sensor: Any, context: Any) -> float | None:
    """Return when a rescheduled sensor poked first, over all tries since the last clear, in Unix seconds."""
    ti = context["ti"]
    if AIRFLOW >= (3, 0):
        moment = ti.get_first_reschedule_date(context)
    else:
        from airflow.sensors.base import _orig_start_date  # type: ignore[import-not-found]  # Airflow 2

        first_try = (ti.max_tries or 0) - (sensor.retries or 0) + 1
        moment = _orig_start_date(ti.dag_id, ti.task_id, ti.run_id, ti.map_index, first_try)
    return moment.timestamp() if moment else None


def keeps_record_copy() -> bool:
    """Return whether a record in the task state store has a copy in a Variable, where a clear does not reach it."""
    return bool(conf.getboolean("digitalhuman", "keep_record_copy", fallback=CLEAR_DISCARDS_TASK_STATE))


def write_task_state(accessor: Any, ti: Any, key: str, value: Mapping[str, Any]) -> None:
    """Write an entry of the task state store that never expires (Airflow 3.3 and later).

    Into Airflow's database, also where ``[workers] state_store_backend`` names another place: there a try that Airflow
    has given up writes over the running one's, and what is lost reads as if it had never been.

    :param accessor: Airflow's own. Used from 3.4 on, which keys entries by more than the message below says, and where
        no such message is known.
    """
    if AIRFLOW >= (3, 4) and not conf.get("workers", "state_store_backend", fallback=""):
        _set_task_state(accessor, key, value)
        return
    try:
        from airflow.sdk.execution_time.comms import SetTaskStateStore
        from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

        message = SetTaskStateStore(ti_id=ti.id, key=key, value=dict(value), expires_at=None)
    except (ImportError, AttributeError, TypeError, ValueError):  # none of it is public
        _set_task_state(accessor, key, value)
    else:
        SUPERVISOR_COMMS.send(message)


def _set_task_state(accessor: Any, key: str, value: Mapping[str, Any]) -> None:
    from airflow.sdk import NEVER_EXPIRE  # type: ignore[attr-defined]  # loaded lazily

    accessor.set(key, dict(value), retention=NEVER_EXPIRE)


def task_state_is_airflows_own() -> bool:
    """Return whether the task state store is the one that Airflow brings along (3.3 and later)."""
    return conf.get("state_store", "backend", fallback=_AIRFLOWS_OWN) == _AIRFLOWS_OWN and not conf.get(
        "workers", "state_store_backend", fallback=""
    )


def read_variable(key: str) -> str | None:
    """Return an Airflow Variable's text from the metadata database, None if there is none.

    ``Variable.get`` cannot be used: it also reports none where the Variable could not be read.
    """
    if AIRFLOW < (3, 0):
        return _read_variable_2(key)
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time.comms import ErrorResponse, GetVariable
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    try:
        answer: Any = SUPERVISOR_COMMS.send(GetVariable(key=key))
    except AirflowRuntimeError as error:
        answer = error.error
    if not isinstance(answer, ErrorResponse):
        return str(answer.value)
    if answer.error == ErrorType.VARIABLE_NOT_FOUND:
        return None
    raise AirflowRuntimeError(answer)


def _read_variable_2(key: str) -> str | None:
    from airflow.models.variable import Variable
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        row = session.scalar(select(Variable).where(Variable.key == key))
        return None if row is None else str(row.get_val())


def is_current_try(ti: Any) -> bool:
    """Return whether Airflow takes this try for the running one (below 3.3; later its API refuses any other)."""
    if AIRFLOW < (3, 0):
        running = _running_try_2(ti)
        # Without a job of its own: `dag.test()` or `airflow tasks test`, which write no state, and give up no try.
        return bool(running == ti.try_number or (running is None and ti.job_id is None))
    return _state_3(ti) == "running"


def has_succeeded(ti: Any) -> bool:
    """Return, in a success callback, whether Airflow has the success: it can refuse it, or be about to write it."""
    if AIRFLOW < (3, 0):  # which writes it after the callback, in the same transaction as what that has written
        return is_current_try(ti)
    return _state_3(ti) == "success"


def _state_3(ti: Any) -> str | None:
    key = ti.task_id if ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}"
    states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index)
    state: str | None = states.get(ti.run_id, {}).get(key)
    return state


def _running_try_2(ti: Any) -> int | None:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    mine = {name: getattr(ti, name) for name in ("dag_id", "run_id", "task_id", "map_index")}
    with create_session() as session:
        return session.scalar(select(TaskInstance.try_number).filter_by(**mine, state="running"))


def write_variable(key: str, text: str, description: str) -> None:
    """Write an Airflow Variable.

    :raises Exception: on Airflow 3.1 and later, if it was not written; 3.0 only logs that.
    """
    from airflow.providers.common.compat.sdk import Variable

    Variable.set(key, text, description=description)


def delete_variable(key: str, *, with_success: bool = False) -> None:
    """Delete an Airflow Variable if there is one.

    :param with_success: for a task's success callback: on Airflow 2 in the transaction in which it writes the success.
    """
    if with_success and AIRFLOW < (3, 0):
        _delete_variable_2(key)
        return
    from airflow.providers.common.compat.sdk import Variable

    Variable.delete(key)


def _delete_variable_2(key: str) -> None:
    # Airflow 2 runs the callback before it writes the success, so in that transaction: neither is there alone.
    from airflow.models.variable import Variable
    from airflow.utils.task_instance_session import (  # type: ignore[import-not-found]  # Airflow 2
        get_current_task_instance_session,
    )
    from sqlalchemy import delete

    get_current_task_instance_session().execute(delete(Variable).where(Variable.key == key))
