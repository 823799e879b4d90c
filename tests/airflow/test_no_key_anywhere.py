"""The API key is in the environment of Airflow's processes, and nowhere else that Airflow writes to."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_digitalhuman.sandbox.testing import SandboxClient
from tools.airflow_cluster import AirflowCluster

DAG_ID = "leak_probe"


def faults(api_key: str) -> list[dict[str, Any]]:
    """Refused, broken and lost answers, and a server that repeats the key in its error."""
    return [
        {"fault": "login_failed"},
        {"fault": "html_page"},
        {"fault": "reset", "when": "after"},
        {"fault": "custom", "status": 401, "text": f'{{"code": 401, "msg": "invalid key Bearer {api_key}"}}'},
        {"fault": "custom", "status": 500, "text": f"<html>headers: Authorization: Bearer {api_key}</html>"},
    ]


def find_in_files(folder: Path, needle: str) -> list[str]:
    """Files below ``folder`` with ``needle`` in their bytes."""
    wanted = needle.encode()
    return [
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and wanted in path.read_bytes()
    ]


def find_in_database(database: Path, needle: str) -> list[str]:
    """Tables with ``needle`` in any cell, whatever its type."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        return [table for table in _tables(connection) if _table_holds(connection, table, needle)]


def _tables(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def _table_holds(connection: sqlite3.Connection, table: str, needle: str) -> bool:
    return any(needle in cell for row in connection.execute(f'SELECT * FROM "{table}"') for cell in _texts(row))


def _texts(row: tuple[object, ...]) -> Iterator[str]:
    for cell in row:
        yield cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell)


def _run(airflow: AirflowCluster, sandbox: SandboxClient) -> tuple[str, str]:
    airflow.wait_until_dag_parsed(DAG_ID)
    conf = {"audio_url": sandbox.sample_audio_url, "video_url": sandbox.sample_video_url}
    run_id = airflow.trigger(DAG_ID, conf)
    return run_id, airflow.wait_for_run(DAG_ID, run_id)["state"]


@pytest.fixture(scope="module")
def video_task_id(airflow: AirflowCluster, sandbox: SandboxClient) -> str:
    """One run that succeeds and some that fail, each in another way; the ID of the video that was made."""
    run_id, state = _run(airflow, sandbox)
    assert state == "success"
    for fault in faults(sandbox.api_key):
        sandbox.add_fault(on="create", **fault)
        _, state = _run(airflow, sandbox)
        assert state == "failed", fault
    sandbox.clear_faults()
    return str(airflow.xcom(DAG_ID, run_id, "create_video"))


def test_not_in_any_file(airflow: AirflowCluster, sandbox: SandboxClient, video_task_id: str) -> None:
    """Task logs, component logs, everything in AIRFLOW_HOME."""
    in_task_logs = [name for name in find_in_files(airflow.home, video_task_id) if name.startswith("logs/")]
    assert in_task_logs, "the search must find what is there"
    assert find_in_files(airflow.home, sandbox.api_key) == []


def test_not_in_the_metadata_database(airflow: AirflowCluster, sandbox: SandboxClient, video_task_id: str) -> None:
    """XComs, rendered fields, trigger arguments, serialized DAGs, the event log."""
    database = airflow.home / "airflow.db"
    assert "xcom" in find_in_database(database, video_task_id), "the search must find what is there"
    assert "rendered_task_instance_fields" in find_in_database(database, sandbox.sample_audio_url)
    assert find_in_database(database, sandbox.api_key) == []


def test_not_in_what_the_api_serves(airflow: AirflowCluster, sandbox: SandboxClient, video_task_id: str) -> None:
    runs = airflow.api("GET", f"/dags/{DAG_ID}/dagRuns")["dag_runs"]
    assert len(runs) == 1 + len(faults(sandbox.api_key))
    for run in runs:
        run_id = run["dag_run_id"]
        shown = str(airflow.task_instances(DAG_ID, run_id)) + airflow.task_log(DAG_ID, run_id, "create_video")
        assert "create_video" in shown
        assert sandbox.api_key not in shown
