"""Runs cases in a world, observes what became of each video, and judges."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from airflow_provider_digitalhuman.ledger_address import RECORD_KEY
from tests.chaos.hands import Hands
from tests.chaos.invariants import Observed, name_of
from tests.chaos.plan import Case, Video
from tests.chaos.world import TASK, World
from tools.airflow_cluster import AirflowCluster, ApiError

PATIENCE: Final = 900.0
CALLBACK_PATIENCE: Final = 30.0
"""Seconds for one case, on a machine with much else to do."""


@dataclass
class Verdict:
    """What came of a case; one row of the table."""

    case: Case
    videos: list[Observed] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def task_runs(self) -> int:
        """Tries that Airflow began."""
        return sum(video.tries for video in self.videos)

    @property
    def posts(self) -> int:
        """Create POSTs that reached the sandbox."""
        return sum(len(video.requests) for video in self.videos)

    @property
    def charges(self) -> int:
        """Videos that the sandbox charged for."""
        return sum(len(video.charges) for video in self.videos)

    @property
    def double_charges(self) -> int:
        """Charges beyond one per video and generation."""
        return sum(video.double_charges for video in self.videos)

    @property
    def ids_said_unknown(self) -> int:
        """Accepted IDs that died with their process, where the task's error says that the outcome is unknown."""
        return sum(len(video.ids_unknown) - len(video.ids_lost) for video in self.videos)

    @property
    def ids_lost(self) -> int:
        """Accepted IDs that are nowhere, and nothing says so."""
        return sum(len(video.ids_lost) for video in self.videos)


def run_cases(world: World, cases: Sequence[Case]) -> Iterable[Verdict]:
    """Run the cases, phase by phase."""
    for phase in dict.fromkeys(case.phase for case in cases):
        yield from _run(world, [case for case in cases if case.phase == phase])


def _run(world: World, cases: Sequence[Case]) -> list[Verdict]:
    started = time.time()
    verdicts = [Verdict(case) for case in cases]
    cleared: dict[str, list[float]] = defaultdict(list)
    with Hands(world) as hands:
        for case in cases:
            _begin(world, case, _run_id(case))
        for case in cases:
            if case.meanwhile:
                case.meanwhile(world, case.dag_id, _run_id(case))
        for verdict in verdicts:
            try:
                world.wait_for_run(verdict.case.dag_id, _run_id(verdict.case), PATIENCE)
            except TimeoutError as error:
                verdict.violations.append(str(error))
        again = [verdict for verdict in verdicts if verdict.case.afterwards and not verdict.violations]
        for verdict in again:
            cleared[_run_id(verdict.case)].append(time.time())
            verdict.case.afterwards(world, verdict.case.dag_id, _run_id(verdict.case))  # type: ignore[misc]
        for verdict in again:
            try:
                world.wait_for_run(verdict.case.dag_id, _run_id(verdict.case), PATIENCE)
            except TimeoutError as error:
                verdict.violations.append(str(error))
        hands.wait_for_survivors(patience=120)
    ledger = world.sandbox.ledger()
    for verdict in verdicts:
        run_id = _run_id(verdict.case)
        verdict.violations += hands.errors
        clears = [*hands.cleared(run_id), *cleared[_run_id(verdict.case)]]
        verdict.videos += _observe(world, verdict.case, run_id, ledger, clears)
        for video in verdict.videos:
            verdict.violations += [f"{video.name}: {what}" for what in video.violations(verdict.case.expected)]
        verdict.seconds = time.time() - started
    return verdicts


def _run_id(case: Case) -> str:
    return f"{''.join(letter if letter.isalnum() else '-' for letter in case.name)}-{case.seed}"


def _begin(world: World, case: Case, run_id: str) -> None:
    videos = case.videos()
    for number, video in enumerate(videos):
        for fault in video.faults:
            world.sandbox.add_fault(match=f"video={run_id}.{number}&", **fault)
    plans = [_conf(world, video, f"{run_id}.{number}") for number, video in enumerate(videos)]
    world.trigger(case.dag_id, run_id, {"videos": plans})


def _conf(world: World, video: Video, name: str) -> dict[str, Any]:
    audio = f"{world.sandbox.sample_audio_url}?video={name}&take="
    return {
        "name": name,
        "audio_url": [f"{audio}{take}" for take in (range(1, 9) if video.renders_anew else [1])],
        "video_url": world.sandbox.sample_video_url,
        "connection": list(video.connection),
        "steps": [list(step) for step in video.steps],
    }


def _observe(
    world: World, case: Case, run_id: str, ledger: Mapping[str, Any], cleared_at: Sequence[float]
) -> list[Observed]:
    requests, charges = defaultdict(list), defaultdict(list)
    for request in ledger["requests"]:
        requests[name_of(request["body"])].append(request)
    for task in ledger["tasks"]:
        charges[name_of(task["body"])].append(task)
    observed, videos = [], case.videos()
    for ti in world.instances(case.dag_id, run_id):
        index = ti["map_index"]
        name = f"{run_id}.{index}"
        observed.append(
            Observed(
                name=name,
                state=ti["state"],
                tries=ti["try_number"],
                requests=requests[name],
                charges=charges[name],
                cleared_at=cleared_at,
                record=_last_record(world, case.dag_id, run_id, index, ti["state"]),
                xcom=_xcom(world, case.dag_id, run_id, index) if ti["state"] == "success" else None,
                logs=_logs(world, case.dag_id, run_id, index),
                refusals=videos[index].refusals,
            )
        )
    return observed


def _last_record(world: World, dag_id: str, run_id: str, map_index: int, state: str) -> dict[str, Any] | None:
    """Return the record; that of a success once its callback has ended it, which Airflow calls afterwards."""
    patience = time.monotonic() + CALLBACK_PATIENCE
    while True:
        record = _record(world, dag_id, run_id, map_index)
        is_open = state == "success" and (record or {}).get("stage") == "submitted"
        if not is_open or time.monotonic() > patience:
            return record
        time.sleep(0.2)


def _record(world: World, dag_id: str, run_id: str, map_index: int) -> dict[str, Any] | None:
    def read(airflow: AirflowCluster) -> Any:
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{TASK}/state-store/{RECORD_KEY}"
        return airflow.api("GET", path, params={"map_index": map_index})

    if not world.has_task_state_store:
        return _variable(world, dag_id, run_id, map_index)
    answer = _none_if_missing(world, read)
    return None if answer is None else dict(answer["value"])


def _variable(world: World, dag_id: str, run_id: str, map_index: int) -> dict[str, Any] | None:
    whose = f"DAG {dag_id}, run {run_id}, task {TASK}, map index {map_index}."
    for variable in world.ask(lambda airflow: airflow.api("GET", "/variables", params={"limit": 100}))["variables"]:
        if whose in str(variable["description"]):
            return dict(json.loads(variable["value"]))
    return None


def _xcom(world: World, dag_id: str, run_id: str, map_index: int) -> Any:
    return _none_if_missing(world, lambda airflow: airflow.xcom(dag_id, run_id, TASK, map_index=map_index))


def _none_if_missing(world: World, read: Any) -> Any:
    try:
        return world.ask(read)
    except ApiError as error:
        if error.status_code != 404:
            raise
        return None


def _logs(world: World, dag_id: str, run_id: str, map_index: int) -> list[str]:
    folder = world.airflow.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={TASK}"
    files = sorted(
        (folder / f"map_index={map_index}").glob("attempt=*.log*"),
        key=lambda file: (int(file.name.split("=")[1].split(".")[0]), file.name),
    )
    return [file.read_text(errors="replace") for file in files]
