"""The sensor's ways to wait on a real Airflow: the same end in each of them, and no worker more than it takes."""

import secrets
from typing import Any, NamedTuple

import pytest

from airflow_provider_digitalhuman.sandbox.testing import SandboxClient
from airflow_provider_digitalhuman.support.links import LINK_XCOM_KEY
from tools.airflow_cluster import AirflowCluster

DAG_ID = "sensor_probe"


class Sensor(NamedTuple):
    """One sensor of the probe DAG: the name of its video, and where it is in Airflow."""

    video: str
    task_id: str
    map_index: int = -1


SENSORS = (
    Sensor("poke", "poke"),
    Sensor("reschedule", "reschedule"),
    Sensor("deferrable", "deferrable"),
    Sensor("triggered", "triggered"),
    Sensor("mapped-0", "mapped", 0),
    Sensor("mapped-1", "mapped", 1),
)
BY_VIDEO = [pytest.param(sensor, id=sensor.video) for sensor in SENSORS]
ENDS = ("completed", "failed")


class Run:
    """One run of the probe DAG, whose videos all end in the same way."""

    def __init__(self, airflow: AirflowCluster, sandbox: SandboxClient, end: str) -> None:
        self.airflow, self.sandbox = airflow, sandbox
        self.mark = secrets.token_hex(6)
        for sensor in SENSORS:  # asked for the first time, none is made yet: all have to wait
            sandbox.add_fault(on="query", fault="status_word", word="processing", match=self._name(sensor))
        if end == "failed":
            sandbox.add_fault(on="task", fault="fails", match=self.mark, times=None)
        audio_url = f"{sandbox.sample_audio_url}?mark={self.mark}"
        self.run_id = airflow.trigger(DAG_ID, {"audio_url": audio_url, "video_url": sandbox.sample_video_url})

    def _name(self, sensor: Sensor) -> str:
        return f"mark={self.mark}&video={sensor.video}"

    def state(self) -> str:
        return str(self.airflow.wait_for_run(DAG_ID, self.run_id, timeout=300)["state"])

    def instances(self) -> dict[Sensor, dict[str, Any]]:
        where = {(ti["task_id"], ti["map_index"]): ti for ti in self.airflow.task_instances(DAG_ID, self.run_id)}
        return {sensor: where[sensor.task_id, sensor.map_index] for sensor in SENSORS}

    def xcom(self, sensor: Sensor, key: str = "return_value") -> Any:
        return self.airflow.xcom(DAG_ID, self.run_id, sensor.task_id, key=key, map_index=sensor.map_index)

    def log(self, sensor: Sensor) -> str:
        text = self.airflow.task_log(DAG_ID, self.run_id, sensor.task_id, map_index=sensor.map_index)
        return text.replace("\\'", "'")  # 2.11 answers with a list in Python's notation

    def in_ledger(self, what: str, sensor: Sensor) -> list[dict[str, Any]]:
        return [entry for entry in self.sandbox.ledger()[what] if self._name(sensor) in str(entry["body"])]

    def started_in_worker(self, sensor: Sensor) -> int:
        """How often Airflow has noted that a worker runs it, which it does for each process."""
        params = {"dag_id": DAG_ID, "run_id": self.run_id, "task_id": sensor.task_id, "event": "running", "limit": 100}
        noted = self.airflow.api("GET", "/eventLogs", params=params)["event_logs"]
        return sum(entry["map_index"] == sensor.map_index for entry in noted)


@pytest.fixture(scope="module")
def runs(airflow: AirflowCluster, sandbox: SandboxClient) -> dict[str, Run]:
    """Both runs, when they are over; they are on their way at the same time."""
    airflow.wait_until_dag_parsed(DAG_ID)
    begun = {end: Run(airflow, sandbox, end) for end in ENDS}
    assert {end: run.state() for end, run in begun.items()} == {"completed": "success", "failed": "failed"}
    return begun


@pytest.mark.parametrize("sensor", BY_VIDEO)
def test_every_way_returns_the_completed_task(runs: dict[str, Run], sensor: Sensor) -> None:
    run = runs["completed"]
    (video,) = run.in_ledger("tasks", sensor)
    returned = run.xcom(sensor)
    assert returned.keys() == run.xcom(SENSORS[0]).keys()
    assert {key: returned[key] for key in ("id", "status", "video_url", "md5")} == {
        "id": video["id"],
        "status": "completed",
        "video_url": video["video_url"],
        "md5": video["md5"],
    }
    assert run.instances()[sensor]["state"] == "success"


@pytest.mark.parametrize("sensor", BY_VIDEO)
def test_a_failed_video_fails_every_way_for_good_in_the_same_words(runs: dict[str, Run], sensor: Sensor) -> None:
    run = runs["failed"]
    (video,) = run.in_ledger("tasks", sensor)
    instance = run.instances()[sensor]
    assert (instance["state"], instance["try_number"], instance["max_tries"]) == ("failed", 1, 2)
    words = "风控拒绝 (in English: risk control: the content is refused)"
    message = f"Video task {video['id']} ended as 'failed' without a video; the vendor says: {words}."
    assert f"{message} Whether it was charged is not known." in run.log(sensor)


@pytest.mark.parametrize("end", ENDS)
def test_each_video_is_submitted_once(runs: dict[str, Run], end: str) -> None:
    posts = {sensor.video: len(runs[end].in_ledger("requests", sensor)) for sensor in SENSORS}
    assert posts == dict.fromkeys(posts, 1)


@pytest.mark.parametrize("end", ENDS)
def test_a_worker_runs_it_no_more_often_than_it_must(runs: dict[str, Run], airflow: AirflowCluster, end: str) -> None:
    """Once to begin and once to end; a sensor that starts in the triggerer only to end, except when it is mapped."""
    if tuple(int(part) for part in airflow.airflow_version.split(".")[:2]) < (3, 3):
        pytest.skip("start_from_trigger needs Airflow 3.3, and not every older one logs each start in a worker")
    started = {sensor.video: runs[end].started_in_worker(sensor) for sensor in SENSORS}
    assert started.pop("reschedule") >= 2
    assert started == {"poke": 1, "deferrable": 2, "triggered": 1, "mapped-0": 2, "mapped-1": 2}


@pytest.mark.parametrize("sensor", BY_VIDEO)
@pytest.mark.parametrize("end", ENDS)
def test_the_link_leads_to_the_sensor(runs: dict[str, Run], end: str, sensor: Sensor) -> None:
    """Also where a worker has only ended it: Airflow then pushes the link by itself."""
    link = runs[end].xcom(sensor, LINK_XCOM_KEY)
    assert link.startswith(runs[end].airflow.base_url)
    assert sensor.task_id in link
