"""One poller for all waiting videos of a connection: one HTTP client, one pace, the oldest query first.

A waiting video costs an entry in a heap. There is no timer and no coroutine of the poller for each of them: one timer
is set for the query that is due next, and what is due within the same quarter of a second leaves together.
"""

import asyncio
import contextvars
import heapq
import itertools
import math
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Protocol
from weakref import WeakKeyDictionary

from airflow_provider_digitalhuman.api.endpoints import DEFAULT_QUERIES_PER_SECOND
from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.exceptions import (
    AuthenticationError,
    ConnectionMissingError,
    DigitalHumanError,
    InvalidConnectionError,
    QueryError,
    RateLimitError,
)
from airflow_provider_digitalhuman.waiting.decision import Done, Failed, VideoWait, Wait
from airflow_provider_digitalhuman.waiting.progress_log import Lines, Speaker
from airflow_provider_digitalhuman.waiting.rate_limiter import TICK, Pace

if TYPE_CHECKING:
    from airflow_provider_digitalhuman.connection.settings import ConnectionSettings

MAX_CONNECTIONS: Final = 32
"""Queries at the same time, and so HTTP connections, for one key."""
LATE: Final = 60.0
"""Seconds after its deadline from which on a video that could not be asked for yet is asked for before all others."""
LAST_QUERY_GRACE: Final = 60.0
"""Seconds that it then has for this last query; by the loop's clock, whatever the wall clock has done meanwhile."""
RELOOKUP_PAUSE: Final = 5.0
"""Seconds between two look-ups of the connection while its key is refused."""
MISSING_GRACE: Final = 300.0
"""Seconds from which on a connection that is not found is taken for one that is not there: a secrets backend or an
API server that does not answer for a while looks the same."""
LOOKUP_TIMEOUT: Final = 60.0
"""Seconds for a look-up of the connection."""
TOGETHER: Final = 0.25
"""Seconds between two moments at which those due by then leave, as far as the ceiling allows: of 200 queries a second,
each then takes 0.3 of the CPU that it takes alone."""
SWEEP_INTERVAL: Final = 30.0
"""Seconds between two looks for videos that are past all deadlines."""


class Client(Protocol):
    """What the poller asks through; :class:`~airflow_provider_digitalhuman.connection.query_client.QueryClient`."""

    async def query_video(self, video_task_id: str) -> VideoTask:
        """Ask once."""

    def close(self) -> None:
        """Close the connections."""


async def read_settings(digitalhuman_conn_id: str) -> "ConnectionSettings":
    """Look up and check an Airflow connection without blocking the event loop.

    :raises ConnectionMissingError: if Airflow has none.
    :raises InvalidConnectionError: if a field of it cannot be used.
    """
    from airflow.providers.common.compat.connection import get_async_connection
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    from airflow_provider_digitalhuman.connection.settings import ConnectionSettings

    try:
        connection = await get_async_connection(digitalhuman_conn_id)
    except AirflowNotFoundException as error:
        raise ConnectionMissingError(str(error)) from error
    return ConnectionSettings.from_connection(connection)


async def open_client(settings: "ConnectionSettings") -> Client:
    """Return an HTTP client for a connection."""
    from airflow_provider_digitalhuman.connection.query_client import QueryClient

    return await QueryClient.open(settings)


class _Waiter:
    __slots__ = ("ended", "late_since", "speaker", "wait")

    def __init__(self, wait: VideoWait, speaker: Speaker, ended: "asyncio.Future[Done | Failed]") -> None:
        self.wait = wait
        self.speaker = speaker
        self.ended = ended
        self.late_since: float | None = None

    @property
    def is_late(self) -> bool:
        """Whether only its last query is left to it."""
        return self.late_since is not None


