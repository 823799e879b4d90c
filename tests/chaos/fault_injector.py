"""The harness' hands: they do what a try asks for at one of its points, and cannot do to itself."""

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
from tests.chaos.invariants import name_of
from tests.chaos.world import FINAL, World
from tools.airflow_cluster import API_SERVER

REFUSED_SECONDS: Final = 6.0
NAP_SECONDS: Final = 30.0
"""Longer than a try may take until its POST, and shorter than Airflow waits for a sign of life (world.py)."""
PAUSED_SECONDS: Final = 8.0
GATHERING_SECONDS: Final = 3.0
"""What several tries ask for within so many seconds is done to them all at once."""
MANAGING_SECONDS: Final = 3.0
HEAD_START_SECONDS: Final = 3.0
PATIENCE: Final = 240.0
JOIN_PATIENCE: Final = 120.0


class Asked(NamedTuple):
    """What a try has asked for, and where it is."""

    at: str
    deed: str
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
        """Whether the supervisor, a worker that takes one task after the other, is still at this one."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.task).ppid() == self.supervisor
        return False

    def answer(self) -> None:
        """Let the try go on."""
        Path(self.begun).touch()

    def done(self) -> None:
        """Write down that the deed was carried out."""
        Path(self.begun).with_suffix(".done").touch()

    def victims(self) -> list[int]:
        """Numbers of the processes that a deed of the try's own ends."""
        return {
            plan.KILL_TASK: [self.task],
            plan.KILL_SUPERVISOR: [self.supervisor],
            plan.KILL_BOTH: [self.task, self.supervisor],
        }[self.deed]


