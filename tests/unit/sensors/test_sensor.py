"""The sensor: poke, reschedule and deferrable end alike, and as Airflow's own sensors do."""

import asyncio
import copy
import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSensorTimeout,
    AirflowSkipException,
    Asset,
    TaskDeferred,
)

from airflow_provider_digitalhuman.exceptions import (
    DigitalHumanError,
    InvalidRequestError,
    VideoFailedError,
    VideoUrlMissingError,
    WaitTimeoutError,
)
from airflow_provider_digitalhuman.hooks.digitalhuman import DigitalHumanHook
from airflow_provider_digitalhuman.sensors import digitalhuman as sensor_module
from airflow_provider_digitalhuman.sensors.digitalhuman import SHORTEST_RESCHEDULE, DigitalHumanVideoSensor
from airflow_provider_digitalhuman.support import compat
from airflow_provider_digitalhuman.support.arguments import ends_from_trigger
from airflow_provider_digitalhuman.support.links import LINK_XCOM_KEY
from airflow_provider_digitalhuman.triggers import digitalhuman as trigger_module
from airflow_provider_digitalhuman.waiting import decision as waiting
from tests.support.errors import tracebacks
from tests.support.raw_server import RawServer, answering, http_answer
from tests.support.waiting_scenarios import (
    BAD_KEY,
    COMPLETED,
    GONE,
    HTML,
    ID,
    NO_URL,
    POLL_INTERVAL,
    PROCESSING,
    QUEUED,
    SCENARIOS,
    task,
)
from tests.unit.conftest import FakeTaskInstance

if compat.AIRFLOW >= (3, 2):
    from airflow.sdk.exceptions import AirflowRescheduleException
else:
    from airflow.exceptions import AirflowRescheduleException  # type: ignore[no-redef]

MODES: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}
PATIENCE = 60.0
Connect = Callable[..., DigitalHumanHook]
Serve = Callable[..., RawServer]


class SensorTaskInstance(FakeTaskInstance):
    task_id = "wait"
    first_poke: datetime | None = None

    def get_first_reschedule_date(self, context: Any) -> datetime | None:
        return self.first_poke


@pytest.fixture
def ti(monkeypatch: pytest.MonkeyPatch) -> SensorTaskInstance:
    instance = SensorTaskInstance()
    if compat.AIRFLOW < (3, 0):
        monkeypatch.setattr("airflow.sensors.base._orig_start_date", lambda *_, **__: instance.first_poke)
    return instance


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trigger_module, "RESTART_SPREAD", 0.0)
    monkeypatch.setattr(trigger_module, "EARLIEST_EVENT", 0.0)
    monkeypatch.setattr("airflow_provider_digitalhuman.waiting.poller.TOGETHER", POLL_INTERVAL)
    monkeypatch.setattr(sensor_module, "SHORTEST_RESCHEDULE", 0.0)


def a_sensor(**arguments: Any) -> DigitalHumanVideoSensor:
    defaults: dict[str, Any] = {"task_id": "wait", "video_task_id": ID, "poke_interval": POLL_INTERVAL, "timeout": 30}
    return DigitalHumanVideoSensor(**{**defaults, **arguments})


async def event_from(trigger: Any) -> Any:
    [payload] = [event.payload async for event in trigger.run()]
    return json.loads(json.dumps(payload))


def run(sensor: DigitalHumanVideoSensor, context: dict[str, Any]) -> Any:
    """Run a sensor as Airflow does: a new object for each slice, and nothing kept but what Airflow keeps."""
    ti = context["ti"]
    while True:
        in_worker = copy.deepcopy(sensor)
        try:
            return in_worker.execute(context)
        except AirflowRescheduleException as reschedule:
            ti.first_poke = ti.first_poke or datetime.now(UTC)
            time.sleep(max(0.0, (reschedule.reschedule_date - datetime.now(UTC)).total_seconds()))
        except TaskDeferred as deferral:
            trigger = type(deferral.trigger)(**json.loads(json.dumps(deferral.trigger.serialize()[1])))
            event = asyncio.run(asyncio.wait_for(event_from(trigger), PATIENCE))
            resumed = copy.deepcopy(sensor)
            return resumed.resume_execution(deferral.method_name, {**(deferral.kwargs or {}), "event": event}, context)


