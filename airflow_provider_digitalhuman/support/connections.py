"""Whether Airflow has a connection, where it can be known."""

from typing import Any

from airflow_provider_digitalhuman.support.compat import AIRFLOW


def connection_is_absent(conn_id: str) -> bool:
    """Return whether every place where Airflow keeps connections has answered that it has none of this ID.

    ``BaseHook.get_connection`` also reports none where a place could not be asked.
    """
    try:
        return _is_absent_2(conn_id) if AIRFLOW < (3, 0) else _is_absent_3(conn_id)
    except Exception:
        return False


def _is_absent_2(conn_id: str) -> bool:
    from airflow.configuration import ensure_secrets_loaded

    return not any(backend.get_connection(conn_id=conn_id) for backend in ensure_secrets_loaded())


def _is_absent_3(conn_id: str) -> bool:
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time.comms import ErrorResponse, GetConnection
    from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    if any(backend.get_connection(conn_id=conn_id) for backend in ensure_secrets_backend_loaded()):
        return False
    try:  # once more, as the backend that asks it answers "none" to every error
        answer: Any = SUPERVISOR_COMMS.send(GetConnection(conn_id=conn_id))
    except AirflowRuntimeError as error:
        answer = error.error
    return isinstance(answer, ErrorResponse) and answer.error == ErrorType.CONNECTION_NOT_FOUND
