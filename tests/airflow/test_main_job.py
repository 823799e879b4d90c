"""The main job on a real Airflow; `make matrix` runs this file against every supported version."""

from pathlib import Path

import pytest

from airflow_provider_digitalhuman.sandbox.testing import SandboxClient
from tools.airflow_cluster import AirflowCluster

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(path.stem for path in (ROOT / "dags_examples").glob("*.py"))


def test_there_are_examples() -> None:
    assert "digitalhuman_minimal" in EXAMPLES


def test_every_dag_file_parses(airflow: AirflowCluster) -> None:
    for dag_id in EXAMPLES:
        airflow.wait_until_dag_parsed(dag_id)
    assert airflow.import_errors() == []


@pytest.mark.parametrize("dag_id", EXAMPLES)
def test_example_runs_end_to_end(airflow: AirflowCluster, dag_id: str) -> None:
    """The file's name is the DAG's ID."""
    assert airflow.run_dag(dag_id)["state"] == "success"


def test_minimal_dag_submits_once_and_hands_on_the_id(airflow: AirflowCluster, sandbox: SandboxClient) -> None:
    before = sandbox.ledger()
    airflow.wait_until_dag_parsed("digitalhuman_minimal")
    run_id = airflow.trigger("digitalhuman_minimal")
    assert airflow.wait_for_run("digitalhuman_minimal", run_id)["state"] == "success"

    after = sandbox.ledger()
    assert after["posts"] - before["posts"] == 1
    assert after["charged"] - before["charged"] == 1

    video_task_id = airflow.xcom("digitalhuman_minimal", run_id, "create_video")
    assert video_task_id == after["tasks"][-1]["id"]
    assert airflow.xcom("digitalhuman_minimal", run_id, "create_video", key="video_task")["id"] == video_task_id
    assert f"Video {video_task_id} is " in airflow.task_log("digitalhuman_minimal", run_id, "report_status")


def test_urls_can_be_given_when_the_dag_is_triggered(airflow: AirflowCluster, sandbox: SandboxClient) -> None:
    airflow.wait_until_dag_parsed("digitalhuman_minimal")
    audio_url = f"{sandbox.sample_audio_url}?signature=given-at-trigger"
    run_id = airflow.trigger("digitalhuman_minimal", {"audio_url": audio_url, "video_url": sandbox.sample_video_url})
    assert airflow.wait_for_run("digitalhuman_minimal", run_id)["state"] == "success"
    assert audio_url in str(sandbox.ledger()["tasks"][-1]["body"])
    assert "given-at-trigger" not in airflow.task_log("digitalhuman_minimal", run_id, "create_video")


@pytest.mark.parametrize("component", ["api-server", "dag-processor"])
def test_components_load_the_package_without_trouble(airflow: AirflowCluster, component: str) -> None:
    """Discovery, connection type, imports. Scheduler and triggerer also print what tasks and triggers say."""
    if component not in airflow.components:
        component = "scheduler"  # 2.11 with SQLite parses DAGs in there, and prints no task's log
    log = airflow.component_log(component).read_text(errors="replace")
    # The checkout is most likely in a folder of that name, and with it all of Airflow that warns of something else.
    lines = log.replace(str(ROOT), "").lower().splitlines()
    assert lines
    about_it = [line for line in lines if "airflow_provider_digitalhuman" in line or "airflow-provider-" in line]
    assert [line for line in about_it if any(word in line for word in ("error", "warning", "failed"))] == []