def end_of(sensor: DigitalHumanVideoSensor, context: dict[str, Any]) -> tuple[Any, type[Exception] | None, str]:
    try:
        return run(sensor, context), None, ""
    except Exception as error:
        message = re.sub(r"by \d{4}-\S+ \S+;", "by then;", str(error))
        return None, type(error), message.replace(" It is the key of connection 'digitalhuman_default'.", "")


def expected_class(error: type[DigitalHumanError]) -> type[Exception]:
    if error is WaitTimeoutError:
        return AirflowSensorTimeout
    return AirflowFailException if error.ends_retries else error


@pytest.mark.parametrize("name", SCENARIOS)
def test_all_modes_end_alike(name: str, connect: Connect, serve: Serve, context: dict[str, Any]) -> None:
    scenario, ends = SCENARIOS[name], {}
    for mode, arguments in MODES.items():
        connect(serve(scenario.script()).url)
        context["ti"].first_poke = None
        ends[mode] = end_of(a_sensor(timeout=scenario.timeout, **arguments), context)
    result, error, message = ends["poke"]
    waited, said, seen = ends["deferrable"][2].partition(" So far the triggerer.")  # which the poke has not
    assert bool(said) is (scenario.error not in (None, VideoFailedError))
    assert not said or "The worker has then asked once itself: " in seen
    ends["deferrable"] = (*ends["deferrable"][:2], waited)
    assert ends == dict.fromkeys(MODES, ends["poke"])
    if scenario.error:
        assert error is expected_class(scenario.error)
        assert all(word in message for word in scenario.words)
    else:
        assert error is None
        assert scenario.result.items() <= result.items()
        assert result["id"] == ID
        assert json.loads(json.dumps(result)) == result


