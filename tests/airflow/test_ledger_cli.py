"""``digitalhuman-ledger`` against a real Airflow of any supported version (``--airflow-python``)."""

import json
import secrets
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_digitalhuman.ledger.address import TaskAddress
from airflow_provider_digitalhuman.ledger.record import Stage
from airflow_provider_digitalhuman.ledger.rest import AirflowApi
from airflow_provider_digitalhuman.sandbox.testing import SandboxClient
from tests.airflow.ledger_probe import DAG_ID, MAPPED, TASK_ID, Probe
from tests.airflow.records import backdate
from tools.airflow_cluster import AirflowCluster


@pytest.fixture
def probe(airflow: AirflowCluster, sandbox: SandboxClient) -> Probe:
    return Probe(airflow, sandbox, secrets.token_hex(6))


def test_printed_adopt_command_makes_task_go_on_without_post(probe: Probe) -> None:
    probe.sandbox.add_fault(on="create", fault="reset", match=probe.mark, when="after")
    assert probe.start() == "failed"
    listed = probe.ledger("list")
    adopt = probe.copied(listed, "adopt")
    assert "is still the word VIDEO_TASK_ID" in probe.ledger(*adopt, code=1)
    adopt[-1] = probe.in_console()
    assert "adopted and cleared" in probe.ledger(*adopt)
    assert probe.state() == "success"
    assert (probe.xcom(), len(probe.posts())) == (probe.in_console(), 1)
    assert probe.run_id not in probe.ledger("list")


def test_printed_release_command_makes_task_submit_once(probe: Probe) -> None:
    probe.sandbox.add_fault(on="create", fault="reset", match=probe.mark, when="before")
    assert probe.start() == "failed"
    release = probe.copied(probe.ledger("show", *probe.where), "release")
    assert "can still come: release works from" in probe.ledger(*release, code=1)
    backdate(probe.airflow, TaskAddress(*probe.where))
    assert "released and cleared" in probe.ledger(*release)
    assert probe.state() == "success"
    assert len(probe.posts()) == 2
    again = probe.ledger(*release, code=1)
    assert "is not stuck" in again or "has no record" in again, again  # below 3.3 the success removes it
    assert len(probe.posts()) == 2


def test_adopted_id_can_be_corrected_before_clear(probe: Probe) -> None:
    probe.sandbox.add_fault(on="create", fault="reset", match=probe.mark, when="after")
    assert probe.start() == "failed"
    assert "is empty" in probe.ledger("adopt", *probe.where, " ", code=1)
    assert "Clear the task: its next try goes on" in probe.ledger("adopt", *probe.where, "mistyped")
    assert probe.in_console() in probe.ledger("adopt", *probe.where, probe.in_console())
    shown = json.loads(probe.ledger("show", "--output", "json", *probe.where))
    assert (shown["record"]["stage"], shown["record"]["video_task_id"]) == ("submitted", probe.in_console())
    assert shown["record"]["earlier"] == ["mistyped"]
    assert probe.clear() == "success"
    assert (probe.xcom(), len(probe.posts())) == (probe.in_console(), 1)


def test_one_instance_of_mapped_subclass_is_adopted_and_cleared_alone(probe: Probe) -> None:
    probe.dag_id = MAPPED
    stuck = f"{probe.mark}-1"
    probe.sandbox.add_fault(on="create", fault="reset", match=stuck, when="after")
    assert probe.start() == "failed"
    before = probe.instances()
    assert before[TASK_ID, 0]["state"] == "success"
    assert before["behind", -1]["state"] == "upstream_failed"
    rows = [row for row in json.loads(probe.ledger("list", "--output", "json")) if row["run_id"] == probe.run_id]
    assert [(row["map_index"], row["state"]) for row in rows] == [(1, "failed")]
    adopt = probe.copied(probe.ledger("list"), "adopt")
    adopt[-1] = probe.in_console(stuck)
    if probe.airflow.is_airflow_2:
        assert "clears a mapped task only as a whole" in probe.ledger(*adopt, code=1)
        said = probe.local_ledger(*adopt)
    else:
        said = probe.ledger(*adopt)
    assert "Cleared: create_video [1] (this task), behind (upstream_failed)." in said
    assert probe.state() == "success"
    after = probe.instances()
    assert after[TASK_ID, 0]["try_number"] == before[TASK_ID, 0]["try_number"]
    assert (after["behind", -1]["state"], probe.xcom(1)) == ("success", probe.in_console(stuck))
    assert (len(probe.posts(stuck)), len(probe.posts(f"{probe.mark}-0"))) == (1, 1)


def test_local_ledger_releases_where_database_is(probe: Probe) -> None:
    if not probe.airflow.is_airflow_2:
        refused = probe.local_ledger("list", code=1)
        assert "--local is for Airflow 2.11" in refused
        assert "Traceback" not in refused
        return
    probe.sandbox.add_fault(on="create", fault="reset", match=probe.mark, when="before")
    assert probe.start() == "failed"
    release = probe.copied(probe.local_ledger("list"), "release")
    assert release[:2] == ["release", "--local"]
    backdate(probe.airflow, TaskAddress(*probe.where))
    assert "released and cleared" in probe.local_ledger(*release)
    assert probe.state() == "success"
    assert len(probe.posts()) == 2


def test_submission_under_way_is_neither_listed_nor_released(probe: Probe) -> None:
    probe.sandbox.add_fault(on="create", fault="hang", match=probe.mark, when="before", seconds=20)
    ended = ThreadPoolExecutor().submit(probe.start)
    patience = time.monotonic() + 120
    while not probe.posts():
        assert time.monotonic() < patience
        time.sleep(0.1)
    assert probe.run_id not in probe.ledger("list")
    refused = probe.ledger("release", *probe.where, code=1)
    assert "its record says sending, and the task is in state running" in refused
    ended.result(timeout=180)


def test_accepted_video_of_failed_task_is_given_up_only_with_force(probe: Probe) -> None:
    probe.sandbox.add_fault(on="create", fault="reset", match=probe.mark, when="before")
    assert probe.start() == "failed"
    access = AirflowApi(probe.airflow.base_url, None if probe.airflow.is_airflow_2 else probe.airflow.token())
    here = TaskAddress(*probe.where)
    found = access.read(here)
    assert found is not None
    access.write(here, found.record().at(Stage.SUBMITTED, video_task_id="useless"), found)
    assert "To give up video task useless, add --force" in probe.ledger("release", *probe.where, code=1)
    said = probe.ledger("release", "--clear", "--force", *probe.where)
    assert "Given up: video task useless." in said
    assert probe.state() == "success"
    assert (probe.xcom(), len(probe.posts())) == (probe.in_console(), 2)


def test_command_says_in_a_sentence_what_it_cannot_do(probe: Probe) -> None:
    missing = probe.ledger("show", DAG_ID, "no-such-run", TASK_ID, code=1)
    assert "no record" in missing
    assert "Traceback" not in missing
