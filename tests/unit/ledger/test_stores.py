"""Where records live: what Airflow's stores lose and refuse, and what an upgrade or a clear leaves behind."""

import contextlib
import json
import sys
from types import SimpleNamespace
from uuid import UUID

import pytest
from airflow.models.variable import Variable
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from airflow_provider_digitalhuman.api.request import VideoRequest
from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.exceptions import LedgerError, SubmissionUnknownError
from airflow_provider_digitalhuman.ledger.address import RECORD_KEY, TaskAddress
from airflow_provider_digitalhuman.ledger.decision import Send
from airflow_provider_digitalhuman.ledger.record import ADOPTED, RunFacts
from airflow_provider_digitalhuman.ledger.stores import (
    MemoryRecordStore,
    TaskStateRecordStore,
    VariableRecordStore,
    store_for,
)
from airflow_provider_digitalhuman.ledger.submission import Submission
from airflow_provider_digitalhuman.ledger.try_facts import TryFacts
from airflow_provider_digitalhuman.support import compat
from airflow_provider_digitalhuman.support.compat import HAS_TASK_STATE_STORE

ADDRESS = TaskAddress("dag", "run", "create")
KEY = ADDRESS.variable_key
needs_task_state_store = pytest.mark.skipif(
    not HAS_TASK_STATE_STORE, reason="Airflow below 3.3 has no task state store"
)


@pytest.fixture
def variables(monkeypatch):
    """Airflow's Variables; ``calls`` counts the accesses."""
    kept = SimpleNamespace(values={}, calls=[])

    def access(name, action):
        def called(key, *rest, **options):
            kept.calls.append(name)
            return action(key, *rest, **options)

        monkeypatch.setattr(compat, name, called)

    access("read_variable", kept.values.get)
    access("write_variable", lambda key, text, description: kept.values.update({key: text}))
    access("delete_variable", lambda key, **_: kept.values.pop(key, None))
    return kept


# ---------------------------------------------------------------- a Variable, below Airflow 3.3


def store(*, is_current_try=True):
    return VariableRecordStore(ADDRESS, lambda: is_current_try)


def contents(of):
    value = of.read()
    return {key: value[key] for key in value if key != "task"}


def test_running_try_begins_a_record_and_goes_on_with_it(variables):
    own = store()
    assert own.read() is None
    own.write({"stage": "sending"})
    own.write({"stage": "submitted"})
    assert store().read() == {"stage": "submitted", "task": ["dag", "run", "create", -1]}


def test_write_whose_answer_was_lost_can_be_repeated(variables, monkeypatch):
    own = store()
    own.read()

    def write_and_fail(key, text, description):
        variables.values[key] = text
        raise ConnectionError("the answer was lost")

    with monkeypatch.context() as broken:
        broken.setattr(compat, "write_variable", write_and_fail)
        with pytest.raises(ConnectionError):
            own.write({"stage": "sending"})
    own.write({"stage": "sending"})
    assert contents(own) == {"stage": "sending"}


def test_write_that_airflow_only_logs_as_failed_is_noticed_and_can_be_repeated(variables, monkeypatch):
    own = store()
    own.read()
    own.write({"stage": "sending"})
    with monkeypatch.context() as broken:
        broken.setattr(compat, "write_variable", lambda key, text, description: None)
        with pytest.raises(LedgerError, match="instead of the record"):
            own.write({"stage": "submitted", "video_task_id": "v1"})
    own.write({"stage": "submitted", "video_task_id": "v1"})
    assert contents(own) == {"stage": "submitted", "video_task_id": "v1"}


def test_given_up_try_begins_no_record_even_if_the_next_one_has_tidied_up(variables):
    given_up = store(is_current_try=False)
    assert given_up.read() is None
    with pytest.raises(LedgerError, match="another try"):
        given_up.write({"stage": "sending"})
    assert variables.values == {}


