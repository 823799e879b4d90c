"""One poller for all waiting videos of a connection: one client, one rate limiter, the longest-waiting query first.

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
from dataclasses import dataclass
from typing import Final, Protocol
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
    naming_connection,
)
from airflow_provider_digitalhuman.waiting.decision import Done, Failed, VideoWait, Wait
from airflow_provider_digitalhuman.waiting.progress_log import LogTarget, ProgressLog
from airflow_provider_digitalhuman.waiting.rate_limiter import TICK, RateLimiter

MAX_CONNECTIONS: Final = 32
"""Queries at the same time, and so HTTP connections, for one key."""
OVERDUE: Final = 60.0
"""Seconds after its deadline from which on a video that could not be asked for yet is asked for before all others."""
LAST_QUERY_GRACE: Final = 60.0
"""Seconds that it then has for this last query; by the loop's clock, whatever the wall clock has done meanwhile."""
RELOOKUP_PAUSE: Final = 5.0
"""Seconds between two look-ups of the connection while its key is refused."""
UNUSABLE_GRACE: Final = 300.0
"""Seconds from which on a connection that is not found, or cannot be used here, ends the waits: a secrets backend or an
API server that does not answer for a while looks the same, and a CA file can be put in place meanwhile."""
LOOKUP_TIMEOUT: Final = 60.0
"""Seconds for a look-up of the connection."""
TOGETHER: Final = 0.25
"""Seconds between two moments at which those due by then leave, as far as the rate allows. Of 200 queries a second, one
then takes 0.3 of the CPU that it takes alone."""
SWEEP_INTERVAL: Final = 30.0
"""Seconds between two looks for videos that are overdue."""


class Client(Protocol):
    """Asks for videos through one connection."""

    @property
    def max_queries_per_second(self) -> float:
        """The ceiling that the connection sets."""

    async def query_video(self, video_task_id: str) -> VideoTask:
        """Ask once."""

    async def close(self) -> None:
        """Close all that is open; queries that are under way may fail."""


ClientFactory = Callable[[str, Client | None], Awaitable[Client]]
"""Looks a connection up by its ID, and returns a client for it: the given one, where nothing has changed.

It raises ``ConnectionMissingError`` or ``InvalidConnectionError`` for a connection that cannot be used."""


@dataclass(slots=True, eq=False)
class _Waiter:
    """One waiting trigger.

    :param ended: what its wait came to.
    :param overdue_since: when its last query was put before all others; None before that.
    """

    wait: VideoWait
    log_target: LogTarget
    ended: "asyncio.Future[Done | Failed]"
    overdue_since: float | None = None

    @property
    def is_overdue(self) -> bool:
        """Whether only its last query is left to it."""
        return self.overdue_since is not None


