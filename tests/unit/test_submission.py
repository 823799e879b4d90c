"""The submission against a server and a store that fail and processes that die: who pays, and who knows the ID.

The model below is not the product's: it counts the POSTs that a server would have seen, and knows which of
them were accepted. Whatever the order of events, a second POST may leave only after proof or an explicit act.
"""

import contextlib
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_digitalhuman import submission as submission_module
from airflow_provider_digitalhuman.api.request import VideoRequest
from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.compat import HAS_TASK_STATE_STORE
from airflow_provider_digitalhuman.exceptions import (
    LedgerError,
    RequestRefusedError,
    SubmissionUnknownError,
    VideoFailedError,
    VideoTaskNotFoundError,
)
from airflow_provider_digitalhuman.ledger import Stage, SubmissionRecord
from airflow_provider_digitalhuman.ledger_address import RECORD_KEY
from airflow_provider_digitalhuman.ledger_stores import MemoryRecordStore, TaskStateRecordStore
from airflow_provider_digitalhuman.submission import Submission

REQUEST = VideoRequest("https://h.example.com/a.mp3?sig=hush", "https://h.example.com/v.mp4")
OTHER = VideoRequest("https://h.example.com/b.mp3", "https://h.example.com/v.mp4")
BASE = "https://api.example.com"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(submission_module.time, "sleep", lambda seconds: None)


needs_task_state_store = pytest.mark.skipif(
    not HAS_TASK_STATE_STORE, reason="Airflow below 3.3 has no task state store"
)


class Died(BaseException):
    """The process was killed."""


class Flaky(MemoryRecordStore):
    """A store that can refuse the next reads or writes, or belong to a process that dies."""

    def __init__(self):
        super().__init__()
        self.refuse_reads = self.refuse_writes = 0
        self.die_before_write = self.die_after_write = None
        self.writes = 0

    def read(self):
        if self.refuse_reads:
            self.refuse_reads -= 1
            raise ConnectionError("the database is away")
        return super().read()

    def write(self, value):
        self.writes += 1
        if self.die_before_write == value["stage"]:
            raise Died
        if self.refuse_writes:
            self.refuse_writes -= 1
            raise ConnectionError("the database is away")
        super().write(value)
        if self.die_after_write == value["stage"]:
            raise Died


def attempt(store, *, generation=1, try_number=1, request=REQUEST, unknown="fail", failed="fail"):
    submission = Submission(store, generation=generation, try_number=try_number)
    return submission, submission.may_send(request, BASE, unknown, failed)


def test_the_intent_is_written_before_and_the_id_after_the_post():
    store = MemoryRecordStore()
    submission, may_send = attempt(store)
    assert may_send
    assert store.read() is None
    submission.sending()
    assert store.read()["stage"] == "sending"
    submission.accepted(VideoTask(id="v1", status="queued"))
    assert (store.read()["stage"], store.read()["video_task_id"]) == ("submitted", "v1")
    submission.succeeded()
    assert store.read()["stage"] == "returned"
    assert "hush" not in str(store.read())


def test_a_try_that_finds_an_open_submission_stops_and_says_what_is_known():
    store = MemoryRecordStore()
    store.outlasts_try = True
    attempt(store)[0].sending()
    with pytest.raises(SubmissionUnknownError) as caught:
        attempt(store, try_number=2)
    for known in ("Try 1", "https://h.example.com/a.mp3?…", BASE, "Its log may name the ID", "console", "release"):
        assert known in str(caught.value)
    assert store.read()["stage"] == "unknown"


@pytest.mark.parametrize("outlasts_try", [True, False])
def test_a_try_that_lives_on_after_an_unknown_outcome_says_what_is_known_too(outlasts_try):
    store = MemoryRecordStore()
    store.outlasts_try = outlasts_try
    submission, _ = attempt(store)
    submission.sending()
    why = SubmissionUnknownError("No answer came.")
    with pytest.raises(SubmissionUnknownError, match=r"^No answer came\. Try 1 sent it at 2") as caught:
        submission.outcome_unknown(why)
    assert caught.value.__cause__ is why
    for known in ("https://h.example.com/a.mp3?…", BASE, "console", "submits again"):
        assert known in str(caught.value)
    assert "Its log" not in str(caught.value), "which is the one that says this"
    assert ("release" in str(caught.value)) is outlasts_try  # nothing to mend where no record stays
    assert (store.read()["stage"], store.read()["detail"]) == ("unknown", "No answer came.")


def test_a_clear_goes_on_with_a_video_in_the_making_and_later_retries_do_too():
    store = MemoryRecordStore()
    submission, _ = attempt(store, generation=1)
    submission.sending()
    submission.accepted(VideoTask(id="v1", status="queued"))
    assert not attempt(store, generation=5, try_number=4)[1]
    # A retry after that clear whose template renders to something else is no clear of its own.
    assert not attempt(store, generation=5, try_number=5, request=OTHER)[1]


