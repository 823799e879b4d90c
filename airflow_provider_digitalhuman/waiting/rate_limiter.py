"""How fast one key may ask: a ceiling, and what an answer that asks to slow down does to it. Pure."""

from typing import Final

TICK: Final = 0.1
"""Seconds between two moments at which queries leave that the ceiling has held back, as many as have become allowed by
then. In no second are there more of them than the ceiling and this share of it."""
LONGEST_PAUSE: Final = 60.0
"""Seconds of pause after an answer that asks to slow down and names no time."""
LONGEST_RETRY_AFTER: Final = 300.0
"""Seconds until the next query at most, whatever time an answer names (contract F27)."""
SLOWEST: Final = 0.5
"""Queries per second that it is slowed down to, unless the ceiling is below that."""
_FIRST_PAUSE: Final = 5.0
_RECOVERY: Final = 0.01


class RateLimiter:
    """Limits the queries of all waiting videos of one key.

    Every answer that asks to slow down halves the rate and puts a pause before all queries; every other answer brings a
    hundredth of the ceiling back. All times are those of the event loop's clock.

    :param ceiling: queries per second.
    """

    def __init__(self, ceiling: float) -> None:
        self.ceiling = ceiling
        self.rate = ceiling
        self._next = 0.0
        self._paused_until = 0.0
        self._pause = _FIRST_PAUSE
        self._slowed_down_at = float("-inf")

    def next_query_at(self, *, ignore_pause: bool = False) -> float:
        """Return the earliest time at which a query may leave.

        :param ignore_pause: True for a query that may leave during a pause; the rate holds for it, too.
        """
        return self._next if ignore_pause else max(self._next, self._paused_until)

    def sent(self, now: float) -> None:
        """Count a query that leaves now."""
        # What was due since the last tick is made up for, but a pause is not: no burst after it.
        self._next = max(self._next, now - TICK) + 1 / self.rate

    def answered(self) -> None:
        """Count an answer that does not ask to slow down."""
        self.rate = min(self.ceiling, self.rate + self.ceiling * _RECOVERY)
        self._pause = _FIRST_PAUSE

    def slow_down(self, sent_at: float, now: float, retry_after: float | None) -> None:
        """Count an answer that asks to slow down.

        :param sent_at: when its query left. Those that left before the last such answer belong to the same storm.
        :param retry_after: the seconds that the answer names.
        """
        if sent_at >= self._slowed_down_at:
            self.rate = max(self.rate / 2, min(SLOWEST, self.ceiling))
            if retry_after is None:
                retry_after = self._pause
                self._pause = min(self._pause * 2, LONGEST_PAUSE)
            self._slowed_down_at = now
        self._paused_until = max(self._paused_until, now + min(retry_after or 0.0, LONGEST_RETRY_AFTER))
