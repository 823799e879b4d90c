"""The submission against a server and a store that fail and processes that die: who pays, and who knows the ID.

The model below is not the product's: it counts the POSTs that a server would have seen, and knows which of
them were accepted. Whatever the order of events, a second POST may leave only after proof or an explicit act.
"""

import contextlib
import json
import logging
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_digitalhuman.api.request import VideoRequest
from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.exceptions import (
    LedgerError,
    RequestChangedError,
    RequestRefusedError,
    SubmissionUnknownError,
    VideoFailedError,
    VideoTaskNotFoundError,
)
from airflow_provider_digitalhuman.ledger import backoff
from airflow_provider_digitalhuman.ledger.address import TaskAddress
from airflow_provider_digitalhuman.ledger.backoff import STORE_BACKOFF
from airflow_provider_digitalhuman.ledger.decision import Resume, Send
from airflow_provider_digitalhuman.ledger.record import ADOPTED, RunFacts, SubmissionRecord
from airflow_provider_digitalhuman.ledger.stores import MemoryRecordStore
from airflow_provider_digitalhuman.ledger.submission import Submission
from airflow_provider_digitalhuman.ledger.try_facts import TryFacts
from airflow_provider_digitalhuman.support import compat
from airflow_provider_digitalhuman.support.log_lines import COLUMNS

REQUEST = VideoRequest("https://h.example.com/a.mp3?sig=hush", "https://h.example.com/v.mp4")
OTHER = VideoRequest("https://h.example.com/b.mp3", "https://h.example.com/v.mp4")
BASE = "https://api.example.com"


ADDRESS = TaskAddress("dag", "run", "create")


@pytest.fixture(autouse=True)
def slept(monkeypatch) -> list[float]:
    """The seconds between two accesses to a store; nothing really waits."""
    seconds: list[float] = []
    monkeypatch.setattr(backoff.time, "sleep", seconds.append)
    return seconds


class Died(BaseException):
    """The process was killed."""


class LastingStore(MemoryRecordStore):
    """Outlasts a try; and keeps what a try that was given up leaves."""

    outlasts_try = True

    def __init__(self):
        super().__init__()
        self.note = None

    def write_note(self, value):
        self.note = json.loads(json.dumps(value))

    def read_note(self):
        return self.note

    def delete_note(self):
        self.note = None


class Flaky(LastingStore):
    """A store that can refuse the next reads or writes, or belong to a process that dies."""

    def __init__(self):
        super().__init__()
        self.refuse_reads = self.refuse_writes = 0
        self.die_before_write = self.die_after_write = None
        self.given_up = False

    def read(self):
        if self.refuse_reads:
            self.refuse_reads -= 1
            raise ConnectionError("the database is away")
        return super().read()

    def write(self, value):
        if self.die_before_write == value["stage"]:
            raise Died
        if self.given_up:
            raise LedgerError("given up")
        if self.refuse_writes:
            self.refuse_writes -= 1
            raise ConnectionError("the database is away")
        super().write(value)
        if self.die_after_write == value["stage"]:
            raise Died


def of_try(*, generation=1, try_number=1, retries=0, address=ADDRESS, run=None, own_code=False):
    return TryFacts(address, generation, try_number, retries, run or RunFacts(), own_code)


def attempt(store, *, request=REQUEST, unknown="fail", failed="fail", **facts):
    submission = Submission(store, of_try(**facts))
    return submission, isinstance(submission.decide(request, BASE, unknown, failed), Send)


def submitted(store, video="v1", **facts):
    submission, sends = attempt(store, **facts)
    assert sends
    submission.sending()
    submission.accepted(VideoTask(id=video, status="queued"))
    return submission


def command(verb, video_task_id=""):
    return ADDRESS.command(verb, video_task_id, compat.LEDGER_OPTIONS)


def make_older(store, hours):
    then = (datetime.now(UTC) - timedelta(hours=hours)).isoformat(timespec="seconds")
    store.write(store.read() | {"sent_at": then})


def test_record_is_written_before_and_after_the_post():
    store = LastingStore()
    submission, sends = attempt(store)
    assert sends
    assert store.read() is None
    submission.sending()
    assert store.read()["stage"] == "sending"
    submission.accepted(VideoTask(id="v1", status="queued"))
    assert (store.read()["stage"], store.read()["video_task_id"]) == ("submitted", "v1")
    submission.succeeded()
    assert store.read()["stage"] == "returned"
    assert "hush" not in str(store.read())


