"""Carries out the actions that a try requests at one of its points and cannot do to its own process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

import psutil

from tests.chaos import plan
from tests.chaos.environment import FINAL, Environment
from tests.chaos.invariants import name_of
from tools.airflow_cluster import API_SERVER

REFUSED_SECONDS: Final = 6.0
SUSPENDED_SECONDS: Final = 30.0
"""Longer than a try may take until its POST, and shorter than Airflow waits for a heartbeat (environment.py)."""
PAUSED_SECONDS: Final = 8.0
COLLECTING_SECONDS: Final = 3.0
"""An action on a component that several tries request within this time is carried out once for all of them."""
MANAGING_SECONDS: Final = 3.0
HEAD_START_SECONDS: Final = 3.0
TIMEOUT_SECONDS: Final = 240.0
JOIN_SECONDS: Final = 120.0


class ActionRequest(NamedTuple):
    """An action that a try has requested, and which processes and task instance it belongs to."""

    at: str
    action: str
    video: str
    task: int
    supervisor: int
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    ti_id: str
    begun: str

    def is_running(self) -> bool:
        """Whether the supervisor, which runs one task after the other, still runs this one."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.task).ppid() == self.supervisor
        return False

    def resume(self) -> None:
        """Let the try continue."""
        Path(self.begun).touch()

    def done(self) -> None:
        """Record that the action was carried out."""
        Path(self.begun).with_suffix(".done").touch()

    def victims(self) -> list[int]:
        """Process IDs that this action of the try itself ends."""
        return {
            plan.KILL_TASK: [self.task],
            plan.KILL_SUPERVISOR: [self.supervisor],
            plan.KILL_BOTH: [self.task, self.supervisor],
        }[self.action]


