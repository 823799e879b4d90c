"""The shared poller on a loop whose time jumps: one client, one rate limiter, no video forgotten, nothing left open."""

import asyncio
import contextvars
import gc
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.exceptions import (
    AuthenticationError,
    ConnectionMissingError,
    DigitalHumanError,
    InvalidConnectionError,
    QueryError,
    RateLimitError,
    VideoFailedError,
    WaitTimeoutError,
)
from airflow_provider_digitalhuman.waiting import poller as poller_module
from airflow_provider_digitalhuman.waiting import progress_log as progress_log_module
from airflow_provider_digitalhuman.waiting.decision import REFUSED_KEY_TRIES, Done, Failed, VideoWait
from airflow_provider_digitalhuman.waiting.poller import (
    LAST_QUERY_GRACE,
    MAX_CONNECTIONS,
    OVERDUE,
    RELOOKUP_PAUSE,
    SWEEP_INTERVAL,
    TOGETHER,
    UNUSABLE_GRACE,
    Poller,
    poller_for,
)
from airflow_provider_digitalhuman.waiting.progress_log import LogTarget, ProgressLog
from airflow_provider_digitalhuman.waiting.rate_limiter import RateLimiter
from tests.support.virtual_time import now, run_virtually

Outcome = VideoTask | DigitalHumanError
Answers = Callable[[str], Outcome]


def processing(video_task_id: str) -> VideoTask:
    return VideoTask(id=video_task_id, status="processing")


def completed(video_task_id: str) -> VideoTask:
    return VideoTask(id=video_task_id, status="completed", video_url="https://cdn.example.com/x.mp4")


class DeadlockImminentError(BaseException):
    """As Airflow has one."""


class World:
    """A poller, and the vendor that it asks; ``answers`` is what the vendor says, ``key`` what the connection holds."""

    def __init__(self, answers: Answers, *, ceiling: float = 20.0, latency: float = 0.05) -> None:
        self.answers = answers
        self.ceiling = ceiling
        self.latency = latency
        self.key: str | BaseException = "key"
        self.look_ups = 0
        self.idle = 0
        self.clients: list[World.Client] = []
        self.asked: dict[str, list[float]] = defaultdict(list)
        self.in_flight = self.most_in_flight = 0
        self.clock_is_ahead = 0.0
        self.poller = Poller("conn", self._open_client, on_idle=self._on_idle, clock=self.wall_clock)

    class Client:
        def __init__(self, world: "World", key: str) -> None:
            self.world, self.key, self.closed = world, key, False
            self.max_queries_per_second = world.ceiling

        async def query_video(self, video_task_id: str) -> VideoTask:
            world = self.world
            assert not self.closed
            world.asked[video_task_id].append(now())
            world.in_flight += 1
            world.most_in_flight = max(world.most_in_flight, world.in_flight)
            try:
                await asyncio.sleep(world.latency)
            finally:
                world.in_flight -= 1
            outcome = world.answers(video_task_id)
            if isinstance(outcome, DigitalHumanError):
                raise outcome
            return outcome

        async def close(self) -> None:
            self.closed = True

    @property
    def queries(self) -> list[float]:
        return sorted(moment for moments in self.asked.values() for moment in moments)

    def wall_clock(self) -> float:
        return now() + self.clock_is_ahead

    async def wait(self, name: str, seconds: float = 3600.0, log: Callable[[str], object] = str) -> Done | Failed:
        wait = VideoWait(name, deadline=now() + seconds)
        return await self.poller.wait_for(wait, 0.0, log)

    def start(self, count: int, seconds: float = 3600.0) -> list[asyncio.Task[Done | Failed]]:
        return [asyncio.create_task(self.wait(f"v{number}", seconds)) for number in range(count)]

    def _on_idle(self) -> None:
        self.idle += 1

    async def _open_client(self, conn_id: str, present: Any) -> Any:
        assert conn_id == "conn"
        self.look_ups += 1
        await asyncio.sleep(0.5)
        if isinstance(self.key, BaseException):
            raise self.key
        if present is None or present.key != self.key:
            self.clients.append(World.Client(self, self.key))
        return self.clients[-1]