@pytest.mark.parametrize("field", ["audio_url", "video_url"])
def test_signature_that_is_not_recognised_is_warned_of_before_paying(field, caplog):
    urls = {"audio_url": "https://h.example.com/a.mp3", "video_url": "https://h.example.com/v.mp4"}
    urls[field] += "?my-signature=hush&my-expires=1767225600"
    attempt(LastingStore(), request=VideoRequest(**urls))
    assert f"{field}=" in caplog.text
    assert "hush" not in caplog.text
    caplog.clear()
    attempt(LastingStore())
    assert caplog.text == ""


def test_record_holds_what_tells_requests_tries_and_runs_apart():
    store, run = LastingStore(), RunFacts("2026-11-28T20:00:00+00:00", 3, "2026-11-28T19:00:00+00:00", 17)
    submitted(store, generation=5, try_number=2, retries=4, run=run)
    record = SubmissionRecord.from_json(store.read())
    assert (record.generation, record.try_number, record.retries, record.run) == (5, 2, 4, run)
    other = LastingStore()
    submitted(other, request=OTHER)
    assert record.fingerprint != other.read()["fingerprint"]
    assert record.media != other.read()["media"]
    assert record.sent == (f"audio_url=https://h.example.com/a.mp3?… video_url=https://h.example.com/v.mp4 to {BASE}")
    assert datetime.fromisoformat(record.sent_at) <= datetime.now(UTC)


def test_try_facts_are_read_from_airflows_context():
    start = datetime(2026, 11, 28, 21, tzinfo=UTC)
    ti = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=2, max_tries=4, try_number=3)
    due = datetime(2026, 11, 28, 20, tzinfo=UTC)
    context = {"ti": ti, "dag_run": SimpleNamespace(start_date=start, clear_number=1, run_after=due)}
    run = RunFacts("2026-11-28T21:00:00+00:00", 1, "2026-11-28T20:00:00+00:00", None)
    assert TryFacts.of(context, 2) == TryFacts(TaskAddress("d", "r", "t", 2), 4, 3, 2, run, False)
    assert TryFacts.of(context, 2, own_code=True).own_code
    context["dag_run"] = SimpleNamespace(start_date=None, clear_number=None, id=7)
    assert TryFacts.of(context, None).run == RunFacts(None, None, None, 7)
    bare = TryFacts.of({"ti": ti}, None)
    assert (bare.retries, bare.run, bare.own_code) == (0, RunFacts(), False)


def logged(caplog) -> list[str]:
    return [entry.getMessage() for entry in caplog.records if entry.levelno == logging.ERROR]


def test_try_that_finds_an_open_submission_stops_and_the_log_says_what_to_do(caplog):
    store = LastingStore()
    attempt(store)[0].sending()
    sent_at = store.read()["sent_at"]
    with pytest.raises(SubmissionUnknownError) as caught:
        attempt(store, try_number=2)
    assert logged(caplog) == [
        f"What to do: look in the vendor's console for a video task of {sent_at}.",
        "If it is there, go on with it:",
        command("adopt", "VIDEO_TASK_ID"),
        "If it is not there after five minutes, let the next try submit:",
        command("release"),
        " ".join(["Both commands are also in the output of: digitalhuman-ledger list", *compat.LEDGER_OPTIONS]),
        "Clearing the task without one of the two submits nothing (docs/ledger.md).",
        "What happened: a submission was sent, and whether it was accepted is not known.",
        "    The process of try 1 ended during the POST.",
        f"Try 1 sent it at {sent_at}:",
        "    audio_url=https://h.example.com/a.mp3?…",
        "    video_url=https://h.example.com/v.mp4",
        f"    to {BASE}",
        "The log of try 1 may name the ID.",
    ]
    assert str(caught.value) == (
        "Nothing is submitted. It is not known whether the video was accepted and charged. What to do is in the log"
        " lines above this error (and in the output of digitalhuman-ledger list)."
    )
    assert caught.value.__suppress_context__
    assert store.read()["stage"] == "unknown"