def test_try_does_not_write_over_what_the_next_one_has_written(variables):
    given_up, following = store(), store()
    assert (given_up.read(), following.read()) == (None, None)
    following.write({"stage": "sending", "try_number": 2})
    with pytest.raises(LedgerError, match="another process"):
        given_up.write({"stage": "sending", "try_number": 1})
    following.write({"stage": "submitted"})
    assert contents(following) == {"stage": "submitted"}


def test_next_try_goes_on_with_what_it_finds(variables):
    store().write({"stage": "sending"})
    following = store()
    following.read()
    following.write({"stage": "unknown"})
    assert contents(following) == {"stage": "unknown"}


def test_cleared_try_keeps_its_id(variables):
    cleared = store(is_current_try=False)
    variables.values[KEY] = '{"stage": "sending"}'
    cleared.read()
    cleared.write({"stage": "submitted", "video_task_id": "v1"})
    assert contents(store()) == {"stage": "submitted", "video_task_id": "v1"}


def test_success_removes_the_record_unless_it_is_another_trys_by_now(variables):
    own, following = store(), store()
    own.read()
    own.write({"stage": "sending", "try_number": 1})
    following.read()
    following.write({"stage": "sending", "try_number": 2})
    own.end({})
    assert contents(store()) == {"stage": "sending", "try_number": 2}
    following.end({})
    assert variables.values == {}


def test_record_goes_in_the_transaction_of_the_success_below_airflow_3(monkeypatch):
    left = []
    for end in (Session.rollback, Session.commit):  # the process dies before the success is written, or not
        engine = create_engine("sqlite://")
        Variable.__table__.create(engine)
        with Session(engine) as session:
            session.add(Variable(key="record", val="{}"))
            session.commit()
            of_the_task = SimpleNamespace(get_current_task_instance_session=lambda session=session: session)
            monkeypatch.setattr(compat, "AIRFLOW", (2, 11))
            monkeypatch.setitem(sys.modules, "airflow.utils.task_instance_session", of_the_task)
            compat.delete_variable("record", with_success=True)
            end(session)
            left.append(session.scalar(select(Variable.key)))
    assert left == ["record", None]


def test_what_a_given_up_try_leaves_is_beside_the_record(variables):
    own = store()
    own.read()
    own.write({"stage": "unknown"})
    assert own.read_note() is None
    store(is_current_try=False).write_note({"stage": "submitted", "video_task_id": "v1"})
    assert contents(own) == {"stage": "unknown"}
    assert own.read_note() == {"stage": "submitted", "video_task_id": "v1"}
    own.delete_note()
    assert set(variables.values) == {KEY}


# ---------------------------------------------------------------- the task state store, from Airflow 3.3 on


class TaskState:
    """The task state store of a task, as the worker sees it; it can lose what it took, or be emptied by a clear."""

    def __init__(self, monkeypatch, *, loses=False):
        from airflow.sdk.execution_time import task_runner

        self.sent, self.reads, self.loses, self.given_up = [], 0, loses, False
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", SimpleNamespace(send=self._send), raising=False)

    def _send(self, message):
        if self.given_up:
            raise ConnectionError("404: no such task instance")
        self.sent.append(message)

    def get(self, key, default=None):
        self.reads += 1
        return default if self.loses or not self.sent else self.sent[-1].value

    def clear(self):
        self.sent.clear()


TI = SimpleNamespace(id=UUID(int=7), dag_id="dag", run_id="run", task_id="create", map_index=-1)
REQUEST = VideoRequest("https://h.example.com/a.mp3", "https://h.example.com/v.mp4")


def task_state_store(state, *, keeps_copy=False):
    return TaskStateRecordStore(state, TI, keeps_copy=keeps_copy)


def begun(record_store, try_number=1, generation=0):
    submission = Submission(record_store, TryFacts(ADDRESS, generation, try_number, 0, RunFacts(), False))
    return submission, isinstance(submission.decide(REQUEST, "https://api.example.com"), Send)


