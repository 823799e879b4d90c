"""The trigger: what is serialized, when events leave, and the same end as a wait that blocks, whatever happens."""

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.triggers.base import TaskSuccessEvent, TriggerEvent

from airflow_provider_digitalhuman import exceptions
from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.exceptions import (
    ConnectionMissingError,
    DigitalHumanError,
    InvalidConnectionError,
    VideoFailedError,
)
from airflow_provider_digitalhuman.hooks.digitalhuman import DigitalHumanHook
from airflow_provider_digitalhuman.support.compat import HAS_END_FROM_TRIGGER
from airflow_provider_digitalhuman.triggers import digitalhuman as trigger_module
from airflow_provider_digitalhuman.triggers import ending
from airflow_provider_digitalhuman.triggers.digitalhuman import (
    DEFERRAL_MARGIN,
    EARLIEST_EVENT,
    DigitalHumanVideoTrigger,
    deferral,
    start_trigger_args,
)
from airflow_provider_digitalhuman.triggers.events import event_of, task_of
from airflow_provider_digitalhuman.waiting import decision as waiting
from airflow_provider_digitalhuman.waiting import poller as poller_module
from airflow_provider_digitalhuman.waiting.decision import Done, Failed, VideoWait, wait_blocking
from tests.support.raw_server import Peer, RawServer, answering, http_answer
from tests.support.waiting_scenarios import (
    BAD_KEY,
    COMPLETED,
    GONE,
    ID,
    POLL_INTERVAL,
    PROCESSING,
    SCENARIOS,
    URL,
    Ending,
    Scenario,
    ending_of,
    task,
)
from tests.unit.conftest import KEY

CONN = "digitalhuman_default"
LONGEST = 60.0
TI = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=3)


@pytest.fixture(autouse=True)
def _no_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trigger_module, "RESTART_SPREAD", 0.0)


def a_trigger(video_task_id: str = ID, seconds: float = 30.0, **arguments: Any) -> DigitalHumanVideoTrigger:
    defaults: dict[str, Any] = {"deadline": time.time() + seconds, "poll_interval": POLL_INTERVAL}
    return DigitalHumanVideoTrigger(CONN, video_task_id, **{**defaults, **arguments})


async def event_from(trigger: DigitalHumanVideoTrigger) -> Any:
    """Run a trigger as Airflow does: it has exactly one event, and ends after it."""
    events = [event async for event in trigger.run()]
    assert len(events) == 1
    return json.loads(json.dumps(events[0].payload))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # what is waited for happens in a server's thread
        await asyncio.sleep(0.01)


