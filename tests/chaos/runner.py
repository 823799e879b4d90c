"""Runs cases in a world, observes what became of each video, and judges."""

from __future__ import annotations

import json
import time
import traceback
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from airflow_provider_digitalhuman.ledger.address import RECORD_KEY, TaskAddress
from tests.chaos.evidence import Evidence
from tests.chaos.hands import Hands
from tests.chaos.invariants import Observed, Verdict, name_of
from tests.chaos.plan import Case, Deed, Video
from tests.chaos.world import TASK, World
from tools.airflow_cluster import AirflowCluster, ApiError

PATIENCE: Final = 900.0
CALLBACK_PATIENCE: Final = 30.0
"""Seconds for one case, on a machine with much else to do."""


def run_cases(world: World, cases: Sequence[Case], *, leave_out: bool = False) -> Iterable[Verdict]:
    """Run the cases, phase by phase.

    :param leave_out: whether nothing at all is done to the videos, while as much is expected as ever: each case must
        fail then.
    """
    for phase in dict.fromkeys(case.phase for case in cases):
        yield from _run(world, [case for case in cases if case.phase == phase], leave_out)


def _run(world: World, cases: Sequence[Case], leave_out: bool) -> list[Verdict]:
    started, strikes = time.time(), world.strikes
    verdicts = [Verdict(case) for case in cases]
    faults: dict[str, list[int]] = {}
    cleared: dict[str, list[float]] = defaultdict(list)
    with Hands(world) as hands:
        for case in cases:
            faults |= begin(world, case, leave_out)
        for case in cases:
            if case.meanwhile and not leave_out:
                _do(case.meanwhile, world, case, verdicts)
        wait(world, verdicts)
        for number in range(0 if leave_out else max(len(case.afterwards) for case in cases)):
            unhurt = [verdict for verdict in verdicts if not verdict.violations]
            again = [verdict for verdict in unhurt if number < len(verdict.case.afterwards)]
            if again:
                hands.wait_for_survivors(patience=120)
            for verdict in again:
                run_id = run_id_of(verdict.case)
                cleared[run_id].append(time.time())
                _do(verdict.case.afterwards[number], world, verdict.case, verdicts)
            wait(world, again)
        hands.wait_for_survivors(patience=120)
    ledger, played = world.sandbox.ledger(), times_played(world, faults)
    for verdict in verdicts:
        run_id = run_id_of(verdict.case)
        verdict.violations += hands.errors
        clears = sorted([*hands.cleared(run_id), *cleared[run_id]])
        verdict.videos += observe(world, verdict.case, ledger, played, clears)
        verdict.judge(world.strikes - strikes if verdict.case.strikes else 0)
        verdict.seconds = time.time() - started
    return verdicts


def _do(deed: Deed, world: World, case: Case, verdicts: Sequence[Verdict]) -> None:
    try:
        deed(world, case.dag_id, run_id_of(case))
    except Exception:
        for verdict in verdicts:
            if verdict.case is case:
                verdict.violations.append(traceback.format_exc())


def wait(world: World, verdicts: Sequence[Verdict]) -> None:
    """Return when the runs of these cases have ended; that one has not is a violation."""
    for verdict in verdicts:
        try:
            world.wait_for_run(verdict.case.dag_id, run_id_of(verdict.case), PATIENCE)
        except TimeoutError as error:
            verdict.violations.append(str(error))


def run_id_of(case: Case) -> str:
    """Return the ID of the case's run."""
    return f"{''.join(letter if letter.isalnum() else '-' for letter in case.name)}-{case.seed}"


def begin(world: World, case: Case, leave_out: bool = False) -> dict[str, list[int]]:
    """Start the case's run; return the numbers of the faults of each video."""
    run_id = run_id_of(case)
    names = {f"{run_id}.{number}": video for number, video in enumerate(case.videos())}
    if leave_out:
        names = dict.fromkeys(names, Video())
    faults = {
        name: [world.sandbox.add_fault(match=f"video={name}&", **fault)["number"] for fault in video.faults]
        for name, video in names.items()
    }
    world.trigger(case.dag_id, run_id, {"videos": [_conf(world, video, name) for name, video in names.items()]})
    return faults


def _conf(world: World, video: Video, name: str) -> dict[str, Any]:
    audio = f"{world.sandbox.sample_audio_url}?video={name}&take="
    return {
        "name": name,
        "audio_url": [f"{audio}{take}" for take in (range(1, 9) if video.renders_anew else [1])],
        "video_url": world.sandbox.sample_video_url,
        "connection": list(video.connection),
        "steps": [list(step) for step in video.steps],
    }


def times_played(world: World, faults: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """Return how often each fault of each video was played, by the numbers of the faults."""
    fired = {fault["number"]: fault["fired"] for fault in world.sandbox.faults()}
    return {name: [fired[number] for number in numbers] for name, numbers in faults.items()}


def observe(
    world: World,
    case: Case,
    ledger: Mapping[str, Any],
    played: Mapping[str, Sequence[int]],
    cleared_at: Sequence[float],
) -> list[Observed]:
    """Return what became of each video of a case that has a task instance.

    :param ledger: the sandbox's.
    :param played: how often each fault of each video was played.
    """
    requests, charges = defaultdict(list), defaultdict(list)
    for request in ledger["requests"]:
        requests[name_of(request["body"])].append(request)
    for task in ledger["tasks"]:
        charges[name_of(task["body"])].append(task)
    observed, videos, run_id = [], case.videos(), run_id_of(case)
    for ti in world.instances(case.dag_id, run_id):
        index = ti["map_index"]
        name = f"{run_id}.{max(index, 0)}"
        steps = {number: trace for number in range(len(videos[index].steps)) if (trace := world.trace(name, number))}
        observed.append(
            Observed(
                name=name,
                state=ti["state"],
                tries=world.tries(name),
                requests=requests[name],
                charges=charges[name],
                cleared_at=cleared_at,
                record=_last_record(world, case.dag_id, run_id, index, ti["state"]),
                xcom=_xcom(world, case.dag_id, run_id, index) if ti["state"] == "success" else None,
                logs=world.logs(case.dag_id, run_id, index),
                variables=[key for key in keys_of(case.dag_id, run_id, index) if read_variable(world, key)],
                video=videos[index],
                evidence=Evidence(
                    steps,
                    played[name],
                    world.rendered(name, "audio_url"),
                    world.rendered(name, "connection"),
                    len(cleared_at),
                ),
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
        return read_variable(world, keys_of(dag_id, run_id, map_index)[0])
    answer = _none_if_missing(world, read)
    return None if answer is None else dict(answer["value"])


def keys_of(dag_id: str, run_id: str, map_index: int) -> list[str]:
    """Return the keys of a task instance's Variables: that of its record, and that of what a late try has left."""
    key = TaskAddress(dag_id, run_id, TASK, map_index).variable_key
    return [key, f"{key}_late"]


def read_variable(world: World, key: str) -> dict[str, Any] | None:
    """Return the record that a Variable holds; None if there is no such Variable."""
    answer = _none_if_missing(world, lambda airflow: airflow.api("GET", f"/variables/{key}"))
    return None if answer is None else dict(json.loads(answer["value"]))


def _xcom(world: World, dag_id: str, run_id: str, map_index: int) -> Any:
    return _none_if_missing(world, lambda airflow: airflow.xcom(dag_id, run_id, TASK, map_index=map_index))


def _none_if_missing(world: World, read: Any) -> Any:
    try:
        return world.ask(read)
    except ApiError as error:
        if error.status_code != 404:
            raise
        return None