@pytest.mark.parametrize("outlasts_try", [True, False])
def test_log_lines_of_an_unknown_outcome_are_short(outlasts_try, caplog):
    store = LastingStore()
    store.outlasts_try = outlasts_try
    submission, _ = attempt(store)
    submission.sending()
    long = "It is not known whether it was accepted: " + "the server has answered with many words, " * 20
    with pytest.raises(SubmissionUnknownError):
        submission.outcome_unknown(SubmissionUnknownError(long))
    assert max(map(len, logged(caplog))) <= COLUMNS
    assert " ".join(line.strip() for line in logged(caplog)).count("many words") == 20


@pytest.mark.parametrize("stage", ["sending", "unknown"])
def test_clear_alone_never_submits_after_an_unknown_outcome(stage):
    store = LastingStore()
    submission, _ = attempt(store)
    submission.sending()
    if stage == "unknown":
        with pytest.raises(SubmissionUnknownError):
            submission.outcome_unknown(SubmissionUnknownError("No answer came."))
    for generation, try_number in ((4, 2), (4, 3), (9, 4)):
        with pytest.raises(SubmissionUnknownError):
            attempt(store, generation=generation, try_number=try_number)
        assert store.read()["stage"] == "unknown"
    assert attempt(store, generation=9, try_number=5, unknown="resubmit")[1]


@pytest.mark.parametrize("outlasts_try", [True, False])
def test_try_that_lives_on_after_an_unknown_outcome_logs_what_is_known(outlasts_try, caplog):
    store = LastingStore()
    store.outlasts_try = outlasts_try
    submission, _ = attempt(store)
    submission.sending()
    why = SubmissionUnknownError("No answer came.", video_task_id="v?")
    with pytest.raises(SubmissionUnknownError, match=r"^It is not known whether .* the log lines above") as caught:
        submission.outcome_unknown(why)
    assert (caught.value.__cause__, caught.value.__suppress_context__) == (None, True)
    assert caught.value.video_task_id == "v?"
    lines = logged(caplog)
    sent_at = store.read()["sent_at"]
    assert lines[0].startswith(f"What to do: look in the vendor's console for a video task of {sent_at}")
    for known in (
        "    No answer came. An ID stands in the answer: v?.",
        "    audio_url=https://h.example.com/a.mp3?…",
        f"    to {BASE}",
    ):
        assert known in lines
    assert "The log of try" not in caplog.text, "which is the one that says this"
    # Nothing can be repaired where no record stays.
    assert (command("adopt", "v?") in lines) is outlasts_try
    assert ("submits again" in caplog.text) is not outlasts_try
    assert ("digitalhuman-ledger" in str(caught.value)) is outlasts_try
    kept = store.read()
    assert (kept["stage"], kept["detail"], kept["possible_id"]) == ("unknown", str(why), "v?")


def test_possible_id_is_in_every_later_error(caplog):
    store = LastingStore()
    submission, _ = attempt(store)
    submission.sending()
    with contextlib.suppress(SubmissionUnknownError):
        submission.outcome_unknown(SubmissionUnknownError("Broken.", video_task_id="v?"))
    caplog.clear()
    with pytest.raises(SubmissionUnknownError, match=r"An ID stands in the answer: v\?") as caught:
        attempt(store, try_number=2)
    assert caught.value.video_task_id == "v?"
    assert command("adopt", "v?") in logged(caplog)
    assert "    Broken. An ID stands in the answer: v?." in logged(caplog)


def test_clear_goes_on_with_a_video_in_the_making_and_later_retries_do_too():
    store = LastingStore()
    submitted(store)
    assert not attempt(store, generation=5, try_number=4)[1]
    # A retry after that clear whose template renders to something else is no clear of its own.
    assert not attempt(store, generation=5, try_number=5, request=OTHER)[1]


def test_recorded_task_is_the_one_that_was_accepted():
    store = LastingStore()
    submission, _ = attempt(store)
    with pytest.raises(LedgerError, match="holds no video task"):
        submission.recorded_task()
    submission.sending()
    with pytest.raises(LedgerError, match="holds no video task"):
        submission.recorded_task()
    submission.accepted(VideoTask(id="v1", status="processing", model="m", video_url="https://h/v.mp4"))
    kept = Submission(store, of_try()).recorded_task()
    assert (kept.id, kept.status, kept.model, kept.video_url) == ("v1", "processing", "m", None)
    assert store.read()["video_task"]["video_url"] is None


