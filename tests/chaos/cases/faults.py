"""Every create fault of the contract."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from tests.chaos.cases.expected import GOES_ON, ONE_VIDEO
from tests.chaos.plan import (
    Case,
    Expected,
    Range,
    Video,
    exactly,
)

REFUSED: Final[tuple[Mapping[str, Any], ...]] = (
    {"fault": "login_failed"},
    {"fault": "unauthorized", "status": 401},
    {"fault": "unauthorized", "status": 403},
    {"fault": "payment_required"},
    {"fault": "no_balance"},
    {"fault": "error_code"},
    {"fault": "error_code", "code": 1001, "msg": "素材 URL 无法访问"},
    {"fault": "no_handler"},
    *({"fault": "http_status", "status": status, "when": "before"} for status in (400, 405, 413, 415, 422)),
    {"fault": "redirect", "status": 308, "when": "before"},
)
"""F6, F7, F8, F10: nothing was accepted, and no retry would help."""

NO_USABLE_ANSWER: Final[tuple[Mapping[str, Any], ...]] = (
    {"fault": "reset"},
    {"fault": "close"},
    {"fault": "hang", "seconds": 30},
    {"fault": "truncated"},
    {"fault": "http_status", "status": 500},
    {"fault": "http_status", "status": 502, "body": "empty"},
    {"fault": "http_status", "status": 503, "body": "json"},
    {"fault": "http_status", "status": 504, "body": "text"},
    {"fault": "spring_error"},
    {"fault": "redirect", "status": 302},
    {"fault": "invalid_json"},
    {"fault": "empty_answer"},
    {"fault": "html_page"},
    {"fault": "json_array"},
    {"fault": "no_id"},
)
"""F3, F4, F5: whether the task was accepted before or not cannot be known from the answer."""

UNUSUAL_FORM: Final[tuple[Mapping[str, Any], ...]] = (
    {"fault": "envelope"},
    {"fault": "envelope", "code": "200"},
    {"fault": "with_code"},
    {"fault": "created_in_ms"},
    {"fault": "other_model"},
    {"fault": "special_id"},
    {"fault": "slow", "seconds": 2},
)
"""Accepted, in another form."""


def faults(seed: int) -> Iterator[Case]:
    """Every create fault of the contract, with three retries; the order and the mix differ by the seed."""
    refused = Expected("failed", posts=exactly(1), charges=exactly(0), tries=exactly(1), log_text="not accept")
    yield _each("F6-F8, F10: refused", seed, REFUSED, refused)
    before = Expected("failed", posts=exactly(1), charges=exactly(0), tries=exactly(1), log_text="It is not known")
    yield _each(
        "F3-F5: no usable answer, not accepted", seed, [{**one, "when": "before"} for one in NO_USABLE_ANSWER], before
    )
    after = Expected("failed", exactly(1), exactly(1), exactly(1), known=False, log_text="It is not known")
    yield _each(
        "F3-F5: no usable answer, but accepted", seed, [{**one, "when": "after"} for one in NO_USABLE_ANSWER], after
    )
    yield _each("accepted in an odd form", seed, UNUSUAL_FORM, ONE_VIDEO)
    at_once = Expected("failed", posts=exactly(1), charges=exactly(1), tries=exactly(1), log_text="without a video")
    yield _each("F11: accepted and failed at once", seed, [{"fault": "failed_at_once"}] * 3, at_once)
    yield _rate_limited("F9: 429 a few times", seed, (1, 2, 3), tries=1)
    yield _rate_limited("F9: 429 until Airflow retries", seed, (5, 6, 7), tries=2)
    yield _case("F2: refused connection, DNS, TLS; then there", seed, GOES_ON, [
        Video(connection=(wrong, "default")) for wrong in ("closed", "dns", "tls")
    ])  # fmt: skip
    unreachable = Expected(
        "failed", posts=exactly(0), charges=exactly(0), tries=exactly(4), log_text="could not be reached"
    )
    yield _case("F2: never there", seed, unreachable, [Video(connection=("closed",))])
    wrong_key = Expected("failed", posts=exactly(1), charges=exactly(0), tries=exactly(1), log_text="refused the key")
    yield _case("F7: a wrong key", seed, wrong_key, [Video(connection=("wrong_key",))])


def _rate_limited(name: str, seed: int, times: Sequence[int], tries: int) -> Case:
    """Return a case whose videos are refused so many times, and then accepted."""
    any_of_them = Expected("success", Range(min(times) + 1, max(times) + 1), exactly(1), exactly(tries))
    videos = [
        Video(
            faults=[{"on": "create", "fault": "rate_limited", "times": number}],
            connection=("short_timeouts",),
            expected=replace(any_of_them, posts=exactly(number + 1)),
        )
        for number in times
    ]
    return _case(name, seed, any_of_them, videos)


def _each(name: str, seed: int, definitions: Any, expected: Expected) -> Case:
    videos = [Video(faults=[{"on": "create", **one}], connection=("short_timeouts",)) for one in definitions]
    return _case(name, seed, expected, videos)


def _case(name: str, seed: int, expected: Expected, videos: list[Video]) -> Case:
    shuffled = random.Random(seed).sample(videos, len(videos))
    return Case(name, expected, lambda number, _rng: shuffled[number], count=len(videos), seed=seed)
