"""A server on loopback that plays the part of Airflow's REST API that `digitalhuman-ledger` uses, of any version.

As strict as Airflow: a field that a version does not know is refused, and so is a Variable that is not there.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from airflow_provider_digitalhuman.ledger.address import RECORD_KEY, TaskAddress

CLEAR_FIELDS = {
    "dry_run", "dag_run_id", "task_ids", "only_failed", "reset_dag_runs", "include_downstream", "include_upstream"
}  # fmt: skip


@dataclass
class Seen:
    """One request."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: Any
    authorization: str | None


@dataclass
class AirflowApiServer:
    """What the server knows; tests put it there and look at it."""

    version: tuple[int, int]
    instances: dict[TaskAddress, dict[str, Any]] = field(default_factory=dict)
    tasks: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    downstream: dict[str, list[str]] = field(default_factory=dict)
    entries: dict[TaskAddress, Any] = field(default_factory=dict)
    variables: dict[str, dict[str, Any]] = field(default_factory=dict)
    accepted: Callable[[str | None], bool] = lambda authorization: True
    requests: list[Seen] = field(default_factory=list)
    events: list[tuple[str, str, Callable[[], Any]]] = field(default_factory=list)
    """What else happens at the next request of a method whose path ends so; each once, after the answer was made."""

    def __post_init__(self) -> None:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one segment: else each answer waits for an acknowledgement

            def _any(self) -> None:
                parts = urlsplit(self.path)
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                seen = Seen(self.command, parts.path, parse_qs(parts.query), body, self.headers.get("Authorization"))
                api.requests.append(seen)
                status, answer = api.answer(seen)
                content = (
                    answer.encode()
                    if isinstance(answer, str)
                    else b""
                    if status == 204
                    else json.dumps(answer).encode()
                )
                for event in list(api.events):
                    if event[0] == seen.method and unquote(seen.path).endswith(event[1]):
                        api.events.remove(event)
                        event[2]()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _any

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def tree(self) -> str:
        return "/api/v1" if self.version < (3, 0) else "/api/v2"

    # ---------------------------------------------------------------- what tests say and ask

    def add(self, address: TaskAddress, state: str | None, **changes: Any) -> None:
        dag, run, task, index = address.to_json()
        row = {"dag_id": dag, "dag_run_id": run, "task_id": task, "map_index": index, "state": state, "try_number": 1}
        own = {} if self.version < (3, 0) else {"id": f"uuid-{len(self.instances):04}"}
        self.instances[address] = row | own | {"operator": "CreateDigitalHumanVideoOperator"} | changes

    def put_variable(self, address: TaskAddress, value: Any, description: str | None = None) -> None:
        text = json.dumps(value)
        shown = address.description if description is None else description
        self.variables[address.variable_key] = {"key": address.variable_key, "value": text, "description": shown}

    def put_note(self, address: TaskAddress, value: Any) -> None:
        key = address.note_key
        self.variables[key] = {"key": key, "value": json.dumps(value), "description": address.description}

    def note(self, address: TaskAddress) -> Any:
        row = self.variables.get(address.note_key)
        return None if row is None else json.loads(row["value"])

    def variable(self, address: TaskAddress) -> Any:
        row = self.variables.get(address.variable_key)
        return None if row is None else json.loads(row["value"])

    def asked(self, method: str, ending: str = "") -> list[Seen]:
        return [one for one in self.requests if one.method == method and unquote(one.path).endswith(ending)]

    def writes(self) -> list[Seen]:
        reading = [one for one in self.requests if one.body and one.body.get("dry_run")]
        return [one for one in self.requests if one.method != "GET" and one not in reading]

    # ---------------------------------------------------------------- what Airflow does

    def answer(self, seen: Seen) -> tuple[int, Any]:
        if seen.path == "/auth/token" and self.version >= (3, 0):
            known = seen.body == {"username": "ann", "password": "secret"}
            return (201, {"access_token": "made-token"}) if known else (401, {"detail": "Invalid credentials"})
        if not seen.path.startswith(self.tree + "/"):
            return 404, "<html>Not Found</html>"
        words = [unquote(word) for word in seen.path.removeprefix(self.tree + "/").split("/")]
        if words == ["version"]:
            return 200, {"version": f"{self.version[0]}.{self.version[1]}.1", "git_version": None}
        if not self.accepted(seen.authorization):
            return 401, {"detail": "Not authenticated"}
        return getattr(self, "_" + ("variables" if words[0] == "variables" else "dags"))(seen, words[1:])

    def _variables(self, seen: Seen, words: list[str]) -> tuple[int, Any]:
        if seen.method == "POST":
            if seen.body["key"] in self.variables:
                return 409, {"detail": "exists"}
            self.variables[seen.body["key"]] = dict(seen.body)
            return 201, seen.body
        if not words:
            rows = sorted(self.variables.values(), key=lambda row: row["key"])
            return self._page(seen, "variables", rows)
        if words[0] not in self.variables:
            return 404, {"detail": "no such Variable"}
        if seen.method == "DELETE":
            del self.variables[words[0]]
            return 204, None
        row = self.variables[words[0]]
        if seen.method == "PATCH":
            if seen.query != ({} if self.version < (3, 0) else {"update_mask": ["value"]}):
                return 400, {"detail": "'value' is unknown or cannot be updated."}
            row["value"] = seen.body["value"]
        return 200, row

    def _dags(self, seen: Seen, words: list[str]) -> tuple[int, Any]:
        match words:
            case []:
                return self._page(seen, "dags", [{"dag_id": dag} for dag in sorted(self.tasks)])
            case [dag, "tasks"]:
                return 200, {"tasks": self.tasks[dag], "total_entries": len(self.tasks[dag])}
            case [dag, "clearTaskInstances"]:
                return self._clear(dag, seen.body)
            case [dag, "dagRuns", run, "taskInstances"]:
                return self._page(seen, "task_instances", self._filtered(seen, dag, run))
            case [dag, "dagRuns", run, "taskInstances", task, "state-store", key] if self.version >= (3, 3):
                assert key == RECORD_KEY
                return self._state_store(seen, TaskAddress(dag, run, task, int(seen.query["map_index"][0])))
            case [dag, "dagRuns", run, "taskInstances", task, *index]:
                row = self.instances.get(TaskAddress(dag, run, task, int(index[0]) if index else -1))
                return (200, row) if row else (404, {"detail": "no such task instance"})
        return 404, {"detail": "Not Found"}

    def _state_store(self, seen: Seen, address: TaskAddress) -> tuple[int, Any]:
        if seen.method == "PUT":
            assert set(seen.body) == {"value", "expires_at"}
            if address not in self.instances:
                return 404, {"detail": "Task instance not found"}
            self.entries[address] = seen.body["value"]
            return 204, None
        return (200, {"value": self.entries[address]}) if address in self.entries else (404, {"detail": "no such key"})

    def _filtered(self, seen: Seen, dag: str, run: str) -> list[dict[str, Any]]:
        query = seen.query
        rows = [
            row for row in self.instances.values() if dag in ("~", row["dag_id"]) and run in ("~", row["dag_run_id"])
        ]
        if "operator" in query:
            rows = [row for row in rows if row["operator"] in query["operator"]]
        if "state" in query:
            rows = [row for row in rows if (row["state"] or "none") in query["state"]]
        return sorted(rows, key=lambda row: row.get("id", ""), reverse=query.get("order_by") == ["-id"])

    def _clear(self, dag: str, body: dict[str, Any]) -> tuple[int, Any]:
        known = CLEAR_FIELDS | ({"prevent_running_task"} if self.version >= (3, 2) else set())
        known |= {"keep_task_state"} if self.version >= (3, 4) else set()
        if unknown := set(body) - known:
            return 422, {"detail": f"Extra inputs are not permitted: {sorted(unknown)}"}
        if self.version < (3, 0) and not all(isinstance(one, str) for one in body["task_ids"]):
            return 400, {"detail": "{'task_ids': ['Not a valid string.']}"}
        named = [one if isinstance(one, str) else one[0] for one in body["task_ids"]]
        wanted: list[Any] = list(body["task_ids"])
        if body.get("include_downstream"):
            wanted += [behind for name in named for behind in self.downstream.get(name, [])]
        if self.version < (3, 1) and len({*named, *(one for one in wanted if isinstance(one, str))}) > 1:
            wanted += named  # as Airflow does: all instances of what was named
        rows = [row for row in self.instances.values() if row["dag_run_id"] == body["dag_run_id"]]
        rows = [row for row in rows if row["task_id"] in wanted or [row["task_id"], row["map_index"]] in wanted]
        shown = [dict(row) for row in rows]
        if not body["dry_run"]:
            for row in rows:
                row["state"] = None
                if self.version >= (3, 0):
                    row["id"] += "-cleared"
                if self.version >= (3, 4) and not body.get("keep_task_state"):
                    self.entries.pop(TaskAddress(dag, row["dag_run_id"], row["task_id"], row["map_index"]), None)
        if self.version < (3, 0):
            shown = [{key: row[key] for key in ("dag_id", "dag_run_id", "task_id")} for row in shown]
        return 200, {"task_instances": shown, "total_entries": len(shown)}

    def _page(self, seen: Seen, name: str, rows: list[dict[str, Any]]) -> tuple[int, Any]:
        offset, limit = int(seen.query["offset"][0]), int(seen.query["limit"][0])
        return 200, {name: rows[offset : offset + limit], "total_entries": len(rows)}
