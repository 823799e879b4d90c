"""How the golden files in this folder were made: by the code of commit 9d2bcb5, which wrote what databases hold now.

    git worktree add /tmp/old 9d2bcb5
    cd /tmp/old && PYTHONPATH=/tmp/old python <checkout>/tests/unit/golden/make_golden.py

They are not made again when the code changes: a test that fails says that an upgrade would break what is stored.
A release that stores something new gets files of its own beside these.
"""

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_digitalhuman import exceptions
from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.exceptions import DigitalHumanError, VideoFailedError
from airflow_provider_digitalhuman.operators.digitalhuman import CreateDigitalHumanVideoOperator
from airflow_provider_digitalhuman.operators.download import DownloadDigitalHumanVideoOperator
from airflow_provider_digitalhuman.sensors.digitalhuman import DigitalHumanVideoSensor
from airflow_provider_digitalhuman.triggers.events import event_of
from airflow_provider_digitalhuman.waiting.decision import Done, Failed
from tests.support.raw_server import Peer, RawServer, http_answer

HERE = Path(__file__).parent
CREATE = {
    "task_id": "create",
    "audio_url": "https://media.example.com/speech.mp3?Signature=x",
    "video_url": "https://media.example.com/person.mp4",
}
TASK = {"id": "vt/ä 1", "object": "video", "created": 1761635478, "model": "kyy_digitalHuman", "error": None}
FILE = b"\0\0\0\x18ftypmp42" + bytes(500)
ADDRESSES = (("dag", "run", "create", -1), ("dag, 'ä'", "manual__2026-11-28T10:00:00+00:00", "group.create", 3))


class TaskInstance:
    """What the operators use of one."""

    dag_id, run_id, task_id, map_index = ADDRESSES[0]
    try_number, max_tries = 1, 0

    def __init__(self) -> None:
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value


def serving(status: str) -> RawServer:
    """Return a server whose videos have this status, and one file."""

    def script(peer: Peer) -> None:
        while (request := peer.read_request()) is not None:
            if request.target.endswith(".mp4"):
                peer.send(http_answer(200, FILE, content_type="video/mp4"))
                continue
            answer: dict[str, Any] = {**TASK, "status": "queued" if request.method == "POST" else status}
            if status == "completed" and request.method == "GET":
                answer |= {"video_url": f"{server.url}/v.mp4", "amount": 1.5, "actualDuration": "4.2"}
            peer.send(http_answer(200, json.dumps(answer)))

    server = RawServer(script)
    connection = {"conn_type": "digitalhuman", "password": "golden-key", "host": server.url}
    os.environ["AIRFLOW_CONN_DIGITALHUMAN_DEFAULT"] = json.dumps(connection)
    return server


def run(operator: Any) -> tuple[Any, dict[str, Any]]:
    """Run an operator; return what it returns and its XComs."""
    ti: Any = TaskInstance()
    result = operator.execute({"ti": ti, "task_instance": ti, "outlet_events": {}})
    return result, ti.xcoms


def deferred(operator: Any) -> dict[str, Any]:
    """Return what Airflow stores when the operator defers."""
    try:
        run(operator)
    except TaskDeferred as deferral:
        path, arguments = deferral.trigger.serialize()
        return {"class": path, "kwargs": arguments, "next_method": deferral.method_name}
    raise AssertionError("it did not defer")


def trigger_arguments() -> dict[str, Any]:
    server = serving("processing")
    create = {**CREATE, "durable": False, "wait_for_completion": True, "deferrable": True}
    sensor = {"task_id": "wait", "video_task_id": TASK["id"], "deferrable": True}
    started = DigitalHumanVideoSensor(**sensor, start_from_trigger=True, end_from_trigger=True).start_trigger_args
    made = {
        "create": deferred(CreateDigitalHumanVideoOperator(**create)),
        "create, own interval": deferred(CreateDigitalHumanVideoOperator(**create, poll_interval=30)),
        "create, end_from_trigger": deferred(CreateDigitalHumanVideoOperator(**create, end_from_trigger=True)),
        "sensor": deferred(DigitalHumanVideoSensor(**sensor)),
        "sensor, end_from_trigger": deferred(DigitalHumanVideoSensor(**sensor, end_from_trigger=True)),
        "sensor, start_from_trigger": {
            "class": started.trigger_cls,
            "kwargs": started.trigger_kwargs,
            "next_method": started.next_method,
        },
    }
    server.close()
    return made


def error_classes() -> dict[str, type[DigitalHumanError]]:
    return {
        name: kind
        for name, kind in vars(exceptions).items()
        if isinstance(kind, type) and issubclass(kind, DigitalHumanError)
    }


def events() -> list[dict[str, Any]]:
    video = VideoTask.from_dict(
        {
            **TASK,
            "created": "2025-10-28T07:11:18+00:00",
            "status": "completed",
            "video_url": "https://cdn.example.com/v.mp4?sign=x",
            "md5": "9e107d9d372bb6826bd81d3542a419d6",
            "amount": 1.5,
        }
    )
    failed = VideoTask("vt/ä 1", "failed", error="风控拒绝")
    times = {"queue_seconds": 10.0, "processing_seconds": 20.5}
    ends: list[Done | Failed] = [Done(video), Failed(VideoFailedError("The vendor says: 风控拒绝", failed))]
    ends += [Failed(kind(f"A message of {name}.")) for name, kind in error_classes().items()]
    return [event_of(end, "vt/ä 1", times) for end in ends]