def test_decision_to_go_on_is_returned():
    store = LastingStore()
    submitted(store)
    assert Submission(store, of_try(try_number=2)).decide(REQUEST, BASE) == Resume("this video was already submitted")


def test_success_is_written_down_once():
    store = LastingStore()
    submission = submitted(store)
    submission.succeeded()
    assert submission.record.stage == "returned"
    store.write({"another": "record"})
    submission.succeeded()
    assert store.read() == {"another": "record"}


def test_clear_submits_another_request():
    store = LastingStore()
    submitted(store)
    assert attempt(store, generation=5, try_number=2, request=OTHER)[1]


@pytest.mark.parametrize("map_index", [0, 1])
def test_retry_of_a_mapped_task_does_not_return_another_inputs_video(map_index, caplog):
    store, address = LastingStore(), TaskAddress("dag", "run", "create", map_index)
    submitted(store, address=address)
    with pytest.raises(RequestChangedError) as caught:
        attempt(store, address=address, try_number=2, request=OTHER)
    assert "video task v1" in str(caught.value)
    assert "nothing is submitted, and no video is returned" in str(caught.value)
    assert caught.value.__suppress_context__
    record = SubmissionRecord.from_json(store.read())
    lines = logged(caplog)
    assert lines[:4] == [
        "What to do: to make, and pay for, the video of the present request, clear the task.",
        "To go on with the video that is paid for:",
        address.command("adopt", "v1", compat.LEDGER_OPTIONS),
        "What happened: nothing is submitted, and no video is returned.",
    ]
    assert " ".join(line.strip() for line in lines[4:-8]).startswith("The request differs now (fingerprint 2:")
    assert record.fingerprint in "".join(lines)
    assert lines[-8:] == [
        f"Paid for: video task v1. Try 1 sent it at {record.sent_at}:",
        "    audio_url=https://h.example.com/a.mp3?…",
        "    video_url=https://h.example.com/v.mp4",
        f"    to {BASE}",
        "Asked for now:",
        "    audio_url=https://h.example.com/b.mp3",
        "    video_url=https://h.example.com/v.mp4",
        f"    to {BASE}",
    ]
    assert store.read()["stage"] == "submitted"
    assert not attempt(store, address=address, try_number=3)[1], "its own input is there again"


def test_retry_of_own_code_does_not_return_another_requests_video():
    store = LastingStore()
    submitted(store, own_code=True)
    assert not attempt(store, try_number=2, own_code=True)[1]
    with pytest.raises(RequestChangedError):  # the second call of the same task
        attempt(store, try_number=2, own_code=True, request=OTHER)


def test_changed_request_fails_where_airflow_does_not_tell_a_retry_from_a_clear():
    store = LastingStore()
    submitted(store, generation=1, retries=1)
    with pytest.raises(RequestChangedError):
        attempt(store, generation=1, retries=0, try_number=2, request=OTHER)
    assert attempt(store, generation=2, retries=0, try_number=3, request=OTHER)[1], "cleared once more"


def test_what_runs_after_a_success_submits_whatever_airflows_numbers_say():
    store = LastingStore()
    submitted(store).succeeded()
    assert attempt(store, try_number=2)[1]


def test_try_that_goes_on_with_a_video_writes_nothing_where_nothing_is_new():
    store = Flaky()
    submitted(store)
    store.refuse_writes = 10**6
    assert not attempt(store, try_number=2)[1]


def test_success_after_a_clear_is_ended_too():
    store = LastingStore()
    submitted(store)
    again, sends = attempt(store, generation=5, try_number=4)
    assert not sends
    again.succeeded()
    assert store.read()["stage"] == "returned"


@pytest.mark.parametrize("succeeded", [True, False])
def test_clear_pays_again_only_after_a_success_that_airflow_has(succeeded):
    store = LastingStore()
    submission = submitted(store)
    if succeeded:
        submission.succeeded()
    assert attempt(store, generation=5, try_number=2)[1] is succeeded


def test_record_that_is_no_open_submission_is_not_ended():
    store = LastingStore()
    submission, _ = attempt(store)
    submission.succeeded()
    assert store.read() is None
    submission.sending()
    submission.accepted(VideoTask(id="v1", status="failed"))
    submission.failed(VideoFailedError("failed"))
    submission.succeeded()
    assert store.read()["stage"] == "failed"


