"""The whole job on a real Airflow: one paid submission, a verified file in the archive, the next DAG started by it."""

import hashlib
import secrets
import time
from pathlib import Path
from typing import Any

from airflow_provider_digitalhuman.sandbox.testing import SandboxClient
from tools.airflow_cluster import AirflowCluster

PIPELINE, PUBLISH, SENSOR, BATCH = (f"digitalhuman_{name}" for name in ("pipeline", "publish", "sensor", "batch"))


def local(path: str) -> Path:
    return Path(path.removeprefix("file://"))


def run(airflow: AirflowCluster, dag_id: str, conf: dict[str, Any], expected: str = "success") -> str:
    airflow.wait_until_dag_parsed(dag_id)
    run_id = airflow.trigger(dag_id, conf)
    assert airflow.wait_for_run(dag_id, run_id, timeout=420)["state"] == expected
    return run_id


def marked(sandbox: SandboxClient) -> tuple[str, dict[str, str]]:
    mark = secrets.token_hex(6)
    return mark, {"audio_url": f"{sandbox.sample_audio_url}?mark={mark}", "video_url": sandbox.sample_video_url}


def posts(sandbox: SandboxClient, mark: str) -> int:
    return sum(mark in str(post["body"]) for post in sandbox.ledger()["requests"])


def published(airflow: AirflowCluster, name: str) -> bool:
    """Wait until a run of the publishing DAG has named the file; True if it did so once."""
    for _ in range(60):
        for row in airflow.api("GET", f"/dags/{PUBLISH}/dagRuns")["dag_runs"]:
            paths = str(airflow.xcom(PUBLISH, row["dag_run_id"], "publish")) if row["state"] == "success" else ""
            if name in paths:
                return paths.count(name) == 1
        time.sleep(1)
    return False


def test_one_task_submits_waits_archives_and_starts_the_next_dag(airflow: AirflowCluster, sandbox: SandboxClient):
    airflow.wait_until_dag_parsed(PUBLISH)
    mark, conf = marked(sandbox)
    run_id = run(airflow, PIPELINE, conf)
    archive = airflow.xcom(PIPELINE, run_id, "create_video", key="archive")
    video = airflow.xcom(PIPELINE, run_id, "create_video", key="video_task")
    stored = local(archive["path"])
    assert hashlib.md5(stored.read_bytes()).hexdigest() == archive["md5"] == video["md5"]
    assert stored.stat().st_size == archive["size"]
    assert stored.name == f"{airflow.xcom(PIPELINE, run_id, 'create_video')}.mp4"
    assert posts(sandbox, mark) == 1

    metrics = airflow.xcom(PIPELINE, run_id, "create_video", key="metrics")
    assert metrics["outcome"] == "success"
    assert metrics["amount"] == video["amount"]
    assert metrics["transfer_seconds"] is not None

    assert published(airflow, stored.name)


def test_a_missing_medium_is_found_before_anything_is_paid(airflow: AirflowCluster, sandbox: SandboxClient):
    mark, conf = marked(sandbox)
    conf["audio_url"] = f"{sandbox.root_url}/sandbox/media/no-such-{mark}.mp3"
    run_id = run(airflow, PIPELINE, conf, "failed")
    assert posts(sandbox, mark) == 0
    log = airflow.task_log(PIPELINE, run_id, "create_video")
    assert "audio_url" in log
    assert "404" in log


def test_three_tasks_do_the_same(airflow: AirflowCluster, sandbox: SandboxClient):
    mark, conf = marked(sandbox)
    run_id = run(airflow, SENSOR, conf)
    video_task_id = airflow.xcom(SENSOR, run_id, "create_video")
    assert airflow.xcom(SENSOR, run_id, "wait_for_video")["id"] == video_task_id
    assert local(airflow.xcom(SENSOR, run_id, "archive_video")).name == f"{video_task_id}.mp4"
    assert posts(sandbox, mark) == 1


def test_a_hundred_videos_and_only_the_missing_ones_again(airflow: AirflowCluster, sandbox: SandboxClient):
    mark, conf = marked(sandbox)
    rows = [{**conf, "audio_url": f"{conf['audio_url']}&row={row:03d}"} for row in range(100)]
    for row in (7, 42, 99):
        sandbox.add_fault(on="task", fault="fails", match=f"mark={mark}&row={row:03d}")
    run_id = run(airflow, BATCH, {"manifest": rows}, "failed")
    assert posts(sandbox, mark) == 100
    assert '{"wanted": 100, "archived": 97}' in airflow.task_log(BATCH, run_id, "report")

    airflow.clear(BATCH, run_id, ["create_video", "report"], only_failed=True)
    assert airflow.wait_for_run(BATCH, run_id, timeout=300)["state"] == "success"
    assert posts(sandbox, mark) == 103
    assert airflow.xcom(BATCH, run_id, "report") == {"wanted": 100, "archived": 100}
    assert sandbox.ledger()["key_leaked_to_files"] == 0