class Poller:
    """Asks for all waiting videos of one connection on one event loop; see :func:`poller_for`.

    :param on_idle: called when nobody waits any more.
    :param settings: looks up the connection.
    :param client: opens the HTTP client for it.
    :param clock: Unix seconds.
    """

    def __init__(
        self,
        digitalhuman_conn_id: str,
        *,
        on_idle: Callable[[], object],
        settings: Callable[[str], Awaitable["ConnectionSettings"]] = read_settings,
        client: Callable[["ConnectionSettings"], Awaitable[Client]] = open_client,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._conn_id = digitalhuman_conn_id
        self._on_idle = on_idle
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._access = _Access(digitalhuman_conn_id, settings, client)
        self._waiting: set[_Waiter] = set()
        self._due: list[tuple[float, int, _Waiter]] = []
        self._order = itertools.count()  # first come, first served among those due at the same time
        self._queries: dict[int, asyncio.Task[None]] = {}
        self._lines = Lines()
        self._timer: asyncio.TimerHandle | None = None
        # A context of its own, not that of the first trigger: what is logged in there belongs to none of them.
        self._context = contextvars.Context()
        self._set_sweep()

    async def wait_for(self, wait: VideoWait, first_in: float, say: Callable[[str], object]) -> Done | Failed:
        """Wait until the decision about a video is final.

        :param first_in: seconds until its first query.
        :param say: where the lines of progress go; called in the caller's context, but maybe by another thread.
        """
        waiter = _Waiter(wait, Speaker(say), self._loop.create_future())
        self._waiting.add(waiter)
        self._put(waiter, first_in)
        self._set_timer()
        try:
            return await waiter.ended
        finally:  # also when the trigger is cancelled
            self._waiting.discard(waiter)
            self._lines.end(waiter.speaker)
            if not self._waiting:
                self._close()

    def _put(self, waiter: _Waiter, seconds: float) -> None:
        heapq.heappush(self._due, (self._loop.time() + seconds, next(self._order), waiter))

    def _set_timer(self) -> None:
        if not self._due or not self._has_room():
            return  # the end of a query comes here again
        if self._timer is not None and self._timer.when() - TOGETHER < self._due[0][0]:
            return  # with it, or when it has come
        # On a grid of times; what is late by more than a step of it leaves at once.
        due, _, waiter = self._due[0]
        allowed = self._access.pace.next_query_at(in_a_pause=waiter.is_late)
        when = max(_next_step(due, TOGETHER), _next_step(allowed, TICK))
        if self._timer is not None:
            if self._timer.when() <= when:
                return  # it will set the next one
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._ask_those_due, context=self._context)

    def _ask_those_due(self) -> None:
        self._timer = None
        now = self._loop.time()
        pace = self._access.pace
        while self._due and self._due[0][0] <= now and self._has_room():
            waiter = self._due[0][2]
            if waiter.ended.done():
                heapq.heappop(self._due)
            elif pace.next_query_at(in_a_pause=waiter.is_late) <= now:
                heapq.heappop(self._due)
                pace.sent(now)
                number = next(self._order)
                self._queries[number] = self._loop.create_task(self._ask(waiter, number))
            else:
                break
        self._set_timer()

    def _has_room(self) -> bool:
        # While the connection is looked up one query is enough: those that piled up would leave all at once.
        return len(self._queries) < (MAX_CONNECTIONS if self._access.is_open else 1)

    async def _ask(self, waiter: _Waiter, number: int) -> None:
        try:
            outcome = await self._access.query(waiter.wait.video_task_id)
            if not waiter.ended.done():
                self._judge(waiter, outcome)
        finally:  # in here, as a callback of the task would be one more thing for the loop to do
            self._queries.pop(number, None)
            self._set_timer()

    def _judge(self, waiter: _Waiter, outcome: VideoTask | DigitalHumanError) -> None:
        try:
            decision = waiter.wait.judge(outcome, self._clock())
            if isinstance(decision, Wait):
                self._put(waiter, decision.seconds)
                if decision.say:
                    self._lines.add(waiter.speaker, decision.say, news=decision.news)
            else:
                waiter.ended.set_result(decision)
        except Exception as error:  # a mistake in here must not leave a trigger waiting for ever
            if not waiter.ended.done():
                waiter.ended.set_exception(error)

    def _see_to_those_late(self) -> None:
        """Put the last query of a wait first, and not off by a pause; end the wait where that does not help either."""
        self._set_sweep()
        now, wall_clock = self._loop.time(), self._clock()
        for waiter in self._waiting:
            if waiter.ended.done() or wall_clock < waiter.wait.deadline + LATE:
                continue
            if waiter.late_since is None:
                waiter.late_since = now
                heapq.heappush(self._due, (0.0, next(self._order), waiter))
            elif now > waiter.late_since + LAST_QUERY_GRACE:
                waiter.ended.set_result(waiter.wait.timed_out())
        self._set_timer()

    def _set_sweep(self) -> None:
        self._sweep = self._loop.call_later(SWEEP_INTERVAL, self._see_to_those_late, context=self._context)

    def _close(self) -> None:
        self._on_idle()
        self._sweep.cancel()
        self._lines.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due.clear()
        for query in self._queries.values():
            query.cancel()
        self._queries.clear()
        self._access.close()


