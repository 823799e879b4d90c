"""What users and programs do to a run that has ended. Each function is an `Action` of plan.py."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from typing import Any, Final
from urllib.parse import quote

from airflow_provider_digitalhuman.ledger.address import RECORD_KEY, TaskAddress
from tests.airflow.records import backdate
from tests.chaos.environment import TASK, Environment
from tests.chaos.invariants import name_of
from tests.chaos.plan import RESET

_COMMAND_SECONDS: Final = 120
_ENDS_SECONDS: Final = 300


def clear(environment: Environment, dag_id: str, run_id: str) -> None:
    """Clear all videos of a run. A program can do that, too: nobody needs to have looked."""
    environment.clear(dag_id, run_id)


def clear_success(environment: Environment, dag_id: str, run_id: str) -> None:
    """Clear all videos of a run that has succeeded, once its records have ended."""
    environment.wait_until_ended(dag_id, run_id)
    environment.clear(dag_id, run_id)


def release_and_clear(environment: Environment, dag_id: str, run_id: str) -> None:
    """Copy the command out of each task's error, and run it once no answer can come: nothing was accepted."""
    for address in _addresses(environment, dag_id, run_id):
        environment.call(lambda airflow, address=address: backdate(airflow, address))
        _run(environment, _command_in_error(environment, address, "release"))


def adopt_and_clear(environment: Environment, dag_id: str, run_id: str) -> None:
    """Copy the command out of each task's error, and run it with the ID that the vendor's console shows."""
    for address in _addresses(environment, dag_id, run_id):
        command = _command_in_error(environment, address, "adopt")
        _run(environment, command.replace("VIDEO_TASK_ID", _console(environment, address)))


def discard_state_and_clear(environment: Environment, dag_id: str, run_id: str) -> None:
    """Do what a clear does on Airflow 3.4: it empties the task state store."""
    for address in _addresses(environment, dag_id, run_id):
        _discard_state(environment, address)
    environment.clear(dag_id, run_id)


def discard_state_of_success_and_clear(environment: Environment, dag_id: str, run_id: str) -> None:
    """The same, once its records have ended."""
    environment.wait_until_ended(dag_id, run_id)
    discard_state_and_clear(environment, dag_id, run_id)


def adopt_then_discard_state_and_clear(environment: Environment, dag_id: str, run_id: str) -> None:
    """Adopt the ID, and clear as on Airflow 3.4, with no word about keeping the state."""
    for address in _addresses(environment, dag_id, run_id):
        _run(environment, address.command("adopt", _console(environment, address)).replace(" --clear", ""))
    discard_state_and_clear(environment, dag_id, run_id)


def reset_by_other_dag(environment: Environment, dag_id: str, run_id: str) -> None:
    """Let ``TriggerDagRunOperator(reset_dag_run=True, retries=2)`` clear the run until it has failed three times."""
    conf = environment.call(lambda airflow: airflow.dag_run(dag_id, run_id))["conf"]
    other = f"reset-{run_id}"
    environment.trigger(RESET, other, {"run_id": run_id, "conf": conf})
    environment.wait_for_run(RESET, other, _ENDS_SECONDS)
    (ti,) = environment.call(lambda airflow: airflow.task_instances(RESET, other))
    if (ti["state"], ti["try_number"]) != ("failed", 3):
        raise RuntimeError(f"the task that resets the run ended as {ti['state']} in try {ti['try_number']}")


def delete_and_recreate(environment: Environment, dag_id: str, run_id: str) -> None:
    """Delete the run, and make another one of the same name, for other audio."""
    conf = environment.call(lambda airflow: airflow.dag_run(dag_id, run_id))["conf"]
    videos = [
        {**video, "audio_url": [f"{url}-again" for url in video["audio_url"]], "steps": []} for video in conf["videos"]
    ]
    environment.call(lambda airflow: airflow.api("DELETE", f"/dags/{dag_id}/dagRuns/{quote(run_id)}"))
    environment.trigger(dag_id, run_id, {"videos": videos})


def _addresses(environment: Environment, dag_id: str, run_id: str) -> list[TaskAddress]:
    return [TaskAddress(dag_id, run_id, TASK, ti["map_index"]) for ti in environment.instances(dag_id, run_id)]


def _discard_state(environment: Environment, address: TaskAddress) -> None:
    path = f"/dags/{address.dag_id}/dagRuns/{address.run_id}/taskInstances/{TASK}/state-store/{RECORD_KEY}"
    where = {"map_index": address.map_index}
    environment.call(lambda airflow: airflow.api("GET", path, params=where))  # fails if there is none
    environment.call(lambda airflow: airflow.api("DELETE", path, params=where))
    if environment.call(lambda airflow: airflow.request("GET", path, params=where)).status_code != 404:
        raise RuntimeError(f"the state of {address} is still there")


def _console(environment: Environment, address: TaskAddress) -> str:
    """Return the ID that the vendor's console shows for this video."""
    name = f"{address.run_id}.{max(address.map_index, 0)}"
    (task,) = [task for task in environment.sandbox.ledger()["tasks"] if name_of(task["body"]) == name]
    return str(task["id"])


def _command_in_error(environment: Environment, address: TaskAddress, verb: str) -> str:
    """Return the complete command that the last try's error names for this task instance."""
    logs = environment.logs(address.dag_id, address.run_id, address.map_index)
    found = re.findall(rf"digitalhuman-ledger {verb} [^\n\"]*", logs[-1])
    local = ("--local",) if environment.airflow.is_airflow_2 else ()
    own = address.command(verb, "VIDEO_TASK_ID" if verb == "adopt" else "", local)
    named = [own for text in found if text.startswith(own)]
    if not named:
        raise RuntimeError(f"the last log of {address} does not name {own!r}: {found}")
    return named[0]


def _run(environment: Environment, command: str) -> None:
    program, *words = shlex.split(command)
    if program != "digitalhuman-ledger":
        raise RuntimeError(f"this is no command for the ledger: {command}")
    airflow = environment.airflow
    python: Any = sys.executable
    access: dict[str, Any] = {"AIRFLOW_API_URL": airflow.base_url}
    if airflow.is_airflow_2:  # where the command runs on Airflow's own machine
        python, access = airflow.python, airflow.env
    else:
        access["AIRFLOW_API_TOKEN"] = airflow.token()
    done = subprocess.run(
        [python, "-m", "airflow_provider_digitalhuman.ledger.cli", *words],
        env={**os.environ, **access},
        capture_output=True,
        text=True,
        timeout=_COMMAND_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command!r} ended with {done.returncode}: {done.stderr or done.stdout}")