@pytest.mark.parametrize("changes", [{}, {"generation": 5}, {"request": OTHER}, {"request": OTHER, "generation": 5}])
def test_adopted_video_is_gone_on_with_whatever_the_request_looks_like(changes, caplog):
    store = LastingStore()
    attempt(store)[0].sending()
    store.write(store.read() | {"stage": "submitted", "fingerprint": ADOPTED, "video_task_id": "v-adopted"})
    again, sends = attempt(store, try_number=2, **changes)
    assert not sends
    assert again.recorded_task().id == "v-adopted"
    assert "WARNING" not in caplog.text
    again.succeeded()
    assert attempt(store, try_number=3, generation=9)[1], "and ends like any other"


@pytest.mark.parametrize(("hours", "pays_again"), [(1, False), (23.9, False), (24.1, True)])
def test_video_that_was_made_and_expires_before_it_is_archived_is_no_failed_video(hours, pays_again):
    store = LastingStore()
    submitted(store).completed()
    make_older(store, hours)
    again, _ = attempt(store, try_number=2, failed="retry")
    again.failed(VideoFailedError("expired"))
    assert attempt(store, try_number=3, failed="retry")[1] is pays_again


def test_record_keeps_no_url_of_the_vendors():
    store = LastingStore()
    submission, _ = attempt(store)
    submission.sending()
    submission.accepted(
        VideoTask(id="v1", status="completed", video_url="https://cdn.example.com/v.mp4?Signature=hush")
    )
    assert "hush" not in str(store.read())


@pytest.mark.parametrize(("hours", "pays_again"), [(1, False), (23.9, False), (24.1, True)])
def test_clear_pays_again_for_a_forgotten_video_only_after_a_day(hours, pays_again):
    store = LastingStore()
    submitted(store)
    make_older(store, hours)
    again, _ = attempt(store, try_number=2)
    again.not_found(VideoTaskNotFoundError("not known"))
    assert not attempt(store, try_number=3)[1]
    assert attempt(store, generation=5, try_number=4)[1] is pays_again


def test_ids_of_earlier_videos_are_kept_and_named(caplog):
    store = LastingStore()
    for generation, video in ((1, "v1"), (3, "v2")):
        submitted(store, video, generation=generation).succeeded()
    assert SubmissionRecord.from_json(store.read()).known_ids == ("v1", "v2")
    assert "Before this, it was given the video task ID v1." in caplog.text


def test_store_is_accessed_again_after_growing_pauses(slept):
    store = Flaky()
    store.refuse_reads = 3
    submission, _ = attempt(store)
    assert slept == [0.5, 1.0, 2.0]
    slept.clear()
    store.refuse_writes = 6
    submission.sending()
    assert slept == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0]
    store.refuse_writes = 5
    submission.accepted(VideoTask(id="v1", status="queued"))
    assert store.read()["video_task_id"] == "v1"
    assert sum(STORE_BACKOFF) > 30, "seconds that a database may take to restart"


def test_post_does_not_leave_without_a_written_intent():
    store = Flaky()
    submission, _ = attempt(store)
    store.refuse_writes = 10**6
    with pytest.raises(LedgerError, match="could not be written"):
        submission.sending()
    with pytest.raises(LedgerError, match=r"decide\(\)"):
        Submission(store, of_try()).sending()


def test_intent_whose_write_failed_can_be_released():
    store = Flaky()
    submission, _ = attempt(store)
    store.refuse_writes = 7
    with pytest.raises(LedgerError):
        submission.sending()
    submission.not_accepted(RequestRefusedError("nothing was sent"))
    assert (store.read()["stage"], store.read()["detail"]) == ("released", "nothing was sent")


def test_unreadable_record_stops_the_task():
    store = Flaky()
    store.refuse_reads = 10**6
    with pytest.raises(LedgerError, match="could not be read"):
        attempt(store)
    broken = LastingStore()
    broken.write({"stage": "?"})
    with pytest.raises(LedgerError, match="cannot be read"):
        attempt(broken)


