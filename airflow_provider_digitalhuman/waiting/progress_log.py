"""Progress of many waiting videos on its way to Airflow's logs: gathered, then written by a thread, few at once.

Each line makes Airflow's supervisor of the triggers read 4 KiB of log and then ask the database for work: where a
thousand videos wait, that costs as much as a hundred queries. It does that once a second in any case. So a status
change is written soon; of the messages that only say that a video is still waited for, as much as it reads at one time
is written every few seconds. Up to some 200 videos that is all of them; of more videos, each is logged less often.

The pipe to the supervisor holds some 170 lines, and writing blocks where it is full. Were the event loop blocked while
the supervisor hands many triggers over to it, both would wait for ever (seen on 3.3.2): hence the thread.
"""

import asyncio
import contextlib
import contextvars
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

GATHER: Final = 4.0
"""Seconds in which messages gather."""
CHANGES_AT_ONCE: Final = 44
"""Triggers whose status changes are written together: what the supervisor reads at five times."""
PAUSE: Final = 1.0
"""Seconds until more of them are: the supervisor needs some for its work, and Airflow's own lines need room."""
OTHERS_AT_ONCE: Final = 8
"""Triggers without a status change whose messages are written once all changes are: what the supervisor reads at one
time, with the names of DAG, run and task. The next ones when messages have gathered again."""
OLD: Final = 10.0
"""Seconds from which on a message says how old it is."""


@dataclass(slots=True, eq=False)
class LogTarget:
    """The log of one trigger. Made in the trigger's context, as Airflow sorts lines by context variables.

    :param write: such as ``self.log.info``. Called by another thread, too.
    """

    write: Callable[[str], object]
    _context: contextvars.Context = field(default_factory=contextvars.copy_context)

    def write_in_own_context(self, line: str) -> None:
        """Write a line from anywhere."""
        self._context.run(self.write, line)


class ProgressLog:
    """The messages that are not written yet. A log that cannot be written does not end a wait."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._changes: dict[LogTarget, list[_Message]] = {}
        self._others: dict[LogTarget, list[_Message]] = {}  # the last one of each, at the place of the first
        self._timer: asyncio.TimerHandle | None = None

    def add(self, target: LogTarget, text: str, *, status_change: bool) -> None:
        """Write ``text`` soon; without a status change some time later, unless a later message takes its place."""
        message = _Message(text, self._loop.time())
        if status_change:
            self._others.pop(target, None)
            self._changes.setdefault(target, []).append(message)
        else:
            self._others[target] = [message]
        self._write_in(GATHER)

    def end(self, target: LogTarget) -> None:
        """Write at once what status changes are left of a trigger that ends; called in its context."""
        self._others.pop(target, None)
        for message in self._changes.pop(target, ()):
            with contextlib.suppress(Exception):
                target.write(message.text_at(self._loop.time()))

    def close(self) -> None:
        """Stop the timer, after the last trigger has ended."""
        if self._timer is not None:
            self._timer.cancel()

    def _write_in(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(seconds, self._write_some, context=contextvars.Context())

    def _write_some(self) -> None:
        some = self._taken(self._changes, CHANGES_AT_ONCE)
        if not self._changes:
            some += self._taken(self._others, OTHERS_AT_ONCE)
        self._loop.run_in_executor(None, _write, some).add_done_callback(self._written)

    def _taken(self, messages: "dict[LogTarget, list[_Message]]", most: int) -> list[tuple[LogTarget, list[str]]]:
        now = self._loop.time()
        targets = list(islice(messages, most))
        return [(target, [message.text_at(now) for message in messages.pop(target)]) for target in targets]

    def _written(self, _: "asyncio.Future[None]") -> None:
        self._timer = None
        if self._changes or self._others:
            self._write_in(PAUSE if self._changes else GATHER)


@dataclass(frozen=True, slots=True)
class _Message:
    text: str
    added_at: float

    def text_at(self, now: float) -> str:
        age = now - self.added_at
        return self.text if age < OLD else f"{self.text} ({age:.0f} s ago)"


def _write(messages: Sequence[tuple[LogTarget, Sequence[str]]]) -> None:
    for target, texts in messages:
        for text in texts:
            with contextlib.suppress(Exception):
                target.write_in_own_context(text)