class Poller:
    """Asks for all waiting videos of one connection on one event loop; see :func:`poller_for`.

    :param open_client: looks up the connection, and opens the client for it.
    :param on_idle: called when nobody waits any more.
    :param clock: Unix seconds.
    """

    def __init__(
        self,
        digitalhuman_conn_id: str,
        open_client: ClientFactory,
        *,
        on_idle: Callable[[], object],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._on_idle = on_idle
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._access = _Access(digitalhuman_conn_id, open_client)
        self._waiting: set[_Waiter] = set()
        self._due: list[tuple[float, int, _Waiter]] = []
        self._order = itertools.count()  # first come, first served among those due at the same time
        self._queries: set[asyncio.Task[None]] = set()
        self._progress = ProgressLog()
        self._timer: asyncio.TimerHandle | None = None
        # A context of its own, not that of the first trigger: what is logged in there belongs to none of them.
        self._context = contextvars.Context()
        self._set_sweep()

    async def wait_for(self, wait: VideoWait, first_in: float, log: Callable[[str], object]) -> Done | Failed:
        """Wait until the decision about a video is final.

        :param first_in: seconds until its first query.
        :param log: where progress is logged; called in the caller's context, but maybe by another thread.
        """
        waiter = _Waiter(wait, LogTarget(log), self._loop.create_future())
        self._waiting.add(waiter)
        self._put(waiter, first_in)
        self._set_timer()
        try:
            return await waiter.ended
        finally:  # also when the trigger is cancelled
            self._waiting.discard(waiter)
            self._progress.end(waiter.log_target)
            if not self._waiting:
                await self._close()

    def _put(self, waiter: _Waiter, seconds: float) -> None:
        heapq.heappush(self._due, (self._loop.time() + seconds, next(self._order), waiter))

    def _set_timer(self) -> None:
        if not self._due or not self._has_room():
            return  # the end of a query comes here again
        if self._timer is not None and self._timer.when() - TOGETHER < self._due[0][0]:
            return  # with it, or when it has come
        # On a grid of times; what is overdue by more than a step of it leaves at once.
        due, _, waiter = self._due[0]
        allowed = self._access.limiter.next_query_at(ignore_pause=waiter.is_overdue)
        when = max(_next_step(due, TOGETHER), _next_step(allowed, TICK))
        if self._timer is not None:
            if self._timer.when() <= when:
                return  # it will set the next one
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._ask_those_due, context=self._context)

    def _ask_those_due(self) -> None:
        self._timer = None
        now = self._loop.time()
        limiter = self._access.limiter
        while self._due and self._due[0][0] <= now and self._has_room():
            waiter = self._due[0][2]
            if waiter.ended.done():
                heapq.heappop(self._due)
            elif limiter.next_query_at(ignore_pause=waiter.is_overdue) <= now:
                heapq.heappop(self._due)
                limiter.sent(now)
                query = self._loop.create_task(self._ask(waiter))
                self._queries.add(query)
                query.add_done_callback(self._query_ended)
            else:
                break
        self._set_timer()

    def _has_room(self) -> bool:
        # While the connection is looked up one query is enough: those that piled up would leave all at once.
        return len(self._queries) < (MAX_CONNECTIONS if self._access.is_open else 1)

    async def _ask(self, waiter: _Waiter) -> None:
        outcome = await self._access.query(waiter.wait.video_task_id)
        if not waiter.ended.done():
            self._judge(waiter, outcome)

    def _query_ended(self, query: "asyncio.Task[None]") -> None:
        self._queries.discard(query)
        self._set_timer()

    def _judge(self, waiter: _Waiter, outcome: VideoTask | DigitalHumanError) -> None:
        try:
            decision = waiter.wait.judge(outcome, self._clock())
            if isinstance(decision, Wait):
                self._put(waiter, decision.seconds)
                if decision.message:
                    self._progress.add(waiter.log_target, decision.message, status_change=decision.status_change)
            else:
                waiter.ended.set_result(decision)
        except Exception as error:  # a mistake in here must not leave a trigger waiting for ever
            if not waiter.ended.done():
                waiter.ended.set_exception(error)

    def _sweep_overdue(self) -> None:
        """Put the last query of a wait first, and let no pause hold it back; end the wait if that does not help."""
        self._set_sweep()
        now, wall_clock = self._loop.time(), self._clock()
        for waiter in self._waiting:
            if waiter.ended.done() or wall_clock < waiter.wait.deadline + OVERDUE:
                continue
            if waiter.overdue_since is None:
                waiter.overdue_since = now
                heapq.heappush(self._due, (0.0, next(self._order), waiter))
            elif now > waiter.overdue_since + LAST_QUERY_GRACE:
                waiter.ended.set_result(waiter.wait.timed_out())
        self._set_timer()

    def _set_sweep(self) -> None:
        self._sweep = self._loop.call_later(SWEEP_INTERVAL, self._sweep_overdue, context=self._context)

    async def _close(self) -> None:
        self._on_idle()
        self._sweep.cancel()
        self._progress.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due.clear()
        for query in self._queries:
            query.cancel()
        await self._access.close()


