"""`digitalhuman-ledger --local`: on Airflow 2.11 the database of the machine; refused on Airflow 3.

That it also clears is held by tests/airflow/test_ledger_cli.py, on a real Airflow 2.11.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest
from airflow.models.variable import Variable
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from airflow_provider_digitalhuman.ledger import cli as ledger_cli
from airflow_provider_digitalhuman.ledger.address import TaskAddress
from airflow_provider_digitalhuman.ledger.record import Stage, SubmissionRecord
from airflow_provider_digitalhuman.support.compat import AIRFLOW

HERE = TaskAddress("dag", "manual__1", "create", 2)
WHERE = (HERE.dag_id, HERE.run_id, HERE.task_id)
RECORD = SubmissionRecord(Stage.UNKNOWN, "f" * 16, 1, 1, "2026-01-01T00:00:00+00:00", "that")


@pytest.fixture
def sessions(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Airflow's own way to its database, with a database that has only what is needed here."""
    engine = create_engine(f"sqlite:///{tmp_path / 'airflow.db'}")

    @contextmanager
    def create_session() -> Iterator[Session]:
        with Session(engine) as session:
            yield session
            session.commit()

    if AIRFLOW < (3, 0):
        import_module("airflow.models").import_all_models()
        from airflow.models.base import Base
        from airflow.models.dagrun import DagRun
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils import timezone

        monkeypatch.setattr("airflow.utils.session.create_session", create_session)
        Base.metadata.create_all(engine, [one.__table__ for one in (Variable, DagRun, TaskInstance)])
        run = {"dag_id": HERE.dag_id, "run_id": HERE.run_id, "run_type": "manual", "execution_date": timezone.utcnow()}
        row = {
            "task_id": HERE.task_id,
            "map_index": HERE.map_index,
            "state": "failed",
            "try_number": 1,
            "pool_slots": 1,
        }
        with engine.begin() as connection:
            connection.execute(DagRun.__table__.insert().values(state="failed", log_template_id=None, **run))
            own = {"dag_id": HERE.dag_id, "run_id": HERE.run_id, "pool": "default_pool"}
            connection.execute(TaskInstance.__table__.insert().values(**own, **row))
        with create_session() as session:
            session.add(Variable(key=HERE.variable_key, val=json.dumps(RECORD.to_json()), description=HERE.description))
    return create_session


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    capsys.readouterr()
    code = ledger_cli.main(["--local", *arguments])
    return code, "".join(capsys.readouterr())


def test_local_works_on_airflow_2_and_is_refused_on_airflow_3(
    sessions: Callable[[], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    code, listed = run(capsys, "list")
    if AIRFLOW >= (3, 0):
        assert (code, "--local is for Airflow 2.11" in listed) == (1, True)
        return
    assert (code, "[2]: unknown (task failed, try 1" in listed) == (0, True)
    assert f"    {HERE.command('release', options=['--local'])}\n" in listed
    code, said = run(capsys, "adopt", "--map-index", "2", *WHERE, "v7")
    assert (code, said) == (0, f"{HERE}: adopted. Clear the task: its next try goes on with video task v7.\n")
    with sessions() as session:
        kept = session.scalar(select(Variable).where(Variable.key == HERE.variable_key))
        assert SubmissionRecord.from_json(json.loads(kept.get_val())).video_task_id == "v7"
        assert kept.description == HERE.description
    assert "has no record" in run(capsys, "show", *WHERE)[1]
    assert "No submission is stuck." in run(capsys, "list")[1]


def test_local_writes_over_nothing_but_what_it_has_read(
    sessions: Callable[[], Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_digitalhuman.ledger import local as ledger_local

    if AIRFLOW >= (3, 0):
        assert run(capsys, "release", *WHERE)[0] == 1
        return
    access = ledger_local.LocalAirflow()
    before = access.read(HERE)
    assert before is not None
    accepted = RECORD.at(Stage.SUBMITTED, video_task_id="v2")
    access.write(HERE, accepted, before)
    with pytest.raises(ledger_local.LedgerError, match="has changed its record meanwhile"):
        access.write(HERE, RECORD.at(Stage.RELEASED), before)
    now = access.read(HERE)
    assert now is not None
    assert now.record() == accepted


def test_local_removes_note_that_was_taken_into_account(
    sessions: Callable[[], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    if AIRFLOW >= (3, 0):
        assert run(capsys, "release", *WHERE)[0] == 1
        return
    note, gone = RECORD.at(Stage.SUBMITTED, video_task_id="v5"), replace(HERE, map_index=3)
    with sessions() as session:
        for address in (HERE, gone):
            key = address.note_key
            session.add(Variable(key=key, val=json.dumps(note.to_json()), description=address.description))
    assert "accepted as video task v5" in run(capsys, "list")[1]
    assert f"{gone}: no record" in run(capsys, "list", "--all")[1]
    code, refused = run(capsys, "release", "--map-index", "2", *WHERE)
    assert (code, "was accepted as video task v5" in refused) == (1, True)
    assert run(capsys, "adopt", "--map-index", "2", *WHERE, "v5")[0] == 0
    with sessions() as session:
        keys = set(session.scalars(select(Variable.key)))
    assert keys == {HERE.variable_key, gone.note_key}