class FaultInjector:
    """Watches the signals folder inside its ``with`` block. Errors of the injector itself are in ``errors``."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._seen = {file.name for file in environment.signals.glob("*.requested")}  # requests of earlier phases
        self._awaiting_acceptance: list[ActionRequest] = []
        self._dying: list[tuple[ActionRequest, list[psutil.Process]]] = []
        self._component_requests: dict[str, tuple[float, list[ActionRequest]]] = {}
        self._managed = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="fault-injector", daemon=True)
        self._pool = ThreadPoolExecutor(max_workers=32, thread_name_prefix="fault-injector")
        self._survivors: list[psutil.Process] = []
        self._cleared: dict[str, list[float]] = defaultdict(list)
        self.errors: list[str] = []

    def __enter__(self) -> FaultInjector:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(JOIN_SECONDS)
        if self._thread.is_alive():
            self.errors.append(f"the fault injector has not ended within {JOIN_SECONDS:g} s")
        self._pool.shutdown(wait=True, cancel_futures=True)

    def cleared(self, run_id: str) -> list[float]:
        """When a try of this run was cleared while it ran."""
        return self._cleared[run_id]

    def wait_for_survivors(self, timeout: float) -> None:
        """Return when tries that Airflow has given up have ended: what they still do belongs to the case."""
        deadline = time.monotonic() + timeout
        while any(_is_alive(process) for process in self._survivors) and time.monotonic() < deadline:
            time.sleep(0.5)

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            try:
                for file in self._environment.signals.glob("*.requested"):
                    if file.name not in self._seen:
                        self._seen.add(file.name)
                        self._accept(ActionRequest(**json.loads(file.read_text())))
                self._act_on_components()
                self._kill_accepted()
                self._record_deaths()
                self._manage_services()
            except Exception:
                self.errors.append(traceback.format_exc())

    def _manage_services(self) -> None:
        if time.monotonic() - self._managed > MANAGING_SECONDS:
            self._managed = time.monotonic()
            self._environment.manage_services()

    def _accept(self, request: ActionRequest) -> None:
        if request.action in (plan.FREEZE, plan.KILL_SUPERVISOR, plan.KILL_SUPERVISOR_ONCE_ACCEPTED):
            with contextlib.suppress(psutil.NoSuchProcess):
                self._survivors.append(psutil.Process(request.task))
        match request.action:
            case plan.KILL_TASK_ONCE_ACCEPTED | plan.KILL_SUPERVISOR_ONCE_ACCEPTED | plan.KILL_BOTH_ONCE_ACCEPTED:
                self._awaiting_acceptance.append(request)
            case plan.REFUSE_WRITES:
                self._in_background(self._refuse_writes, request)
            case plan.FREEZE:
                self._in_background(self._freeze, request)
            case plan.SUSPEND:
                self._in_background(self._suspend, request)
            case plan.CLEAR:
                self._in_background(self._clear, request)
            case plan.KILL_TASK | plan.KILL_SUPERVISOR | plan.KILL_BOTH:
                self._dying.append((request, _processes(request.victims())))  # the try does this itself
            case _:
                self._component_requests.setdefault(request.action, (time.monotonic(), []))[1].append(request)

    def _record_deaths(self) -> None:
        for request, processes in list(self._dying):
            if not any(_is_alive(process) for process in processes):
                self._dying.remove((request, processes))
                request.done()

    def _in_background(self, action: Callable[..., None], *arguments: Any) -> None:
        def guarded() -> None:
            try:
                action(*arguments)
            except Exception:
                self.errors.append(traceback.format_exc())

        self._pool.submit(guarded)

    # Actions on one try

    def _kill_accepted(self) -> None:
        if not self._awaiting_acceptance:
            return
        accepted = {name_of(task["body"]) for task in self._environment.sandbox.ledger()["tasks"]}
        for request in [request for request in self._awaiting_acceptance if request.video in accepted]:
            self._awaiting_acceptance.remove(request)
            if not request.is_running():
                continue
            if request.action != plan.KILL_TASK_ONCE_ACCEPTED:
                _signal(request.supervisor, signal.SIGKILL)
            if request.action != plan.KILL_SUPERVISOR_ONCE_ACCEPTED:
                _signal(request.task, signal.SIGKILL)
            request.done()

    def _refuse_writes(self, request: ActionRequest) -> None:
        assert self._environment.refusals
        self._environment.refusals.refuse(request.run_id, request.map_index, REFUSED_SECONDS)
        request.done()
        request.resume()

    def _clear(self, request: ActionRequest) -> None:
        self._cleared[request.run_id].append(time.time())
        self._environment.clear(request.dag_id, request.run_id)
        request.done()
        request.resume()

    def _freeze(self, request: ActionRequest) -> None:
        """Stop the task and its supervisor until Airflow has given them up and the next try has ended."""
        for pid in (request.supervisor, request.task):
            _signal(pid, signal.SIGSTOP)
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not self._is_superseded(request):
            if time.monotonic() > deadline:
                self.errors.append(f"{request.video}: the next try has not ended within {TIMEOUT_SECONDS:g} s")
                break
            time.sleep(1)
        else:
            if psutil.Process(request.task).status() == psutil.STATUS_STOPPED:
                request.done()
        request.resume()
        _signal(request.task, signal.SIGCONT)
        time.sleep(HEAD_START_SECONDS)  # what the task can do before its supervisor runs again
        _signal(request.supervisor, signal.SIGCONT)

    def _suspend(self, request: ActionRequest) -> None:
        """Stop the task and its supervisor for a time that Airflow does not notice."""
        for pid in (request.supervisor, request.task):
            _signal(pid, signal.SIGSTOP)
        time.sleep(SUSPENDED_SECONDS)
        if psutil.Process(request.task).status() == psutil.STATUS_STOPPED:
            request.done()
        request.resume()
        for pid in (request.task, request.supervisor):
            _signal(pid, signal.SIGCONT)

    def _is_superseded(self, request: ActionRequest) -> bool:
        """Whether Airflow has given up this try, and the next one has ended."""
        ti = self._environment.instances(request.dag_id, request.run_id)[request.map_index]
        return bool(ti["try_number"] > request.try_number and ti["state"] in FINAL)

    # Actions on a whole component

    def _act_on_components(self) -> None:
        for action, (since, requests) in list(self._component_requests.items()):
            if time.monotonic() - since >= COLLECTING_SECONDS:
                del self._component_requests[action]
                self._in_background(self._act_on_component, action, requests)

    def _act_on_component(self, action: str, requests: list[ActionRequest]) -> None:
        airflow = self._environment.airflow
        match action:
            case plan.RESTART_API_SERVER:
                self._environment.restart(API_SERVER, in_between=lambda: _release(requests))
            case plan.KILL_SCHEDULER:
                self._environment.restart("scheduler", in_between=lambda: _release(requests))
            case plan.KILL_WORKER_HOST:
                self._environment.restart("scheduler", whole_session=True)
            case plan.PAUSE_API_SERVER:
                pids = airflow.pids(API_SERVER)
                for pid in pids:
                    _signal(pid, signal.SIGSTOP)
                self._pause(requests)
                for pid in pids:
                    _signal(pid, signal.SIGCONT)
            case plan.PAUSE_DATABASE:
                assert self._environment.database
                self._environment.database.pause()
                self._pause(requests)
                self._environment.database.resume()
            case _:
                raise ValueError(action)
        for request in requests:
            request.done()

    def _pause(self, requests: list[ActionRequest]) -> None:
        _release(requests)
        time.sleep(PAUSED_SECONDS)


def _release(requests: list[ActionRequest]) -> None:
    for request in requests:
        request.resume()


def _processes(pids: list[int]) -> list[psutil.Process]:
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(pid))
    return found


def _is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _signal(pid: int, sig: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, sig)
