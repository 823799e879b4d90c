"""`digitalhuman-ledger` against a server that plays Airflow's REST API of each supported version, and of 3.4."""

import argparse
import getpass
import json
import os
import pwd
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_digitalhuman.api.endpoints import SUBMIT_TIMEOUT
from airflow_provider_digitalhuman.hooks.digitalhuman import LONGEST_START
from airflow_provider_digitalhuman.ledger import cli as ledger_cli
from airflow_provider_digitalhuman.ledger import rest as ledger_api
from airflow_provider_digitalhuman.ledger import rules as ledger_rules
from airflow_provider_digitalhuman.ledger.address import COPIED, TaskAddress
from airflow_provider_digitalhuman.ledger.record import ADOPTED, Stage, SubmissionRecord
from airflow_provider_digitalhuman.support.compat import AIRFLOW
from tests.support.airflow_api_server import AirflowApiServer
from tests.support.raw_server import RawServer, answering, http_answer

VERSIONS = [(2, 11), (3, 0), (3, 1), (3, 2), (3, 3), (3, 4)]
WITH_STATE_STORE = [version for version in VERSIONS if version >= (3, 3)]
HERE = TaskAddress("dag", "manual__2026-11-29T00:00:00+00:00", "create")
SECOND = replace(HERE, map_index=1)
WHERE = (HERE.dag_id, HERE.run_id, HERE.task_id)
LONG_AGO = "2026-01-01T00:00:00+00:00"


def record(stage: Stage = Stage.UNKNOWN, **changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "fingerprint": "f" * 16,
        "generation": 1,
        "try_number": 1,
        "sent_at": LONG_AGO,
        "sent": "that",
    }
    return SubmissionRecord(stage=stage, **(fields | changes)).to_json()


class Airflow:
    """A playing server with one stuck submission, and the command run on it as its users do."""

    def __init__(self, server: AirflowApiServer, capsys: pytest.CaptureFixture[str]) -> None:
        self.server = server
        self._capsys = capsys

    @property
    def version(self) -> tuple[int, int]:
        return self.server.version

    def put(self, address: TaskAddress, value: Any, state: str | None = "failed", **instance: Any) -> None:
        """Put a record where a task of this version leaves it."""
        self.server.add(address, state, **instance)
        if self.version >= (3, 3):
            self.server.entries[address] = value
        if self.version < (3, 3) or self.version >= (3, 4):
            self.server.put_variable(address, value | {"task": address.to_json()})

    def run(self, *arguments: str, code: int = 0) -> str:
        self._capsys.readouterr()
        ended = ledger_cli.main(arguments)
        out, err = self._capsys.readouterr()
        assert ended == code, out + err
        assert "Traceback" not in err
        return str(out + err)

    def stored(self, address: TaskAddress) -> list[dict[str, Any]]:
        """The record in every store that has it."""
        kept = [self.server.entries.get(address), self.server.variable(address)]
        return [one for one in kept if one is not None]


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URL", "TOKEN", "USER", "PASSWORD"):
        monkeypatch.delenv(f"AIRFLOW_API_{name}", raising=False)


@pytest.fixture
def play(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Airflow]]:
    servers: list[AirflowApiServer] = []

    def start(version: tuple[int, int]) -> Airflow:
        servers.append(AirflowApiServer(version))
        monkeypatch.setenv("AIRFLOW_API_URL", servers[-1].url)
        monkeypatch.setenv("AIRFLOW_API_TOKEN", "given-token")
        return Airflow(servers[-1], capsys)

    yield start
    for server in servers:
        server.close()


@pytest.fixture(params=VERSIONS, ids=lambda version: f"{version[0]}.{version[1]}")
def airflow(request: pytest.FixtureRequest, play: Callable[..., Airflow]) -> Airflow:
    return play(request.param)


# -------------------------------------------------------------------- release and adopt


def test_release_changes_stage_in_every_store_and_keeps_the_rest(airflow: Airflow) -> None:
    airflow.put(HERE, record(detail="reset", earlier=("v0",), video_task=None) | {"media": {"seconds": 3}})
    said = airflow.run("release", *WHERE)
    assert "released. Clear the task" in said
    stores = airflow.stored(HERE)
    assert len(stores) == (2 if airflow.version >= (3, 4) else 1)
    for kept in stores:
        read = SubmissionRecord.from_json(kept)
        assert (read.stage, read.known_ids, read.try_number) == (Stage.RELEASED, ("v0",), 1)
        assert "before: reset" in str(read.detail)
        assert kept["media"] == {"seconds": 3}
    if airflow.version < (3, 3) or airflow.version >= (3, 4):
        assert airflow.server.variable(HERE)["task"] == HERE.to_json()
        assert airflow.server.variables[HERE.variable_key]["description"] == HERE.description
    assert airflow.server.asked("POST") == []


def test_adopt_with_clear_writes_id_before_it_clears(airflow: Airflow) -> None:
    airflow.put(HERE, record())
    said = airflow.run("adopt", "--clear", *WHERE, " v7 ")
    assert "adopted and cleared: its next try goes on with video task v7." in said
    for kept in airflow.stored(HERE):
        read = SubmissionRecord.from_json(kept)
        assert (read.stage, read.video_task_id, read.fingerprint) == (Stage.SUBMITTED, "v7", ADOPTED)
    assert airflow.server.instances[HERE]["state"] is None
    *writes, clear = airflow.server.writes()
    assert [one.method for one in writes] == {(3, 3): ["PUT"], (3, 4): ["PATCH", "PUT"]}.get(airflow.version, ["PATCH"])
    expected = {
        "dry_run": False,
        "dag_run_id": HERE.run_id,
        "task_ids": ["create"],
        "only_failed": False,
        "reset_dag_runs": True,
    }
    if airflow.version >= (3, 2):
        expected["prevent_running_task"] = True
    if airflow.version >= (3, 4):
        expected["keep_task_state"] = True
    assert clear.body == expected
    assert {one.authorization for one in airflow.server.requests} == {None, "Bearer given-token"} - (
        {None} if airflow.server.requests[0].authorization else set()
    )


def test_variable_of_before_an_upgrade_is_taken_over_into_state_store(play: Callable[..., Airflow]) -> None:
    airflow = play((3, 3))
    airflow.server.add(HERE, "failed")
    airflow.server.put_variable(HERE, record())
    assert "create: unknown" in airflow.run("list")
    airflow.run("adopt", *WHERE, "v7")
    assert airflow.server.entries[HERE]["video_task_id"] == "v7"
    assert airflow.server.variable(HERE)["video_task_id"] == "v7"


