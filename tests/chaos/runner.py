"""Runs cases in an environment, observes what became of each video, and judges."""

from __future__ import annotations

import json
import time
import traceback
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from airflow_provider_digitalhuman.ledger.address import RECORD_KEY, TaskAddress
from tests.chaos.environment import TASK, Environment
from tests.chaos.evidence import Evidence
from tests.chaos.fault_injector import FaultInjector
from tests.chaos.invariants import Observed, Verdict, name_of
from tests.chaos.plan import Action, Case, Video
from tools.airflow_cluster import AirflowCluster, ApiError

TIMEOUT_SECONDS: Final = 900.0
"""For one run of a case, on a busy machine."""
CALLBACK_SECONDS: Final = 30.0
"""For a success callback, which Airflow calls after the run has ended."""


def run_cases(environment: Environment, cases: Sequence[Case], *, leave_out: bool = False) -> Iterable[Verdict]:
    """Run the cases, phase by phase.

    :param leave_out: whether nothing at all is done to the videos; each case must fail then.
    """
    for phase in dict.fromkeys(case.phase for case in cases):
        yield from _run(environment, [case for case in cases if case.phase == phase], leave_out)


def _run(environment: Environment, cases: Sequence[Case], leave_out: bool) -> list[Verdict]:
    started, component_kills = time.time(), environment.component_kills
    verdicts = [Verdict(case) for case in cases]
    faults: dict[str, list[int]] = {}
    cleared: dict[str, list[float]] = defaultdict(list)
    with FaultInjector(environment) as injector:
        for case in cases:
            faults |= begin(environment, case, leave_out)
        for case in cases:
            if case.meanwhile and not leave_out:
                _do(case.meanwhile, environment, case, verdicts)
        wait(environment, verdicts)
        for number in range(0 if leave_out else max(len(case.afterwards) for case in cases)):
            intact = [verdict for verdict in verdicts if not verdict.violations]
            again = [verdict for verdict in intact if number < len(verdict.case.afterwards)]
            if again:
                injector.wait_for_survivors(timeout=120)
            for verdict in again:
                run_id = run_id_of(verdict.case)
                cleared[run_id].append(time.time())
                _do(verdict.case.afterwards[number], environment, verdict.case, verdicts)
            wait(environment, again)
        injector.wait_for_survivors(timeout=120)
    ledger, injected = environment.sandbox.ledger(), times_injected(environment, faults)
    for verdict in verdicts:
        run_id = run_id_of(verdict.case)
        verdict.violations += injector.errors
        clears = sorted([*injector.cleared(run_id), *cleared[run_id]])
        verdict.videos += observe(environment, verdict.case, ledger, injected, clears)
        verdict.judge(environment.component_kills - component_kills if verdict.case.component_kills else 0)
        verdict.seconds = time.time() - started
    return verdicts


def _do(action: Action, environment: Environment, case: Case, verdicts: Sequence[Verdict]) -> None:
    try:
        action(environment, case.dag_id, run_id_of(case))
    except Exception:
        for verdict in verdicts:
            if verdict.case is case:
                verdict.violations.append(traceback.format_exc())


def wait(environment: Environment, verdicts: Sequence[Verdict]) -> None:
    """Return when the runs of these cases have ended; that one has not is a violation."""
    for verdict in verdicts:
        try:
            environment.wait_for_run(verdict.case.dag_id, run_id_of(verdict.case), TIMEOUT_SECONDS)
        except TimeoutError as error:
            verdict.violations.append(str(error))


def run_id_of(case: Case) -> str:
    """Return the ID of the case's run."""
    return f"{''.join(letter if letter.isalnum() else '-' for letter in case.name)}-{case.seed}"


def begin(environment: Environment, case: Case, leave_out: bool = False) -> dict[str, list[int]]:
    """Start the case's run; return the numbers of the faults of each video."""
    run_id = run_id_of(case)
    names = {f"{run_id}.{number}": video for number, video in enumerate(case.videos())}
    if leave_out:
        names = dict.fromkeys(names, Video())
    faults = {
        name: [environment.sandbox.add_fault(match=f"video={name}&", **fault)["number"] for fault in video.faults]
        for name, video in names.items()
    }
    environment.trigger(
        case.dag_id, run_id, {"videos": [_conf(environment, video, name) for name, video in names.items()]}
    )
    return faults