def run(trigger: DigitalHumanVideoTrigger) -> Any:
    return asyncio.run(asyncio.wait_for(event_from(trigger), LONGEST))


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What would go to Airflow as XComs."""
    xcoms: dict[str, Any] = {}

    async def keep(key: str, value: Any, **place: Any) -> None:
        assert place == {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1}
        xcoms[key] = json.loads(json.dumps(value))

    monkeypatch.setattr(ending.XCom, "aset", keep, raising=False)
    return xcoms


def end_by(trigger: DigitalHumanVideoTrigger, ti: Any) -> TriggerEvent:
    """Run a trigger that knows its task instance."""

    async def last() -> TriggerEvent:
        trigger.task_instance = ti
        (event,) = [event async for event in trigger.run()]
        return event

    return asyncio.run(asyncio.wait_for(last(), LONGEST))


def ends_by_trigger(scenario: Scenario, **arguments: Any) -> Ending:
    return ending_of(lambda: task_of(run(a_trigger(seconds=scenario.timeout, **arguments))).to_dict())


def ends_by_blocking(hook: DigitalHumanHook, scenario: Scenario, **arguments: Any) -> Ending:
    wait = VideoWait(ID, deadline=time.time() + scenario.timeout, poll_interval=POLL_INTERVAL, **arguments)
    return ending_of(
        lambda: wait_blocking(lambda: hook.query_video(ID), wait, log=str, sleep=time.sleep, clock=time.time).to_dict()
    )


def comparable(ending: Ending) -> Ending:
    result, error, message = ending
    return result, error, re.sub(r"by \d{4}-\S+ \S+;", "by then;", message)


@pytest.mark.parametrize("name", SCENARIOS)
def test_trigger_ends_as_blocking_wait(
    name: str, connect: Callable[..., DigitalHumanHook], serve: Callable[..., RawServer]
) -> None:
    scenario, endings, queries = SCENARIOS[name], [], []
    for way in ("blocking", "trigger"):
        server = serve(scenario.script())
        hook = connect(server.url)
        endings.append(ends_by_blocking(hook, scenario) if way == "blocking" else ends_by_trigger(scenario))
        queries.append(len(server.requests))
    result, error, message = endings[1]
    assert error is scenario.error
    assert all(word in message for word in scenario.words), message
    if error is None:
        assert result is not None
        assert scenario.result.items() <= result.items()
        assert result["id"] == ID
    assert comparable(endings[0]) == comparable(endings[1])
    assert abs(queries[0] - queries[1]) <= 1 or "by the deadline" in name or "F19" in name


def test_video_that_vendor_has_forgotten_ends_alike(
    connect: Callable[..., DigitalHumanHook], serve: Callable[..., RawServer]
) -> None:
    hook = connect(serve(GONE.script()).url)
    long_past = time.time() - 9000
    endings = [ends_by_blocking(hook, GONE, submitted_at=long_past), ends_by_trigger(GONE, submitted_at=long_past)]
    assert endings[0] == endings[1]
    assert endings[0][1] is GONE.error
    assert all(word in endings[0][2] for word in GONE.words)


@pytest.mark.parametrize("fields", [{"password": ""}, {"host": "ftp://example.com"}, {"extra": {"verify": "/no/such"}}])
def test_connection_that_triggerer_cannot_use_ends_wait_so_that_airflow_retries(
    fields: dict[str, Any], connect: Callable[..., DigitalHumanHook], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker, which may well be able to use it, ends its tries at once; the triggerer is another machine."""
    hook = connect(**{"host": "http://127.0.0.1:9", **fields})
    monkeypatch.setattr(poller_module, "UNUSABLE_GRACE", 0.0)
    (_, by_worker, reason), (_, by_trigger, message) = ends_by_blocking(hook, GONE), ends_by_trigger(GONE)
    assert by_worker is InvalidConnectionError
    assert by_trigger is ConnectionMissingError
    assert not by_trigger.ends_retries
    assert reason.rstrip(".") in message


def test_connection_that_becomes_usable_is_waited_for(
    connect: Callable[..., DigitalHumanHook], serve: Callable[..., RawServer], tmp_path: Path
) -> None:
    url, ca_file = serve(answering(COMPLETED)).url, tmp_path / "ca.pem"
    connect(url, extra={"verify": str(ca_file)})

    async def main() -> Any:
        running = asyncio.ensure_future(event_from(a_trigger()))
        await asyncio.sleep(0.3)
        assert not running.done()
        ca_file.touch()
        return await running

    assert task_of(asyncio.run(asyncio.wait_for(main(), LONGEST))).is_completed


def test_connection_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller_module, "UNUSABLE_GRACE", 0.0)
    with pytest.raises(ConnectionMissingError, match=CONN):
        task_of(run(a_trigger()))