def test_id_that_cannot_be_written_down_is_in_the_error_and_the_log(caplog):
    store = Flaky()
    submission, _ = attempt(store)
    submission.sending()
    store.refuse_writes = 10**6
    with pytest.raises(LedgerError, match="v-precious"):
        submission.accepted(VideoTask(id="v-precious", status="queued"))
    assert "v-precious" in caplog.text


# ---------------------------------------------------------------- a try that Airflow has given up


def given_up_try(receives):
    """Return the store: Airflow gave up a try in mid-POST, the next one stopped, then the first got its answer."""
    store = Flaky()
    first, _ = attempt(store)
    first.sending()
    with contextlib.suppress(SubmissionUnknownError):
        attempt(store, try_number=2)
    store.given_up = True
    with contextlib.suppress(LedgerError, SubmissionUnknownError):
        receives(first)
    store.given_up = False
    return store


def test_id_that_a_given_up_try_receives_is_taken_over_by_the_next_one(slept, caplog):
    store = given_up_try(lambda first: first.accepted(VideoTask(id="v-late", status="queued")))
    assert slept, "so that Airflow can end such a process"
    assert store.read()["stage"] == "unknown", "the running try's record is left alone"
    again, sends = attempt(store, generation=5, try_number=3)
    assert not sends
    assert again.recorded_task().id == "v-late"
    assert "v-late" in caplog.text
    assert (store.read()["stage"], store.note) == ("submitted", None)


def test_given_up_try_that_sent_nothing_lets_the_next_one_submit():
    store = given_up_try(lambda first: first.not_accepted(RequestRefusedError("too late, nothing was sent")))
    assert attempt(store, try_number=3)[1]
    assert store.note is None


def test_given_up_try_without_an_answer_notes_a_possible_id():
    store = given_up_try(lambda first: first.outcome_unknown(SubmissionUnknownError("Broken.", video_task_id="v?")))
    with pytest.raises(SubmissionUnknownError, match=r"v\?"):
        attempt(store, try_number=3)


def test_note_whose_write_seemed_to_fail_is_removed_as_well():
    store = Flaky()
    submission, _ = attempt(store)
    submission.sending()

    def write_note(value):
        store.note = value
        raise ConnectionError("the answer was lost")

    store.write_note = write_note
    store.refuse_writes = 1
    submission.accepted(VideoTask(id="v1", status="queued"))
    assert store.note is None


def test_note_is_written_at_the_next_failure_where_it_could_not_be_at_the_first():
    store = Flaky()
    submission, _ = attempt(store)
    submission.sending()
    answers = [ConnectionError("no Variables"), None, AssertionError("once is enough")]

    def write_note(value):
        if (error := answers.pop(0)) is not None:
            raise error

    store.write_note = write_note
    store.refuse_writes = 4
    submission.accepted(VideoTask(id="v1", status="queued"))
    assert len(answers) == 1


def test_note_about_another_post_is_not_taken_over():
    store = given_up_try(lambda first: first.accepted(VideoTask(id="v-late", status="queued")))
    store.write(store.read() | {"sent_at": "2026-01-01T00:00:00+00:00"})
    with pytest.raises(SubmissionUnknownError):
        attempt(store, try_number=3)
    assert store.note["video_task_id"] == "v-late"


def test_note_is_written_at_the_first_failure_and_removed_when_the_record_is_written():
    store = Flaky()
    submission, _ = attempt(store)
    submission.sending()
    left = []
    store.write_note = lambda value: left.append(value["video_task_id"])
    dropped = []
    store.delete_note = lambda: dropped.append(True)
    store.refuse_writes = 3
    submission.accepted(VideoTask(id="v1", status="queued"))
    assert (left, dropped) == (["v1"], [True])


def test_id_that_a_try_receives_after_its_release_is_taken_over():
    store = given_up_try(lambda first: first.accepted(VideoTask(id="v-late", status="queued")))
    store.write(store.read() | {"stage": "released"})  # by a person, before the answer came
    again, sends = attempt(store, try_number=3)
    assert not sends
    assert again.recorded_task().id == "v-late"


def test_release_by_a_person_outweighs_the_note_of_a_try_without_an_answer():
    store = given_up_try(lambda first: first.outcome_unknown(SubmissionUnknownError("Broken.")))
    store.write(store.read() | {"stage": "released"})
    assert attempt(store, try_number=3)[1]