def _conf(environment: Environment, video: Video, name: str) -> dict[str, Any]:
    audio = f"{environment.sandbox.sample_audio_url}?video={name}&take="
    return {
        "name": name,
        "audio_url": [f"{audio}{take}" for take in (range(1, 9) if video.renders_differently else [1])],
        "video_url": environment.sandbox.sample_video_url,
        "connection": list(video.connection),
        "steps": [list(step) for step in video.steps],
    }


def times_injected(environment: Environment, faults: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """Return how often each fault of each video was injected, by the numbers of the faults."""
    fired = {fault["number"]: fault["fired"] for fault in environment.sandbox.faults()}
    return {name: [fired[number] for number in numbers] for name, numbers in faults.items()}


def observe(
    environment: Environment,
    case: Case,
    ledger: Mapping[str, Any],
    injected: Mapping[str, Sequence[int]],
    cleared_at: Sequence[float],
) -> list[Observed]:
    """Return what became of each video of a case that has a task instance.

    :param ledger: the sandbox's.
    :param injected: how often each fault of each video was injected.
    """
    requests, charges = defaultdict(list), defaultdict(list)
    for request in ledger["requests"]:
        requests[name_of(request["body"])].append(request)
    for task in ledger["tasks"]:
        charges[name_of(task["body"])].append(task)
    observed, videos, run_id = [], case.videos(), run_id_of(case)
    for ti in environment.instances(case.dag_id, run_id):
        index = ti["map_index"]
        name = f"{run_id}.{max(index, 0)}"
        steps = {
            number: trace for number in range(len(videos[index].steps)) if (trace := environment.trace(name, number))
        }
        observed.append(
            Observed(
                name=name,
                state=ti["state"],
                tries=environment.tries(name),
                requests=requests[name],
                charges=charges[name],
                cleared_at=cleared_at,
                record=_last_record(environment, case.dag_id, run_id, index, ti["state"]),
                xcom=_xcom(environment, case.dag_id, run_id, index) if ti["state"] == "success" else None,
                logs=environment.logs(case.dag_id, run_id, index),
                variables=[key for key in keys_of(case.dag_id, run_id, index) if read_variable(environment, key)],
                video=videos[index],
                evidence=Evidence(
                    steps,
                    injected[name],
                    environment.rendered(name, "audio_url"),
                    environment.rendered(name, "connection"),
                    len(cleared_at),
                ),
            )
        )
    return observed


def _last_record(
    environment: Environment, dag_id: str, run_id: str, map_index: int, state: str
) -> dict[str, Any] | None:
    """Return the record; that of a success once its callback has ended it, which Airflow calls afterwards."""
    deadline = time.monotonic() + CALLBACK_SECONDS
    while True:
        record = _record(environment, dag_id, run_id, map_index)
        is_open = state == "success" and (record or {}).get("stage") == "submitted"
        if not is_open or time.monotonic() > deadline:
            return record
        time.sleep(0.2)


def _record(environment: Environment, dag_id: str, run_id: str, map_index: int) -> dict[str, Any] | None:
    def read(airflow: AirflowCluster) -> Any:
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{TASK}/state-store/{RECORD_KEY}"
        return airflow.api("GET", path, params={"map_index": map_index})

    if not environment.has_task_state_store:
        return read_variable(environment, keys_of(dag_id, run_id, map_index)[0])
    answer = _none_if_missing(environment, read)
    return None if answer is None else dict(answer["value"])


def keys_of(dag_id: str, run_id: str, map_index: int) -> list[str]:
    """Return the keys of a task instance's Variables: that of its record, and that of what a late try has stored."""
    key = TaskAddress(dag_id, run_id, TASK, map_index).variable_key
    return [key, f"{key}_late"]


def read_variable(environment: Environment, key: str) -> dict[str, Any] | None:
    """Return the record that a Variable holds; None if there is no such Variable."""
    answer = _none_if_missing(environment, lambda airflow: airflow.api("GET", f"/variables/{key}"))
    return None if answer is None else dict(json.loads(answer["value"]))


def _xcom(environment: Environment, dag_id: str, run_id: str, map_index: int) -> Any:
    return _none_if_missing(environment, lambda airflow: airflow.xcom(dag_id, run_id, TASK, map_index=map_index))


def _none_if_missing(environment: Environment, read: Any) -> Any:
    try:
        return environment.call(read)
    except ApiError as error:
        if error.status_code != 404:
            raise
        return None