@pytest.mark.parametrize("mode", MODES)
class TestAsAirflowsOwn:
    @pytest.mark.parametrize(
        "answers", [(PROCESSING,), (task("failed", error="no"),), (BAD_KEY,)], ids=["time-out", "failed", "key"]
    )
    def test_soft_fail_skips(
        self, mode: str, answers: tuple[bytes, ...], connect: Connect, serve: Serve, context: dict[str, Any]
    ) -> None:
        connect(serve(answering(*answers)).url)
        with pytest.raises(AirflowSkipException, match=f"ideo task {ID} "):  # and not only that it skips
            run(a_sensor(soft_fail=True, timeout=0.5, **MODES[mode]), context)

    def test_soft_fail_lets_what_a_retry_can_mend_be_retried(
        self, mode: str, connect: Connect, serve: Serve, context: dict[str, Any]
    ) -> None:
        connect(serve(answering(NO_URL)).url)
        with pytest.raises(VideoUrlMissingError):
            run(a_sensor(soft_fail=True, **MODES[mode]), context)

    @pytest.mark.parametrize("answers", [(PROCESSING,), (NO_URL,), (BAD_KEY,)], ids=["time-out", "no URL", "key"])
    def test_never_fail_skips_everything(
        self, mode: str, answers: tuple[bytes, ...], connect: Connect, serve: Serve, context: dict[str, Any]
    ) -> None:
        connect(serve(answering(*answers)).url)
        with pytest.raises(AirflowSkipException, match=f"ideo task {ID} "):
            run(a_sensor(never_fail=True, timeout=0.5, **MODES[mode]), context)

    def test_a_time_out_ends_the_retries(
        self, mode: str, connect: Connect, serve: Serve, context: dict[str, Any]
    ) -> None:
        connect(serve(answering(PROCESSING)).url)
        with pytest.raises(AirflowSensorTimeout, match=f"{ID}.*a clear of this Airflow task goes on") as caught:
            run(a_sensor(timeout=0.2, **MODES[mode]), context)
        assert tracebacks(caught.value) == 1

    @pytest.mark.parametrize("value", ["None", "", None, True])
    def test_what_is_no_id_is_refused_without_a_query(
        self, mode: str, value: Any, connect: Connect, serve: Serve, context: dict[str, Any]
    ) -> None:
        server = serve(answering(COMPLETED))
        connect(server.url)
        with pytest.raises(AirflowFailException, match="video_task_id"):
            run(a_sensor(video_task_id=value, **MODES[mode]), context)
        assert server.requests == []

    def test_a_record_that_is_gone_fails_for_good(
        self, mode: str, connect: Connect, serve: Serve, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(waiting, "NOT_FOUND_GRACE", 0.0)
        connect(serve(GONE.script()).url)
        with pytest.raises(AirflowFailException) as caught:
            run(a_sensor(**MODES[mode]), context)
        assert all(word in str(caught.value) for word in GONE.words)

    def test_the_link_is_there_while_a_worker_waits(
        self, mode: str, connect: Connect, serve: Serve, context: dict[str, Any]
    ) -> None:
        connect(serve(answering(task("failed"))).url)
        with pytest.raises(AirflowFailException):
            run(a_sensor(**MODES[mode]), context)
        link = context["ti"].xcoms.get(LINK_XCOM_KEY, "")
        if mode == "deferrable":  # Airflow pushes it when the process defers
            assert not link
        else:
            assert "/wait" in link or "task_id=wait" in link


class TestReschedule:
    def test_the_time_out_counts_from_the_first_poke(
        self, connect: Connect, serve: Serve, context: dict[str, Any]
    ) -> None:
        connect(serve(answering(PROCESSING)).url)
        context["ti"].first_poke = datetime.now(UTC) - timedelta(seconds=100)
        with pytest.raises(AirflowSensorTimeout):
            a_sensor(mode="reschedule", timeout=100).execute(context)
        with pytest.raises(AirflowRescheduleException):
            a_sensor(mode="reschedule", timeout=200).execute(context)

    def test_the_slot_is_given_back_after_one_query(
        self, connect: Connect, serve: Serve, context: dict[str, Any]
    ) -> None:
        for interval, seconds in ((None, 60.0), (300.0, 300.0), (timedelta(minutes=2), 120.0)):
            server = serve(answering(QUEUED))
            connect(server.url)
            with pytest.raises(AirflowRescheduleException) as caught:
                a_sensor(mode="reschedule", poke_interval=interval, timeout=3600).execute(context)
            wait = (caught.value.reschedule_date - datetime.now(UTC)).total_seconds()
            assert wait == pytest.approx(seconds, abs=5)
            assert len(server.requests) == 1

    def test_a_task_does_not_come_back_so_soon_that_airflow_would_fail_it(
        self, connect: Connect, serve: Serve, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sensor_module, "SHORTEST_RESCHEDULE", SHORTEST_RESCHEDULE)
        connect(serve(answering(QUEUED)).url)
        with pytest.raises(AirflowRescheduleException) as caught:
            a_sensor(mode="reschedule", poke_interval=1).execute(context)
        assert (caught.value.reschedule_date - datetime.now(UTC)).total_seconds() == pytest.approx(10, abs=3)

    def test_a_doubt_is_settled_in_one_go(self, connect: Connect, serve: Serve, context: dict[str, Any]) -> None:
        server = serve(answering(BAD_KEY))
        connect(server.url)
        with pytest.raises(AirflowFailException):
            a_sensor(mode="reschedule").execute(context)
        assert len(server.requests) == waiting.REFUSED_KEY_TRIES


class TestPoke:
    def test_one_http_connection_serves_the_whole_wait(
        self, connect: Connect, serve: Serve, context: dict[str, Any]
    ) -> None:
        server = serve(answering(*[PROCESSING] * 9, COMPLETED))
        connect(server.url)
        assert a_sensor().execute(context)["status"] == "completed"
        assert (len(server.requests), server.connections) == (10, 1)

    def test_a_poke_interval_is_taken_as_it_is(
        self, connect: Connect, serve: Serve, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        slept: list[float] = []
        monkeypatch.setattr(time, "sleep", slept.append)
        connect(serve(answering(*[PROCESSING] * 4, COMPLETED)).url)
        a_sensor(poke_interval=60, timeout=3600).execute(context)
        assert slept == [60.0] * 4

    def test_without_one_it_is_what_the_vendor_asks_for(
        self, connect: Connect, serve: Serve, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        slept: list[float] = []
        monkeypatch.setattr(time, "sleep", slept.append)
        now = task("processing", created=int(time.time()))
        connect(serve(answering(*[now] * 8, COMPLETED)).url)
        a_sensor(poke_interval=None, timeout=3600).execute(context)
        assert all(5 <= seconds <= 10 for seconds in slept)
        assert len(set(slept)) > 1

    def test_exponential_backoff_and_retry_after_are_obeyed(
        self, connect: Connect, serve: Serve, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        slept: list[float] = []
        monkeypatch.setattr(time, "sleep", slept.append)
        busy = http_answer(429, "{}", retry_after="200")
        connect(serve(answering(*[PROCESSING] * 5, busy, COMPLETED)).url)
        a_sensor(poke_interval=4, timeout=36000, exponential_backoff=True, max_wait=100).execute(context)
        assert slept[-1] == 200
        assert max(slept[:-1]) > 16
        assert max(slept[:-1]) <= 100

    def test_silent_fail_goes_on(self, connect: Connect, serve: Serve, context: dict[str, Any]) -> None:
        connect(serve(answering(*[NO_URL] * 8, COMPLETED)).url)
        assert a_sensor(silent_fail=True).execute(context)["video_url"]

    def test_silent_fail_pauses_between_look_ups_that_fail(
        self, connect: Connect, serve: Serve, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hook = connect(serve(answering(COMPLETED)).url)
        pauses: list[float] = []
        answers = iter([AirflowNotFoundException("away"), AirflowNotFoundException("away")])

        def look_up(*_: Any) -> Any:
            if (error := next(answers, None)) is not None:
                raise error
            return connection

        connection = hook.get_connection(hook.digitalhuman_conn_id)
        monkeypatch.setattr(DigitalHumanHook, "get_connection", look_up)
        monkeypatch.setattr(time, "sleep", pauses.append)
        assert a_sensor(silent_fail=True, poke_interval=7).execute(context)["video_url"]
        assert pauses == [7, 7]


class TestDeferrable:
    def test_what_is_there_already_needs_no_trigger(
        self, connect: Connect, serve: Serve, context: dict[str, Any]
    ) -> None:
        server = serve(answering(COMPLETED))
        connect(server.url)
        assert a_sensor(deferrable=True).execute(context)["status"] == "completed"
        assert len(server.requests) == 1

    def test_trouble_in_the_worker_is_no_reason_not_to_defer(
        self, connect: Connect, serve: Serve, context: dict[str, Any]
    ) -> None:
        for answer in (HTML, BAD_KEY, QUEUED):
            connect(serve(answering(answer)).url)
            with pytest.raises(TaskDeferred):
                a_sensor(deferrable=True).execute(context)

    def test_the_deadline_is_absolute_and_counts_from_the_start(
        self, connect: Connect, serve: Serve, context: dict[str, Any]
    ) -> None:
        connect(serve(answering(QUEUED)).url)
        with pytest.raises(TaskDeferred) as caught:
            a_sensor(deferrable=True, timeout=500, poke_interval=3).execute(context)
        arguments = caught.value.trigger.serialize()[1]
        assert arguments["deadline"] == pytest.approx(time.time() + 500, abs=5)
        assert arguments["poll_interval"] == 3
        assert caught.value.timeout > timedelta(seconds=500)

    def test_the_default_is_airflows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert a_sensor().deferrable is False
        monkeypatch.setattr(sensor_module.conf, "getboolean", lambda *_, **__: True)
        assert a_sensor().deferrable is True
        assert a_sensor(deferrable=False).deferrable is False

    def test_an_event_that_cannot_be_understood_never_passes(self, context: dict[str, Any]) -> None:
        with pytest.raises(DigitalHumanError):
            a_sensor(deferrable=True).execute_complete(context, event={"status": "fine"})


class TestEndFromTrigger:
    def test_only_where_nothing_is_lost(self, connect: Connect, serve: Serve, context: dict[str, Any]) -> None:
        for arguments, ends in (({}, compat.HAS_END_FROM_TRIGGER), ({"do_xcom_push": False}, False)):
            connect(serve(answering(QUEUED)).url)
            with pytest.raises(TaskDeferred) as caught:
                a_sensor(deferrable=True, end_from_trigger=True, **arguments).execute(context)
            assert caught.value.trigger.serialize()[1]["ends_task"] == ("sensor" if ends else None)

    def test_it_is_not_the_default(self, connect: Connect, serve: Serve, context: dict[str, Any]) -> None:
        connect(serve(answering(QUEUED)).url)
        with pytest.raises(TaskDeferred) as caught:
            a_sensor(deferrable=True).execute(context)
        assert caught.value.trigger.serialize()[1]["ends_task"] is None

    @pytest.mark.parametrize("lost", [{"outlets": [Asset("a")]}, {"on_success_callback": print}])
    def test_what_nobody_would_see_to_is_refused(self, lost: dict[str, Any]) -> None:
        with pytest.raises(InvalidRequestError, match=f"end_from_trigger=True cannot be used with {next(iter(lost))}"):
            a_sensor(deferrable=True, end_from_trigger=True, **lost)

    @pytest.mark.skipif(not compat.HAS_START_FROM_TRIGGER, reason="start_from_trigger needs Airflow 3.3")
    def test_a_task_that_starts_in_the_triggerer_can_end_there(self) -> None:
        sensor = a_sensor(deferrable=True, start_from_trigger=True, end_from_trigger=True)
        assert sensor.start_trigger_args is not None
        assert sensor.start_trigger_args.trigger_kwargs is not None
        assert sensor.start_trigger_args.trigger_kwargs["ends_task"] == "sensor"


class TestStartFromTrigger:
    def test_only_where_it_is_right(self) -> None:
        assert a_sensor(start_from_trigger=True).start_from_trigger is False
        assert a_sensor(deferrable=True).start_from_trigger is False
        limited = a_sensor(deferrable=True, start_from_trigger=True, execution_timeout=timedelta(minutes=5))
        assert limited.start_from_trigger is False
        started = a_sensor(deferrable=True, start_from_trigger=True)
        assert started.start_from_trigger is compat.HAS_START_FROM_TRIGGER

    @pytest.mark.skipif(not compat.HAS_START_FROM_TRIGGER, reason="start_from_trigger needs Airflow 3.3")
    def test_the_id_of_a_task_before_arrives_as_a_template(self) -> None:
        from airflow.providers.common.compat.sdk import DAG, BaseOperator

        with DAG("d", schedule=None):
            before = BaseOperator(task_id="create")
            sensor = a_sensor(video_task_id=before.output, deferrable=True, start_from_trigger=True, timeout=50)
        arguments = sensor.start_trigger_args
        assert arguments is not None
        assert arguments.trigger_kwargs is not None
        assert arguments.trigger_kwargs["video_task_id"] == (
            "{{ ti.xcom_pull(task_ids='create', key='return_value', map_indexes=-1) }}"
        )
        assert "deadline" not in arguments.trigger_kwargs
        assert set(arguments.trigger_kwargs) >= set(sensor.template_fields)
        assert sensor.upstream_task_ids == {"create"}

    @pytest.mark.skipif(not compat.HAS_START_FROM_TRIGGER, reason="start_from_trigger needs Airflow 3.3")
    @pytest.mark.parametrize(
        ("template", "starts"),
        [
            (ID, True),
            ("{{ params.video }}", True),
            ("{{ ti.xcom_pull(task_ids='create', map_indexes=-1) }}", True),
            ("{{ ti.xcom_pull('create') }}", False),  # the triggerer would wait for ever
        ],
    )
    def test_what_the_triggerer_cannot_render_starts_in_a_worker(self, template: str, starts: bool) -> None:
        for field in ("video_task_id", "digitalhuman_conn_id"):
            sensor = a_sensor(**{field: template}, deferrable=True, start_from_trigger=True)
            assert sensor.start_from_trigger is starts
            assert (sensor.start_trigger_args is not None) is starts

    @pytest.mark.skipif(not compat.HAS_END_FROM_TRIGGER, reason="end_from_trigger needs Airflow 3.3")
    def test_what_pushes_an_xcom_for_each_field_ends_in_a_worker(self) -> None:
        ends = [
            ends_from_trigger(a_sensor(deferrable=True, end_from_trigger=True, **arguments))
            for arguments in ({}, {"multiple_outputs": True}, {"do_xcom_push": False})
        ]
        assert ends == [True, False, False]


@pytest.mark.parametrize("interval", [0, 0.0, timedelta(0)])
def test_a_poke_interval_of_nothing_is_refused(interval: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"^Task 'wait': poke_interval=.*positive"):
        a_sensor(poke_interval=interval)