def records() -> dict[str, Any]:
    """Return the text of a record at every stage, and the names under which records are kept."""
    from airflow_provider_digitalhuman.api.request import VideoRequest
    from airflow_provider_digitalhuman.ledger import stores as ledger_stores
    from airflow_provider_digitalhuman.ledger.record import ADOPTED, Stage, SubmissionRecord
    from airflow_provider_digitalhuman.ledger.stores import MemoryRecordStore
    from airflow_provider_digitalhuman.ledger.submission import Submission

    made: list[str] = []

    class Store(MemoryRecordStore):
        outlasts_try = True

        def write(self, value: Any) -> None:
            super().write(value)
            made.append(json.dumps(value))

    request = VideoRequest(CREATE["audio_url"], CREATE["video_url"])
    task = VideoTask.from_dict({**TASK, "created": "2025-10-28T07:11:18+00:00", "status": "queued"})
    store = Store()

    def sending(generation: int) -> Submission:
        submission = Submission(store, generation=generation, try_number=generation + 1)
        assert submission.may_send(request, "https://api.example.com", "resubmit", "retry")
        submission.sending()
        return submission

    sending(0).not_accepted(DigitalHumanError("HTTP 429."))
    submission = sending(0)
    try:
        submission.outcome_unknown(exceptions.SubmissionUnknownError("HTTP 502."))
    except exceptions.SubmissionUnknownError:
        submission = sending(1)
    submission.accepted(task)
    submission.completed()
    submission.succeeded()
    submission = sending(2)
    submission.accepted(task)
    submission.failed(VideoFailedError("风控拒绝"))
    stuck = SubmissionRecord.from_json(json.loads(next(text for text in made if '"unknown"' in text)))
    adopted = {"video_task_id": "v-adopted", "fingerprint": ADOPTED, "detail": "adopted by somebody"}  # as ledger_cli
    made.append(json.dumps(stuck.at(Stage.SUBMITTED, **adopted).to_json()))
    variables = []
    for address in ADDRESSES:
        names = ("dag_id", "run_id", "task_id", "map_index")
        kept = ledger_stores._variable_store({"ti": SimpleNamespace(**dict(zip(names, address, strict=True)))})  # type: ignore[typeddict-item]
        variables.append({"address": list(address), "key": kept._key, "description": kept._description})
    return {"task_state_key": ledger_stores.RECORD_KEY, "variables": variables, "records": made}


def xcoms() -> dict[str, dict[str, Any]]:
    """Return, for each operator, the key and the shape of each XCom."""
    server = serving("completed")
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        waiting = {"wait_for_completion": True, "durable": False, "destination": f"{folder}/create/"}
        for name, operator in {
            "create, without waiting": CreateDigitalHumanVideoOperator(**CREATE, durable=False),
            "create, with destination": CreateDigitalHumanVideoOperator(**CREATE, **waiting),
            "sensor": DigitalHumanVideoSensor(task_id="wait", video_task_id=TASK["id"]),
            "download": DownloadDigitalHumanVideoOperator(
                task_id="download", video_task_id=TASK["id"], destination=f"{folder}/download/"
            ),
        }.items():
            result, pushed = run(operator)
            found[name] = {key: shape(value) for key, value in {**pushed, "return_value": result}.items()}
    server.close()
    return found


def shape(value: Any) -> Any:
    """Return the keys and the JSON types of ``value``."""
    if isinstance(value, dict):
        return {key: shape(one) for key, one in value.items()}
    return type(value).__name__


def classes() -> dict[str, Any]:
    return {
        name: {"ends_retries": kind.ends_retries, "bases": [base.__name__ for base in kind.__mro__[1:-1]]}
        for name, kind in error_classes().items()
    }


def class_paths() -> dict[str, str]:
    package = "airflow_provider_digitalhuman"
    return {
        f"{package}.triggers.digitalhuman.DigitalHumanVideoTrigger": "the table of triggers",
        f"{package}.api.response.VideoTask": "XComs of @task functions that return what the hook returns",
        f"{package}.openlineage.DigitalHumanVideoRunFacet": "lineage events",
        f"{package}.links.DigitalHumanVideoLink": "serialized DAGs",
        f"{package}.hooks.digitalhuman.DigitalHumanHook": "connections, and DAG files",
        f"{package}.operators.digitalhuman.CreateDigitalHumanVideoOperator": "serialized DAGs, and DAG files",
        f"{package}.operators.digitalhuman.DownloadDigitalHumanVideoOperator": "DAG files",
        f"{package}.operators.download.DownloadDigitalHumanVideoOperator": "serialized DAGs",
        f"{package}.sensors.digitalhuman.DigitalHumanVideoSensor": "serialized DAGs, and DAG files",
    }


def video_task() -> dict[str, Any]:
    """Return what Airflow stores of a VideoTask that a @task returns; it is made again as ``VideoTask(**data)``."""
    task = VideoTask.from_dict(
        {**TASK, "created": None, "status": "completed", "video_url": "https://cdn.example.com/v"}
    )
    return {
        "class": "airflow_provider_digitalhuman.api.response.VideoTask",
        "data": {one.name: getattr(task, one.name) for one in fields(task)},
    }


FILES: dict[str, Callable[[], Any]] = {
    "trigger_arguments.json": trigger_arguments,
    "events.json": events,
    "records_v1.json": records,
    "error_classes.json": classes,
    "class_paths.json": class_paths,
    "xcoms.json": xcoms,
    "video_task.json": video_task,
}


if __name__ == "__main__":
    for file, make in FILES.items():
        (HERE / file).write_text(json.dumps(make(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