def test_the_retry_of_a_cleared_task_that_returned_does_not_submit():
    store = MemoryRecordStore()
    submission, _ = attempt(store, generation=1)
    submission.sending()
    submission.accepted(VideoTask(id="v1", status="queued"))
    again, may_send = attempt(store, generation=5, try_number=4)
    assert not may_send
    again.succeeded()
    assert not attempt(store, generation=5, try_number=5)[1]


@pytest.mark.parametrize("succeeded", [True, False])
def test_a_clear_pays_again_only_after_a_success_that_airflow_knows_of(succeeded):
    store = MemoryRecordStore()
    submission, _ = attempt(store, generation=1)
    submission.sending()
    submission.accepted(VideoTask(id="v1", status="queued"))
    if succeeded:
        submission.succeeded()
    assert attempt(store, generation=5, try_number=2)[1] is succeeded


def test_what_is_no_open_submission_is_not_ended():
    store = MemoryRecordStore()
    submission, _ = attempt(store)
    submission.succeeded()
    assert store.read() is None
    submission.sending()
    submission.accepted(VideoTask(id="v1", status="failed"))
    submission.failed(VideoFailedError("failed"))
    submission.succeeded()
    assert store.read()["stage"] == "failed"


@pytest.mark.parametrize(("hours", "pays_again"), [(1, False), (25, True)])
def test_a_video_that_was_made_and_expires_before_it_is_archived_is_no_failed_video(hours, pays_again):
    store = MemoryRecordStore()
    submission, _ = attempt(store)
    submission.sending()
    submission.accepted(VideoTask(id="v1", status="queued"))
    submission.completed()
    store.write(store.read() | {"sent_at": (datetime.now(UTC) - timedelta(hours=hours)).isoformat(timespec="seconds")})
    again, _ = attempt(store, try_number=2, failed="retry")
    again.failed(VideoFailedError("expired"))
    assert attempt(store, try_number=3, failed="retry")[1] is pays_again


def test_no_url_of_the_vendors_is_kept():
    store = MemoryRecordStore()
    submission, _ = attempt(store)
    submission.sending()
    submission.accepted(
        VideoTask(id="v1", status="completed", video_url="https://cdn.example.com/v.mp4?Signature=hush")
    )
    assert "hush" not in str(store.read())


@pytest.mark.parametrize(("hours", "pays_again"), [(1, False), (23, False), (25, True)])
def test_a_clear_pays_again_for_a_forgotten_video_only_after_a_day(hours, pays_again):
    store = MemoryRecordStore()
    submission, _ = attempt(store)
    submission.sending()
    submission.accepted(VideoTask(id="v1", status="queued"))
    sent_at = (datetime.now(UTC) - timedelta(hours=hours)).isoformat(timespec="seconds")
    store.write(store.read() | {"sent_at": sent_at})
    again, _ = attempt(store, try_number=2)
    again.not_found(VideoTaskNotFoundError("not known"))
    assert not attempt(store, try_number=3)[1]
    assert attempt(store, generation=5, try_number=4)[1] is pays_again


def test_ids_of_earlier_videos_are_kept_and_named(caplog):
    store = MemoryRecordStore()
    for generation, video in ((1, "v1"), (3, "v2")):
        submission, may_send = attempt(store, generation=generation)
        assert may_send
        submission.sending()
        submission.accepted(VideoTask(id=video, status="queued"))
        submission.succeeded()
    assert SubmissionRecord.from_json(store.read()).known_ids == ("v1", "v2")
    assert "v1" in caplog.text


def test_the_store_is_asked_patiently():
    store = Flaky()
    store.refuse_reads, store.refuse_writes = 3, 3
    submission, _ = attempt(store)
    submission.sending()
    store.refuse_writes = 5
    submission.accepted(VideoTask(id="v1", status="queued"))
    assert store.read()["video_task_id"] == "v1"


def test_no_post_without_a_written_intent():
    store = Flaky()
    submission, _ = attempt(store)
    store.refuse_writes = 10**6
    with pytest.raises(LedgerError, match="could not be written"):
        submission.sending()


def test_an_unreadable_record_stops_the_task():
    store = Flaky()
    store.refuse_reads = 10**6
    with pytest.raises(LedgerError, match="could not be read"):
        attempt(store)
    broken = MemoryRecordStore()
    broken.write({"stage": "?"})
    with pytest.raises(LedgerError, match="cannot be read"):
        attempt(broken)


def test_an_id_that_cannot_be_written_down_is_in_the_error_and_the_log(caplog):
    store = Flaky()
    submission, _ = attempt(store)
    submission.sending()
    store.refuse_writes = 10**6
    with pytest.raises(LedgerError, match="v-precious"):
        submission.accepted(VideoTask(id="v-precious", status="queued"))
    assert "v-precious" in caplog.text


class TaskState:
    """The task state store of a task, as the worker sees it; it can lose what it took."""

    def __init__(self, monkeypatch, *, loses=False):
        from airflow.sdk.execution_time import task_runner

        self.sent, self.reads, self.loses = [], 0, loses
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", SimpleNamespace(send=self.sent.append), raising=False)

    def get(self, key, default=None):
        self.reads += 1
        return default if self.loses or not self.sent else self.sent[-1].value


