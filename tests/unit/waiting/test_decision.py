"""The decision about a wait: the contract's F13-F19, with a clock that the tests turn."""

import re
from collections.abc import Iterable

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.exceptions import (
    AuthenticationError,
    DigitalHumanError,
    InvalidConnectionError,
    QueryError,
    RateLimitError,
    VideoFailedError,
    VideoTaskNotFoundError,
    VideoUrlMissingError,
    WaitTimeoutError,
)
from airflow_provider_digitalhuman.waiting.decision import (
    Done,
    Failed,
    VideoWait,
    Wait,
    WaitDecision,
    wait_blocking,
)

START = 1_763_800_000.0
REFUSED_KEY_TRIES = 6
NOT_FOUND_GRACE = 60.0
NOT_FOUND_TRIES = 3
NO_URL_TRIES = 5
"""The figures that are promised, written down once more: those of the code under test prove nothing."""
ID = "vt-7f3a"
URL = "https://cdn.example.com/result.mp4?sign=abc"
QUEUED = VideoTask(id=ID, status="queued")
PROCESSING = VideoTask(id=ID, status="processing")
COMPLETED = VideoTask(id=ID, status="completed", video_url=URL)
NO_URL = VideoTask(id=ID, status="completed")
FAILED = VideoTask(id=ID, status="failed", error="风控拒绝")
STRANGE = VideoTask(id=ID, status="rendering")
REFUSED = AuthenticationError("The API refused the key.")
NOT_FOUND = VideoTaskNotFoundError("The API does not know the task.")
BAD_GATEWAY = QueryError("HTTP 502, empty body.")
SLOW_DOWN = RateLimitError("HTTP 429.")

Outcome = VideoTask | DigitalHumanError


def a_wait(seconds: float = 3600.0, **arguments: object) -> VideoWait:
    return VideoWait(ID, deadline=START + seconds, **{"chance": lambda: 0.5, **arguments})  # type: ignore[arg-type]


def seconds_of(decision: WaitDecision) -> float:
    assert isinstance(decision, Wait)
    return decision.seconds


def error_of(decision: WaitDecision) -> DigitalHumanError:
    assert isinstance(decision, Failed)
    return decision.error


def play(wait: VideoWait, outcomes: Iterable[Outcome]) -> tuple[WaitDecision, float, list[str]]:
    """Let the outcomes come one after the other, each when the decision before says; until the end of either."""
    now, logged = START, []
    decision: WaitDecision = Wait(0.0)
    for outcome in outcomes:
        decision = wait.judge(outcome, now)
        if not isinstance(decision, Wait):
            break
        if decision.message:
            logged.append(decision.message)
        now += decision.seconds
    return decision, now - START, logged


class TestInterval:
    @pytest.mark.parametrize(("chance", "seconds"), [(0.0, 5.0), (0.5, 7.5), (1.0, 10.0)])
    def test_young_task_is_asked_for_every_5_to_10_seconds(self, chance: float, seconds: float) -> None:
        wait = a_wait(chance=lambda: chance)
        assert seconds_of(wait.judge(QUEUED, START)) == pytest.approx(seconds)

    def test_interval_grows_with_age_up_to_a_bound(self) -> None:
        wait = a_wait(submitted_at=START)
        found = [seconds_of(wait.judge(PROCESSING, START + age)) for age in (0, 100, 300, 500, 3000)]
        assert found == pytest.approx([7.5, 7.5, 15.0, 25.0, 30.0])

    def test_age_is_the_vendors_where_create_is_not_known(self) -> None:
        import pendulum

        old = VideoTask(id=ID, status="processing", created=pendulum.from_timestamp(START - 300))
        assert seconds_of(a_wait().judge(old, START)) == pytest.approx(15.0)

    def test_vendors_clock_that_is_ahead_does_no_harm(self) -> None:
        import pendulum

        young = VideoTask(id=ID, status="processing", created=pendulum.from_timestamp(START + 9999))
        assert seconds_of(a_wait().judge(young, START)) == pytest.approx(7.5)

    def test_interval_can_be_chosen(self) -> None:
        assert seconds_of(a_wait(poll_interval=1.0).judge(QUEUED, START)) == pytest.approx(1.0)

    def test_fixed_interval_neither_jitters_nor_grows(self) -> None:
        wait = a_wait(poll_interval=60.0, fixed_interval=True, submitted_at=START - 9000, chance=lambda: 0.9)
        assert seconds_of(wait.judge(QUEUED, START)) == 60.0

    @pytest.mark.parametrize("kind", [RateLimitError, QueryError])
    @pytest.mark.parametrize(("named", "seconds"), [(45.0, 45.0), (300.0, 300.0), (301.0, 300.0), (315_360_000, 300.0)])
    def test_retry_after_is_kept_up_to_a_bound(
        self, kind: type[RateLimitError | QueryError], named: float, seconds: float
    ) -> None:
        assert seconds_of(a_wait().judge(kind("HTTP 429 or 503", named), START)) == seconds

    def test_errors_in_a_row_lengthen_interval_up_to_a_bound(self) -> None:
        wait = a_wait()
        found = [seconds_of(wait.judge(BAD_GATEWAY, START + i)) for i in range(6)]
        assert found == pytest.approx([7.5, 15.0, 30.0, 60.0, 60.0, 60.0])
        wait.judge(PROCESSING, START + 6)
        assert seconds_of(wait.judge(BAD_GATEWAY, START + 7)) == pytest.approx(7.5)

    def test_first_error_does_not_make_short_interval_longer(self) -> None:
        assert seconds_of(a_wait(poll_interval=0.5).judge(BAD_GATEWAY, START)) == pytest.approx(0.5)

    def test_back_off_of_short_interval_is_bounded(self) -> None:
        wait = a_wait(poll_interval=0.1)
        assert seconds_of([wait.judge(BAD_GATEWAY, START) for _ in range(2000)][-1]) == pytest.approx(51.2)


