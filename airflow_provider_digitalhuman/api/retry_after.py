"""The header ``Retry-After`` (seconds or an HTTP date), and the pause of a worker before another attempt."""

import math
import secrets
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

LONGEST_RETRY_AFTER: Final = 300.0
"""The most seconds of it that count (contract F27): one wrong header must not silence a key for years."""
LONGEST_IN_WORKER: Final = 120.0
"""Seconds of it that a worker waits; a longer one is left to Airflow's retries."""


def retry_after_seconds(header: str | None) -> float | None:
    """Return the seconds that ``header`` asks to wait, five minutes at most; None if it is absent or no time."""
    text = (header or "").strip()
    try:
        seconds = float(text)
    except ValueError:
        seconds = _seconds_until(text)
    return min(seconds, LONGEST_RETRY_AFTER) if math.isfinite(seconds) and seconds >= 0 else None


def pause_in_worker(seconds: float, asked: float | None) -> float | None:
    """Return the seconds until another attempt of a worker; None where the server asks for more than a worker waits.

    :param seconds: of the back-off. Chance adds up to half, so that tasks that failed together do not come together.
    :param asked: seconds that the server asks to wait; None if it did not say.
    """
    if (asked or 0.0) > LONGEST_IN_WORKER:
        return None
    return max(asked or 0.0, seconds * (1 + secrets.randbelow(1000) / 2000))


def _seconds_until(http_date: str) -> float:
    try:
        moment = parsedate_to_datetime(http_date)
    except (ValueError, TypeError, IndexError, OverflowError):
        return math.nan
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())
