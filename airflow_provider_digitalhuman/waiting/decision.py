"""The waiting: what the outcome of a query means for the wait. One decision for every way of waiting.

Pure: no I/O, no Airflow, no clock of its own. The blocking wait, the sensor's pokes and the triggers' poller
all ask :class:`VideoWait`, so they cannot end differently. The rules are the contract's F13-F19.
"""

import random
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime
from typing import Final, NoReturn

from airflow_provider_digitalhuman.api.endpoints import MAX_POLL_INTERVAL, MIN_POLL_INTERVAL
from airflow_provider_digitalhuman.api.glossary import glossed
from airflow_provider_digitalhuman.api.response import TaskStatus, VideoTask
from airflow_provider_digitalhuman.api.retry_after import LONGEST_RETRY_AFTER
from airflow_provider_digitalhuman.exceptions import (
    AuthenticationError,
    DigitalHumanError,
    QueryError,
    RateLimitError,
    VideoFailedError,
    VideoTaskNotFoundError,
    VideoUrlMissingError,
    WaitTimeoutError,
)

DEFAULT_POLL_INTERVAL: Final = (MIN_POLL_INTERVAL + MAX_POLL_INTERVAL) / 2
"""Seconds between two queries for a young task; the jitter spreads it over what the vendor asks, 5 to 10."""
JITTER: Final = 1 / 3
"""Share of an interval that chance adds or takes away, so that tasks submitted together are not asked together."""
AGE_SHARE: Final = 0.05
"""Share of a task's age that may pass between two queries: what is found late is found 5 % late at most."""
LONGEST_GROWTH: Final = 4.0
"""How many times the poll interval it grows to with the task's age."""

REFUSED_KEY_TRIES: Final = 6
"""Answers in a row that refuse the key before the wait ends; a good key is refused for a while now and then (F14)."""
NOT_FOUND_GRACE: Final = 60.0
"""Seconds after the create (or the start of the wait) in which an unknown ID does not count (F15)."""
NOT_FOUND_TRIES: Final = 3
"""Answers in a row, after the grace, that do not know the ID before the wait ends."""
NO_URL_TRIES: Final = 5
"""Answers ``completed`` without a URL before the wait ends (F18)."""
LONGEST_BACKOFF: Final = 60.0
"""Seconds between two queries after errors in a row, unless the poll interval is longer or the server names a time."""

_FIRST_MESSAGE_PAUSE: Final = 120.0
_LONGEST_MESSAGE_PAUSE: Final = 600.0


@dataclass(frozen=True, slots=True)
class Wait:
    """Ask again.

    :param seconds: when.
    :param message: a line for the log; most of the time there is none.
    :param status_change: True where the message is about a new status or a new kind of error; False where it only says
        that the video is still waited for.
    :param tentative: True where answers are counted (a refused key, an unknown ID, a missing URL).
        The count starts again from one where the :class:`VideoWait` is not kept until the next query.
    """

    seconds: float
    message: str | None = None
    status_change: bool = False
    tentative: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """The video is made, and its URL is there."""

    task: VideoTask

    def result(self) -> VideoTask:
        """Return the completed task."""
        return self.task


@dataclass(frozen=True, slots=True)
class Failed:
    """The wait has ended without a video; the error says why and what can be done."""

    error: DigitalHumanError

    def result(self) -> NoReturn:
        """Raise the error."""
        raise self.error


WaitDecision = Wait | Done | Failed


