"""What databases hold after an upgrade of this provider: files as commit 9d2bcb5 wrote them, read by the code of today.

How they were made says tests/unit/golden/make_golden.py. A test that fails here is right until proven otherwise: change
the code so that it reads the old form too, not the file.
"""

import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_digitalhuman import exceptions
from airflow_provider_digitalhuman.exceptions import DigitalHumanError, VideoFailedError
from airflow_provider_digitalhuman.ledger.address import RECORD_KEY, TaskAddress
from airflow_provider_digitalhuman.ledger.record import ADOPTED, SubmissionRecord
from airflow_provider_digitalhuman.operators.digitalhuman import CreateDigitalHumanVideoOperator
from airflow_provider_digitalhuman.sensors.digitalhuman import DigitalHumanVideoSensor
from airflow_provider_digitalhuman.triggers.events import task_of
from tests.unit.golden import make_golden

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text(encoding="utf-8"))


def imported(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


TRIGGERS = golden("trigger_arguments.json")
EVENTS = golden("events.json")
RECORDS = golden("records_v1.json")
ERRORS = golden("error_classes.json")
PATHS = golden("class_paths.json")
XCOMS = golden("xcoms.json")


@pytest.mark.parametrize("case", TRIGGERS)
def test_stored_trigger_is_loaded(case: str) -> None:
    stored = TRIGGERS[case]
    try:
        trigger = imported(stored["class"])(**stored["kwargs"])
    except (ImportError, AttributeError, TypeError) as error:
        pytest.fail(f"After an upgrade, tasks that wait in the triggerer ({case}) cannot be loaded and fail: {error!r}")
    path, arguments = trigger.serialize()
    assert path == stored["class"], "A triggerer of the release before, still running, cannot load what is stored now."
    assert stored["kwargs"].items() <= arguments.items(), "A waiting task loses what was stored for it."


@pytest.mark.parametrize("case", TRIGGERS)
def test_operator_has_method_that_deferred_task_goes_on_with(case: str) -> None:
    operator = CreateDigitalHumanVideoOperator if case.startswith("create") else DigitalHumanVideoSensor
    method = TRIGGERS[case]["next_method"]
    assert callable(getattr(operator, method, None)), (
        f"After an upgrade, tasks that were deferred go on with {operator.__name__}.{method}, which is not there: a"
        " video that is paid for is given up."
    )


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.get("error", event["status"]))
def test_stored_event_means_what_it_meant(event: dict[str, Any]) -> None:
    if event["status"] == "completed":
        task = task_of(event)
        assert event["video_task"].items() <= task.to_dict().items(), (
            "After an upgrade, a task that was woken up returns another video than the trigger has seen."
        )
        return
    with pytest.raises(DigitalHumanError) as caught:
        task_of(event)
    assert (type(caught.value).__name__, str(caught.value)) == (event["error"], event["message"]), (
        "After an upgrade, a task that was woken up fails with another error than the wait ended with."
    )
    if event["error"] == "VideoFailedError" and event["video_task"]:
        assert isinstance(caught.value, VideoFailedError)
        assert caught.value.task is not None
        assert caught.value.task.to_dict() == event["video_task"]


@pytest.mark.parametrize("text", RECORDS["records"])
def test_stored_record_is_read(text: str) -> None:
    stored = json.loads(text)
    try:
        record = SubmissionRecord.from_json(stored)
    except DigitalHumanError as error:
        pytest.fail(f"After an upgrade, a task with this record can neither go on with its video nor submit: {error}")
    earlier = stored.get("earlier", [])
    ids = [*earlier, stored["video_task_id"]] if "video_task_id" in stored else earlier
    assert str(record.stage) == stored["stage"], "After an upgrade, a submission is taken for another stage."
    assert record.fingerprint == stored["fingerprint"], "After an upgrade, a video in the making is paid for again."
    assert record.generation == stored["generation"], "After an upgrade, a retry is taken for a clear."
    assert record.try_number == stored["try_number"]
    assert record.sent_at == stored["sent_at"], "After an upgrade, the age of a video is not known."
    assert record.sent == stored["sent"]
    assert record.video_task_id == stored.get("video_task_id"), "After an upgrade, the ID of a paid video is lost."
    assert list(record.known_ids) == ids, "After an upgrade, the IDs of paid videos are lost."
    assert record.video_task == stored.get("video_task"), "After an upgrade, what was accepted is lost."
    assert record.completed == stored.get("completed"), "After an upgrade, a video that is made can be paid for again."
    assert record.detail == stored.get("detail")