def test_second_copy_is_made_on_3_4_before_the_entry_is_changed(play: Callable[..., Airflow]) -> None:
    airflow = play((3, 4))
    airflow.server.add(HERE, "failed")
    airflow.server.entries[HERE] = record()
    airflow.run("adopt", *WHERE, "v7")
    post, put = airflow.server.writes()
    assert (post.method, post.body["key"], put.method) == ("POST", HERE.variable_key, "PUT")
    assert post.body["description"] == HERE.description
    assert airflow.server.variable(HERE)["task"] == HERE.to_json()
    assert put.body == {"value": airflow.server.entries[HERE], "expires_at": None}
    assert airflow.server.entries[HERE][COPIED] is True  # so that a success removes the copy


def test_state_store_counts_more_than_second_copy(play: Callable[..., Airflow]) -> None:
    airflow = play((3, 4))
    airflow.put(HERE, record(Stage.RETURNED, video_task_id="v1"), "success")
    airflow.server.put_variable(HERE, record())
    assert "is not stuck: its record says returned" in airflow.run("release", *WHERE, code=1)
    assert airflow.server.writes() == []


def test_next_step_names_what_keeps_the_entry(airflow: Airflow) -> None:
    airflow.put(HERE, record())
    said = airflow.run("release", *WHERE)
    if airflow.version < (3, 4):
        assert said == f"{HERE}: released. Clear the task: its next try submits.\n"
        return
    assert '"Keep task state"' in said
    (line,) = (line for line in said.splitlines() if line.startswith("    curl "))
    words = shlex.split(line)
    assert words[words.index("-X") + 2] == f"{airflow.server.url}/api/v2/dags/dag/clearTaskInstances"
    assert json.loads(words[-1])["keep_task_state"] is True


@pytest.mark.parametrize("said", ["", "  ", "VIDEO_TASK_ID"])
def test_adopt_refuses_what_is_no_id(play: Callable[..., Airflow], said: str) -> None:
    airflow = play((3, 3))
    airflow.put(HERE, record())
    assert "give the ID that the vendor's console shows" in airflow.run("adopt", *WHERE, said, code=1)
    assert airflow.server.writes() == []


def test_adopted_id_may_be_corrected_and_released(airflow: Airflow) -> None:
    airflow.put(HERE, record())
    airflow.run("adopt", *WHERE, "wrong")
    airflow.run("adopt", *WHERE, "right")
    assert {kept["video_task_id"] for kept in airflow.stored(HERE)} == {"right"}
    airflow.run("release", *WHERE)
    assert {kept["stage"] for kept in airflow.stored(HERE)} == {"released"}


def test_adopted_video_that_the_task_has_returned_is_not_released(play: Callable[..., Airflow]) -> None:
    airflow = play((3, 3))
    airflow.put(HERE, record(Stage.RETURNED, fingerprint=ADOPTED, video_task_id="v1"), "success")
    for command in (["release", "--clear"], ["adopt", "--clear"]):
        words = [*command, *WHERE, *(["v7"] if command[0] == "adopt" else [])]
        assert "is not stuck: its record says returned" in airflow.run(*words, code=1)
    assert airflow.server.writes() == []


def test_correction_drops_what_was_known_of_the_other_video(play: Callable[..., Airflow]) -> None:
    airflow = play((3, 3))
    about = {"video_task": {"id": "wrong", "status": "completed"}, "completed": True}
    airflow.put(HERE, record(Stage.SUBMITTED, fingerprint=ADOPTED, video_task_id="wrong", **about))
    airflow.run("adopt", *WHERE, "right")
    assert "video_task" not in airflow.server.entries[HERE]
    assert "completed" not in airflow.server.entries[HERE]


@pytest.mark.parametrize("stage", [Stage.RELEASED, Stage.SUBMITTED, Stage.FAILED, Stage.RETURNED])
def test_submission_that_is_not_stuck_is_not_changed(play: Callable[..., Airflow], stage: Stage) -> None:
    airflow = play((3, 1))
    airflow.put(HERE, record(stage, video_task_id="v1"))
    for command in (["release"], ["adopt", "--clear"]):
        words = [*command, *WHERE, *(["v7"] if command[0] == "adopt" else [])]
        assert f"is not stuck: its record says {stage}" in airflow.run(*words, code=1)
    assert airflow.server.writes() == []


@pytest.mark.parametrize("state", ["scheduled", "queued", "running", "restarting"])
@pytest.mark.parametrize("fields", [{}, {"stage": Stage.SENDING}, {"stage": Stage.SUBMITTED, "fingerprint": ADOPTED}])
def test_task_under_way_is_not_changed(play: Callable[..., Airflow], state: str, fields: dict[str, Any]) -> None:
    airflow = play((3, 3))
    airflow.put(HERE, record(**fields, video_task_id="v1"), state)
    said = airflow.run("release", "--clear", *WHERE, code=1)
    assert f"is under way: its record says {fields.get('stage', 'unknown')}, and the task is in state {state}" in said
    assert airflow.server.writes() == []


def test_deleted_task_instance_is_listed_and_not_changed(play: Callable[..., Airflow]) -> None:
    airflow = play((2, 11))
    airflow.server.put_variable(HERE, record())
    assert "no such task instance any more" in airflow.run("list")
    assert f"the Variable {HERE.variable_key}" in airflow.run("release", *WHERE, code=1)
    assert airflow.server.writes() == []


def test_adopt_of_the_paid_id_lets_a_changed_request_go_on(airflow: Airflow) -> None:
    airflow.put(HERE, record(Stage.SUBMITTED, video_task_id="v1", video_task={"status": "processing"}))
    assert "is not stuck" in airflow.run("adopt", *WHERE, "another", code=1)
    assert airflow.server.writes() == []
    assert "adopted and cleared" in airflow.run(*shlex.split(HERE.command("adopt", "v1"))[1:])
    for kept in airflow.stored(HERE):
        assert (kept["fingerprint"], kept["video_task"]) == (ADOPTED, {"status": "processing"})


def test_id_that_a_given_up_try_has_noted_is_shown_and_not_released(airflow: Airflow) -> None:
    airflow.put(HERE, record())
    airflow.server.put_note(HERE, record(Stage.SUBMITTED, video_task_id="late"))
    (row,) = json.loads(airflow.run("list", "--output", "json"))
    assert (row["late_id"], row["possible_id"]) == ("late", "late")
    said = airflow.run("release", "--clear", *WHERE, code=1)
    assert "was accepted as video task late" in said
    assert airflow.server.writes() == []
    command = said[said.index("digitalhuman-ledger adopt") :]
    assert "adopted and cleared" in airflow.run(*shlex.split(command)[1:])
    assert {kept["video_task_id"] for kept in airflow.stored(HERE)} == {"late"}


