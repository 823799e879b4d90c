"""The waiting: what a query's outcome means for who waits for the video. One decision for every way of waiting.

Pure: no I/O, no Airflow, no clock of its own. The blocking wait, the sensor's pokes and the triggers' poller
all ask :class:`VideoWait`, so they cannot end differently. The rules are the contract's F13-F19.
"""

import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, NoReturn

from airflow_provider_digitalhuman.api.endpoints import MAX_POLL_INTERVAL, MIN_POLL_INTERVAL
from airflow_provider_digitalhuman.api.glossary import glossed
from airflow_provider_digitalhuman.api.response import TaskStatus, VideoTask
from airflow_provider_digitalhuman.exceptions import (
    AuthenticationError,
    DigitalHumanError,
    InvalidRequestError,
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
"""Answers in a row that refuse the key before it is believed; a good key is refused for a while now and then (F14)."""
NOT_FOUND_GRACE: Final = 60.0
"""Seconds after the create (or the start of the wait) in which an unknown ID is not believed (F15)."""
NOT_FOUND_TRIES: Final = 3
"""Answers in a row, after the grace, that say the ID is unknown before it is believed."""
NO_URL_TRIES: Final = 5
"""Answers that say ``completed`` without a URL before that is taken for final (F18)."""
LONGEST_TROUBLE_BACKOFF: Final = 60.0
"""Seconds that a query is put off by errors in a row, unless the server or the poll interval asks for more."""

_FIRST_SAY: Final = 120.0
_LONGEST_SAY: Final = 600.0


class Wait(NamedTuple):
    """Ask again.

    :param seconds: when.
    :param say: a line for the log; most of the time there is none.
    :param news: whether that says more than that the video is still waited for.
    :param doubtful: True where answers are counted (a refused key, an unknown ID, a missing URL): whoever
        does not keep the :class:`VideoWait` until the next query would count from one again.
    """

    seconds: float
    say: str | None = None
    news: bool = False
    doubtful: bool = False


class Done(NamedTuple):
    """The video is made, and its URL is there."""

    task: VideoTask

    def result(self) -> VideoTask:
        """Return the completed task."""
        return self.task


class Failed(NamedTuple):
    """The wait has ended without a video; the error says why and what can be done."""

    error: DigitalHumanError

    def result(self) -> NoReturn:
        """Raise the error."""
        raise self.error


Decision = Wait | Done | Failed


class VideoWait:
    """The wait for one video: is told the outcome of each query, and says what to do.

    :param video_task_id: the vendor's task ID.
    :param deadline: absolute, in Unix seconds. What an answer says about the video goes before it.
    :param poll_interval: seconds between two queries; None: 7.5, which the jitter spreads over the 5 to 10 that
        the vendor asks for. It grows with the task's age, up to four times.
    :param fixed_interval: True to take ``poll_interval`` as it is, without jitter and growth.
    :param submitted_at: Unix seconds of the create where they are known.
    :param started_at: Unix seconds of the start of the wait; None: the first outcome's.
    :param chance: a random number from 0 up to 1; replaced by tests.
    """

    __slots__ = (
        "_chance",
        "_completed_at",
        "_fixed",
        "_interval_seconds",
        "_last",
        "_no_url",
        "_not_found",
        "_processing_at",
        "_refused",
        "_said_kinds",
        "_said_status",
        "_say_next",
        "_say_pause",
        "_started",
        "_submitted",
        "_troubles",
        "deadline",
        "video_task_id",
    )

    def __init__(
        self,
        video_task_id: str,
        *,
        deadline: float,
        poll_interval: float | None = None,
        fixed_interval: bool = False,
        submitted_at: float | None = None,
        started_at: float | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.video_task_id = video_task_id
        self.deadline = deadline
        self._interval_seconds = DEFAULT_POLL_INTERVAL if poll_interval is None else poll_interval
        self._fixed = fixed_interval
        self._submitted = submitted_at
        self._started = started_at
        self._chance = chance
        self._processing_at: float | None = None
        self._completed_at: float | None = None
        self._refused = self._not_found = self._no_url = self._troubles = 0
        self._last = "no query has been answered"
        self._said_status: str | None = None
        self._said_kinds: frozenset[str] = frozenset()
        self._say_pause = _FIRST_SAY
        self._say_next = 0.0

    def judge(self, outcome: VideoTask | DigitalHumanError, now: float) -> Decision:
        """Say what the outcome of a query means.

        :param outcome: the task as the API reports it, or the error that the query ended with.
        :param now: Unix seconds.
        """
        if self._started is None:
            self._started = now
        decision = self._judge_task(outcome, now) if isinstance(outcome, VideoTask) else self._judge_error(outcome, now)
        if not isinstance(decision, Wait):
            return decision
        if now >= self.deadline:
            return self.timed_out()
        # Never past the deadline, so that the last query still sees a video that is just finished.
        seconds = min(decision.seconds, self.deadline - now)
        news = self._is_news(outcome)
        return Wait(seconds, self._say(outcome, now, seconds, news), news, decision.doubtful)

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
            "queue_seconds": _between(self._submitted, self._processing_at),
            "processing_seconds": _between(self._processing_at, self._completed_at),
        }

    def _note_times(self, task: VideoTask, now: float) -> None:
        if task.status == TaskStatus.PROCESSING and self._processing_at is None:
            self._processing_at = now
        if task.is_completed and self._completed_at is None:
            self._completed_at = now

    def _judge_task(self, task: VideoTask, now: float) -> Decision:
        self._refused = self._not_found = self._troubles = 0
        self._last = f"status {task.status!r}"
        self._note_times(task, now)
        if task.created is not None and self._submitted is None:
            self._submitted = task.created.timestamp()
        if task.is_failed:
            return Failed(_video_failed(self.video_task_id, task))
        if not task.is_completed:
            return Wait(self._interval(now))
        if task.video_url:
            return Done(task)
        self._no_url += 1
        if self._no_url >= NO_URL_TRIES or now >= self.deadline:
            return Failed(_url_missing(self.video_task_id, self._no_url))
        return self._doubt(self._no_url)

    def _judge_error(self, error: DigitalHumanError, now: float) -> Decision:
        self._last = str(error).rstrip(".")
        if isinstance(error, AuthenticationError):
            self._refused += 1
            if self._refused >= REFUSED_KEY_TRIES:
                return _failed(_key_refused(self.video_task_id, self._refused, error), error)
            return self._doubt(self._refused)
        if isinstance(error, VideoTaskNotFoundError):
            if now < self._since() + NOT_FOUND_GRACE:
                return Wait(self._interval(now))
            self._not_found += 1
            if self._not_found >= NOT_FOUND_TRIES:
                return _failed(_not_found(self.video_task_id, error), error)
            return self._doubt(self._not_found)
        if isinstance(error, RateLimitError | QueryError):
            self._troubles += 1
            return Wait(max(self._backoff(now), error.retry_after or 0.0))
        return Failed(error)

    def _since(self) -> float:
        return self._submitted if self._submitted is not None else self._started or 0.0

    def _age(self, now: float) -> float:
        return max(0.0, now - self._since())

    def _interval(self, now: float) -> float:
        if self._fixed:
            return self._interval_seconds
        grown = min(max(1.0, self._age(now) * AGE_SHARE / self._interval_seconds), LONGEST_GROWTH)
        return self._jittered(self._interval_seconds * grown)

    def _backoff(self, now: float) -> float:
        longest = max(LONGEST_TROUBLE_BACKOFF, self._interval_seconds)
        return max(self._interval(now), min(self._interval_seconds * 2.0 ** min(self._troubles - 1, 9), longest))

    def _doubt(self, count: int) -> Wait:
        # Not by the poll interval, which can be minutes: the doubt is to be settled now. Further apart each time.
        return Wait(self._jittered(min(self._interval_seconds, DEFAULT_POLL_INTERVAL) * count), doubtful=True)

    def _jittered(self, seconds: float) -> float:
        return seconds * (1 - JITTER + 2 * JITTER * self._chance())

    def _is_news(self, outcome: VideoTask | DigitalHumanError) -> bool:
        if isinstance(outcome, VideoTask):
            return outcome.status != self._said_status
        # Each kind of trouble once; when it comes and goes, that is not news.
        return type(outcome).__name__ not in self._said_kinds

    def _say(self, outcome: VideoTask | DigitalHumanError, now: float, seconds: float, news: bool) -> str | None:
        """Return a line where something new has come, and at growing intervals; never one per query."""
        if not news and now < self._say_next:
            return None
        if now >= self._say_next:
            self._say_next = now + self._say_pause
            self._say_pause = min(self._say_pause * 2, _LONGEST_SAY)
        if isinstance(outcome, VideoTask):
            self._said_status = outcome.status
            return self._say_status(outcome, now, seconds)
        self._said_kinds |= {type(outcome).__name__}
        return f"{outcome} The video is not affected; next query in {seconds:.0f} s."

    def _say_status(self, task: VideoTask, now: float, seconds: float) -> str:
        known = "" if task.is_known_status else " (a word that the vendor does not document: taken for a running task)"
        lacking = " without a URL" if task.is_completed else ""
        age = self._age(now)
        shown = f"{age:.0f} s" if age < 120 else f"{age / 60:.0f} min"
        return (
            f"Video task {self.video_task_id}: {task.status}{known}{lacking},"
            f" {shown} old; next query in {seconds:.0f} s."
        )


def checked_video_task_id(value: Any) -> str:
    """Return ``value`` as a task ID, if it can be one.

    A whole number is what ``render_template_as_native_obj=True`` makes of an ID of digits.

    :raises InvalidRequestError: for what a template renders to when the task before has returned none.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip() or value == "None":
        raise InvalidRequestError(
            f"video_task_id={value!r} is no task ID; give the one that CreateDigitalHumanVideoOperator returned."
        )
    return value


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
    say: Callable[[str], object],
    sleep: Callable[[float], object],
    clock: Callable[[], float],
) -> VideoTask:
    """Ask until the video is made; holds the calling thread meanwhile.

    :param query: one query, such as ``lambda: hook.query_video(video_task_id)``.
    :param say: where the few lines of progress go, such as ``self.log.info``.
    :param sleep: ``time.sleep``.
    :param clock: ``time.time``.
    :returns: the completed task, with its URL.
    :raises DigitalHumanError: what :class:`VideoWait` decided.
    """
    while True:
        decision = wait.judge(query_outcome(query), clock())
        if not isinstance(decision, Wait):
            return decision.result()
        if decision.say:
            say(decision.say)
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