def _next_step(when: float, step: float) -> float:
    return max(when, math.ceil(when / step) * step)  # which can come out a little before it


class _Access:
    """The client for the connection as it was looked up last, and the rate limiter of its key."""

    def __init__(self, conn_id: str, open_client: ClientFactory) -> None:
        self.limiter = RateLimiter(DEFAULT_QUERIES_PER_SECOND)
        self._conn_id = conn_id
        self._open_client = open_client
        self._loop = asyncio.get_running_loop()
        self._lock = asyncio.Lock()
        self._client: Client | None = None
        self._looked_up_at = float("-inf")
        self._unusable_since: float | None = None
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
        except AuthenticationError as error:
            outcome = naming_connection(error, self._conn_id)
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

    async def close(self) -> None:
        """Close the client; the next query looks the connection up again."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _learn(self, outcome: VideoTask | DigitalHumanError, sent_at: float) -> None:
        if isinstance(outcome, RateLimitError):
            self.limiter.slow_down(sent_at, self._loop.time(), outcome.retry_after)
        elif not isinstance(outcome, QueryError):
            self.limiter.answered()
        if isinstance(outcome, AuthenticationError) and sent_at >= self._looked_up_at:
            self._key_refused = True

    async def _current_client(self) -> Client:
        if self._client is None or self._must_look_up():
            async with self._lock:
                if self._client is None or self._must_look_up():
                    await self._look_up()
        assert self._client is not None
        return self._client

    def _must_look_up(self) -> bool:
        return self._key_refused and self._loop.time() >= self._looked_up_at + RELOOKUP_PAUSE

    async def _look_up(self) -> None:
        self._looked_up_at = self._loop.time()
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT):
                client = await self._open_client(self._conn_id, self._client)
        except Exception as error:
            if self._client is not None:
                return  # the old key may still be good; the next refusal looks again
            if isinstance(error, ConnectionMissingError | InvalidConnectionError):
                raise self._unusable(error) from error
            raise
        self._unusable_since = None
        self._looked_up_at = self._loop.time()
        self._key_refused = False
        former, self._client = self._client, client
        if client.max_queries_per_second != self.limiter.ceiling:
            self.limiter = RateLimiter(client.max_queries_per_second)
        if former is not None and former is not client:
            await former.close()

    def _unusable(self, error: ConnectionMissingError | InvalidConnectionError) -> DigitalHumanError:
        """Return what a query comes to without a usable connection: first an error of it, after a while the last."""
        now, reason = self._loop.time(), str(error).rstrip(".")
        if self._unusable_since is None:
            self._unusable_since = now
        if now < self._unusable_since + UNUSABLE_GRACE:
            return QueryError(f"The triggerer cannot use the connection: {reason}.")
        if isinstance(error, ConnectionMissingError):
            return error
        # Not the error itself, which ends Airflow's retries: a worker may well be able to use the connection.
        return ConnectionMissingError(
            f"The triggerer could not use the connection for {UNUSABLE_GRACE / 60:.0f} minutes: {reason}. The video is"
            " not affected: another try or a clear of this Airflow task goes on waiting for it."
        )


_POLLERS: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Poller]]" = WeakKeyDictionary()


def poller_for(digitalhuman_conn_id: str, open_client: ClientFactory) -> Poller:
    """Return the running event loop's poller for a connection; it goes when the last trigger has left.

    :param open_client: for a poller that has to be made.
    """
    pollers = _POLLERS.setdefault(asyncio.get_running_loop(), {})
    if digitalhuman_conn_id not in pollers:
        pollers[digitalhuman_conn_id] = Poller(
            digitalhuman_conn_id, open_client, on_idle=lambda: pollers.pop(digitalhuman_conn_id, None)
        )
    return pollers[digitalhuman_conn_id]