def test_note_about_an_earlier_post_says_nothing(airflow: Airflow) -> None:
    airflow.put(HERE, record(try_number=2))
    airflow.server.put_note(HERE, record(Stage.SUBMITTED, video_task_id="late"))
    (row,) = json.loads(airflow.run("list", "--output", "json"))
    assert (row["late_id"], row["possible_id"]) == (None, None)
    assert "released and cleared" in airflow.run("release", "--clear", *WHERE)


def test_note_that_comes_before_the_write_stops_it(airflow: Airflow) -> None:
    airflow.put(HERE, record())
    late = record(Stage.SUBMITTED, video_task_id="late")
    airflow.server.events.append(("GET", f"/taskInstances/{HERE.task_id}", lambda: airflow.server.put_note(HERE, late)))
    assert "came in between" in airflow.run("release", *WHERE, code=1)
    assert airflow.server.writes() == []


# -------------------------------------------------------------------- a task that goes on by itself


@pytest.mark.parametrize("state", ["deferred", "up_for_reschedule", "up_for_retry"])
def test_task_that_goes_on_by_itself_is_changed_only_with_clear(airflow: Airflow, state: str) -> None:
    airflow.put(HERE, record(Stage.SUBMITTED, fingerprint=ADOPTED, video_task_id="v1"), state)
    for command in (["release", *WHERE], ["adopt", *WHERE, "v7"]):
        said = airflow.run(*command, code=1)
        assert f"is under way: its record says submitted, and the task is in state {state}" in said
        assert said.endswith(": add --clear.\n")
        assert airflow.server.writes() == []
    assert "released and cleared" in airflow.run("release", "--clear", *WHERE)
    assert airflow.server.instances[HERE]["state"] is None


@pytest.mark.parametrize("state", ["deferred", "up_for_reschedule"])
def test_task_that_waits_is_cleared_right_after_the_write(airflow: Airflow, state: str) -> None:
    airflow.put(HERE, record(Stage.SUBMITTED, fingerprint=ADOPTED, video_task_id="v1"), state)
    assert "adopted and cleared" in airflow.run("adopt", "--clear", *WHERE, "v7")
    *writes, clear = airflow.server.writes()
    seen = airflow.server.requests
    last = seen.index(writes[-1])
    assert seen[last : last + 2] == [writes[-1], clear]
    assert len(seen) > last + 2  # it looks again


def test_retry_that_starts_with_the_write_is_not_cleared(airflow: Airflow) -> None:
    airflow.put(HERE, record(), "up_for_retry")
    method, where = ("PUT", "") if airflow.version >= (3, 3) else ("PATCH", HERE.variable_key)
    row = airflow.server.instances[HERE]
    airflow.server.events.append((method, where, lambda: row.update(state="running")))
    assert "It was not cleared" in airflow.run("release", "--clear", *WHERE, code=1)
    assert row["state"] == "running"