@needs_task_state_store
def test_task_state_record_never_expires_and_lies_in_airflows_own_database(monkeypatch, variables):
    state = TaskState(monkeypatch)
    begun(task_state_store(state))[0].sending()
    (message,) = state.sent
    assert (message.ti_id, message.key, message.expires_at) == (TI.id, RECORD_KEY, None)
    assert message.value["stage"] == "sending"
    assert state.reads == 1, "of the record before it: what Airflow has answered is committed"


@needs_task_state_store
def test_task_state_record_is_written_by_the_public_accessor_where_the_message_is_another_one(monkeypatch, variables):
    from airflow.sdk import NEVER_EXPIRE
    from airflow.sdk.execution_time import comms

    written = []
    accessor = SimpleNamespace(
        get=lambda key, default=None: default, set=lambda key, value, retention: written.append((key, retention))
    )

    def refuses(**_):
        raise TypeError("region is missing")

    for replacement in (refuses, None):
        with monkeypatch.context() as later:
            if replacement:
                later.setattr(comms, "SetTaskStateStore", replacement)
            else:
                later.delattr(comms, "SetTaskStateStore")
            compat.write_task_state(accessor, TI, "k", {"stage": "sending"})
    assert written == [("k", NEVER_EXPIRE)] * 2


@needs_task_state_store
@pytest.mark.parametrize("option", ["STATE_STORE__BACKEND", "WORKERS__STATE_STORE_BACKEND"])
@pytest.mark.parametrize("loses", [True, False])
def test_somebody_elses_state_store_must_have_what_it_took(monkeypatch, variables, option, loses):
    monkeypatch.setattr("airflow_provider_digitalhuman.ledger.backoff.STORE_BACKOFF", ())
    state = TaskState(monkeypatch, loses=loses)
    submission, _ = begun(task_state_store(state))
    monkeypatch.setenv(f"AIRFLOW__{option}", "somebody.elses.Backend")
    refused = pytest.raises(LedgerError, match="gave back None") if loses else contextlib.nullcontext()
    with refused:
        submission.sending()
    assert state.reads > 1


def test_entry_whose_contents_a_backend_has_lost_is_not_taken_for_none(variables, monkeypatch):
    monkeypatch.setattr("airflow_provider_digitalhuman.ledger.backoff.STORE_BACKOFF", ())
    lost = SimpleNamespace(get=lambda key, default=None: None)
    with pytest.raises(LedgerError, match="has lost"):
        begun(task_state_store(lost))
    none = SimpleNamespace(get=lambda key, default=None: default)
    assert begun(task_state_store(none))[1]


@needs_task_state_store
def test_video_without_trouble_costs_one_look_for_a_variable(monkeypatch, variables):
    state = TaskState(monkeypatch)
    submission, sends = begun(task_state_store(state))
    assert sends
    submission.sending()
    submission.accepted(VideoTask(id="v1", status="queued"))
    submission.succeeded()
    assert (state.reads, len(state.sent), variables.calls) == (1, 3, ["read_variable"])


@needs_task_state_store
def test_copy_costs_two_writes_and_a_removal_more(monkeypatch, variables):
    state = TaskState(monkeypatch)
    submission, _ = begun(task_state_store(state, keeps_copy=True))
    submission.sending()
    submission.accepted(VideoTask(id="v1", status="queued"))
    submission.succeeded()
    assert (state.reads, len(state.sent)) == (1, 3)
    assert variables.calls == ["read_variable", "write_variable", "write_variable", "delete_variable"]
    assert variables.values == {}