def test_golden_records_show_every_stage() -> None:
    stages = {json.loads(text)["stage"] for text in RECORDS["records"]}
    assert stages == {"sending", "released", "unknown", "submitted", "failed", "returned"}
    assert ADOPTED in {json.loads(text)["fingerprint"] for text in RECORDS["records"]}


@pytest.mark.parametrize("stored", RECORDS["variables"], ids=lambda stored: str(stored["address"][2]))
def test_record_is_looked_for_where_it_is(stored: dict[str, Any]) -> None:
    lost = "After an upgrade, no record is found: every open task submits and pays again."
    address = TaskAddress(*stored["address"])
    assert RECORDS["task_state_key"] == RECORD_KEY, lost
    assert address.variable_key == stored["key"], lost
    assert TaskAddress.from_description(stored["description"]) == address, (
        "After an upgrade, digitalhuman-ledger cannot tell whose record a Variable is."
    )


@pytest.mark.parametrize("name", ERRORS)
def test_error_class_keeps_its_meaning(name: str) -> None:
    kind = getattr(exceptions, name, None)
    assert kind is not None, f"After an upgrade, `except {name}` of DAG authors and stored events find no such class."
    assert kind.ends_retries is ERRORS[name]["ends_retries"], (
        f"After an upgrade, Airflow's retries treat {name} differently: either a second payment, or a wait given up."
    )
    missing = set(ERRORS[name]["bases"]) - {base.__name__ for base in kind.__mro__}
    assert not missing, f"After an upgrade, `except {' / '.join(sorted(missing))}` does not catch {name} any more."


@pytest.mark.parametrize("path", PATHS)
def test_stored_class_path_is_imported(path: str) -> None:
    module, _, name = path.rpartition(".")
    gone = f"An upgrade makes {PATHS[path]} unreadable, which name {path}."
    if ".openlineage" in path and find_spec("airflow.providers.openlineage") is None:  # then the module has no imports
        spec = find_spec(module)
        assert spec is not None, gone
        assert f"class {name}(" in Path(str(spec.origin)).read_text(), gone
        return
    try:
        assert isinstance(imported(path), type)
    except (ImportError, AttributeError) as error:
        pytest.fail(f"{gone} {error}")


def test_stored_video_task_of_taskflow_function_is_read() -> None:
    stored = golden("video_task.json")
    task = imported(stored["class"])(**stored["data"])
    assert {name: getattr(task, name) for name in stored["data"]} == stored["data"], (
        "After an upgrade, a VideoTask that a @task has returned cannot be read from XCom."
    )


@pytest.fixture(scope="module")
def xcoms_of_today() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_DIGITALHUMAN_DEFAULT", "{}")  # put back afterwards
        yield make_golden.xcoms()


@pytest.mark.parametrize("operator", XCOMS)
def test_xcoms_keep_their_keys_and_shapes(xcoms_of_today: dict[str, Any], operator: str) -> None:
    today = xcoms_of_today[operator]
    for key, stored in XCOMS[operator].items():
        assert key in today, f"After an upgrade, DAGs that pull the XCom {key!r} get None."
        if not isinstance(stored, dict):
            assert today[key] == stored, f"After an upgrade, the XCom {key!r} has another type."
            continue
        gone = {name for name, kind in stored.items() if today[key].get(name) != kind}
        assert not gone, f"After an upgrade, DAGs that read {sorted(gone)} of the XCom {key!r} find it changed."
