"""The sandbox itself: settings, counters, faults, tasks, and what happens when a task is accepted."""

import asyncio
import re
import secrets
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request

from airflow_provider_digitalhuman.sandbox.faults import Fault, FaultBook
from airflow_provider_digitalhuman.sandbox.store import Store, Task
from airflow_provider_digitalhuman.sandbox.studio import Film, Job, Studio

_HOST: Final = re.compile(r"[A-Za-z0-9._-]+(:[0-9]+)?|\[[0-9a-fA-F:]+\](:[0-9]+)?")


@dataclass(frozen=True)
class Settings:
    """What the command line says.

    :param api_key: the one key that is accepted.
    :param processing_seconds: seconds from acceptance until a video is completed.
    :param url_ttl_seconds: seconds that a file URL lives; a day, as with sibling endpoints of the vendor.
    :param state_dir: where tasks and videos are kept.
    """

    state_dir: Path
    api_key: str = "sandbox-key"
    processing_seconds: float = 5.0
    url_ttl_seconds: float = 86_400.0


@dataclass
class Counters:
    """What cannot be read from the tasks; counted since the start or the last reset."""

    connections: int = 0
    api_connections: int = 0
    queries: int = 0
    downloads: int = 0
    key_leaked_to_files: int = 0
    unknown_paths: int = 0
    elsewhere: int = 0
    key_leaked_elsewhere: int = 0


class Sandbox:
    """One running stand-in. All methods are called in the event loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.counters = Counters()
        self.faults = FaultBook()
        self.store = Store(settings.state_dir)
        self.studio = Studio(settings.state_dir / "files")
        self._stopped = False

    def start(self) -> None:
        """Go on with the tasks that a server before this one left behind."""
        for task in self.store.tasks.values():
            if task.ending is None:
                self._produce(task)

    def stop(self) -> None:
        """Let go of the files; a worker that ends later is not listened to any more."""
        self._stopped = True
        self.store.close()

    def accept(self, body: dict[str, Any], subject: str, fault: Fault | None) -> Task:
        """Accept a task; from here on it counts as charged.

        :param subject: text of the request, which the faults of the task are matched with.
        :param fault: the fault of the create itself.
        """
        task = Task(
            id=secrets.token_hex(12),
            created=time.time(),
            body=body,
            takes=self.settings.processing_seconds,
        )
        if fault is not None and fault.name == "special_id":
            task.id = f"任务/{task.id}?a=1&b=%2F#x y"
        if fault is not None and fault.name == "failed_at_once":
            task.ending, task.error, task.takes = "failed", fault.options["error"], 0.0
        fate = self.faults.pick("task", subject)
        if fate is not None and fate.name == "never_finishes":
            task.never_finishes = True
        elif fate is not None and fate.name == "takes":
            task.takes = fate.options["seconds"]
        elif fate is not None and fate.name == "fails":
            task.ending, task.error = fate.options["word"], fate.options["error"]
        self.store.add_task(task)
        if task.ending is None:
            self._produce(task)
        return task

    def _produce(self, task: Task) -> None:
        loop = asyncio.get_running_loop()

        def done(result: Film | str) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(partial(self._finish, task, result))

        self.studio.submit(Job(task.body["audioUrl"], task.body["videoUrl"], done))

    def _finish(self, task: Task, result: Film | str) -> None:
        if self._stopped:
            return
        if isinstance(result, str):
            task.ending, task.error, task.takes = "failed", result, 0.0  # shown at once
        else:
            task.ending, task.film_md5, task.seconds = "completed", result.md5, result.seconds
        self.store.save_task(task)

    def url_of(self, task: Task, root: str) -> str:
        """A file URL that has not expired; a new one where the last has."""
        now = time.time()
        for token, expires in task.urls.items():
            if expires > now:
                return f"{root}/files/{token}.mp4"
        return self._new_url(task, root, now + self.settings.url_ttl_seconds)

    def expired_url_of(self, task: Task, root: str) -> str:
        """A file URL that has expired before it is given out."""
        return self._new_url(task, root, 0.0)

    def _new_url(self, task: Task, root: str, expires: float) -> str:
        token = secrets.token_hex(16)
        self.store.give_url(task, token, expires)
        return f"{root}/files/{token}.mp4"

    def reset(self) -> None:
        """Forget tasks, requests, faults and counts."""
        self.store.clear()
        self.faults.clear()
        self.counters = Counters()


def sandbox_of(request: Request) -> Sandbox:
    """The sandbox that a request came to."""
    sandbox = request.state.sandbox
    assert isinstance(sandbox, Sandbox)
    return sandbox


def root_of(request: Request) -> str:
    """Scheme, host and port that the client reached the server by."""
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        address, port = request.scope["server"]
        host = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    return f"{request.scope['scheme']}://{host}"