def _next_step(when: float, step: float) -> float:
    return max(when, math.ceil(when / step) * step)  # which can come out a little before it


class _Access:
    """The connection as it was looked up last, and the client for it."""

    def __init__(
        self,
        conn_id: str,
        settings: Callable[[str], Awaitable["ConnectionSettings"]],
        client: Callable[["ConnectionSettings"], Awaitable[Client]],
    ) -> None:
        self.pace = Pace(DEFAULT_QUERIES_PER_SECOND)
        self._conn_id = conn_id
        self._read_settings = settings
        self._open_client = client
        self._loop = asyncio.get_running_loop()
        self._lock = asyncio.Lock()
        self._settings: ConnectionSettings | None = None
        self._client: Client | None = None
        self._looked_up = float("-inf")
        self._missing_since: float | None = None
        self._key_refused = False

    @property
    def is_open(self) -> bool:
        """False while queries would have to wait for a look-up."""
        return self._client is not None and not self._lock.locked()

    async def query(self, video_task_id: str) -> VideoTask | DigitalHumanError:
        """Return the outcome of one query; never raises."""
        sent_at = self._loop.time()
        try:
            client = await self._current_client()
            outcome: VideoTask | DigitalHumanError = await client.query_video(video_task_id)
        except DigitalHumanError as error:
            outcome = error
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit):
            raise
        # Such as a metadata database that is away for a moment. Not only Exception: Airflow's DeadlockImminentError,
        # with which older versions answer a look-up in the middle of another request, is none.
        except BaseException as error:
            reason = f"{type(error).__name__}: {error}"
            outcome = QueryError(f"The query for video task {video_task_id} could not be made: {reason}.")
        self._learn(outcome, sent_at)
        return outcome

    def close(self) -> None:
        """Close the client; the next query looks the connection up again."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _learn(self, outcome: VideoTask | DigitalHumanError, sent_at: float) -> None:
        if isinstance(outcome, RateLimitError) or (isinstance(outcome, QueryError) and outcome.retry_after):
            self.pace.refused(sent_at, self._loop.time(), outcome.retry_after)
        elif not isinstance(outcome, QueryError):
            self.pace.answered()
        if isinstance(outcome, AuthenticationError) and sent_at >= self._looked_up:
            self._key_refused = True

    async def _current_client(self) -> Client:
        if self._client is None or self._must_look_up():
            async with self._lock:
                if self._client is None or self._must_look_up():
                    await self._look_up()
        assert self._client is not None
        return self._client

    def _must_look_up(self) -> bool:
        return self._key_refused and self._loop.time() >= self._looked_up + RELOOKUP_PAUSE

    def _is_long_missing(self) -> bool:
        if self._missing_since is None:
            self._missing_since = self._loop.time()
        return self._loop.time() >= self._missing_since + MISSING_GRACE

    async def _look_up(self) -> None:
        self._looked_up = self._loop.time()
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT):
                settings = await self._read_settings(self._conn_id)
        except InvalidConnectionError:
            raise
        except Exception as error:
            if self._client is not None:
                return  # the old key may still do; the next refusal looks again
            if isinstance(error, ConnectionMissingError) and not self._is_long_missing():
                raise QueryError(f"The connection cannot be looked up: {error}.") from error
            raise
        self._missing_since = None
        if settings != self._settings or self._client is None:
            client = await self._open_client(settings)
            self.close()
            self._client, self._settings = client, settings
            if settings.max_queries_per_second != self.pace.ceiling:
                self.pace = Pace(settings.max_queries_per_second)
        self._looked_up = self._loop.time()
        self._key_refused = False


_POLLERS: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Poller]]" = WeakKeyDictionary()


def poller_for(digitalhuman_conn_id: str) -> Poller:
    """Return the running event loop's poller for a connection; it goes when the last who waits has left."""
    pollers = _POLLERS.setdefault(asyncio.get_running_loop(), {})
    if digitalhuman_conn_id not in pollers:
        pollers[digitalhuman_conn_id] = Poller(
            digitalhuman_conn_id, on_idle=lambda: pollers.pop(digitalhuman_conn_id, None)
        )
    return pollers[digitalhuman_conn_id]
