"""A connection that Airflow does not have: refused for good where Airflow says so, retried where it could not look."""

from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_digitalhuman.exceptions import AuthenticationError, InvalidConnectionError
from airflow_provider_digitalhuman.hooks.digitalhuman import DigitalHumanHook
from airflow_provider_digitalhuman.sensors.digitalhuman import DigitalHumanVideoSensor
from airflow_provider_digitalhuman.support.compat import AIRFLOW
from tests.support.raw_server import answering, http_answer
from tests.unit.hooks.test_hook import REQUEST, Ledger


@pytest.fixture
def airflow_says(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Set what Airflow answers for a connection that no environment variable defines."""

    def answer(said: str) -> None:
        def asked(_: Any, message: Any = None, **__: Any) -> Any:
            if AIRFLOW < (3, 0):
                if said != "CONNECTION_NOT_FOUND":
                    raise ConnectionError(said)
                return None
            if type(message).__name__ != "GetConnection":  # 3.0 also sends what to mask
                return None
            from airflow.sdk.exceptions import ErrorType
            from airflow.sdk.execution_time.comms import ErrorResponse

            return ErrorResponse(error=ErrorType[said])

        if AIRFLOW < (3, 0):
            monkeypatch.setattr("airflow.secrets.metastore.MetastoreBackend.get_connection", asked)
            return
        from airflow.sdk.execution_time import task_runner

        comms = type("Comms", (), {"send": asked, "send_request": asked})
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", comms(), raising=False)

    return answer


def test_connection_that_is_not_defined_is_not_retried(
    airflow_says: Any, context: dict[str, Any], make_operator: Any
) -> None:
    airflow_says("CONNECTION_NOT_FOUND")
    with pytest.raises(InvalidConnectionError, match=r"digitalhuman_conn_id='nobody' .*Create it"):
        _ = DigitalHumanHook("nobody").settings
    with pytest.raises(AirflowFailException, match="digitalhuman_conn_id='nobody'"):
        make_operator(digitalhuman_conn_id="nobody").execute(context)
    with pytest.raises(AirflowFailException, match="digitalhuman_conn_id='nobody'"):
        DigitalHumanVideoSensor(task_id="wait", video_task_id="v1", digitalhuman_conn_id="nobody").execute(context)


def test_look_up_that_failed_is_retried(airflow_says: Any, context: dict[str, Any], make_operator: Any) -> None:
    airflow_says("API_SERVER_ERROR")
    with pytest.raises((AirflowException, RuntimeError), match=r"nobody|API_SERVER_ERROR") as caught:
        make_operator(digitalhuman_conn_id="nobody").execute(context)
    assert not isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize("status", [401, 403])
def test_refused_key_names_connection(connect: Any, serve: Any, status: int) -> None:
    server = serve(answering(http_answer(status)))
    hook, observer = connect(server.url, conn_id="studio_two"), Ledger()
    for ask in (lambda: hook.create_video(REQUEST, observer), lambda: hook.query_video("v1")):
        with pytest.raises(AuthenticationError, match=r"connection 'studio_two'\.$"):
            ask()
    assert observer.names == ["sending", "not_accepted"]