def test_given_up_try_writes_no_note_about_a_video_in_the_making():
    store = Flaky()
    submission = submitted(store)
    store.given_up = True
    with pytest.raises(LedgerError):
        submission.completed()
    assert store.note is None


def test_given_up_try_writes_no_note_about_a_post_that_it_never_began():
    store = Flaky()
    submission, _ = attempt(store)
    store.given_up = True
    with pytest.raises(LedgerError):
        submission.sending()
    with pytest.raises(LedgerError):
        submission.not_accepted(RequestRefusedError("nothing was sent"))
    assert store.note is None


def test_given_up_try_does_not_write_over_the_note_of_an_earlier_one(slept):
    store = Flaky()
    first, _ = attempt(store)
    first.sending()
    second = Submission(store, of_try(try_number=2))
    store.given_up = True
    with pytest.raises(LedgerError):
        first.accepted(VideoTask(id="v-late", status="queued"))
    note, store.note = store.note, None  # read before that
    assert note["video_task_id"] == "v-late"
    with pytest.raises(LedgerError, match="could not be written"):
        second.decide(REQUEST, BASE)
    assert store.note is None
    assert sum(slept) > 30, "Airflow ends such a process meanwhile: on 2.11 its end would count as the task's"


def test_video_that_the_record_does_not_name_any_more_is_refused():
    store = LastingStore()
    submission = submitted(store)
    submission.check_is_of("v1")
    for changes in ({"video_task_id": "v2"}, {"stage": "released"}):
        store.write(store.read() | changes)
        with pytest.raises(LedgerError, match=r"waited for video task v1.*next try goes by the record"):
            Submission(store, of_try()).check_is_of("v1")
        store.write(store.read() | {"video_task_id": "v1", "stage": "submitted"})
    Submission(MemoryRecordStore(), of_try()).check_is_of("v1")


@pytest.mark.parametrize("broken", ["write_note", "delete_note"])
def test_record_is_written_also_where_no_note_can_be(broken):
    def fail(*_):
        raise ConnectionError("no Variables")

    store = Flaky()
    submission, _ = attempt(store)
    submission.sending()
    setattr(store, broken, fail)
    store.refuse_writes = 2
    submission.accepted(VideoTask(id="v1", status="queued"))
    assert store.read()["video_task_id"] == "v1"


# ---------------------------------------------------------------- whatever dies and whenever

ANSWERS = ("accepted", "refused", "lost", "accepted then lost")
DEATHS = (
    *(None, "before intent", "before post", "after post", "before record", "after record", "after unknown"),
    *("after release", "after stop", "after resume", "before success", "in the callback"),
)
PEOPLE = ("clear", "release and clear", "adopt and clear")