async def cancel(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def busiest_second(moments: list[float]) -> int:
    most = start = 0
    for end, moment in enumerate(moments):
        while moments[start] <= moment - 1.0:
            start += 1
        most = max(most, end - start + 1)
    return most


def error_of(end: Done | Failed) -> DigitalHumanError:
    assert isinstance(end, Failed)
    return end.error


async def no_client(conn_id: str, present: object) -> Any:
    raise ConnectionMissingError(f"{conn_id} is not defined")


class TestSharing:
    def test_thousand_videos_share_one_look_up_and_one_client(self) -> None:
        async def main() -> None:
            world = World(processing, ceiling=1000.0, latency=0.2)
            tasks = world.start(1000)
            await asyncio.sleep(120)
            assert world.look_ups == 1
            assert len(world.clients) == 1
            assert len(world.asked) == 1000
            assert world.most_in_flight <= MAX_CONNECTIONS <= 50
            await cancel(tasks)

        run_virtually(main())

    def test_each_wait_gets_its_own_end(self) -> None:
        def answers(name: str) -> Outcome:
            return VideoTask(id=name, status="failed", error="no") if name == "v3" else completed(name)

        async def main() -> None:
            ends = await asyncio.gather(*World(answers).start(5))
            assert [isinstance(end, Done) for end in ends] == [True, True, True, False, True]
            assert isinstance(error_of(ends[3]), VideoFailedError)
            assert [end.task.id for end in ends if isinstance(end, Done)] == ["v0", "v1", "v2", "v4"]

        run_virtually(main())

    def test_progress_is_logged_in_context_of_its_trigger(self) -> None:
        who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")
        heard: set[tuple[str, str]] = set()

        async def main() -> None:
            world = World(processing)

            async def wait(name: str) -> None:
                who.set(name)
                await world.wait(name, 20.0, lambda line: heard.add((who.get(), line.split(":")[0].split()[-1])))

            await asyncio.gather(wait("a"), wait("b"))

        run_virtually(main())
        assert heard == {("a", "a"), ("b", "b")}

    def test_queries_do_not_each_log_a_line(self) -> None:
        async def main() -> None:
            world, said = World(processing), []
            await world.wait("v", 3600.0, said.append)
            assert len(world.asked["v"]) > 100
            assert len(said) < 20

        run_virtually(main())

    def test_status_changes_are_written_together_and_bounded(self) -> None:
        async def main() -> list[int]:
            world, moments = World(processing, ceiling=1000.0), Counter[float]()
            say = lambda line: moments.update([round(now(), 3)])  # noqa: E731
            waits = [asyncio.create_task(world.wait(f"v{number}", 100.0, say)) for number in range(200)]
            await asyncio.sleep(60)
            first_lines = list(moments.values())
            await cancel(waits)
            assert first_lines == list(moments.values()), "and none twice"
            return first_lines

        assert run_virtually(main()) == [44, 44, 44, 44, 24]

    def test_messages_without_change_are_written_in_turn(self) -> None:
        """Else their lines alone would be more work for Airflow than all that it does for their triggers."""
        heard: dict[str, list[float]] = defaultdict(list)

        async def main() -> None:
            world = World(processing, ceiling=1000.0)

            def say_as(name: str) -> Callable[[str], object]:
                return lambda line: heard[name].append(now())

            names = [f"v{number}" for number in range(400)]
            waits = [asyncio.create_task(world.wait(name, 3600.0, say_as(name))) for name in names]
            await asyncio.sleep(700)
            await cancel(waits)

        run_virtually(main())
        moments = Counter(moment for times in heard.values() for moment in times[1:])
        assert max(moments.values()) <= 8
        assert all(later - sooner >= 4.0 for sooner, later in pairwise(sorted(moments)))
        told = [len(times) for times in heard.values()]
        assert len(told) == 400
        assert max(told) - min(told) <= 1, "as often as the next one"

    def test_delayed_message_names_its_age_and_later_one_replaces_it(self) -> None:
        heard: list[str] = []

        async def main() -> None:
            progress = ProgressLog()
            targets = [LogTarget(heard.append) for _ in range(40)]
            for number, target in enumerate(targets):
                progress.add(target, f"{number} waits", status_change=False)
            progress.add(targets[-1], "39 still waits", status_change=False)
            progress.add(targets[-2], "38 is processing", status_change=True)
            await asyncio.sleep(60)

        run_virtually(main())
        assert heard[:2] == ["38 is processing", "0 waits"]
        assert heard[-1] == "39 still waits (20 s ago)"
        assert len(heard) == 40

    @pytest.mark.parametrize("trouble", ["a channel that is full", "a log that is gone"])
    def test_log_that_cannot_be_written_ends_no_wait(self, trouble: str) -> None:
        """Airflow's own loop once stood still for ever in here: it could not write, as nobody read, as it stood."""
        ended, waited_in_vain = threading.Event(), []

        def log(line: str) -> None:
            if trouble == "a log that is gone":
                raise BrokenPipeError
            if not ended.wait(5):
                waited_in_vain.append(line)

        async def main() -> None:
            world = World(lambda name: processing(name) if name == "slow" else completed(name))
            slow = asyncio.create_task(world.wait("slow", log=log))
            await asyncio.sleep(1.0)
            assert isinstance(await world.wait("fast"), Done)
            ended.set()
            await cancel([slow])
            assert not waited_in_vain

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(progress_log_module, "GATHER", 0.0)
            asyncio.run(main())

    def test_status_change_is_written_when_wait_ends(self) -> None:
        heard: list[str] = []

        async def main() -> None:
            world = World(processing)
            wait = asyncio.create_task(world.wait("v", 3600.0, heard.append))
            await asyncio.sleep(0.9)
            assert world.asked["v"]
            assert heard == []
            await cancel([wait])
            assert len(heard) == 1
            await asyncio.sleep(10)

        run_virtually(main())
        assert len(heard) == 1

    def test_registry_has_one_poller_per_connection_and_loop(self) -> None:
        async def main() -> Poller:
            assert poller_for("a", no_client) is poller_for("a", no_client)
            assert poller_for("a", no_client) is not poller_for("b", no_client)
            return poller_for("a", no_client)

        assert asyncio.run(main()) is not asyncio.run(main())


class TestRateLimit:
    def test_ceiling_holds_and_is_used(self) -> None:
        async def main() -> None:
            world = World(processing, ceiling=20.0)
            tasks = world.start(1000)
            await asyncio.sleep(300)
            assert busiest_second(world.queries) <= 22
            assert len(world.queries) >= 0.95 * 20 * 299
            await cancel(tasks)

        run_virtually(main())

    def test_many_videos_are_asked_for_equally_often(self) -> None:
        async def main() -> None:
            world = World(processing, ceiling=20.0)
            tasks = world.start(1000)
            await asyncio.sleep(400)
            counts = Counter(len(moments) for moments in world.asked.values())
            assert max(counts) - min(counts) <= 2  # the intervals are jittered
            late = world.start(1)  # a newcomer waits for its turn, not longer
            await asyncio.sleep(60)
            assert len(world.asked["v0"]) >= 8
            await cancel([*tasks, *late])

        run_virtually(main())

    def test_10000_videos_are_each_noticed_within_two_effective_intervals(self) -> None:
        ceiling, count = 200.0, 10_000
        effective = count / ceiling
        done_at = {f"v{number}": 1000.0 + 100.0 + (number * 7919 % 300) for number in range(count)}

        async def main() -> None:
            world = World(lambda name: completed(name) if now() >= done_at[name] else processing(name), ceiling=ceiling)
            delays = []

            async def wait(name: str) -> None:
                assert isinstance(await world.wait(name, 7200.0), Done)
                delays.append(now() - done_at[name])

            await asyncio.gather(*(wait(name) for name in done_at))
            assert len(delays) == count
            assert max(delays) <= 2 * effective
            assert busiest_second(world.queries) <= ceiling * 1.1
            assert world.clients[0].closed

        run_virtually(main())

    def test_pause_is_not_followed_by_burst(self) -> None:
        limiter = RateLimiter(20.0)
        leave_together = 0
        while limiter.next_query_at() <= 100.0:
            limiter.sent(100.0)
            leave_together += 1
        assert leave_together == 2 + 1  # what a tick has, and the one that is due now
        for _ in range(20):
            limiter.sent(100.0)
        assert limiter.next_query_at() == pytest.approx(101.05)

    def test_queries_due_in_same_quarter_of_second_leave_together(self) -> None:
        async def main() -> None:
            world = World(processing, ceiling=1000.0)
            tasks = world.start(500)
            await asyncio.sleep(100)
            settled = [round(moment, 3) for moment in world.queries if moment > 1030]
            assert len(set(settled)) <= 70 / TOGETHER + 1  # both ends count
            assert len(settled) > 10 * len(set(settled))
            await cancel(tasks)

        run_virtually(main())


class TestStorms:
    def test_retry_after_pauses_key_and_rate_recovers_slowly(self) -> None:
        async def main() -> None:
            storm = [1100.0]

            def answers(name: str) -> Outcome:
                return RateLimitError("429", 60.0) if storm[0] <= now() < storm[0] + 1 else processing(name)

            world = World(answers)
            tasks = world.start(500)
            await asyncio.sleep(400)
            refused_from = next(moment for moment in world.queries if moment + world.latency >= storm[0])
            silent = [moment for moment in world.queries if refused_from + 0.2 < moment < storm[0] + 60.0]
            assert silent == []
            just_after = [moment for moment in world.queries if storm[0] + 60 <= moment < storm[0] + 62]
            assert 0 < len(just_after) <= 30
            assert busiest_second([moment for moment in world.queries if moment > 1350]) >= 18
            await cancel(tasks)

        run_virtually(main())

    def test_lasting_storm_without_retry_after_gets_almost_no_queries(self) -> None:
        async def main() -> None:
            world = World(lambda name: RateLimitError("429"))
            tasks = world.start(1000)
            await asyncio.sleep(600)
            assert len(world.queries) <= 60  # 20 a second would be 12,000
            assert all(not task.done() for task in tasks)
            world.answers = completed
            assert all(isinstance(end, Done) for end in await asyncio.gather(*tasks))

        run_virtually(main())

    def test_refused_key_is_asked_with_no_more_often_than_interval_allows(self) -> None:
        async def main() -> None:
            world = World(lambda name: AuthenticationError("403"), ceiling=1000.0)
            ends = await asyncio.gather(*world.start(1000))
            assert all(isinstance(error_of(end), AuthenticationError) for end in ends)
            assert {len(moments) for moments in world.asked.values()} == {REFUSED_KEY_TRIES}
            gaps = [b - a for moments in world.asked.values() for a, b in pairwise(moments)]
            assert min(gaps) >= 5.0
            assert world.look_ups <= 2 + (world.queries[-1] - world.queries[0]) / RELOOKUP_PAUSE

        run_virtually(main())

    def test_pause_of_key_is_bounded_whatever_retry_after_says(self) -> None:
        async def main() -> None:
            answers = iter([RateLimitError("429", 315_360_000.0)])
            world = World(lambda name: next(answers, None) or processing(name))
            tasks = world.start(50)
            await asyncio.sleep(1000)
            gaps = [later - sooner for sooner, later in pairwise(world.queries)]
            assert 299 <= max(gaps) <= 301
            await cancel(tasks)

        run_virtually(main())

    def test_unavailable_service_holds_back_its_own_video_only(self) -> None:
        async def main() -> None:
            world = World(lambda name: QueryError("503", 315_360_000.0) if name == "v0" else processing(name))
            tasks = world.start(50)
            await asyncio.sleep(1000)
            gaps = {name: [b - a for a, b in pairwise(moments)] for name, moments in world.asked.items()}
            assert min(gaps["v0"]) >= 300
            assert len(gaps["v0"]) == 3
            assert all(max(gaps[f"v{number}"]) <= 61 for number in range(1, 50))
            assert busiest_second(world.queries[50:]) <= 22
            await cancel(tasks)

        run_virtually(main())

    def test_gateway_errors_end_no_wait(self) -> None:
        async def main() -> None:
            world = World(lambda name: QueryError("502"))
            tasks = world.start(50, seconds=7200)
            await asyncio.sleep(3000)
            assert all(not task.done() for task in tasks)
            world.answers = completed
            assert all(isinstance(end, Done) for end in await asyncio.gather(*tasks))

        run_virtually(main())


class TestDeadlines:
    def test_each_wait_has_its_own_deadline(self) -> None:
        async def main() -> None:
            world = World(processing)
            started, ended = now(), {}

            async def wait(name: str, seconds: float) -> None:
                assert isinstance(error_of(await world.wait(name, seconds)), WaitTimeoutError)
                ended[name] = now() - started

            await asyncio.gather(wait("a", 30.0), wait("b", 100.0))
            assert ended == pytest.approx({"a": 30.0, "b": 100.0}, abs=1.0)

        run_virtually(main())

    def test_deadlines_hold_while_key_is_paused(self) -> None:
        async def main() -> None:
            world = World(lambda name: RateLimitError("429", 5000.0))
            started = now()
            ends = await asyncio.gather(*world.start(20, seconds=100.0))
            assert all(isinstance(error_of(end), WaitTimeoutError) for end in ends)
            assert now() - started <= 100.0 + OVERDUE + LAST_QUERY_GRACE + 2 * SWEEP_INTERVAL + 1

        run_virtually(main())

    def test_overdue_videos_are_asked_for_during_pause_within_ceiling(self) -> None:
        async def main() -> None:
            answers = iter([RateLimitError("429", 5000.0)])
            world = World(lambda name: next(answers, None) or completed(name), ceiling=20.0)
            started = now()
            tasks = world.start(400, seconds=100.0)
            await asyncio.sleep(95)
            early = sum(task.done() for task in tasks)
            assert early < 40
            assert all(isinstance(end, Done) for end in await asyncio.gather(*tasks))
            assert now() - started <= 100.0 + OVERDUE + LAST_QUERY_GRACE
            assert busiest_second(world.queries) <= 22
            assert len(world.queries) <= len(tasks) + 1

        run_virtually(main())

    def test_deadlines_hold_while_every_query_hangs(self) -> None:
        async def main() -> None:
            world = World(processing, latency=1e6)
            started = now()
            ends = await asyncio.gather(*world.start(100, seconds=100.0))
            assert all(isinstance(error_of(end), WaitTimeoutError) for end in ends)
            assert now() - started <= 100.0 + OVERDUE + LAST_QUERY_GRACE + 2 * SWEEP_INTERVAL + 1

        run_virtually(main())

    def test_restarted_triggerer_asks_for_videos_long_past_their_deadlines(self) -> None:
        async def main() -> None:
            world = World(completed, ceiling=20.0)
            ends = await asyncio.gather(*world.start(1200, seconds=-200.0))
            assert all(isinstance(end, Done) for end in ends)
            assert busiest_second(world.queries) <= 22

        run_virtually(main())

    def test_clock_that_leaps_ahead_ends_no_wait_unasked(self) -> None:
        async def main() -> None:
            world = World(processing, ceiling=1.0)
            tasks = world.start(50, seconds=3600.0)
            await asyncio.sleep(100)
            world.clock_is_ahead, world.answers = 7200.0, completed
            assert all(isinstance(end, Done) for end in await asyncio.gather(*tasks))

        run_virtually(main())


class TestConnection:
    def test_rotated_key_is_picked_up_during_wait(self) -> None:
        async def main() -> None:
            world = World(processing)
            tasks = world.start(100)
            await asyncio.sleep(60)
            valid = "new"

            def answers(name: str) -> Outcome:
                good = world.clients[-1].key == valid
                return (completed if now() > 1120 else processing)(name) if good else AuthenticationError("204")

            world.answers = answers
            await asyncio.sleep(10)  # refused, and nothing new in the connection yet
            world.key = valid
            assert all(isinstance(end, Done) for end in await asyncio.gather(*tasks))
            assert [client.key for client in world.clients] == ["key", "new"]
            assert world.clients[0].closed

        run_virtually(main())

    def test_connection_is_looked_up_once_without_refusal(self) -> None:
        async def main() -> None:
            world = World(lambda name: QueryError("502") if int(now()) % 3 else processing(name))
            tasks = world.start(20)
            await asyncio.sleep(1000)
            assert world.look_ups == 1
            await cancel(tasks)

        run_virtually(main())

    @pytest.mark.parametrize("kind", [OSError, TimeoutError, DeadlockImminentError])
    def test_look_up_that_fails_for_a_while_ends_no_wait(self, kind: type[BaseException]) -> None:
        async def main() -> None:
            world = World(completed)
            world.key = kind("the metadata database is away")
            tasks = world.start(3)
            await asyncio.sleep(100)
            assert all(not task.done() for task in tasks)
            world.key = "key"
            assert all(isinstance(end, Done) for end in await asyncio.gather(*tasks))

        run_virtually(main())

    @pytest.mark.parametrize(
        "error", [ConnectionMissingError("conn is not defined"), InvalidConnectionError("verify is no CA file.")]
    )
    def test_unusable_connection_ends_waits_only_after_a_while(self, error: DigitalHumanError) -> None:
        async def main() -> None:
            world = World(completed)
            world.key = error
            tasks = world.start(3)
            await asyncio.sleep(UNUSABLE_GRACE - 10)
            assert all(not task.done() for task in tasks)
            world.key = "key"
            assert all(isinstance(end, Done) for end in await asyncio.gather(*tasks))

            world = World(completed)
            world.key = error
            started, logged = now(), []
            waits = [*world.start(2), asyncio.create_task(world.wait("v", log=logged.append))]
            for end in await asyncio.gather(*waits):
                assert type(error_of(end)) is ConnectionMissingError
                assert str(error).rstrip(".") in str(error_of(end))
                assert not error_of(end).ends_retries
            assert UNUSABLE_GRACE <= now() - started <= UNUSABLE_GRACE + 120
            assert str(error).rstrip(".") in logged[0]
            assert "The video is not affected" in logged[0]

        run_virtually(main())

    def test_connection_that_becomes_usable_again_has_its_whole_grace_anew(self) -> None:
        async def main() -> None:
            world = World(processing)
            world.key = missing = InvalidConnectionError("host is no URL")
            tasks = world.start(1, seconds=7200)
            await asyncio.sleep(UNUSABLE_GRACE - 100)
            world.key = "key"
            await asyncio.sleep(120)
            await cancel(tasks)
            world.key = missing
            tasks = world.start(1, seconds=7200)
            await asyncio.sleep(UNUSABLE_GRACE - 10)
            assert not tasks[0].done()
            await cancel(tasks)

        run_virtually(main())

    @pytest.mark.parametrize("kind", [OSError, ConnectionMissingError, InvalidConnectionError])
    def test_look_up_that_fails_leaves_old_key_in_use(self, kind: type[Exception]) -> None:
        async def main() -> None:
            refusing = iter([True, True])
            world = World(lambda name: AuthenticationError("401") if next(refusing, False) else processing(name))
            task = asyncio.create_task(world.wait("v"))
            await asyncio.sleep(2)
            world.key = kind("the metadata database is away")
            await asyncio.sleep(60)
            assert len(world.asked["v"]) > 4
            assert len(world.clients) == 1
            await cancel([task])

        run_virtually(main())


class TestLeaving:
    def test_last_trigger_leaves_nothing_open(self) -> None:
        async def main() -> None:
            world = World(processing, latency=3.0)
            tasks = world.start(200)
            await asyncio.sleep(30)
            assert world.in_flight > 0
            await cancel(tasks[:-1])
            assert world.idle == 0
            assert not world.clients[0].closed
            await cancel(tasks[-1:])
            assert world.idle == 1
            assert world.clients[0].closed
            assert world.poller._sweep.cancelled()
            await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            assert world.in_flight == 0
            before = len(world.queries)
            await asyncio.sleep(1000)
            assert len(world.queries) == before

        run_virtually(main())

    def test_remaining_triggers_are_served_on(self) -> None:
        async def main() -> None:
            world = World(processing)
            tasks = world.start(100)
            await asyncio.sleep(30)
            await cancel(tasks[10:])
            gone = {name: len(world.asked[name]) for name in (f"v{number}" for number in range(10, 100))}
            await asyncio.sleep(60)
            assert {name: len(world.asked[name]) for name in gone} == gone
            world.answers = completed
            assert all(isinstance(end, Done) for end in await asyncio.gather(*tasks[:10]))

        run_virtually(main())

    def test_poller_that_has_ended_serves_no_new_trigger(self) -> None:
        async def main() -> None:
            first = poller_for("c", no_client)
            task = asyncio.create_task(first.wait_for(VideoWait("v", deadline=now() + 60), 30.0, str))
            await asyncio.sleep(1)
            assert poller_for("c", no_client) is first
            await cancel([task])
            assert poller_for("c", no_client) is not first

        run_virtually(main())

    def test_cancelled_wait_leaves_no_reference(self) -> None:
        async def main() -> None:
            world = World(processing)
            task = asyncio.create_task(world.wait("v"))
            await asyncio.sleep(30)
            await cancel([task])
            del task
            await asyncio.sleep(0)
            gc.collect()
            assert not [item for item in gc.get_objects() if type(item) is poller_module._Waiter]

        run_virtually(main())

    def test_mistake_in_decision_does_not_leave_trigger_waiting(self, monkeypatch: Any) -> None:
        def broken(*_: object) -> None:
            raise ZeroDivisionError

        async def main() -> None:
            monkeypatch.setattr(VideoWait, "judge", broken)
            with pytest.raises(ZeroDivisionError):
                await World(processing).wait("v")

        run_virtually(main())
