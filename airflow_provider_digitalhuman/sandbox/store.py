"""What the sandbox remembers: tasks and create requests, kept in a small SQLite file."""

import json
import sqlite3
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

_QUEUED_SHARE: Final = 0.2
"""Part of the processing time that a task is seen as queued."""


@dataclass
class Task:
    """One accepted task. Times are Unix seconds.

    :param body: the request's JSON, without what the API does not know.
    :param takes: seconds from acceptance until the ending is shown.
    :param ending: None while it is being made, else completed, failed, cancelled or expired.
    :param film_md5: MD5 of the finished file.
    :param seconds: length of the video.
    :param urls: token of each file URL that was given out -> when it expires.
    """

    id: str
    created: float
    body: dict[str, Any]
    takes: float
    never_finishes: bool = False
    ending: str | None = None
    error: str | None = None
    film_md5: str | None = None
    seconds: float | None = None
    urls: dict[str, float] = field(default_factory=dict)

    def status(self, now: float) -> str:
        """The status word that a query sees."""
        age = now - self.created
        if self.ending is None or self.never_finishes or age < self.takes:
            return "queued" if age < self.takes * _QUEUED_SHARE else "processing"
        return self.ending

    @property
    def amount(self) -> float | None:
        """Charge, in invented units: 0.1 for each second of the video."""
        return None if self.seconds is None else round(self.seconds * 0.1, 2)


@dataclass
class CreateRequest:
    """One create POST that reached the server.

    :param outcome: "accepted" (a task exists), "refused" (answered without one) or "dropped" (neither).
    """

    n: int
    at: float
    authorized: bool
    body: Any = None
    outcome: str = "dropped"
    fault: str | None = None
    when: str | None = None
    video_task_id: str | None = None


class Store:
    """All tasks and create requests, in memory and on disk.

    A task is on disk before its acceptance is answered, so that a killed server knows it again.
    """

    def __init__(self, folder: Path) -> None:
        self._database = sqlite3.connect(folder / "sandbox.sqlite", isolation_level=None, check_same_thread=False)
        self._database.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
            "CREATE TABLE IF NOT EXISTS tasks (id TEXT PRIMARY KEY, json TEXT NOT NULL);"
            "CREATE TABLE IF NOT EXISTS requests (n INTEGER PRIMARY KEY, json TEXT NOT NULL);"
        )
        self.tasks: dict[str, Task] = {}
        self.requests: list[CreateRequest] = []
        self._token_owners: dict[str, Task] = {}
        for (text,) in self._database.execute("SELECT json FROM tasks ORDER BY rowid"):
            task = Task(**json.loads(text))
            self.tasks[task.id] = task
            self._token_owners.update(dict.fromkeys(task.urls, task))
        for (text,) in self._database.execute("SELECT json FROM requests ORDER BY n"):
            self.requests.append(CreateRequest(**json.loads(text)))

    def new_request(self, *, authorized: bool) -> CreateRequest:
        """Note that a create POST has come."""
        request = CreateRequest(n=len(self.requests) + 1, at=time.time(), authorized=authorized)
        self.requests.append(request)
        self.save_request(request)
        return request

    def save_request(self, request: CreateRequest) -> None:
        """Write a request down."""
        self._database.execute("REPLACE INTO requests VALUES (?, ?)", (request.n, json.dumps(asdict(request))))

    def save_task(self, task: Task) -> None:
        """Write a task down; a task that a reset has removed stays removed."""
        if self.tasks.get(task.id) is task:
            self._database.execute(
                "INSERT INTO tasks VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET json = excluded.json",
                (task.id, json.dumps(asdict(task))),
            )

    def add_task(self, task: Task) -> None:
        """Accept a task."""
        self.tasks[task.id] = task
        self.save_task(task)

    def give_url(self, task: Task, token: str, expires: float) -> None:
        """Note a file URL that is given out."""
        task.urls[token] = expires
        self._token_owners[token] = task
        self.save_task(task)

    def task_of_token(self, token: str) -> Task | None:
        """The task whose file the URL leads to."""
        return self._token_owners.get(token)

    def clear(self) -> None:
        """Forget everything."""
        self.tasks.clear()
        self.requests.clear()
        self._token_owners.clear()
        self._database.executescript("DELETE FROM tasks; DELETE FROM requests;")

    def close(self) -> None:
        """Close the file."""
        self._database.close()