class Hands:
    """Watches the folder of signals while it is entered. What went wrong in here is in ``errors``."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._done = {file.name for file in world.signals.glob("*.asked")}  # what earlier phases were asked for
        self._awaiting_acceptance: list[Asked] = []
        self._dying: list[tuple[Asked, list[psutil.Process]]] = []
        self._gathered: dict[str, tuple[float, list[Asked]]] = {}
        self._managed = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="hands", daemon=True)
        self._pool = ThreadPoolExecutor(max_workers=32, thread_name_prefix="hand")
        self._survivors: list[psutil.Process] = []
        self._cleared: dict[str, list[float]] = defaultdict(list)
        self.errors: list[str] = []

    def __enter__(self) -> Hands:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(JOIN_PATIENCE)
        if self._thread.is_alive():
            self.errors.append(f"the hands have not come to rest within {JOIN_PATIENCE:g} s")
        self._pool.shutdown(wait=True, cancel_futures=True)

    def cleared(self, run_id: str) -> list[float]:
        """When a try of this run was cleared while it ran."""
        return self._cleared[run_id]

    def wait_for_survivors(self, patience: float) -> None:
        """Tries that Airflow took for dead may live on; what they still do belongs to the case."""
        deadline = time.monotonic() + patience
        while any(_lives(process) for process in self._survivors) and time.monotonic() < deadline:
            time.sleep(0.5)

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            try:
                for file in self._world.signals.glob("*.asked"):
                    if file.name not in self._done:
                        self._done.add(file.name)
                        self._take(Asked(**json.loads(file.read_text())))
                self._strike_gathered()
                self._strike_accepted()
                self._note_deaths()
                self._manage_services()
            except Exception:
                self.errors.append(traceback.format_exc())

    def _manage_services(self) -> None:
        if time.monotonic() - self._managed > MANAGING_SECONDS:
            self._managed = time.monotonic()
            self._world.manage_services()

    def _take(self, asked: Asked) -> None:
        if asked.deed in (plan.FREEZE, plan.KILL_SUPERVISOR, plan.KILL_SUPERVISOR_ONCE_ACCEPTED):
            with contextlib.suppress(psutil.NoSuchProcess):
                self._survivors.append(psutil.Process(asked.task))
        match asked.deed:
            case plan.KILL_TASK_ONCE_ACCEPTED | plan.KILL_SUPERVISOR_ONCE_ACCEPTED | plan.KILL_BOTH_ONCE_ACCEPTED:
                self._awaiting_acceptance.append(asked)
            case plan.REFUSE_WRITES:
                self._in_background(self._refuse_writes, asked)
            case plan.FREEZE:
                self._in_background(self._freeze, asked)
            case plan.NAP:
                self._in_background(self._nap, asked)
            case plan.CLEAR:
                self._in_background(self._clear, asked)
            case plan.KILL_TASK | plan.KILL_SUPERVISOR | plan.KILL_BOTH:
                self._dying.append((asked, _processes(asked.victims())))  # the try does it itself
            case _:
                self._gathered.setdefault(asked.deed, (time.monotonic(), []))[1].append(asked)

    def _note_deaths(self) -> None:
        for asked, processes in list(self._dying):
            if not any(_lives(process) for process in processes):
                self._dying.remove((asked, processes))
                asked.done()

    def _in_background(self, deed: Callable[..., None], *arguments: Any) -> None:
        def guarded() -> None:
            try:
                deed(*arguments)
            except Exception:
                self.errors.append(traceback.format_exc())

        self._pool.submit(guarded)

    # ------------------------------------------------------------ deeds to one try

    def _strike_accepted(self) -> None:
        if not self._awaiting_acceptance:
            return
        accepted = {name_of(task["body"]) for task in self._world.sandbox.ledger()["tasks"]}
        for asked in [asked for asked in self._awaiting_acceptance if asked.video in accepted]:
            self._awaiting_acceptance.remove(asked)
            if not asked.is_running():
                continue
            if asked.deed != plan.KILL_TASK_ONCE_ACCEPTED:
                _signal(asked.supervisor, signal.SIGKILL)
            if asked.deed != plan.KILL_SUPERVISOR_ONCE_ACCEPTED:
                _signal(asked.task, signal.SIGKILL)
            asked.done()

    def _refuse_writes(self, asked: Asked) -> None:
        assert self._world.refusals
        self._world.refusals.refuse(asked.run_id, asked.map_index, REFUSED_SECONDS)
        asked.done()
        asked.answer()

    def _clear(self, asked: Asked) -> None:
        self._cleared[asked.run_id].append(time.time())
        self._world.clear(asked.dag_id, asked.run_id)
        asked.done()
        asked.answer()

    def _freeze(self, asked: Asked) -> None:
        """Stop the task and its supervisor until Airflow has given up on them and the next try has ended."""
        for pid in (asked.supervisor, asked.task):
            _signal(pid, signal.SIGSTOP)
        deadline = time.monotonic() + PATIENCE
        while not self._is_outlived(asked):
            if time.monotonic() > deadline:
                self.errors.append(f"{asked.video}: the next try has not ended within {PATIENCE:g} s")
                break
            time.sleep(1)
        else:
            if psutil.Process(asked.task).status() == psutil.STATUS_STOPPED:
                asked.done()
        asked.answer()
        _signal(asked.task, signal.SIGCONT)
        time.sleep(HEAD_START_SECONDS)  # for what the task can do before its supervisor learns that it is over
        _signal(asked.supervisor, signal.SIGCONT)

    def _nap(self, asked: Asked) -> None:
        """Stop the task and its supervisor for a while, which Airflow does not notice."""
        for pid in (asked.supervisor, asked.task):
            _signal(pid, signal.SIGSTOP)
        time.sleep(NAP_SECONDS)
        if psutil.Process(asked.task).status() == psutil.STATUS_STOPPED:
            asked.done()
        asked.answer()
        for pid in (asked.task, asked.supervisor):
            _signal(pid, signal.SIGCONT)

    def _is_outlived(self, asked: Asked) -> bool:
        """Whether Airflow has given up this try, and the next one has ended."""
        ti = self._world.instances(asked.dag_id, asked.run_id)[asked.map_index]
        return bool(ti["try_number"] > asked.try_number and ti["state"] in FINAL)

    # ------------------------------------------------------------ deeds to a whole component

    def _strike_gathered(self) -> None:
        for deed, (since, asking) in list(self._gathered.items()):
            if time.monotonic() - since >= GATHERING_SECONDS:
                del self._gathered[deed]
                self._in_background(self._strike_component, deed, asking)

    def _strike_component(self, deed: str, asking: list[Asked]) -> None:
        airflow = self._world.airflow
        match deed:
            case plan.RESTART_API_SERVER:
                self._world.restart(API_SERVER, in_between=lambda: _let_go_on(asking))
            case plan.KILL_SCHEDULER:
                self._world.restart("scheduler", in_between=lambda: _let_go_on(asking))
            case plan.KILL_WORKER_HOST:
                self._world.restart("scheduler", whole_session=True)
            case plan.PAUSE_API_SERVER:
                pids = airflow.pids(API_SERVER)
                for pid in pids:
                    _signal(pid, signal.SIGSTOP)
                self._pause(asking)
                for pid in pids:
                    _signal(pid, signal.SIGCONT)
            case plan.PAUSE_DATABASE:
                assert self._world.database
                self._world.database.pause()
                self._pause(asking)
                self._world.database.go_on()
            case _:
                raise ValueError(deed)
        for asked in asking:
            asked.done()

    def _pause(self, asking: list[Asked]) -> None:
        _let_go_on(asking)
        time.sleep(PAUSED_SECONDS)


def _let_go_on(asking: list[Asked]) -> None:
    for asked in asking:
        asked.answer()


def _processes(pids: list[int]) -> list[psutil.Process]:
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(pid))
    return found


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _signal(pid: int, sig: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, sig)