@dataclass(slots=True, eq=False)
class VideoWait:
    """The wait for one video: takes the outcome of each query, and returns what to do.

    :param video_task_id: the vendor's task ID.
    :param deadline: absolute, in Unix seconds. What an answer says about the video goes before it.
    :param poll_interval: seconds between two queries; None: 7.5, which the jitter spreads over the 5 to 10 that
        the vendor asks for. It grows with the task's age, up to four times.
    :param fixed_interval: True to take ``poll_interval`` as it is, without jitter and growth.
    :param submitted_at: Unix seconds of the create where they are known.
    :param started_at: Unix seconds of the start of the wait; None: the first outcome's.
    :param chance: a random number from 0 up to 1; replaced by tests.
    """

    video_task_id: str
    _: KW_ONLY
    deadline: float
    poll_interval: float | None = None
    fixed_interval: bool = False
    submitted_at: float | None = None
    started_at: float | None = None
    chance: Callable[[], float] = random.random
    _interval: float = field(init=False)
    _processing_at: float | None = field(default=None, init=False)
    _completed_at: float | None = field(default=None, init=False)
    _refused: int = field(default=0, init=False)
    _not_found: int = field(default=0, init=False)
    _no_url: int = field(default=0, init=False)
    _errors: int = field(default=0, init=False)
    _last: str = field(default="no query has been answered", init=False)
    _progress: "_ProgressMessages" = field(init=False)

    def __post_init__(self) -> None:
        self._interval = DEFAULT_POLL_INTERVAL if self.poll_interval is None else self.poll_interval
        self._progress = _ProgressMessages(self.video_task_id)

    def judge(self, outcome: VideoTask | DigitalHumanError, now: float) -> WaitDecision:
        """Decide what the outcome of a query means.

        :param outcome: the task as the API reports it, or the error that the query ended with.
        :param now: Unix seconds.
        """
        if self.started_at is None:
            self.started_at = now
        decision = self._judge_task(outcome, now) if isinstance(outcome, VideoTask) else self._judge_error(outcome, now)
        if not isinstance(decision, Wait):
            return decision
        if now >= self.deadline:
            return self.timed_out()
        # Never past the deadline, so that the last query still sees a video that is just finished.
        seconds = min(decision.seconds, self.deadline - now)
        status_change = self._progress.is_change(outcome)
        message = self._progress.message(outcome, status_change, self._age(now), seconds, now)
        return Wait(seconds, message, status_change, decision.tentative)

    def timed_out(self) -> Failed:
        """Return the end of the wait at its deadline; :meth:`judge` decides when (contract F19)."""
        deadline = datetime.fromtimestamp(self.deadline, UTC).isoformat(sep=" ", timespec="seconds")
        return Failed(
            WaitTimeoutError(
                f"Video task {self.video_task_id} was not finished by {deadline}; the last that is known: {self._last}."
                " It goes on at the vendor and is probably charged. Another try or a clear of this Airflow task goes on"
                " waiting for it, and nothing is submitted again."
            )
        )

    def times(self) -> dict[str, float | None]:
        """Return ``queue_seconds`` and ``processing_seconds``, as exact as the queries were; None is not known."""
        return {
            "queue_seconds": _between(self.submitted_at, self._processing_at),
            "processing_seconds": _between(self._processing_at, self._completed_at),
        }

    def _judge_task(self, task: VideoTask, now: float) -> WaitDecision:
        self._refused = self._not_found = self._errors = 0
        self._last = f"status {task.status!r}"
        self._note_times(task, now)
        if task.is_failed:
            return Failed(_video_failed(self.video_task_id, task))
        if not task.is_completed:
            return Wait(self._next_in(now))
        if task.video_url:
            return Done(task)
        self._no_url += 1
        if self._no_url >= NO_URL_TRIES or now >= self.deadline:
            return Failed(_url_missing(self.video_task_id, self._no_url))
        return self._tentative(self._no_url)

    def _judge_error(self, error: DigitalHumanError, now: float) -> WaitDecision:
        self._last = str(error).rstrip(".")
        if isinstance(error, AuthenticationError):
            self._refused += 1
            if self._refused >= REFUSED_KEY_TRIES:
                return _failed(_key_refused(self.video_task_id, self._refused, error), error)
            return self._tentative(self._refused)
        if isinstance(error, VideoTaskNotFoundError):
            if now < self._since() + NOT_FOUND_GRACE:
                return Wait(self._next_in(now))
            self._not_found += 1
            if self._not_found >= NOT_FOUND_TRIES:
                return _failed(_not_found(self.video_task_id, error), error)
            return self._tentative(self._not_found)
        if isinstance(error, RateLimitError | QueryError):
            self._errors += 1
            return Wait(max(self._backoff(now), min(error.retry_after or 0.0, LONGEST_RETRY_AFTER)))
        return Failed(error)

    def _note_times(self, task: VideoTask, now: float) -> None:
        if task.created is not None and self.submitted_at is None:
            self.submitted_at = task.created.timestamp()
        if task.status == TaskStatus.PROCESSING and self._processing_at is None:
            self._processing_at = now
        if task.is_completed and self._completed_at is None:
            self._completed_at = now

    def _since(self) -> float:
        return self.submitted_at if self.submitted_at is not None else self.started_at or 0.0

    def _age(self, now: float) -> float:
        return max(0.0, now - self._since())

    def _next_in(self, now: float) -> float:
        if self.fixed_interval:
            return self._interval
        grown = min(max(1.0, self._age(now) * AGE_SHARE / self._interval), LONGEST_GROWTH)
        return self._jittered(self._interval * grown)

    def _backoff(self, now: float) -> float:
        longest = max(LONGEST_BACKOFF, self._interval)
        return max(self._next_in(now), min(self._interval * 2.0 ** min(self._errors - 1, 9), longest))

    def _tentative(self, count: int) -> Wait:
        # Not by the poll interval, which can be minutes: this is to be settled now. Further apart each time.
        return Wait(self._jittered(min(self._interval, DEFAULT_POLL_INTERVAL) * count), tentative=True)

    def _jittered(self, seconds: float) -> float:
        return seconds * (1 - JITTER + 2 * JITTER * self.chance())