@needs_task_state_store
@pytest.mark.parametrize("stage", ["sending", "submitted", "adopted"])
def test_clear_that_empties_the_task_state_store_does_not_submit_again(monkeypatch, variables, stage):
    state = TaskState(monkeypatch)
    submission, _ = begun(task_state_store(state, keeps_copy=True))
    submission.sending()
    if stage == "submitted":
        submission.accepted(VideoTask(id="v1", status="queued"))
    if stage == "adopted":
        adopted = {"stage": "submitted", "fingerprint": ADOPTED, "video_task_id": "v1"}
        variables.values[KEY] = json.dumps(json.loads(variables.values[KEY]) | adopted)
    state.clear()
    stops = pytest.raises(Exception, match="not known") if stage == "sending" else contextlib.nullcontext()
    with stops:
        again, sends = begun(task_state_store(state, keeps_copy=True), try_number=2, generation=1)
        assert not sends
        assert again.recorded_task().id == "v1"
        again.succeeded()
        assert variables.values == {}
        state.clear()
        assert begun(task_state_store(state, keeps_copy=True), try_number=3, generation=2)[1], "after the success"


@needs_task_state_store
@pytest.mark.parametrize("stage", ["sending", "submitted"])
def test_record_of_an_airflow_before_3_3_is_taken_over(monkeypatch, variables, stage):
    state = TaskState(monkeypatch)
    old, _ = begun(store())  # the Variable, as Airflow 2.11 to 3.2 leave it
    old.sending()
    if stage == "submitted":
        old.accepted(VideoTask(id="v1", status="queued"))
    after_upgrade = task_state_store(state)
    stops = pytest.raises(Exception, match="not known") if stage == "sending" else contextlib.nullcontext()
    with stops:
        again, sends = begun(after_upgrade)  # 2.11 starts again with the same try number
        assert not sends
        assert again.recorded_task().id == "v1"
        again.succeeded()
    if stage == "submitted":
        assert variables.values == {}, "the Variable goes when the task has succeeded"
        assert state.sent[-1].value["stage"] == "returned"
        assert "copied" not in state.sent[-1].value
    else:
        assert state.sent[-1].value["stage"] == "unknown"
        assert json.loads(variables.values[KEY])["stage"] == "unknown"


@needs_task_state_store
def test_later_try_removes_the_variable_that_an_earlier_one_took_over(monkeypatch, variables):
    state = TaskState(monkeypatch)
    old, _ = begun(store())
    old.sending()
    old.accepted(VideoTask(id="v1", status="queued"))
    begun(task_state_store(state), generation=3)[0].completed()
    variables.calls.clear()
    later, sends = begun(task_state_store(state), generation=3, try_number=2)
    assert not sends
    assert variables.calls == [], "it is found in the task state store"
    later.succeeded()
    assert variables.values == {}


@needs_task_state_store
@pytest.mark.parametrize("stage", ["sending", "submitted"])
def test_copy_is_made_up_for_where_the_record_was_begun_without_one(monkeypatch, variables, stage):
    state = TaskState(monkeypatch)
    submission, _ = begun(task_state_store(state))
    submission.sending()
    if stage == "submitted":
        submission.accepted(VideoTask(id="v1", status="queued"))
    assert variables.values == {}
    with contextlib.suppress(SubmissionUnknownError):  # a retry, after the copy was switched on
        begun(task_state_store(state, keeps_copy=True), try_number=2)
    state.clear()
    stops = pytest.raises(SubmissionUnknownError) if stage == "sending" else contextlib.nullcontext()
    with stops:
        assert not begun(task_state_store(state, keeps_copy=True), try_number=3, generation=4)[1]


@needs_task_state_store
def test_record_that_no_clear_can_harm_gets_no_copy(monkeypatch, variables):
    state = TaskState(monkeypatch)
    submission, _ = begun(task_state_store(state))
    submission.sending()
    submission.accepted(VideoTask(id="v1", status="queued"))
    submission.succeeded()
    assert begun(task_state_store(state, keeps_copy=True), try_number=2)[1]
    assert variables.values == {}