@needs_task_state_store
def test_the_task_state_store_never_forgets_and_keeps_the_record_in_airflows_own_database(monkeypatch):
    state, ti = TaskState(monkeypatch), SimpleNamespace(id=UUID(int=7))
    attempt(TaskStateRecordStore(state, ti))[0].sending()
    (message,) = state.sent
    assert (message.ti_id, message.key, message.expires_at) == (ti.id, RECORD_KEY, None)
    assert message.value["stage"] == "sending"
    assert state.reads == 1, "of the record before it: what Airflow has answered is committed"


@needs_task_state_store
@pytest.mark.parametrize("option", ["STATE_STORE__BACKEND", "WORKERS__STATE_STORE_BACKEND"])
@pytest.mark.parametrize("loses", [True, False])
def test_somebody_elses_state_store_must_have_what_it_took(monkeypatch, option, loses):
    state = TaskState(monkeypatch, loses=loses)
    submission, _ = attempt(TaskStateRecordStore(state, SimpleNamespace(id=UUID(int=7))))
    monkeypatch.setenv(f"AIRFLOW__{option}", "somebody.elses.Backend")
    refused = pytest.raises(LedgerError, match="gave back None") if loses else contextlib.nullcontext()
    with refused:
        submission.sending()
    assert state.reads > 1


def test_an_entry_whose_contents_a_backend_has_lost_is_not_taken_for_none():
    lost = SimpleNamespace(get=lambda key, default=None: None)
    with pytest.raises(LedgerError, match="has lost"):
        attempt(TaskStateRecordStore(lost, None))
    none = SimpleNamespace(get=lambda key, default=None: default)
    assert attempt(TaskStateRecordStore(none, None))[1]


# ---------------------------------------------------------------- whatever dies and whenever

ANSWERS = ("accepted", "refused", "lost", "accepted then lost")
DEATHS = (None, "before post", "after post", "before record", "after record", "before success", "in the callback")


class World:
    """What really happened: POSTs and paid videos, as the vendor would see them."""

    def __init__(self):
        self.store = Flaky()
        self.posts = 0
        self.paid: list[str] = []
        self.received: list[str] = []  # IDs that a process lived long enough to write down

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
        store.die_before_write = {"before record": Stage.SUBMITTED, "in the callback": Stage.RETURNED}.get(death)
        store.die_after_write = {"before post": Stage.SENDING, "after record": Stage.SUBMITTED}.get(death)
        try:
            submission, may_send = attempt(store, generation=generation, try_number=try_number, request=request)
            if may_send:
                submission.sending()
                try:
                    task = self.post(answer, death)
                except RequestRefusedError as error:
                    submission.not_accepted(error)
                    return "final"
                except SubmissionUnknownError as error:
                    submission.outcome_unknown(error)
                    return "final"
                if death == "after post":
                    raise Died
                submission.accepted(task)
            if video_fails:
                submission.failed(VideoFailedError("failed"))
                return "final"
            if death == "before success":
                raise Died
            with contextlib.suppress(Died):  # Airflow knows of the success already
                submission.succeeded()
            return "success"
        except SubmissionUnknownError:
            return "final"
        except (Died, LedgerError):
            return "retry"
        finally:
            store.die_before_write = store.die_after_write = None


step = st.tuples(st.sampled_from(ANSWERS), st.sampled_from(DEATHS), st.sampled_from([REQUEST, OTHER]), st.booleans())


@given(st.lists(st.lists(step, min_size=1, max_size=4), min_size=1, max_size=4))
@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_payment_for_each_explicit_act(generations):
    """Each inner list is the tries between two clears. Airflow retries after a death or a ledger error only."""
    world, try_number = World(), 0
    for generation, tries in enumerate(generations, start=1):
        before = (world.posts, len(world.paid))
        found = world.store.read()
        for answer, death, request, video_fails in tries:
            try_number += 1
            ended = world.run_try(answer, death, 10 * generation, try_number, request, video_fails)
            recorded = SubmissionRecord.from_json(world.store.read()).known_ids if world.store.read() else ()
            lost = [video for video in world.received if video not in recorded]
            assert not lost, "an ID that reached the client and that nobody wrote down"
            if ended != "retry":
                break
        posts, paid = world.posts - before[0], len(world.paid) - before[1]
        assert posts <= 1, "automatic retries sent a second POST"
        assert paid <= 1
        if found and found["stage"] == "sending":
            assert posts == 0, "nobody had been told of the open submission, so the clear was not about it"


@given(st.lists(step, min_size=2, max_size=6))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_after_an_id_was_written_down_retries_return_the_same(tries):
    world = World()
    world.run_try("accepted", "after record", 1, 1, REQUEST, False)
    for number, (answer, death, request, video_fails) in enumerate(tries, start=2):
        world.run_try(answer, death, 1, number, request, video_fails)
    assert world.posts == 1
    assert world.store.read()["video_task_id"] == "v1"