@dataclass(slots=True, eq=False)
class _ProgressMessages:
    """The lines of one wait for the log: each change, and else one at growing intervals; never one per query."""

    video_task_id: str
    _status: str | None = None
    _error_kinds: frozenset[str] = frozenset()
    _next_at: float = 0.0
    _pause: float = _FIRST_MESSAGE_PAUSE

    def is_change(self, outcome: VideoTask | DigitalHumanError) -> bool:
        """Return whether the status is new, or the kind of error; one that comes and goes is new once."""
        if isinstance(outcome, VideoTask):
            return outcome.status != self._status
        return type(outcome).__name__ not in self._error_kinds

    def message(
        self, outcome: VideoTask | DigitalHumanError, status_change: bool, age: float, next_in: float, now: float
    ) -> str | None:
        """Return the line that is due now; None where none is."""
        if not status_change and now < self._next_at:
            return None
        if now >= self._next_at:
            self._next_at = now + self._pause
            self._pause = min(self._pause * 2, _LONGEST_MESSAGE_PAUSE)
        if isinstance(outcome, VideoTask):
            self._status = outcome.status
            return self._status_message(outcome, age, next_in)
        self._error_kinds |= {type(outcome).__name__}
        return f"{outcome} The video is not affected; next query in {next_in:.0f} s."

    def _status_message(self, task: VideoTask, age: float, next_in: float) -> str:
        known = "" if task.is_known_status else " (a word that the vendor does not document: taken for a running task)"
        lacking = " without a URL" if task.is_completed else ""
        shown = f"{age:.0f} s" if age < 120 else f"{age / 60:.0f} min"
        return (
            f"Video task {self.video_task_id}: {task.status}{known}{lacking},"
            f" {shown} old; next query in {next_in:.0f} s."
        )


def query_outcome(query: Callable[[], VideoTask]) -> VideoTask | DigitalHumanError:
    """Return what ``query`` returns, or the error of this provider that it raises."""
    try:
        return query()
    except DigitalHumanError as error:
        return error


def wait_blocking(
    query: Callable[[], VideoTask],
    wait: VideoWait,
    *,
    log: Callable[[str], object],
    sleep: Callable[[float], object],
    clock: Callable[[], float],
) -> VideoTask:
    """Ask until the video is made; holds the calling thread meanwhile.

    :param query: one query, such as ``lambda: hook.query_video(video_task_id)``.
    :param log: where the few lines of progress go, such as ``self.log.info``.
    :param sleep: ``time.sleep``.
    :param clock: ``time.time``.
    :returns: the completed task, with its URL.
    :raises DigitalHumanError: what :class:`VideoWait` decided.
    """
    while True:
        decision = wait.judge(query_outcome(query), clock())
        if not isinstance(decision, Wait):
            return decision.result()
        if decision.message:
            log(decision.message)
        sleep(decision.seconds)


def _between(start: float | None, end: float | None) -> float | None:
    # The vendor's clock and this one can differ: no negative times.
    return None if start is None or end is None else round(max(0.0, end - start), 3)


def _failed(error: DigitalHumanError, cause: DigitalHumanError) -> Failed:
    error.__cause__ = cause
    return Failed(error)


def _video_failed(video_task_id: str, task: VideoTask) -> VideoFailedError:
    reason = f"the vendor says: {glossed(task.error)}" if task.error else "the vendor gives no reason"
    return VideoFailedError(
        f"Video task {video_task_id} ended as {task.status!r} without a video; {reason.rstrip('.')}."
        " Whether it was charged is not known.",
        task,
    )


def _url_missing(video_task_id: str, times: int) -> VideoUrlMissingError:
    return VideoUrlMissingError(
        f"Video task {video_task_id} is completed (and charged), but {times} answers named no URL of the video."
        " Another try or a clear of this Airflow task asks again, and nothing is submitted again."
    )


def _key_refused(video_task_id: str, times: int, error: AuthenticationError) -> AuthenticationError:
    return AuthenticationError(
        f"Waiting for video task {video_task_id} ended: the key was refused {times} times in a row. The last time: "
        f"{error} The video is not affected and goes on; with the right key, a clear of this Airflow task goes on"
        " waiting for it."
    )


def _not_found(video_task_id: str, error: VideoTaskNotFoundError) -> VideoTaskNotFoundError:
    return VideoTaskNotFoundError(
        f"Waiting for video task {video_task_id} ended: {error} Task records live for about a day."
        " Nothing is submitted again by itself."
    )
