"""Lines of progress on their way from many triggers to Airflow's logs: gathered, then written by a thread, few at once.

Lines that come wake Airflow's supervisor of the triggers up, which reads 4 KiB of them and then asks the database for
news: where a thousand wait, that costs as much as a hundred queries. It does so once a second in any case. So what is
news is written soon; of lines that only say that a video is still waited for, what it reads at one time, every few
seconds. Up to some 200 videos that is all of them; of more, each says less.

The channel to the supervisor holds some 170 lines, and writing waits where it is full. Were it the event loop that
waits, and the supervisor were just handing many triggers over to it, both would wait for ever (seen on 3.3.2).
"""

import asyncio
import contextlib
import contextvars
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final, NamedTuple

GATHER: Final = 4.0
"""Seconds in which lines gather."""
NEWS_AT_ONCE: Final = 44
"""Triggers whose news are written together: what the supervisor reads at five times."""
PAUSE: Final = 1.0
"""Seconds until more of them are: it can be at work for some, and Airflow's own lines need room."""
OTHERS_AT_ONCE: Final = 8
"""Triggers without news whose lines are written once all news is: what the supervisor reads at one time, with the names
of DAG, run and task. The next ones when lines have gathered again."""
LATE: Final = 10.0
"""Seconds from which on a line says how old it is."""


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
        self._news: dict[Speaker, list[_Line]] = {}
        self._others: dict[Speaker, list[_Line]] = {}  # the last one of each; in its turn, which a later one keeps
        self._timer: asyncio.TimerHandle | None = None

    def add(self, speaker: Speaker, text: str, *, news: bool) -> None:
        """Write ``text`` soon; where it is no news, some time, unless something later takes its place."""
        line = _Line(text, self._loop.time())
        if news:
            self._others.pop(speaker, None)
            self._news.setdefault(speaker, []).append(line)
        else:
            self._others[speaker] = [line]
        self._write_in(GATHER)

    def end(self, speaker: Speaker) -> None:
        """Write now what news are left of a trigger that ends; called in its context."""
        self._others.pop(speaker, None)
        for line in self._news.pop(speaker, ()):
            with contextlib.suppress(Exception):
                speaker.say(line.told_at(self._loop.time()))

    def close(self) -> None:
        """Leave nothing behind, after the last trigger has ended."""
        if self._timer is not None:
            self._timer.cancel()

    def _write_in(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(seconds, self._write_some, context=contextvars.Context())

    def _write_some(self) -> None:
        some = self._taken(self._news, NEWS_AT_ONCE)
        if not self._news:
            some += self._taken(self._others, OTHERS_AT_ONCE)
        self._loop.run_in_executor(None, _write, some).add_done_callback(self._written)

    def _taken(self, lines: "dict[Speaker, list[_Line]]", most: int) -> list[tuple[Speaker, list[str]]]:
        now = self._loop.time()
        return [(speaker, [line.told_at(now) for line in lines.pop(speaker)]) for speaker in list(islice(lines, most))]

    def _written(self, _: "asyncio.Future[None]") -> None:
        self._timer = None
        if self._news or self._others:
            self._write_in(PAUSE if self._news else GATHER)


class _Line(NamedTuple):
    text: str
    said_at: float

    def told_at(self, now: float) -> str:
        age = now - self.said_at
        return self.text if age < LATE else f"{self.text} ({age:.0f} s ago)"


def _write(lines: Sequence[tuple[Speaker, Sequence[str]]]) -> None:
    for speaker, texts in lines:
        for text in texts:
            with contextlib.suppress(Exception):
                speaker.say_elsewhere(text)
