"""Lines of progress on their way from many triggers to Airflow's logs: gathered, then written by a thread, few at once.

Each line that comes alone wakes Airflow's supervisor of the triggers up, which then asks the database for news; that
costs 20 times as much as a query. It reads 4 KiB of them, some 13, before it asks again.

The channel to the supervisor holds some 170 lines, and writing waits where it is full. Were it the event loop that
waits, and the supervisor were just handing many triggers over to it, both would wait for ever (seen on 3.3.2).
"""

import asyncio
import contextlib
import contextvars
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

GATHER: Final = 10.0
"""Seconds in which lines gather."""
AT_ONCE: Final = 52
"""Triggers whose lines are written together: what the supervisor reads at four times, and one more for the first."""
PAUSE: Final = 1.0
"""Seconds until more of them are written: the supervisor can be at work for some, and Airflow's own lines need room."""


class Speaker:
    """A trigger that says something; made in its context, as Airflow sorts lines by context variables.

    :param say: such as ``self.log.info``. Called by another thread, too.
    """

    __slots__ = ("_context", "say")

    def __init__(self, say: Callable[[str], object]) -> None:
        self.say = say
        self._context = contextvars.copy_context()

    def say_elsewhere(self, line: str) -> None:
        """Say ``line`` in this speaker's context."""
        self._context.run(self.say, line)


class Lines:
    """What was said and is not written yet. A log that is gone does not end a wait."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lines: dict[Speaker, list[str]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, speaker: Speaker, line: str) -> None:
        """Write ``line`` soon."""
        self._lines.setdefault(speaker, []).append(line)
        self._write_in(GATHER)

    def end(self, speaker: Speaker) -> None:
        """Write now what is left of a trigger that ends; called in its context."""
        for line in self._lines.pop(speaker, ()):
            with contextlib.suppress(Exception):
                speaker.say(line)

    def close(self) -> None:
        """Leave nothing behind, after the last trigger has ended."""
        if self._timer is not None:
            self._timer.cancel()

    def _write_in(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(seconds, self._write_some, context=contextvars.Context())

    def _write_some(self) -> None:
        those = list(islice(self._lines, AT_ONCE))
        some = [(speaker, self._lines.pop(speaker)) for speaker in those]
        self._loop.run_in_executor(None, _write, some).add_done_callback(self._written)

    def _written(self, _: "asyncio.Future[None]") -> None:
        self._timer = None
        if self._lines:
            self._write_in(PAUSE)


def _write(lines: Sequence[tuple[Speaker, Sequence[str]]]) -> None:
    for speaker, its_lines in lines:
        for line in its_lines:
            with contextlib.suppress(Exception):
                speaker.say_elsewhere(line)