class TestDeadline:
    def test_last_query_comes_at_deadline(self) -> None:
        assert seconds_of(a_wait(3.0).judge(QUEUED, START)) == 3.0

    def test_video_finished_at_deadline_is_no_time_out(self) -> None:
        assert a_wait(0.0).judge(COMPLETED, START + 500) == Done(COMPLETED)
        assert isinstance(error_of(a_wait(0.0).judge(FAILED, START + 500)), VideoFailedError)
        for late in (0, 500):
            assert isinstance(error_of(a_wait(0.0).judge(NO_URL, START + late)), VideoUrlMissingError)

    @pytest.mark.parametrize("outcome", [QUEUED, STRANGE, BAD_GATEWAY, SLOW_DOWN, REFUSED, NOT_FOUND])
    def test_everything_else_at_deadline_is_time_out(self, outcome: Outcome) -> None:
        error = error_of(a_wait(60.0).judge(outcome, START + 60))
        assert type(error) is WaitTimeoutError
        assert not error.ends_retries

    def test_time_out_says_what_becomes_of_video(self) -> None:
        message = str(error_of(a_wait(60.0).judge(PROCESSING, START + 60)))
        for part in (ID, "2025-11-22 08:27:40+00:00", "'processing'", "Another try or a clear", "submitted again"):
            assert part in message

    def test_time_out_says_that_no_query_was_answered(self) -> None:
        assert "no query has been answered" in str(error_of(a_wait(60.0).timed_out()))

    def test_time_out_says_what_went_wrong_last(self) -> None:
        assert "HTTP 502" in str(error_of(a_wait(60.0).judge(BAD_GATEWAY, START + 60)))


