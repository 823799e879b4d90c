"""Actions around the provider's own steps: its functions are wrapped here, and stay unchanged themselves.

The plan is in the run's conf. An action that a process cannot do to itself is requested by a file in the folder
`CHAOS_SIGNALS`; the fault injector answers with another file.
"""

import functools
import json
import os
import signal
import time
from pathlib import Path

from airflow.providers.common.compat.sdk import get_current_context

TIMEOUT_SECONDS = 300.0
KEEPS_COPY = "chaos_once_copy"
"""The DAG whose tasks keep a second copy of the record, as on Airflow 3.4."""


def of_try(name, dag_run, ti):
    """Macro: a value of this video's plan, by try; the last one holds for all later tries."""
    if ti.dag_id == KEEPS_COPY:  # rendered in the task's own process, before the provider reads the setting
        os.environ["AIRFLOW__DIGITALHUMAN__KEEP_RECORD_COPY"] = "True"
    video = dag_run.conf["videos"][ti.map_index]
    value = video[name][min(ti.try_number, len(video[name])) - 1]
    (Path(os.environ["CHAOS_SIGNALS"]) / f"{video['name']}.try{ti.try_number}.{name}").write_text(value)
    return value


def reach(point, context=None):
    """Do what the plan says about this point: the first action for it that has not been requested yet."""
    try:
        context = context or get_current_context()
    except Exception:  # not within execute
        return
    ti = context["ti"]
    video = context["dag_run"].conf["videos"][ti.map_index]
    for number, (at, action) in enumerate(video["steps"]):
        requested = Path(os.environ["CHAOS_SIGNALS"]) / f"{video['name']}.{number}.requested"
        if at == point and not requested.exists():
            _do(at, action, video["name"], ti, requested)
            return


def _do(at, action, name, ti, requested):
    begun = requested.with_suffix(".begun")
    about = {"at": at, "action": action, "video": name, "task": os.getpid(), "supervisor": os.getppid()}
    about |= {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "map_index": ti.map_index}
    about |= {"try_number": ti.try_number, "ti_id": str(getattr(ti, "id", "")), "begun": str(begun)}
    unfinished = requested.with_suffix(".tmp")
    unfinished.write_text(json.dumps(about))
    unfinished.rename(requested)
    match action:
        case "kill task":
            os.kill(os.getpid(), signal.SIGKILL)
        case "kill supervisor":
            _kill_parent()
        case "kill both":
            _kill_parent()
            os.kill(os.getpid(), signal.SIGKILL)
        case "kill task once accepted" | "kill supervisor once accepted" | "kill both once accepted":
            return
    if action.startswith("kill supervisor"):
        return
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not begun.exists() and time.monotonic() < deadline:
        time.sleep(0.05)


def _kill_parent():
    if (parent := os.getppid()) == 1:
        raise RuntimeError("the supervisor is gone already")
    os.kill(parent, signal.SIGKILL)


def _around_write(write):
    @functools.wraps(write)
    def wrapped(self, value):
        reach(f"before write of {value['stage']}")
        write(self, value)
        reach(f"after write of {value['stage']}")

    return wrapped


def _around_post(post):
    @functools.wraps(post)
    def wrapped(self, *arguments):
        reach("POST")
        answer = post(self, *arguments)
        reach("answer read")
        return answer

    return wrapped


def _before_get(get):
    @functools.wraps(get)
    def wrapped(self, url):
        reach("query")
        return get(self, url)

    return wrapped


def _after_the_work(finish):
    @functools.wraps(finish)
    def wrapped(self, video_task):
        finish(self, video_task)
        reach("returning")

    return wrapped


def _before_the_end(end_the_record):
    @functools.wraps(end_the_record)
    def wrapped(self, context):
        reach("before write of returned", context)
        end_the_record(self, context)

    return wrapped


def install():
    """Wrap the provider's steps in this process, once.

    Not those of an earlier release, whose modules have other names: `CHAOS_STEPS` is `off` where one runs.
    """
    if os.environ.get("CHAOS_STEPS") == "off":
        return
    from airflow_provider_digitalhuman.connection.transport import Transport
    from airflow_provider_digitalhuman.hooks.recorded_submission import EndRecord
    from airflow_provider_digitalhuman.ledger.stores import TaskStateRecordStore, VariableRecordStore
    from airflow_provider_digitalhuman.operators.run import CreateRun

    if hasattr(Transport.post, "__wrapped__"):
        return
    for store in (TaskStateRecordStore, VariableRecordStore):
        store.write = _around_write(store.write)
    Transport.post = _around_post(Transport.post)
    Transport.get = _before_get(Transport.get)
    CreateRun.finish = _after_the_work(CreateRun.finish)
    EndRecord.__call__ = _before_the_end(EndRecord.__call__)