@pytest.fixture
def _quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class Vendor:
    """What really happened, as the vendor would see it, and from it how many POSTs the next try may send.

    ``state`` is this model's own: what can be proven about the last POST, whatever the product has written down.
    """

    def __init__(self):
        self.store = Flaky()
        self.posts = 0
        self.paid: list[str] = []
        self.received: list[str] = []  # IDs that a process lived long enough to write down
        self.state, self.request = "nothing", None
        self.cleared = False

    def allowed_posts(self, request) -> int:
        """The exact number: neither a second payment nor a video that nobody makes."""
        if self.state == "unknown":
            return 0
        if self.state == "paid":
            return int(self.cleared and request is not self.request and self.request is not None)
        return int(self.state != "failed" or self.cleared)

    def post(self, answer: str, death: str | None) -> VideoTask:
        self.posts += 1
        if answer == "refused":
            raise RequestRefusedError("no")
        if answer in ("accepted", "accepted then lost"):
            self.paid.append(f"v{self.posts}")
        if answer != "accepted":
            raise SubmissionUnknownError("lost")
        if death not in ("after post", "before record"):  # then the log line is all that is left of it
            self.received.append(self.paid[-1])
        return VideoTask(id=self.paid[-1], status="queued")

    def run_try(self, answer: str, death: str | None, generation: int, try_number: int, request, video_fails: bool):
        """Run one try; return how it ended: 'success', 'final' (no retry follows) or 'retry'."""
        store = self.store
        before = {"before intent": "sending", "before record": "submitted", "in the callback": "returned"}
        after = {"before post": "sending", "after record": "submitted", "after unknown": "unknown"}
        after |= {"after release": "released", "after stop": "unknown", "after resume": "submitted"}
        store.die_before_write, store.die_after_write = before.get(death), after.get(death)
        try:
            submission, sends = attempt(store, generation=generation, try_number=try_number, request=request)
            if sends:
                return self._submit(submission, answer, death, request, video_fails)
            return self._end(submission, death, video_fails or self.state == "failed")
        except SubmissionUnknownError:
            return "final"
        except (Died, LedgerError):
            return "retry"
        finally:
            store.die_before_write = store.die_after_write = None

    def _submit(self, submission, answer, death, request, video_fails):
        try:
            submission.sending()
        except Died:
            if death != "before intent":
                self.state = "unknown"
            raise
        self.state, self.request = "unknown", request
        try:
            task = self.post(answer, death)
        except RequestRefusedError as error:
            with contextlib.suppress(Died):
                submission.not_accepted(error)
            self.state = "nothing"
            return "final" if death != "after release" else "retry"
        except SubmissionUnknownError as error:
            submission.outcome_unknown(error)
        if death == "after post":
            raise Died
        try:
            submission.accepted(task)
        except Died:
            if death in ("after record", "after resume"):
                self.state = "paid"
            raise
        self.state = "paid"
        return self._end(submission, death, video_fails)

    def _end(self, submission, death, video_fails):
        if video_fails:
            submission.failed(VideoFailedError("failed"))
            self.state = "failed"
            return "final"
        if death == "before success":
            raise Died
        self.state = "paid"
        with contextlib.suppress(Died):  # Airflow has the success already
            submission.succeeded()
            self.state = "returned"
        return "success"

    def act(self, what: str) -> None:
        """What a person does before the next try; only a stuck record can be released or adopted."""
        record = self.store.read()
        self.cleared = True
        if what == "clear" or not record or record["stage"] not in ("sending", "unknown"):
            return
        if what == "release and clear":
            self.store.write(record | {"stage": "released"})
            self.state = "nothing"
        else:
            self.store.write(
                record | {"stage": "submitted", "fingerprint": ADOPTED, "video_task_id": f"v{self.posts or 1}"}
            )
            self.state, self.request = "paid", None


step = st.tuples(st.sampled_from(ANSWERS), st.sampled_from(DEATHS), st.sampled_from([REQUEST, OTHER]), st.booleans())
generation_ = st.tuples(st.sampled_from(PEOPLE), st.lists(step, min_size=1, max_size=4))


@pytest.mark.usefixtures("_quiet")
@given(st.lists(generation_, min_size=1, max_size=4))
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_try_sends_exactly_what_may_be_paid_for(generations):
    """Each entry is what a person does, and the tries until the next act. Airflow retries after a death only."""
    vendor, try_number = Vendor(), 0
    for generation, (act, tries) in enumerate(generations, start=1):
        if generation > 1:
            vendor.act(act)
        for answer, death, request, video_fails in tries:
            try_number += 1
            allowed, before = vendor.allowed_posts(request), vendor.posts
            ended = vendor.run_try(answer, death, 10 * generation, try_number, request, video_fails)
            if death != ("before intent" if allowed else "before record"):  # then there is no trace of this try
                vendor.cleared = False
            sent = vendor.posts - before
            assert sent <= allowed, "a POST that may be paid for twice"
            assert sent == allowed or death in ("before intent", "before post"), "a POST that was due"
            recorded = SubmissionRecord.from_json(vendor.store.read()).known_ids if vendor.store.read() else ()
            lost = [video for video in vendor.received if video not in recorded]
            assert not lost, "an ID that reached the client and that nobody wrote down"
            if ended != "retry":
                break


@pytest.mark.usefixtures("_quiet")
@given(st.lists(step, min_size=2, max_size=6))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_retries_return_the_id_that_was_written_down(tries):
    vendor = Vendor()
    vendor.run_try("accepted", "after record", 1, 1, REQUEST, False)
    for number, (answer, death, request, video_fails) in enumerate(tries, start=2):
        if vendor.run_try(answer, death, 1, number, request, video_fails) != "retry":
            break
    assert vendor.posts == 1
    assert vendor.store.read()["video_task_id"] == "v1"