class TestSharing:
    def test_1000_triggers_of_one_connection_open_at_most_50_connections(
        self, connect: Callable[..., DigitalHumanHook], serve: Callable[..., RawServer]
    ) -> None:
        lock, asked = threading.Lock(), {}

        def script(peer: Peer) -> None:
            while (request := peer.read_request()) is not None:
                name = request.target.rpartition("/")[2]
                with lock:
                    asked[name] = count = asked.get(name, 0) + 1
                done = count >= 3
                content = {"id": name, "status": "completed" if done else "queued", "video_url": URL if done else None}
                peer.send(http_answer(body=json.dumps(content)))

        server = serve(script)
        connect(server.url, extra={"max_queries_per_second": 2000})

        async def main() -> list[Any]:
            triggers = [a_trigger(f"v{number}", LONGEST, poll_interval=0.5) for number in range(1000)]
            return await asyncio.gather(*(event_from(trigger) for trigger in triggers))

        events = asyncio.run(asyncio.wait_for(main(), LONGEST))
        assert sorted(task_of(event).id for event in events) == sorted(f"v{number}" for number in range(1000))
        assert len(server.requests) == 3000
        assert 1 <= server.connections <= 50

    @pytest.mark.parametrize("way", ["blocking", "trigger"])
    def test_rotated_key_is_picked_up(
        self,
        way: str,
        connect: Callable[..., DigitalHumanHook],
        serve: Callable[..., RawServer],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(poller_module, "RELOOKUP_PAUSE", 0.0)
        monkeypatch.setattr(waiting, "REFUSED_KEY_TRIES", 50)

        def script(peer: Peer) -> None:
            while (request := peer.read_request()) is not None:
                if request.headers["authorization"] == "Bearer new-key":
                    peer.send(COMPLETED)
                else:
                    connect(server.url, password="new-key")  # rotated at this very moment
                    peer.send(BAD_KEY)

        server = serve(script)
        hook = connect(server.url, password="old-key")
        usual = SCENARIOS["the usual way"]
        result, error, _ = ends_by_blocking(hook, usual) if way == "blocking" else ends_by_trigger(usual)
        assert error is None
        assert result is not None
        assert result["status"] == "completed"

    def test_cancelled_trigger_leaves_nothing_open(
        self, connect: Callable[..., DigitalHumanHook], serve: Callable[..., RawServer]
    ) -> None:
        gone = threading.Event()

        def script(peer: Peer) -> None:
            while peer.read_request() is not None:
                peer.send(PROCESSING)
            gone.set()

        server = serve(script)
        connect(server.url)

        async def main() -> None:
            before = asyncio.all_tasks()
            runs = [asyncio.ensure_future(event_from(a_trigger(f"v{number}"))) for number in range(20)]
            await until(lambda: len(server.requests) >= 40)
            for running in runs:
                running.cancel("user-action")
            await asyncio.gather(*runs, return_exceptions=True)
            await asyncio.sleep(0.05)
            assert asyncio.all_tasks() - before == set()
            assert await asyncio.to_thread(gone.wait, LONGEST)
            assert not poller_module._POLLERS[asyncio.get_running_loop()]

        asyncio.run(asyncio.wait_for(main(), LONGEST))

    def test_trigger_that_is_moved_goes_on_in_another_triggerer(
        self, connect: Callable[..., DigitalHumanHook], serve: Callable[..., RawServer]
    ) -> None:
        server = serve(answering(PROCESSING))
        connect(server.url)
        trigger = a_trigger()

        async def triggerer_that_dies() -> None:
            running = asyncio.ensure_future(event_from(trigger))
            await until(lambda: len(server.requests) >= 3)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

        asyncio.run(asyncio.wait_for(triggerer_that_dies(), LONGEST))
        connect(serve(answering(COMPLETED)).url)
        _, arguments = trigger.serialize()
        assert arguments["deadline"] == trigger.deadline
        assert task_of(run(DigitalHumanVideoTrigger(**arguments))).id == ID


class TestEvents:
    def test_event_and_query_do_not_leave_too_early(
        self, connect: Callable[..., DigitalHumanHook], serve: Callable[..., RawServer]
    ) -> None:
        asked: list[float] = []

        def script(peer: Peer) -> None:
            while peer.read_request() is not None:
                asked.append(time.time())
                peer.send(COMPLETED)

        connect(serve(script).url)
        not_before = time.time() + 1.0
        assert task_of(run(a_trigger(not_before=not_before))).is_completed
        assert time.time() >= not_before
        assert len(asked) == 1
        assert asked[0] >= not_before - 0.1

    def test_failed_event_does_not_leave_too_early(self) -> None:
        not_before = time.time() + 1.0
        with pytest.raises(DigitalHumanError):
            task_of(run(a_trigger("None", not_before=not_before)))
        assert time.time() >= not_before

    def test_id_that_template_renders_from_none_is_refused(self) -> None:
        with pytest.raises(exceptions.InvalidRequestError, match="'None'"):
            task_of(run(a_trigger("None")))

    def test_event_is_json_and_comes_back_whole(self) -> None:
        whole = VideoTask.from_dict(
            {"id": ID, "status": "completed", "video_url": URL, "created": "2025-10-28T05:44:38+00:00", "amount": 1.5}
        )
        event = json.loads(json.dumps(event_of(Done(whole), ID)))
        assert task_of(event) == whole
        assert task_of(event).to_dict() == whole.to_dict()

    def test_each_error_comes_back_as_itself(self) -> None:
        kinds = [kind for kind in vars(exceptions).values() if isinstance(kind, type)]
        for kind in (kind for kind in kinds if issubclass(kind, DigitalHumanError)):
            event = json.loads(json.dumps(event_of(Failed(kind("what happened")), ID)))
            with pytest.raises(kind) as caught:
                task_of(event)
            assert type(caught.value) is kind
            assert str(caught.value) == "what happened"

    def test_failed_video_brings_its_task_along(self) -> None:
        failed = VideoTask(id=ID, status="failed", error="no", raw={"amount": 2})
        event = json.loads(json.dumps(event_of(Failed(VideoFailedError("no", failed)), ID)))
        with pytest.raises(VideoFailedError) as caught:
            task_of(event)
        assert caught.value.task == failed
        assert caught.value.task.to_dict()["amount"] == 2

    @pytest.mark.parametrize(
        "event",
        [
            None,
            {},
            [],
            "completed",
            {"status": "completed"},
            {"status": "completed", "video_task": None},
            {"status": "completed", "video_task": {"id": ID, "status": "queued"}},
            {"status": "completed", "video_task": {"id": ID, "status": "completed"}},
            {"status": "completed", "video_task": {"id": ID, "status": "failed", "video_url": URL}},
            {"status": "success", "video_task": {"id": ID, "status": "completed", "video_url": URL}},
            {"status": "failed"},
            {"status": "failed", "error": "SomethingNew", "message": "from a newer triggerer"},
            {"status": "failed", "error": ["x"], "message": "x"},
        ],
    )
    def test_event_that_cannot_be_understood_never_passes(self, event: Any) -> None:
        with pytest.raises(DigitalHumanError):
            task_of(event)

    def test_repr_of_event_holds_no_signed_url(self) -> None:
        done = Done(VideoTask(id=ID, status="completed", video_url=URL))
        assert URL not in repr(event_of(done, ID)) + str(event_of(done, ID)) + f"{event_of(done, ID)}"
        assert ID in repr(event_of(done, ID))

    @pytest.mark.skipif(not HAS_END_FROM_TRIGGER, reason="end_from_trigger needs Airflow 3.3")
    @pytest.mark.parametrize("kind", ["create", "sensor"])
    def test_it_can_end_the_task_with_the_xcoms_that_a_worker_would_leave(
        self, kind: Any, kept: dict[str, Any], connect: Callable[..., DigitalHumanHook], serve: Callable[..., RawServer]
    ) -> None:
        connect(serve(answering(COMPLETED)).url)
        assert isinstance(end_by(a_trigger(ends_task=kind), TI), TaskSuccessEvent)
        if kind == "sensor":
            assert kept.keys() == {"return_value", "digitalhuman_video_link"}
            assert TI.run_id in kept["digitalhuman_video_link"]
            assert (kept["return_value"]["id"], kept["return_value"]["video_url"]) == (ID, URL)
        else:
            assert kept.keys() == {"return_value", "video_task", "metrics"}
            assert kept["return_value"] == ID
            assert kept["video_task"]["video_url"] == URL
            assert (kept["metrics"]["outcome"], kept["metrics"]["try_number"]) == ("success", 3)

    @pytest.mark.skipif(not HAS_END_FROM_TRIGGER, reason="end_from_trigger needs Airflow 3.3")
    @pytest.mark.parametrize(("kind", "ends"), [("create", False), ("sensor", True)])
    def test_url_under_the_requests_own_name_is_left_to_a_worker_that_knows_the_clip(
        self,
        kind: Any,
        ends: bool,
        kept: dict[str, Any],
        connect: Callable[..., DigitalHumanHook],
        serve: Callable[..., RawServer],
    ) -> None:
        answer = json.dumps({"id": ID, "status": "completed", "videoUrl": URL})
        connect(serve(answering(http_answer(200, answer))).url)
        event = end_by(a_trigger(ends_task=kind), TI)
        assert isinstance(event, TaskSuccessEvent) is ends
        assert ends or task_of(event.payload).video_url == URL

    def test_where_the_xcoms_cannot_be_kept_the_task_is_woken_up(
        self,
        connect: Callable[..., DigitalHumanHook],
        serve: Callable[..., RawServer],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        async def fails(*_: Any, **__: Any) -> None:
            raise OSError("away")

        monkeypatch.setattr(ending.XCom, "aset", fails, raising=False)
        connect(serve(answering(COMPLETED)).url)
        assert task_of(end_by(a_trigger(ends_task="create"), TI).payload).is_completed

    def test_a_wait_that_fails_wakes_the_task_up_whatever_was_chosen(
        self, connect: Callable[..., DigitalHumanHook], serve: Callable[..., RawServer]
    ) -> None:
        connect(serve(answering(PROCESSING)).url)
        event = end_by(a_trigger(seconds=0.1, ends_task="create"), TI)
        with pytest.raises(exceptions.WaitTimeoutError):
            task_of(event.payload)

    def test_dag_test_in_which_no_task_can_be_ended_gets_the_usual_event(
        self, connect: Callable[..., DigitalHumanHook], serve: Callable[..., RawServer]
    ) -> None:
        connect(serve(answering(COMPLETED)).url)
        assert task_of(end_by(a_trigger(ends_task="create"), None).payload).is_completed


class TestSerialization:
    def test_it_is_exactly_the_constructors_arguments_and_loads(self) -> None:
        trigger = a_trigger(submitted_at=1.5, not_before=2.5)
        path, arguments = trigger.serialize()
        assert path == f"{DigitalHumanVideoTrigger.__module__}.{DigitalHumanVideoTrigger.__qualname__}"
        again = DigitalHumanVideoTrigger(**json.loads(json.dumps(arguments)))
        assert again.serialize() == (path, arguments)
        code = DigitalHumanVideoTrigger.__init__.__code__
        assert set(arguments) == set(code.co_varnames[1 : code.co_argcount])

    def test_what_an_older_version_serialized_loads(
        self, connect: Callable[..., DigitalHumanHook], serve: Callable[..., RawServer]
    ) -> None:
        connect(serve(answering(COMPLETED)).url)
        oldest = {"digitalhuman_conn_id": CONN, "video_task_id": ID, "deadline": time.time() + 30}
        assert task_of(run(DigitalHumanVideoTrigger(**oldest))).is_completed

    def test_it_holds_no_secret(self, connect: Callable[..., DigitalHumanHook]) -> None:
        connect("http://127.0.0.1:9", extra={"proxies": "http://user:secret-pw@proxy.example.com:3128"})
        text = repr(a_trigger()) + json.dumps(a_trigger().serialize())
        assert KEY not in text
        assert "secret-pw" not in text

    def test_the_deferral_outlasts_the_deadline_so_that_the_clear_message_wins(self) -> None:
        deadline = time.time() + 600
        arguments = deferral(ID, digitalhuman_conn_id=CONN, deadline=deadline, poll_interval=7.0, submitted_at=1.0)
        trigger = arguments["trigger"]
        assert (trigger.deadline, trigger.poll_interval, trigger.submitted_at) == (deadline, 7.0, 1.0)
        assert trigger.not_before == pytest.approx(time.time() + EARLIEST_EVENT, abs=5)
        assert timedelta(seconds=600 + DEFERRAL_MARGIN) - arguments["timeout"] < timedelta(seconds=5)
        latest = poller_module.OVERDUE + poller_module.LAST_QUERY_GRACE + 2 * poller_module.SWEEP_INTERVAL
        assert latest + EARLIEST_EVENT < DEFERRAL_MARGIN

    def test_a_task_that_starts_in_the_triggerer_takes_its_deadline_from_what_airflow_keeps(self) -> None:
        arguments = start_trigger_args(video_task_id=ID, digitalhuman_conn_id=CONN, timeout=600.0, poll_interval=None)
        trigger = DigitalHumanVideoTrigger(**(arguments.trigger_kwargs or {}))
        assert arguments.timeout is not None
        trigger.timeout_after = datetime.fromtimestamp(1_763_800_000, UTC) + arguments.timeout
        assert trigger._wait().deadline == 1_763_800_000 + 600
        assert arguments.trigger_cls == trigger.serialize()[0]


def test_progress_goes_to_the_triggers_own_log_and_holds_no_key(
    connect: Callable[..., DigitalHumanHook],
    serve: Callable[..., RawServer],
    everything_logged: Callable[[], str],
) -> None:
    connect(serve(answering(PROCESSING, PROCESSING, PROCESSING, BAD_KEY, COMPLETED)).url)
    run(a_trigger())
    text = everything_logged()
    assert text.count("processing, ") in (1, 2)  # Airflow 2 prints each line twice
    assert KEY not in text


def test_being_killed_is_told_honestly(everything_logged: Callable[[], str]) -> None:
    asyncio.run(a_trigger().on_kill())
    text = everything_logged()
    assert ID in text
    assert "no cancel" in text
    assert "is charged" in text


def test_a_failed_task_says_the_same_as_its_event(
    connect: Callable[..., DigitalHumanHook], serve: Callable[..., RawServer]
) -> None:
    connect(serve(answering(task("expired", error="gone"))).url)
    with pytest.raises(VideoFailedError) as caught:
        task_of(run(a_trigger()))
    assert caught.value.task is not None
    assert caught.value.task.status == "expired"