class TestErrors:
    def test_failed_cancelled_and_expired_are_final_with_vendors_words(self) -> None:
        for status in ("failed", "cancelled", "expired"):
            task = VideoTask(id=ID, status=status, error="policy rejected")
            error = error_of(a_wait().judge(task, START))
            assert isinstance(error, VideoFailedError)
            assert error.task is task
            assert ID in str(error)
            assert status in str(error)
            assert "policy rejected" in str(error)
        assert "no reason" in str(error_of(a_wait().judge(VideoTask(id=ID, status="failed"), START)))

    def test_refused_key_ends_wait_after_several_spaced_tries(self) -> None:
        decision, seconds, _ = play(a_wait(), [REFUSED] * 50)
        error = error_of(decision)
        assert isinstance(error, AuthenticationError)
        assert ID in str(error)
        assert error.__cause__ is REFUSED
        assert seconds == pytest.approx(112.5)  # 7.5 + 15 + … + 37.5

    @pytest.mark.parametrize(
        ("outcome", "times"), [(REFUSED, REFUSED_KEY_TRIES), (NO_URL, NO_URL_TRIES), (NOT_FOUND, NOT_FOUND_TRIES)]
    )
    def test_wait_ends_at_answer_of_promised_number(self, outcome: Outcome, times: int) -> None:
        wait = a_wait(started_at=START - NOT_FOUND_GRACE)
        ends = [isinstance(wait.judge(outcome, START), Failed) for _ in range(times)]
        assert ends == [*[False] * (times - 1), True]

    def test_one_answer_ends_count_of_refusals(self) -> None:
        decision, _, _ = play(a_wait(), [*[REFUSED] * (REFUSED_KEY_TRIES - 1), PROCESSING] * 5)
        assert isinstance(decision, Wait)

    def test_gateway_error_between_keeps_count_of_refusals(self) -> None:
        decision, _, _ = play(a_wait(), [REFUSED, BAD_GATEWAY] * REFUSED_KEY_TRIES)
        assert isinstance(error_of(decision), AuthenticationError)

    def test_unknown_id_has_grace_after_create(self) -> None:
        wait = a_wait(submitted_at=START, poll_interval=1.0)
        for second in range(int(NOT_FOUND_GRACE)):
            assert isinstance(wait.judge(NOT_FOUND, START + second), Wait)
        ends = [wait.judge(NOT_FOUND, START + NOT_FOUND_GRACE + i) for i in range(NOT_FOUND_TRIES)]
        assert [isinstance(end, Failed) for end in ends] == [False] * (NOT_FOUND_TRIES - 1) + [True]
        assert isinstance(error_of(ends[-1]), VideoTaskNotFoundError)
        assert ID in str(error_of(ends[-1]))

    def test_grace_begins_with_wait_where_create_is_not_known(self) -> None:
        assert seconds_of(a_wait().judge(NOT_FOUND, START)) > 0
        late = a_wait(started_at=START - NOT_FOUND_GRACE)
        assert isinstance([late.judge(NOT_FOUND, START) for _ in range(NOT_FOUND_TRIES)][-1], Failed)

    def test_completed_without_url_is_asked_about_again_and_no_reason_to_pay_again(self) -> None:
        decision, _, _ = play(a_wait(), [NO_URL] * 50)
        error = error_of(decision)
        assert isinstance(error, VideoUrlMissingError)
        assert not isinstance(error, VideoFailedError)
        assert not error.ends_retries
        assert play(a_wait(), [*[NO_URL] * (NO_URL_TRIES - 1), COMPLETED])[0] == Done(COMPLETED)

    def test_error_that_no_query_can_repair_ends_wait_as_it_is(self) -> None:
        error = InvalidConnectionError("host is no URL")
        assert error_of(a_wait().judge(error, START)) is error

    def test_counted_answer_is_marked_as_tentative(self) -> None:
        late = START + NOT_FOUND_GRACE
        for outcome, tentative in ((REFUSED, True), (NO_URL, True), (NOT_FOUND, True), (QUEUED, False)):
            decision = a_wait(started_at=START).judge(outcome, late)
            assert isinstance(decision, Wait)
            assert decision.tentative is tentative
        # Settled by its own clock, not by a poll interval of minutes.
        slow = a_wait(poll_interval=600.0, fixed_interval=True)
        assert seconds_of(slow.judge(REFUSED, START)) < 60


class TestProgressMessages:
    def test_status_change_is_logged(self) -> None:
        _, _, logged = play(a_wait(), [QUEUED, PROCESSING, NO_URL, COMPLETED])
        assert [re.findall(r"queued|processing|completed without a URL", line) for line in logged] == [
            ["queued"],
            ["processing"],
            ["completed without a URL"],
        ]
        assert logged[0] == f"Video task {ID}: queued, 0 s old; next query in 8 s."

    def test_unchanged_status_is_logged_ever_less_often(self) -> None:
        _, seconds, logged = play(a_wait(7200.0), [PROCESSING] * 200)
        assert seconds > 3600
        assert 5 < len(logged) < 20

    def test_progress_is_logged_at_growing_intervals(self) -> None:
        wait, logged = a_wait(7200.0), []
        for second in range(2101):
            decision = wait.judge(PROCESSING, START + second)
            assert isinstance(decision, Wait)
            if decision.message:
                logged.append(second)
        assert logged == [0, 120, 360, 840, 1440, 2040]

    @pytest.mark.parametrize(("age", "shown"), [(119, "119 s old"), (120, "2 min old"), (600, "10 min old")])
    def test_age_is_logged_in_minutes_from_two_on(self, age: int, shown: str) -> None:
        decision = a_wait(submitted_at=START).judge(PROCESSING, START + age)
        assert isinstance(decision, Wait)
        assert shown in (decision.message or "")

    def test_plain_wait_logs_nothing(self) -> None:
        assert Wait(5.0) == Wait(5.0, None, False, False)

    def test_unknown_status_is_logged_once(self) -> None:
        wait = a_wait()
        lines = [wait.judge(STRANGE, START + i) for i in range(3)]
        assert [bool(isinstance(line, Wait) and line.message) for line in lines] == [True, False, False]
        assert isinstance(lines[0], Wait)
        assert "rendering" in (lines[0].message or "")
        assert "does not document" in (lines[0].message or "")

    def test_error_that_comes_and_goes_is_not_logged_each_time(self) -> None:
        _, seconds, logged = play(a_wait(), [PROCESSING, BAD_GATEWAY] * 20)
        assert seconds > 120
        assert any("HTTP 502" in line for line in logged)
        assert len(logged) < 10