@needs_task_state_store
@pytest.mark.parametrize("own_backend", [True, False])
def test_task_state_record_goes_the_public_way_from_airflow_3_4_on(monkeypatch, variables, own_backend):
    from airflow.sdk import NEVER_EXPIRE

    state, written = TaskState(monkeypatch), []
    state.set = lambda key, value, retention: written.append((key, value, retention))
    monkeypatch.setattr(compat, "AIRFLOW", (3, 4))
    if not own_backend:
        monkeypatch.setenv("AIRFLOW__WORKERS__STATE_STORE_BACKEND", "somebody.elses.Backend")
    compat.write_task_state(state, TI, "k", {"stage": "sending"})
    assert written == ([("k", {"stage": "sending"}, NEVER_EXPIRE)] if own_backend else [])
    assert len(state.sent) == (0 if own_backend else 1), "not to a backend that knows nothing of tries"


@needs_task_state_store
def test_given_up_try_does_not_touch_the_copy(monkeypatch, variables):
    monkeypatch.setattr("airflow_provider_digitalhuman.ledger.backoff.STORE_BACKOFF", ())
    state = TaskState(monkeypatch)
    submission, _ = begun(task_state_store(state, keeps_copy=True))
    submission.sending()
    state.given_up = True
    with pytest.raises(LedgerError, match="v1"):
        submission.accepted(VideoTask(id="v1", status="queued"))
    assert json.loads(variables.values[KEY])["stage"] == "sending"
    assert json.loads(variables.values[f"{KEY}_late"])["video_task_id"] == "v1"


@needs_task_state_store
def test_failed_copy_stops_the_post_but_costs_no_id(monkeypatch, variables, caplog):
    monkeypatch.setattr("airflow_provider_digitalhuman.ledger.backoff.STORE_BACKOFF", ())
    state = TaskState(monkeypatch)
    submission, _ = begun(task_state_store(state, keeps_copy=True))

    def away(*_):
        raise ConnectionError("no Variables")

    with monkeypatch.context() as broken:
        broken.setattr(compat, "write_variable", away)
        with pytest.raises(LedgerError, match="no Variables"):
            submission.sending()
    submission.sending()
    monkeypatch.setattr(compat, "write_variable", away)
    submission.accepted(VideoTask(id="v1", status="queued"))
    assert state.sent[-1].value["video_task_id"] == "v1"
    assert "copy of the record could not be written" in caplog.text


# ---------------------------------------------------------------- which store it is


@pytest.mark.parametrize("value", [None, "True", "False"])
def test_copy_is_kept_where_the_setting_or_the_version_says_so(monkeypatch, variables, value):
    if value:
        monkeypatch.setenv("AIRFLOW__DIGITALHUMAN__KEEP_RECORD_COPY", value)
    assert compat.keeps_record_copy() is (value == "True")
    monkeypatch.setattr(compat, "CLEAR_DISCARDS_TASK_STATE", True)
    assert compat.keeps_record_copy() is (value != "False")


def test_store_is_that_of_the_airflow_version(monkeypatch, caplog):
    state = SimpleNamespace(get=None)
    assert isinstance(store_for({"ti": TI, "task_state_store": state}, durable=True), TaskStateRecordStore)
    monkeypatch.setattr(compat, "HAS_TASK_STATE_STORE", False)
    assert isinstance(store_for({"ti": TI}, durable=True), VariableRecordStore)
    monkeypatch.setattr(compat, "HAS_TASK_STATE_STORE", True)
    assert isinstance(store_for({"ti": TI}, durable=True), MemoryRecordStore)
    assert "no task state store" in caplog.text
    assert isinstance(store_for({"ti": TI, "task_state_store": state}, durable=False), MemoryRecordStore)


@pytest.mark.parametrize(
    "address", [ADDRESS, TaskAddress("d, run x", "manual__2026-01-01T00:00:00+00:00", "group.task", 3)]
)
def test_address_is_read_back_from_the_description_of_its_variable(address):
    assert TaskAddress.from_description(address.description) == address
    assert TaskAddress.from_description("something else") is None


def test_address_gives_the_key_that_version_0_1_gave():
    assert KEY == "digitalhuman_submission_5ef2d3b8709413140e0fe8c836975eea"
