"""The Variable as a record's place: a try that Airflow has given up must not write there any more."""

import sys
from types import SimpleNamespace

import pytest
from airflow.models.variable import Variable
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from airflow_provider_digitalhuman import compat
from airflow_provider_digitalhuman.exceptions import LedgerError
from airflow_provider_digitalhuman.ledger_stores import VariableRecordStore


@pytest.fixture
def variables(monkeypatch):
    kept = {}
    monkeypatch.setattr(compat, "read_variable", kept.get)
    monkeypatch.setattr(compat, "write_variable", lambda key, text, description: kept.update({key: text}))
    monkeypatch.setattr(compat, "delete_variable_on_success", lambda key: kept.pop(key, None))
    return kept


def store(*, is_current_try=True):
    return VariableRecordStore("k", "for people", lambda: is_current_try)


def test_the_running_try_begins_a_record_and_goes_on_with_it(variables):
    own = store()
    assert own.read() is None
    own.write({"stage": "sending"})
    own.write({"stage": "submitted"})
    assert store().read() == {"stage": "submitted"}


def test_a_write_whose_answer_was_lost_can_be_repeated(variables, monkeypatch):
    own = store()
    own.read()

    def write_and_fail(key, text, description):
        variables[key] = text
        raise ConnectionError("the answer was lost")

    with monkeypatch.context() as broken:
        broken.setattr(compat, "write_variable", write_and_fail)
        with pytest.raises(ConnectionError):
            own.write({"stage": "sending"})
    own.write({"stage": "sending"})
    assert own.read() == {"stage": "sending"}


def test_a_write_that_airflow_only_logs_as_failed_is_noticed_and_can_be_repeated(variables, monkeypatch):
    own = store()
    own.read()
    own.write({"stage": "sending"})
    with monkeypatch.context() as broken:
        broken.setattr(compat, "write_variable", lambda key, text, description: None)
        with pytest.raises(LedgerError, match="instead of the record"):
            own.write({"stage": "submitted", "video_task_id": "v1"})
    own.write({"stage": "submitted", "video_task_id": "v1"})
    assert own.read() == {"stage": "submitted", "video_task_id": "v1"}


def test_a_try_that_was_given_up_begins_no_record_even_if_the_next_one_has_tidied_up(variables):
    zombie = store(is_current_try=False)
    assert zombie.read() is None
    with pytest.raises(LedgerError, match="given up"):
        zombie.write({"stage": "sending"})
    assert variables == {}


def test_a_try_does_not_write_over_what_the_next_one_has_written(variables):
    zombie, following = store(), store()
    assert (zombie.read(), following.read()) == (None, None)
    following.write({"stage": "sending", "try_number": 2})
    with pytest.raises(LedgerError, match="another one takes"):
        zombie.write({"stage": "sending", "try_number": 1})
    following.write({"stage": "submitted"})
    assert following.read() == {"stage": "submitted"}


def test_the_next_try_goes_on_with_what_it_finds(variables):
    store().write({"stage": "sending"})
    following = store()
    following.read()
    following.write({"stage": "unknown"})
    assert following.read() == {"stage": "unknown"}


def test_a_try_that_was_cleared_keeps_its_id(variables):
    cleared = store(is_current_try=False)
    variables["k"] = '{"stage": "sending"}'
    cleared.read()
    cleared.write({"stage": "submitted", "video_task_id": "v1"})
    assert store().read() == {"stage": "submitted", "video_task_id": "v1"}


def test_a_success_removes_the_record_unless_it_is_another_trys_by_now(variables):
    own, following = store(), store()
    own.read()
    own.write({"stage": "sending", "try_number": 1})
    following.read()
    following.write({"stage": "sending", "try_number": 2})
    own.end({})
    assert store().read() == {"stage": "sending", "try_number": 2}
    following.end({})
    assert variables == {}


def test_below_3_the_record_goes_in_the_transaction_of_the_success(monkeypatch):
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
            compat.delete_variable_on_success("record")
            end(session)
            left.append(session.scalar(select(Variable.key)))
    assert left == ["record", None]