def test_clear_after_which_task_still_waits_is_reported(airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> None:
    airflow.put(HERE, record(Stage.SUBMITTED, fingerprint=ADOPTED, video_task_id="v1"), "deferred")
    monkeypatch.setattr(airflow.server, "_clear", lambda *_: (200, {"task_instances": [], "total_entries": 0}))
    said = airflow.run("adopt", "--clear", *WHERE, "v7", code=1)
    assert "the task was not cleared: in state deferred, it still waits for what it had read before" in said
    assert "Clear the task" in said


def test_clear_that_airflow_refuses_says_that_task_goes_on_waiting(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow.put(HERE, record(Stage.SUBMITTED, fingerprint=ADOPTED, video_task_id="v1"), "deferred")
    plan = {"task_instances": [], "total_entries": 0}
    monkeypatch.setattr(
        airflow.server, "_clear", lambda _, body: (200, plan) if body["dry_run"] else (409, {"detail": "running"})
    )
    said = airflow.run("adopt", "--clear", *WHERE, "v7", code=1)
    assert "was adopted, but not cleared" in said
    assert "Until it is cleared, it goes on with what it has read." in said


def test_record_that_the_old_trigger_wrote_over_is_reported_after_clear(airflow: Airflow) -> None:
    before = record(Stage.SUBMITTED, fingerprint=ADOPTED, video_task_id="v1")
    airflow.put(HERE, before, "deferred")
    method, where = ("PUT", "") if airflow.version >= (3, 3) else ("PATCH", HERE.variable_key)

    def write_over() -> None:
        if airflow.version >= (3, 3):
            airflow.server.entries[HERE] = before | {"completed": True}
        else:
            airflow.server.put_variable(HERE, before | {"completed": True})

    airflow.server.events.append((method, where, write_over))
    said = airflow.run("adopt", "--clear", *WHERE, "v7", code=1)
    assert "the task was cleared, and a try has written over it" in said


# -------------------------------------------------------------------- while the answer can still come


def sent(seconds_ago: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds_ago)).isoformat(timespec="seconds")


def test_time_in_which_an_answer_can_come_is_start_and_submit_time_out() -> None:
    assert ledger_rules.ANSWER_CAN_COME.total_seconds() == LONGEST_START + SUBMIT_TIMEOUT


@pytest.mark.parametrize("changes", [{}, {"stage": Stage.SENDING}, {"stage": Stage.SUBMITTED, "fingerprint": ADOPTED}])
def test_release_names_moment_from_which_no_answer_can_come(airflow: Airflow, changes: dict[str, Any]) -> None:
    moment = sent(120)
    airflow.put(HERE, record(**changes, video_task_id="v1", sent_at=moment))
    said = airflow.run("release", "--clear", *WHERE, code=1)
    works = datetime.fromisoformat(moment) + timedelta(seconds=240)
    assert f"can still come: release works from {works:%Y-%m-%d %H:%M:%S} UTC" in said
    assert airflow.server.writes() == []
    assert "adopted and cleared" in airflow.run("adopt", "--clear", *WHERE, "v7")


@pytest.mark.parametrize("zone", [0, 8])
def test_release_works_once_no_answer_can_come(play: Callable[..., Airflow], zone: int) -> None:
    airflow = play((3, 3))
    moment = datetime.fromisoformat(sent(241)).astimezone(timezone(timedelta(hours=zone))).isoformat()
    airflow.put(HERE, record(sent_at=moment))
    assert "released and cleared" in airflow.run("release", "--clear", *WHERE)


def test_release_takes_time_without_zone_for_utc(play: Callable[..., Airflow]) -> None:
    airflow = play((3, 3))
    airflow.put(HERE, record(sent_at=sent(120).removesuffix("+00:00")))
    assert "can still come" in airflow.run("release", *WHERE, code=1)


def test_release_refuses_record_that_does_not_say_when_it_was_sent(play: Callable[..., Airflow]) -> None:
    airflow = play((3, 3))
    airflow.put(HERE, record(sent_at="then"))
    assert "does not say when its POST left" in airflow.run("release", *WHERE, code=1)
    assert airflow.server.writes() == []


# -------------------------------------------------------------------- IDs that are given up


def test_replaced_id_is_kept_among_earlier_ones(airflow: Airflow) -> None:
    airflow.put(HERE, record(earlier=("v0",)))
    for video_task_id in ("first", "second", "first"):
        airflow.run("adopt", *WHERE, video_task_id)
    for kept in airflow.stored(HERE):
        assert (kept["video_task_id"], kept["earlier"]) == ("first", ["v0", "second"])
    airflow.run("release", *WHERE)
    for kept in airflow.stored(HERE):
        assert kept["earlier"] == ["v0", "second", "first"]
        assert "video_task_id" not in kept


def test_release_of_accepted_video_needs_force_and_names_its_cost(airflow: Airflow) -> None:
    known = {"id": "useless", "status": "pending"}
    airflow.put(HERE, record(Stage.SUBMITTED, video_task_id="useless", video_task=known, sent_at=sent(0)))
    said = airflow.run("release", "--clear", *WHERE, code=1)
    assert "is not stuck: its record says submitted" in said
    assert "To give up video task useless, add --force: if that video exists, the next try pays for a second" in said
    assert airflow.server.writes() == []
    said = airflow.run("release", "--clear", "--force", *WHERE)
    assert "released and cleared" in said
    assert "Given up: video task useless. If it exists, the next try pays for a second one." in said
    for kept in airflow.stored(HERE):
        read = SubmissionRecord.from_json(kept)
        assert (read.stage, read.video_task_id, read.earlier) == (Stage.RELEASED, None, ("useless",))
        assert read.video_task is None


@pytest.mark.parametrize("state", ["success", "deferred", "up_for_retry", "running", "upstream_failed", None])
def test_force_gives_up_no_video_of_task_that_has_not_failed(play: Callable[..., Airflow], state: str | None) -> None:
    airflow = play((3, 1))
    airflow.put(HERE, record(Stage.SUBMITTED, video_task_id="v1"), state)
    assert "add --force once the task has failed" in airflow.run("release", "--clear", "--force", *WHERE, code=1)
    assert airflow.server.writes() == []


@pytest.mark.parametrize("stage", [Stage.RELEASED, Stage.FAILED, Stage.RETURNED])
def test_force_changes_no_record_that_is_not_submitted(play: Callable[..., Airflow], stage: Stage) -> None:
    airflow = play((3, 1))
    airflow.put(HERE, record(stage, video_task_id="v1"))
    assert "is not stuck" in airflow.run("release", "--force", *WHERE, code=1)
    assert airflow.server.writes() == []


def test_force_does_not_shorten_the_time_in_which_an_answer_can_come(play: Callable[..., Airflow]) -> None:
    airflow = play((3, 3))
    airflow.put(HERE, record(sent_at=sent(120)))
    assert "can still come" in airflow.run("release", "--force", *WHERE, code=1)
    assert airflow.server.writes() == []


# -------------------------------------------------------------------- notes of tries that were given up


def test_note_is_removed_once_it_was_taken_into_account(airflow: Airflow) -> None:
    airflow.put(HERE, record(try_number=2))
    note = record(Stage.SUBMITTED, video_task_id="other")
    airflow.server.put_note(HERE, note)
    airflow.run("release", *WHERE)
    assert airflow.server.note(HERE) is None
    assert {tuple(kept["earlier"]) for kept in airflow.stored(HERE)} == {("other",)}
    airflow.put(HERE, record())
    airflow.server.put_note(HERE, note)
    airflow.run("adopt", "--clear", *WHERE, "v7")
    assert airflow.server.note(HERE) is None
    assert {(kept["video_task_id"], *kept["earlier"]) for kept in airflow.stored(HERE)} == {("v7", "other")}


def test_note_that_cannot_be_removed_does_not_stop_the_command(airflow: Airflow) -> None:
    airflow.put(HERE, record(try_number=2))
    airflow.server.put_note(HERE, record(Stage.RELEASED))
    answer = airflow.server._variables
    airflow.server._variables = lambda seen, words: (  # type: ignore[method-assign]
        (403, {"detail": "Forbidden"}) if seen.method == "DELETE" else answer(seen, words)
    )
    said = airflow.run("release", "--clear", *WHERE)
    assert f"the Variable {HERE.variable_key}_late is no longer needed: Airflow's API answered HTTP 403" in said
    assert "released and cleared" in said


def test_note_that_comes_with_the_write_is_reported_and_kept(airflow: Airflow) -> None:
    airflow.put(HERE, record())
    method, where = ("PUT", "") if airflow.version >= (3, 3) else ("PATCH", HERE.variable_key)
    note = record(Stage.SUBMITTED, video_task_id="late")
    airflow.server.events.append((method, where, lambda: airflow.server.put_note(HERE, note)))
    said = airflow.run("release", "--clear", *WHERE, code=1)
    assert "A NOTE CAME IN BETWEEN" in said
    assert "The note says submitted, video task late (try 1" in said
    assert "It was not cleared" in said
    assert airflow.server.note(HERE) == note
    (row,) = json.loads(airflow.run("list", "--all", "--output", "json"))
    command = HERE.command("adopt", "late")
    assert row["commands"]["adopt"] == command
    assert command in said
    assert "adopted and cleared" in airflow.run(*shlex.split(command)[1:])
    assert airflow.server.note(HERE) is None


def test_note_about_adopted_post_is_not_released(airflow: Airflow) -> None:
    airflow.put(HERE, record())
    airflow.run("adopt", *WHERE, "wrong")
    airflow.server.put_note(HERE, record(Stage.SUBMITTED, video_task_id="late"))
    assert "was accepted as video task late" in airflow.run("release", *WHERE, code=1)
    assert {kept["stage"] for kept in airflow.stored(HERE)} == {"submitted"}
    assert airflow.server.note(HERE) is not None


def test_force_gives_up_id_that_a_note_names_too(play: Callable[..., Airflow]) -> None:
    airflow = play((3, 3))
    airflow.put(HERE, record(Stage.SUBMITTED, video_task_id="useless"))
    airflow.server.put_note(HERE, record(Stage.SUBMITTED, video_task_id="useless"))
    assert "released" in airflow.run("release", "--force", *WHERE)
    assert airflow.server.entries[HERE]["earlier"] == ["useless"]
    airflow.put(HERE, record(Stage.SUBMITTED, video_task_id="useless"))
    airflow.server.put_note(HERE, record(Stage.SUBMITTED, video_task_id="another"))
    assert "was accepted as video task another" in airflow.run("release", "--force", *WHERE, code=1)


def test_list_all_shows_notes_that_no_try_reads(airflow: Airflow) -> None:
    note = record(Stage.SUBMITTED, video_task_id="v5")
    airflow.put(SECOND, record())
    airflow.server.put_note(SECOND, note)  # of an open record: the next try reads it
    ended, gone = replace(HERE, map_index=2), replace(HERE, map_index=3)
    airflow.put(ended, record(Stage.FAILED, video_task_id="v1"))
    airflow.server.put_note(ended, note)
    airflow.server.put_note(gone, note)
    (stuck,) = json.loads(airflow.run("list", "--output", "json"))
    assert (stuck["map_index"], stuck["orphaned_note"]) == (1, None)
    rows = {row["map_index"]: row for row in json.loads(airflow.run("list", "--all", "--output", "json"))}
    assert {index: row["orphaned_note"] for index, row in rows.items()} == {1: None, 2: note, 3: note}
    assert (rows[3]["record"], rows[3]["commands"], rows[3]["state"]) == ({}, {}, None)
    text = airflow.run("list", "--all")
    assert f"{gone}: no record (no such task instance any more)" in text
    assert f"video task v5 (try 1, sent {LONG_AGO}). No try reads it any more: delete the Variable" in text
    assert [f"{one.variable_key}_late" in text for one in (SECOND, ended, gone)] == [False, True, True]
    assert "cannot be read" not in text


def test_list_all_looks_for_the_record_of_a_note_in_the_state_store(
    play: Callable[..., Airflow], monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow = play((3, 3))
    monkeypatch.setattr(ledger_api, "MOST_READ", 0)
    airflow.put(HERE, record())
    airflow.server.put_note(HERE, record(Stage.SUBMITTED, video_task_id="v5"))
    shown, _, _ = airflow.run("list", "--all", "--output", "json").partition("digitalhuman-ledger: Only 0 task")
    (row,) = json.loads(shown)
    assert (row["late_id"], row["orphaned_note"]) == ("v5", None)


# -------------------------------------------------------------------- a try at the same moment


def test_try_that_comes_before_the_write_stops_it(airflow: Airflow) -> None:
    airflow.put(HERE, record())
    row = airflow.server.instances[HERE]
    airflow.server.events.append(("GET", f"/taskInstances/{HERE.task_id}", lambda: row.update(state="queued")))
    assert "came in between" in airflow.run("release", "--clear", *WHERE, code=1)
    assert airflow.server.writes() == []


@pytest.mark.parametrize("change", [{"state": "running"}, {"try_number": 2}, {"id": "another"}])
def test_try_that_comes_with_the_write_is_reported_and_not_cleared(airflow: Airflow, change: dict[str, Any]) -> None:
    if airflow.version < (3, 0) and "id" in change:
        change = {"state": "up_for_retry"}
    airflow.put(HERE, record())
    method, where = ("PUT", "") if airflow.version >= (3, 3) else ("PATCH", HERE.variable_key)
    airflow.server.events.append((method, where, lambda: airflow.server.instances[HERE].update(change)))
    said = airflow.run("adopt", "--clear", *WHERE, "v7", code=1)
    assert "A TRY CAME IN BETWEEN" in said
    assert "digitalhuman-ledger show dag" in said
    assert [one.path for one in airflow.server.writes() if one.path.endswith("clearTaskInstances")] == []


def test_record_that_a_try_wrote_over_is_reported(airflow: Airflow) -> None:
    airflow.put(HERE, record())
    method, where = ("PUT", "") if airflow.version >= (3, 3) else ("PATCH", HERE.variable_key)
    airflow.server.events.append((method, where, lambda: airflow.put(HERE, record(Stage.SENDING, try_number=2))))
    assert "its record sending" in airflow.run("release", "--clear", *WHERE, code=1)
    assert [one.path for one in airflow.server.writes() if one.path.endswith("clearTaskInstances")] == []


def test_record_that_changed_before_the_write_stops_it(airflow: Airflow) -> None:
    airflow.put(HERE, record())
    written = record(Stage.SUBMITTED, video_task_id="v2")
    airflow.server.events.append(("GET", f"/taskInstances/{HERE.task_id}", lambda: airflow.put(HERE, written)))
    assert "the record is now submitted" in airflow.run("release", *WHERE, code=1)
    assert airflow.server.writes() == []


def test_record_that_a_try_changes_after_the_last_look_at_its_state_is_not_overwritten(airflow: Airflow) -> None:
    airflow.put(HERE, record())
    written = record(Stage.SENDING, try_number=2)
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            airflow.put(HERE, written)  # as a try does that starts now
        else:
            airflow.server.events.append(("GET", f"/taskInstances/{HERE.task_id}", look))

    airflow.server.events.append(("GET", f"/taskInstances/{HERE.task_id}", look))
    said = airflow.run("release", "--clear", *WHERE, code=1)
    assert "came in between" in said
    assert airflow.server.writes() == []
    assert {kept["stage"] for kept in airflow.stored(HERE)} == {"sending"}


def test_entry_that_a_try_changes_after_the_copy_was_written_is_not_overwritten(play: Callable[..., Airflow]) -> None:
    airflow = play((3, 4))
    airflow.put(HERE, record())
    written = record(Stage.SUBMITTED, video_task_id="v2")
    airflow.server.events.append(("PATCH", HERE.variable_key, lambda: airflow.server.entries.update({HERE: written})))
    said = airflow.run("release", "--clear", *WHERE, code=1)
    assert "its entry in the task state store was not changed. The copy in its Variable was." in said
    assert airflow.server.entries[HERE] == written
    assert airflow.server.instances[HERE]["state"] == "failed", "it is not cleared"


# -------------------------------------------------------------------- clear


def mapped_run(airflow: Airflow) -> None:
    """Create 0 has its video, create 1 is stuck; three tasks behind them, one of them mapped."""
    airflow.server.downstream["create"] = ["archive", "notify", "report"]
    airflow.put(replace(HERE, map_index=0), record(Stage.RETURNED, video_task_id="v0"), "success")
    airflow.put(SECOND, record())
    for task_id, index, state in [
        ("archive", 0, "success"),
        ("archive", 1, "upstream_failed"),
        ("notify", -1, "success"),
        ("report", -1, "upstream_failed"),
    ]:
        airflow.server.add(replace(HERE, task_id=task_id, map_index=index), state, operator="Other")


def test_clear_reaches_one_instance_and_what_has_not_run_behind_it(airflow: Airflow) -> None:
    mapped_run(airflow)
    command = ["release", "--clear", "--map-index", "1", *WHERE]
    if airflow.version < (3, 0):
        said = airflow.run(*command, code=1)
        assert "Airflow 2's REST API clears a mapped task only as a whole" in said
        assert airflow.server.writes() == []
        return
    said = airflow.run(*command)
    assert "Cleared: create [1] (this task), archive [1] (upstream_failed), report (upstream_failed)." in said
    assert "have run: archive [0] (success), notify (success)." in said
    states = {(row["task_id"], row["map_index"]): row["state"] for row in airflow.server.instances.values()}
    assert states == {
        ("create", 0): "success",
        ("create", 1): None,
        ("archive", 0): "success",
        ("archive", 1): None,
        ("notify", -1): "success",
        ("report", -1): None,
    }
    clears = [
        one.body["task_ids"] for one in airflow.server.asked("POST", "clearTaskInstances") if not one.body["dry_run"]
    ]
    one_by_one = [[["create", 1]], [["archive", 1]], ["report"]]
    assert clears == (one_by_one if airflow.version < (3, 1) else [[target for call in one_by_one for target in call]])


def test_clear_by_names_leaves_partly_run_task_alone(play: Callable[..., Airflow]) -> None:
    airflow = play((2, 11))
    mapped_run(airflow)
    airflow.put(HERE, record())
    said = airflow.run("release", "--clear", *WHERE)
    assert "Cleared: create (this task), report (upstream_failed)." in said
    assert airflow.server.instances[replace(HERE, task_id="archive", map_index=0)]["state"] == "success"


def test_clear_that_airflow_refuses_says_what_was_written(
    play: Callable[..., Airflow], monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow = play((3, 3))
    airflow.put(HERE, record())
    plan = {"task_instances": [], "total_entries": 0}

    def clear(dag: str, body: dict[str, Any]) -> tuple[int, Any]:
        return (200, plan) if body["dry_run"] else (409, {"detail": "running"})

    monkeypatch.setattr(airflow.server, "_clear", clear)
    said = airflow.run("release", "--clear", *WHERE, code=1)
    assert "was released, but not cleared: Airflow's API answered HTTP 409" in said
    assert "Clear the task: its next try submits." in said
    assert airflow.server.entries[HERE]["stage"] == "released"


@pytest.mark.parametrize("status", [403, 404])
def test_clear_that_airflow_would_refuse_stops_the_write(
    play: Callable[..., Airflow], monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    airflow = play((3, 3))
    airflow.put(HERE, record())
    monkeypatch.setattr(airflow.server, "_clear", lambda *_: (status, {"detail": "no"}))
    for command in (["release", "--clear", *WHERE], ["adopt", "--clear", *WHERE, "v7"]):
        assert f"HTTP {status}" in airflow.run(*command, code=1)
    assert airflow.server.writes() == []


# -------------------------------------------------------------------- list and show


def test_list_shows_what_is_stuck_with_commands(airflow: Airflow) -> None:
    airflow.put(
        HERE,
        record(possible_id="v9"),
    )
    airflow.put(SECOND, record(Stage.SENDING))
    airflow.put(replace(HERE, map_index=2), record(Stage.SENDING), "running")
    airflow.put(replace(HERE, map_index=3), record(Stage.SUBMITTED, video_task_id="v3"), "up_for_retry")
    rows = json.loads(airflow.run("list", "--output", "json"))
    assert sorted((row["map_index"], row["state"], row["possible_id"]) for row in rows) == [
        (-1, "failed", "v9"),
        (1, "failed", None),
    ]
    assert {row["record"]["stage"] for row in rows} == {"unknown", "sending"}
    text = airflow.run("list")
    assert f"    {HERE.command('adopt', 'v9')}\n" in text
    assert f"    {SECOND.command('adopt', 'VIDEO_TASK_ID')}\n" in text
    assert f"    {SECOND.command('release')}\n" in text
    assert "It may be video task v9" in text
    everything = json.loads(airflow.run("list", "--all", "--output", "json"))
    assert sorted(row["map_index"] for row in everything) == [-1, 1, 2, 3]
    assert "No submission is stuck" in airflow.run("list", "--dag-id", "other")
    assert "No submission is on record" in airflow.run("list", "--all", "--dag-id", "other")
    assert json.loads(airflow.run("list", "--dag-id", "other", "--output", "json")) == []


def test_show_prints_record_possible_id_and_commands(airflow: Airflow) -> None:
    airflow.put(SECOND, record() | {"possible_id": "v9"})
    shown = json.loads(airflow.run("show", "--output", "json", "--map-index", "1", *WHERE))
    assert (shown["map_index"], shown["stuck"], shown["possible_id"]) == (1, True, "v9")
    assert shown["commands"]["adopt"] == SECOND.command("adopt", "v9")
    text = airflow.run("show", "--map-index", "1", *WHERE)
    assert '"stage": "unknown"' in text
    assert SECOND.command("release") in text
    assert "has no record" in airflow.run("show", *WHERE, code=1)


def test_second_copy_with_an_id_is_shown_as_possible(play: Callable[..., Airflow]) -> None:
    airflow = play((3, 4))
    airflow.put(HERE, record())
    airflow.server.put_variable(HERE, record(Stage.SUBMITTED, video_task_id="late"))
    assert json.loads(airflow.run("list", "--output", "json"))[0]["possible_id"] == "late"


def test_list_reads_variables_beyond_one_page(airflow: Airflow) -> None:
    if airflow.version >= (3, 3):
        airflow.server.tasks["dag"] = []
    for index in range(130):
        airflow.put(replace(HERE, map_index=index), record())
        airflow.server.variables[f"digitalhuman_other_{index:03}"] = {
            "key": f"digitalhuman_other_{index:03}", "value": "x", "description": None
        }  # fmt: skip
    assert len(json.loads(airflow.run("list", "--output", "json"))) == 130


@pytest.mark.parametrize("version", WITH_STATE_STORE)
def test_list_finds_records_of_tasks_of_any_class(play: Callable[..., Airflow], version: tuple[int, int]) -> None:
    airflow = play(version)
    airflow.server.tasks["dag"] = [
        {
            "template_fields": ["audio_url", "video_url", "digitalhuman_conn_id", "extra"],
            "class_ref": {"class_name": "Speaking"},
        },
        {"template_fields": ["audio_url"], "class_ref": {"class_name": "FewFields"}},
        {"template_fields": None, "class_ref": {"class_name": "EmptyOperator"}},
    ]
    classes = {"create": "Speaking", "few": "FewFields", "hook": "_PythonDecoratedOperator", "gone": "OfDeletedFile"}
    for task_id, operator in classes.items():
        address = replace(HERE, task_id=task_id)
        airflow.server.add(address, "failed", operator=operator)
        airflow.server.entries[address] = record()
    airflow.server.add(replace(HERE, task_id="other"), "failed", operator="EmptyOperator")
    for options in ([], ["--dag-id", "dag"]):
        found = json.loads(airflow.run("list", "--output", "json", *options))
        assert sorted(row["task_id"] for row in found) == sorted(classes)
    assert json.loads(airflow.run("list", "--output", "json", "--dag-id", "another")) == []


@pytest.mark.parametrize("version", WITH_STATE_STORE)
def test_list_asks_for_each_record_once_and_the_operators_first(
    play: Callable[..., Airflow], monkeypatch: pytest.MonkeyPatch, version: tuple[int, int]
) -> None:
    airflow = play(version)
    monkeypatch.setattr(ledger_api, "MOST_READ", 2)
    ours = ["audio_url", "video_url", "digitalhuman_conn_id"]
    airflow.server.tasks["dag"] = [{"template_fields": ours, "class_ref": {"class_name": "Speaking"}}]
    for task_id, operator in (("create", "Speaking"), ("b", "EmptyOperator"), ("c", "EmptyOperator")):
        airflow.server.add(replace(HERE, task_id=task_id), "failed", operator=operator)
    airflow.server.entries[HERE] = record()
    said = airflow.run("list")
    assert "create: unknown" in said
    assert "Only 2 task instances were asked" in said
    asked = [one.path.split("/taskInstances/")[1] for one in airflow.server.asked("GET", "/digitalhuman_submission")]
    assert [path.split("/")[0] for path in asked] == ["create", "c"]


def test_list_asks_no_more_than_so_many_task_instances(
    play: Callable[..., Airflow], monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow = play((3, 3))
    monkeypatch.setattr(ledger_api, "MOST_READ", 3)
    for index in range(5):
        airflow.put(replace(HERE, map_index=index), record())
    said = airflow.run("list")
    assert "Only 3 task instances were asked for their record" in said
    assert len(airflow.server.asked("GET", "digitalhuman_submission")) == 3
    assert [f"[{index}]: unknown" in said for index in range(5)] == [False, False, True, True, True]


def test_list_asks_nothing_of_tasks_that_succeeded(play: Callable[..., Airflow]) -> None:
    airflow = play((3, 3))
    airflow.put(HERE, record(), "success")
    assert "No submission is stuck" in airflow.run("list")
    assert airflow.server.asked("GET", "digitalhuman_submission") == []
    assert "create: unknown" in airflow.run("list", "--all")


def test_list_goes_on_behind_what_cannot_be_read(airflow: Airflow) -> None:
    airflow.put(SECOND, {"version": 99, "stage": "unknown"})
    airflow.put(replace(HERE, map_index=2), record())
    if airflow.version < (3, 3):
        airflow.server.put_variable(HERE, record(), description="edited")
        airflow.server.variables["digitalhuman_submission_x"] = {
            "key": "digitalhuman_submission_x", "value": "no JSON", "description": HERE.description
        }  # fmt: skip
    said = airflow.run("list")
    assert "[1]: The record of the submission cannot be read" in said
    assert "[2]: unknown" in said
    if airflow.version < (3, 3):
        assert f"The Variable {HERE.variable_key} names no task instance" in said
        assert "The Variable digitalhuman_submission_x names no task instance" in said
    assert "cannot be read" in airflow.run("release", "--map-index", "1", *WHERE, code=1)


def test_variable_without_address_is_found_by_its_description(play: Callable[..., Airflow]) -> None:
    airflow = play((3, 0))
    airflow.server.add(HERE, "failed")
    airflow.server.put_variable(HERE, record())
    assert "create: unknown" in airflow.run("list")


# -------------------------------------------------------------------- the commands to copy


@pytest.mark.parametrize("video_task_id", ["v7", "-v7", "--clear", "two words", "it's", "视频"])
@pytest.mark.parametrize("address", [HERE, SECOND, TaskAddress("-dag", "run with space", "group.task", 3)])
def test_printed_command_does_its_job(play: Callable[..., Airflow], address: TaskAddress, video_task_id: str) -> None:
    airflow = play((3, 4))
    airflow.put(address, record())
    program, *arguments = shlex.split(address.command("adopt", video_task_id))
    assert program == "digitalhuman-ledger"
    assert "adopted and cleared" in airflow.run(*arguments)
    assert airflow.server.entries[address]["video_task_id"] == video_task_id
    assert airflow.server.instances[address]["state"] is None
    assert "adopted" in airflow.run(*shlex.split(address.command("show"))[1:])
    assert "released and cleared" in airflow.run(*shlex.split(address.command("release"))[1:])


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["adopt", "--", *WHERE, "--"], "VIDEO_TASK_ID"),
        (["release", "--", "dag", "--", "create"], "RUN_ID"),
        (shlex.split(HERE.command("adopt", "--"))[1:], "VIDEO_TASK_ID"),
    ],
)
def test_name_that_is_two_hyphens_is_refused_in_a_sentence(
    play: Callable[..., Airflow], arguments: list[str], name: str
) -> None:
    airflow = play((3, 3))
    airflow.put(HERE, record())
    assert f"{name} cannot be '--'" in airflow.run(*arguments, code=1)
    assert airflow.server.requests == []


def test_command_to_copy_repeats_the_address_that_was_given_and_no_token(
    play: Callable[..., Airflow], monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow = play((3, 3))
    airflow.put(HERE, record())
    url = os.environ["AIRFLOW_API_URL"]
    monkeypatch.delenv("AIRFLOW_API_URL")
    for options in (["--url", url, "--token", "the-token", "list"], ["list", "--url", url, "--token", "the-token"]):
        said = airflow.run(*options)
        assert f"digitalhuman-ledger release --url {url} --clear" in said
        assert "the-token" not in said
    (line,) = (line for line in said.splitlines() if " release " in line)
    assert "released and cleared" in airflow.run(*shlex.split(line)[1:])


@pytest.mark.parametrize("clear", [True, False])
@pytest.mark.parametrize("command", ["release", "adopt"])
def test_change_is_printed_as_json(airflow: Airflow, command: str, clear: bool) -> None:
    airflow.put(HERE, record())
    words = [command, "--output", "json", *(["--clear"] if clear else []), *WHERE]
    done = json.loads(airflow.run(*words, *(["v7"] if command == "adopt" else [])))
    assert (done["dag_id"], done["task_id"], done["map_index"]) == ("dag", "create", -1)
    assert done["done"] == {"release": "released", "adopt": "adopted"}[command]
    assert done["record"]["stage"] == airflow.stored(HERE)[0]["stage"]
    assert done["given_up"] is None
    if clear:
        assert (done["cleared"], done["not_cleared"], done["next_step"]) == (["create (this task)"], [], None)
    else:
        assert (done["cleared"], done["not_cleared"]) == (None, None)
        assert done["next_step"].startswith("Clear the task")


def test_given_up_video_is_in_the_json(play: Callable[..., Airflow]) -> None:
    airflow = play((3, 3))
    airflow.put(HERE, record(Stage.SUBMITTED, video_task_id="useless"))
    assert json.loads(airflow.run("release", "--force", "--output", "json", *WHERE))["given_up"] == "useless"


# -------------------------------------------------------------------- airflow digitalhuman …


def airflow_parser() -> argparse.ArgumentParser:
    cli_parser = pytest.importorskip("airflow.cli.cli_parser")
    parser: argparse.ArgumentParser = cli_parser.get_parser()
    return parser


@pytest.mark.skipif(AIRFLOW < (3, 2), reason="Airflow below 3.2 has no commands of providers")
@pytest.mark.parametrize("command", ["list", "show", "release", "adopt"])
def test_airflow_command_does_what_the_ledgers_own_does(
    play: Callable[..., Airflow], capsys: pytest.CaptureFixture[str], command: str
) -> None:
    airflow = play((3, 3))
    airflow.put(HERE, record())
    words = {"list": ["--all"], "show": WHERE, "release": WHERE, "adopt": [*WHERE, "v7"]}[command]
    options = airflow_parser().parse_args(["digitalhuman", command, "--output", "json", *words])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        options.func(options)
    assert ended.value.code == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown[0] if command == "list" else shown)["task_id"] == "create"
    stage = {"release": "released", "adopt": "submitted"}.get(command, "unknown")
    assert airflow.server.entries[HERE]["stage"] == stage


@pytest.mark.skipif(AIRFLOW < (3, 2), reason="Airflow below 3.2 has no commands of providers")
def test_airflow_command_that_is_refused_ends_with_code_1(
    play: Callable[..., Airflow], capsys: pytest.CaptureFixture[str]
) -> None:
    play((3, 3))
    options = airflow_parser().parse_args(["digitalhuman", "show", *WHERE])
    with pytest.raises(SystemExit) as ended:
        options.func(options)
    assert ended.value.code == 1
    assert "has no record of a submission" in capsys.readouterr().err


def test_module_that_every_airflow_command_imports_is_light() -> None:
    program = (
        "import sys, airflow_provider_digitalhuman.ledger.airflow_cli;"
        " print(*(name for name in sys.modules if name.startswith(('airflow', 'requests'))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    package = "airflow_provider_digitalhuman"
    assert set(done.stdout.split()) == {
        package,
        f"{package}.ledger",
        f"{package}.ledger.airflow_cli",
        f"{package}.ledger.arguments",
    }


# -------------------------------------------------------------------- who may, and what answers


def test_user_and_password_open_every_version(airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_API_TOKEN")
    proof = "Bearer made-token" if airflow.version >= (3, 0) else "Basic YW5uOnNlY3JldA=="
    airflow.server.accepted = lambda authorization: authorization == proof
    airflow.put(HERE, record())
    refused = airflow.run("list", code=1)
    assert "HTTP 401" in refused
    assert "--user and --password" in refused
    assert ("--local" in refused) is (airflow.version < (3, 0))
    assert "create: unknown" in airflow.run("list", "--user", "ann", "--password", "secret")
    wrong = airflow.run("list", "--user", "ann", "--password", "wrong", code=1)
    assert "HTTP 401" in wrong
    assert "secret" not in wrong
    assert "belong together" in airflow.run("list", "--user", "ann", code=1)
    monkeypatch.setenv("AIRFLOW_API_USER", "ann")
    monkeypatch.setenv("AIRFLOW_API_PASSWORD", "secret")
    assert "create: unknown" in airflow.run("list")


def test_starred_out_variable_is_not_written_back(play: Callable[..., Airflow]) -> None:
    airflow = play((3, 1))
    airflow.put(HERE, record(fingerprint="***"))
    assert "with fingerprint masked (***)" in airflow.run("release", *WHERE, code=1)
    assert airflow.server.writes() == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            http_answer(200, "<html>Sign in</html>", content_type="text/html"),
            "no Airflow names its version: check --url",
        ),
        (http_answer(302, "", location="https://sso.example.com/login"), "redirects to https://sso.example.com/login"),
        (http_answer(500, "broken"), "HTTP 500: broken"),
        (http_answer(200, "[]"), "no Airflow names its version"),
    ],
)
def test_what_is_no_airflow_is_refused_in_a_sentence(
    serve: Callable[..., RawServer], capsys: pytest.CaptureFixture[str], answer: bytes, expected: str
) -> None:
    server = serve(answering(answer))
    assert ledger_cli.main(["--url", server.url, "release", *WHERE]) == 1
    said = capsys.readouterr().err
    assert expected in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:9", "does not answer"),
        ("127.0.0.1:9", "does not answer"),
        ("http://ann:secret@127.0.0.1:9", "holds a user name"),
    ],
)
def test_address_that_cannot_be_used_is_refused(capsys: pytest.CaptureFixture[str], url: str, expected: str) -> None:
    assert ledger_cli.main(["list", "--url", url]) == 1
    said = capsys.readouterr().err
    assert expected in said
    assert "secret" not in said


def test_answer_that_is_no_json_is_refused(serve: Callable[..., RawServer], capsys: pytest.CaptureFixture[str]) -> None:
    server = serve(answering(http_answer(200, '{"version": "3.1.0"}'), http_answer(200, "<html>Sign in</html>")))
    assert ledger_cli.main(["--url", server.url, "list"]) == 1
    assert "no answer of Airflow's API: check --url" in capsys.readouterr().err


def test_netrc_does_not_replace_the_token(
    play: Callable[..., Airflow], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ann password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    airflow = play((3, 3))
    airflow.put(HERE, record())
    airflow.run("list")
    assert {one.authorization for one in airflow.server.requests} == {"Bearer given-token"}


def test_person_without_passwd_entry_is_named_by_uid(
    play: Callable[..., Airflow], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(uid: int) -> Any:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", missing)
    monkeypatch.setattr(os, "getuid", lambda: 1000660000)
    with pytest.raises((KeyError, OSError)):
        getpass.getuser()
    airflow = play((3, 3))
    airflow.put(HERE, record())
    airflow.run("release", *WHERE)
    assert "released by uid 1000660000 at 20" in airflow.server.entries[HERE]["detail"]