OUTCOMES = st.sampled_from([QUEUED, PROCESSING, STRANGE, NO_URL, BAD_GATEWAY, SLOW_DOWN, REFUSED, NOT_FOUND])
TRANSIENT = st.sampled_from([QUEUED, STRANGE, BAD_GATEWAY, SLOW_DOWN, QueryError("503", 7.0)])


class TestAlways:
    @given(st.lists(TRANSIENT, min_size=1), st.floats(0.5, 600.0), st.randoms(use_true_random=False))
    def test_nothing_transient_ends_a_wait_before_its_deadline(
        self, outcomes: list[Outcome], interval: float, random: object
    ) -> None:
        wait = a_wait(1e9, poll_interval=interval, chance=random.random)  # type: ignore[attr-defined]
        assert isinstance(play(wait, outcomes)[0], Wait)

    @given(st.lists(OUTCOMES, min_size=1, max_size=30), st.floats(0.0, 5000.0), st.randoms(use_true_random=False))
    def test_it_ends_at_its_deadline_at_the_latest_and_never_in_a_busy_loop(
        self, outcomes: list[Outcome], seconds: float, random: object
    ) -> None:
        wait = a_wait(seconds, chance=random.random)  # type: ignore[attr-defined]
        endless = (outcomes[i % len(outcomes)] for i in range(int(seconds / 5.0) + 2))
        decision, waited, _ = play(wait, endless)
        assert isinstance(decision, Failed)
        assert waited <= seconds + 1e-6

    @given(st.lists(OUTCOMES, max_size=60), st.randoms(use_true_random=False))
    def test_a_finished_video_is_never_missed(self, outcomes: list[Outcome], random: object) -> None:
        wait = a_wait(300.0, chance=random.random)  # type: ignore[attr-defined]
        decision, waited, _ = play(wait, outcomes)
        if isinstance(decision, Wait):
            assert wait.judge(COMPLETED, START + waited) == Done(COMPLETED)

    @given(st.lists(OUTCOMES, min_size=1, max_size=60), st.randoms(use_true_random=False))
    def test_no_two_queries_are_closer_than_the_vendor_asks(self, outcomes: list[Outcome], random: object) -> None:
        wait, now = a_wait(1e9, chance=random.random), START  # type: ignore[attr-defined]
        for outcome in outcomes:
            decision = wait.judge(outcome, now)
            if isinstance(decision, Wait):
                assert decision.seconds >= 5.0 - 1e-9
                now += decision.seconds


class TestBlocking:
    def test_it_asks_until_the_video_is_there(self) -> None:
        now, logged, slept = [START], [], []
        outcomes: list[Outcome] = [QUEUED, BAD_GATEWAY, PROCESSING, COMPLETED]

        def query() -> VideoTask:
            outcome = outcomes.pop(0)
            if isinstance(outcome, DigitalHumanError):
                raise outcome
            return outcome

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            now[0] += seconds

        task = wait_blocking(query, a_wait(), log=logged.append, sleep=sleep, clock=lambda: now[0])
        assert task is COMPLETED
        assert slept == pytest.approx([7.5, 7.5, 7.5])
        assert len(logged) == 3

    def test_it_raises_what_was_decided_and_what_is_not_its_business(self) -> None:
        def wait_for(outcome: Exception) -> None:
            def query() -> VideoTask:
                raise outcome

            wait_blocking(query, a_wait(0.0), log=print, sleep=print, clock=lambda: START)

        with pytest.raises(WaitTimeoutError):
            wait_for(BAD_GATEWAY)
        with pytest.raises(KeyError):
            wait_for(KeyError("a bug"))


class TestTimes:
    def task(self, status: str) -> VideoTask:
        return VideoTask("v", status, created=pendulum.from_timestamp(1000))

    def test_are_those_of_the_first_answers_that_showed_a_state(self) -> None:
        wait = a_wait()
        for status, now in (("queued", 1001), ("processing", 1010), ("processing", 1020), ("completed", 1030)):
            wait.judge(self.task(status), now)
        wait.judge(self.task("completed"), 1040)
        assert wait.times() == {"queue_seconds": 10, "processing_seconds": 20}

    def test_are_rounded_to_milliseconds(self) -> None:
        wait = a_wait()
        for status, now in (("processing", 1010.12351), ("completed", 1030.12399)):
            wait.judge(self.task(status), now)
        assert wait.times() == {"queue_seconds": 10.124, "processing_seconds": 20.0}

    def test_are_never_negative_and_never_invented(self) -> None:
        early = a_wait()
        early.judge(self.task("processing"), 990)
        assert early.times() == {"queue_seconds": 0, "processing_seconds": None}
        assert a_wait().times() == {"queue_seconds": None, "processing_seconds": None}
