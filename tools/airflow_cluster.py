"""A real Airflow for tests, demo and benchmarks: every component a process of its own, all of them gone at the end.

The code runs in one Python environment and may launch the Airflow of another one (2.11, 3.0 to 3.3)::

    with AirflowCluster(home, dags_folder) as airflow:
        airflow.wait_until_dag_parsed("my_dag")
        run_id = airflow.trigger("my_dag", conf={"x": 1})
        assert airflow.wait_for_run("my_dag", run_id, timeout=120)["state"] == "success"

Each component is the leader of a session of its own. Whatever Airflow forks (executor workers, task supervisors, tasks)
stays in that session even when its parent is killed, so the session's number finds every process, orphans included.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NamedTuple, TypeVar

import psutil
import requests

T = TypeVar("T")

API_SERVER = "api-server"  # on 2.11 this component is the webserver
COMPONENTS = ("scheduler", API_SERVER, "triggerer", "dag-processor")
FINAL_RUN_STATES = frozenset({"success", "failed"})
PAUSE = 0.5
"""Seconds between two looks for what is waited for."""
_STATE_FILE = "cluster.json"
_STOP_GRACE_SECONDS = 5.0
_REQUEST_TIMEOUT = 30.0
_DATABASE_PATIENCE = 25  # seconds; below _REQUEST_TIMEOUT, so that Airflow can still say what was wrong


class ClusterError(RuntimeError):
    """Airflow did not do what was asked; the message ends with the tail of the logs that tell why."""


class ApiError(ClusterError):
    """Airflow's API answered with an error status."""

    def __init__(self, method: str, url: str, response: requests.Response, log_tail: str = "") -> None:
        super().__init__(f"{method} {url}: HTTP {response.status_code}: {response.text[:2000]}\n{log_tail}".rstrip())
        self.status_code = response.status_code


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now; all are held open until the last one is known, so they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def is_port_free(port: int) -> bool:
    """Tell whether a server could listen on this port now."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def exit_on_signals() -> None:
    """Let SIGTERM and SIGHUP end this program like Ctrl-C does: through every ``finally`` and ``__exit__``."""

    def leave(signum: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + signum)

    for one in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, leave)


class Leader(NamedTuple):
    """The first process of a session that this module opened."""

    name: str
    pid: int
    created: float  # a number that was given to another process later is told apart by this

    @classmethod
    def of(cls, name: str, pid: int) -> Leader:
        """Describe a child that has just been started."""
        return cls(name, pid, psutil.Process(pid).create_time())

    def processes(self) -> list[psutil.Process]:
        """Every living process of the session; the leader itself need not live any more."""
        # While orphans live in the session, the system does not give the leader's number to a new process.
        with contextlib.suppress(psutil.NoSuchProcess):
            if abs(psutil.Process(self.pid).create_time() - self.created) > 1.0:
                return []
        return [process for pid in psutil.pids() if (process := self._member(pid))]

    def _member(self, pid: int) -> psutil.Process | None:
        try:
            if os.getsid(pid) != self.pid:
                return None
            process = psutil.Process(pid)
            return None if process.status() == psutil.STATUS_ZOMBIE else process
        except (ProcessLookupError, PermissionError, psutil.Error):
            return None


def stop_home(home: Path) -> bool:
    """End what an earlier program left running in ``home``; tells whether there was anything."""
    leaders = leaders_alive(home)
    end_sessions(leaders)
    (home / _STATE_FILE).unlink(missing_ok=True)
    return bool(leaders)


def leaders_alive(home: Path) -> list[Leader]:
    """The components that a program, ended or not, has left running in ``home``."""
    state_file = home / _STATE_FILE
    if not state_file.exists():
        return []
    leaders = [Leader(*one) for one in json.loads(state_file.read_text())["leaders"]]
    return [leader for leader in leaders if leader.processes()]


def end_sessions(leaders: Sequence[Leader]) -> None:
    """SIGTERM to the leaders, which end their children in good order; SIGKILL to orphans and to whatever is left."""
    for leader in leaders:
        members = [process.pid for process in leader.processes()]
        if leader.pid in members:
            _signal(leader.pid, signal.SIGTERM)
        else:
            for pid in members:
                _signal(pid, signal.SIGKILL)
    grace = time.monotonic() + _STOP_GRACE_SECONDS
    while alive := [process for leader in leaders for process in leader.processes()]:
        if time.monotonic() > grace + 30:
            raise ClusterError(f"these processes cannot be ended: {alive}")
        if time.monotonic() > grace:
            for process in alive:
                _signal(process.pid, signal.SIGKILL)
        time.sleep(0.1)


def _signal(pid: int, sig: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, sig)


class AirflowCluster:
    """Scheduler, API server, triggerer and DAG processor of one Airflow, in one home directory."""

    def __init__(
        self,
        home: Path,
        dags_folder: Path,
        env: Mapping[str, str] | None = None,
        python: Path | str = sys.executable,
        database: str = "sqlite",
        *,
        parallelism: int = 4,
        port: int | None = None,
        components: Sequence[str] = COMPONENTS,
        serve_logs: bool = False,
        start_timeout: float = 180.0,
    ) -> None:
        """Prepare, but start nothing yet.

        :param home: ``AIRFLOW_HOME``; made if missing. A database found there is used again.
        :param env: added last to the environment of all components, so it overrides any setting made here.
        :param python: interpreter whose Airflow is run.
        :param database: ``sqlite``, or the URL of an existing database (``postgresql+psycopg2://…``).
        :param parallelism: tasks at a time; the LocalExecutor forks that many workers.
        :param serve_logs: let scheduler and triggerer serve their logs, so that the UI shows those of running tasks.
        """
        self.home = home.resolve()
        self.dags_folder = dags_folder.resolve()
        # Not resolved: the link's own place is how Python knows its virtual environment.
        self.python = Path(os.path.abspath(python))
        self.start_timeout = start_timeout
        self.airflow_version = self._read_version()
        self.is_airflow_2 = self.airflow_version.startswith("2.")
        api_port, self._worker_log_port, self._trigger_log_port = free_ports(3)
        self.port = port or api_port
        self.base_url = f"http://127.0.0.1:{self.port}"
        # SQLite lets one process write at a time, and the others wait for 5 s only: too short where the disk is busy.
        own = f"sqlite:///{self.home / 'airflow.db'}?timeout={_DATABASE_PATIENCE}"
        self.database = own if database == "sqlite" else database
        # With SQLite the scheduler of 2.11 insists on parsing the DAGs itself.
        parses_itself = self.is_airflow_2 and self.database.startswith("sqlite")
        self.components = tuple(name for name in components if not (parses_itself and name == "dag-processor"))
        self._serve_logs = serve_logs
        self._parallelism = parallelism
        self._keys = {"fernet": _fernet_key(), "jwt": secrets.token_hex(32), "session": secrets.token_hex(16)}
        self.env = {**self._environment(), **(env or {})}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._leaders: list[Leader] = []  # of all components ever started: those killed may have left orphans
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy must not see, or break, calls to this machine

    # ---------------------------------------------------------------- life

    def __enter__(self) -> AirflowCluster:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Migrate the database, start all components and return when Airflow reports all of them healthy."""
        self.prepare()
        self.launch()

    def launch(self) -> None:
        """The second half of :meth:`start`, for those who called :meth:`prepare`."""
        try:
            for name in self.components:
                self.start_component(name)
            self.wait_until_healthy()
        except BaseException:
            self.stop()
            raise

    def prepare(self) -> None:
        """Make the home and its database; nothing runs afterwards."""
        stop_home(self.home)
        self.log_dir.mkdir(parents=True, exist_ok=True)
        self.dags_folder.mkdir(parents=True, exist_ok=True)
        if self.is_airflow_2:
            # Every visitor is an admin, as with SIMPLE_AUTH_MANAGER_ALL_ADMINS on 3.x.
            (self.home / "webserver_config.py").write_text('AUTH_ROLE_PUBLIC = "Admin"\nWTF_CSRF_ENABLED = True\n')
        self.cli("db", "migrate", timeout=self.start_timeout)

    def stop(self) -> None:
        """End every process of this cluster, orphans included; safe to call twice."""
        end_sessions(self._leaders)
        for process in self._running.values():
            process.wait(timeout=60)
        self._running.clear()
        self._leaders.clear()
        (self.home / _STATE_FILE).unlink(missing_ok=True)
        atexit.unregister(self.stop)  # last: an impatient second Ctrl-C in here leaves the rest to the exit

    def kill_all(self) -> None:
        """SIGKILL every process at once, as when the machine dies; nothing runs afterwards."""
        while pids := self.pids():
            for pid in pids:
                _signal(pid, signal.SIGKILL)
            time.sleep(0.1)
        self.stop()

    def detach(self) -> None:
        """Leave everything running when this program ends; :func:`stop_home` ends it later."""
        atexit.unregister(self.stop)

    def start_component(self, name: str) -> None:
        """Start one component, for instance after :meth:`kill`."""
        if name in self._running and self._running[name].poll() is None:
            raise ClusterError(f"{name} is running already")
        command = [str(self.python), "-m", "airflow", *self._arguments(name)]
        atexit.unregister(self.stop)
        atexit.register(self.stop)
        with self.component_log(name).open("ab") as log:
            process = subprocess.Popen(
                command,
                env=self.env,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._running[name] = process
        self._remember(name, process.pid)

    def adopt(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """Let :meth:`stop` and :func:`stop_home` end one more process, the leader of a session, with this cluster."""
        self._running[name] = process
        self._remember(name, process.pid)

    def _remember(self, name: str, pid: int) -> None:
        self._leaders.append(Leader.of(name, pid))
        state = {"base_url": self.base_url, "leaders": self._leaders}
        (self.home / _STATE_FILE).write_text(json.dumps(state))

    def kill(self, name: str, sig: signal.Signals = signal.SIGKILL, *, whole_session: bool = False) -> None:
        """Send a signal to a component, or to all that it forked too; waits for the end if the signal brings one."""
        process = self._running[name]
        targets = self.pids(name) if whole_session else [process.pid]
        for pid in targets:
            _signal(pid, sig)
        if sig in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            del self._running[name]
            process.wait(timeout=60)

    def processes(self, component: str | None = None, title: str = "") -> list[psutil.Process]:
        """Living processes of a component (default: of all), orphans included, whose title contains ``title``."""
        found = []
        for leader in self._leaders:
            if component not in (None, leader.name):
                continue
            for process in leader.processes():
                with contextlib.suppress(psutil.NoSuchProcess):
                    if title in " ".join(process.cmdline()):
                        found.append(process)
        return found

    def pids(self, component: str | None = None, title: str = "") -> list[int]:
        """Numbers of :meth:`processes`."""
        return [process.pid for process in self.processes(component, title)]

    def wait_until_healthy(self) -> None:
        """Return when the API server answers and reports every started component as healthy."""
        health = "/health" if self.is_airflow_2 else "/api/v2/monitor/health"
        wanted = {name.replace("-", "_") for name in self.components if name != API_SERVER} | {"metadatabase"}

        def ready() -> dict[str, Any] | None:
            answer: dict[str, Any] = self._session.get(self.base_url + health, timeout=_REQUEST_TIMEOUT).json()
            return answer if all(answer[name]["status"] == "healthy" for name in wanted) else None

        self._wait(ready, self.start_timeout, "Airflow to be healthy", logs=self.components)

    # ---------------------------------------------------------------- API

    def request(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        """Call Airflow's HTTP API and return the answer as it is.

        ``path`` is below ``/api/v2`` (``/api/v1`` on 2.11), unless it names another tree (``/ui/…``, ``/api/…``).
        """
        rooted = path.startswith(("/ui/", "/api/", "/auth/", "/health"))
        url = self.base_url + (path if rooted else f"/api/{'v1' if self.is_airflow_2 else 'v2'}{path}")
        if not self.is_airflow_2 and "Authorization" not in self._session.headers:
            self._session.headers["Authorization"] = f"Bearer {self.token()}"
        kwargs.setdefault("timeout", _REQUEST_TIMEOUT)
        return self._session.request(method, url, **kwargs)

    def api(self, method: str, path: str, json: Any = None, params: Mapping[str, Any] | None = None) -> Any:
        """Call Airflow's API and return the parsed JSON; :class:`ApiError` on any error status."""
        headers = {"Accept": "application/json"}
        response = self.request(method, path, json=json, params=params, headers=headers)
        if response.status_code >= 400:
            raise ApiError(method, path, response, self.log_tail(API_SERVER) if response.status_code >= 500 else "")
        return response.json() if response.content else None

    def token(self) -> str:
        """Return a new bearer token of Airflow 3."""
        response = self._session.get(f"{self.base_url}/auth/token", timeout=_REQUEST_TIMEOUT)
        if response.status_code >= 400:
            raise ApiError("GET", "/auth/token", response)
        return str(response.json()["access_token"])

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None, run_id: str | None = None) -> str:
        """Start a run of a DAG and return its run id."""
        body: dict[str, Any] = {"conf": dict(conf or {})}
        if not self.is_airflow_2:
            body["logical_date"] = None
        if run_id:
            body["dag_run_id"] = run_id
        run: dict[str, Any] = self.api("POST", f"/dags/{dag_id}/dagRuns", json=body)
        return str(run["dag_run_id"])

    def run_dag(self, dag_id: str, conf: Mapping[str, Any] | None = None, timeout: float = 180.0) -> dict[str, Any]:
        """Wait for the DAG, trigger it, wait for the end of the run and return the run."""
        self.wait_until_dag_parsed(dag_id)
        return self.wait_for_run(dag_id, self.trigger(dag_id, conf), timeout)

    def wait_until_dag_parsed(self, dag_id: str, timeout: float = 90.0) -> None:
        """Return when the DAG can be triggered; an import error anywhere in the DAGs folder raises at once."""

        def parsed() -> bool | None:
            if errors := self.import_errors():
                raise ClusterError(f"DAG import errors: {json.dumps(errors, indent=2)}")
            response = self.request("GET", f"/dags/{dag_id}")
            return True if response.ok and not response.json()["is_paused"] else None

        self._wait(parsed, timeout, f"DAG {dag_id} to be parsed", logs=("dag-processor", "scheduler"))

    def import_errors(self) -> list[dict[str, Any]]:
        """Files of the DAGs folder that could not be parsed, with their tracebacks."""
        errors: list[dict[str, Any]] = self.api("GET", "/importErrors")["import_errors"]
        return errors

    def dag_run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """One run as the API shows it."""
        run: dict[str, Any] = self.api("GET", f"/dags/{dag_id}/dagRuns/{run_id}")
        return run

    def wait_for_run(
        self,
        dag_id: str,
        run_id: str,
        timeout: float = 180.0,
        on_poll: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """Return the run once it succeeded or failed; ``on_poll`` is shown its present state all along."""

        def finished() -> dict[str, Any] | None:
            run = self.dag_run(dag_id, run_id)
            if on_poll:
                on_poll(run)
            return run if run["state"] in FINAL_RUN_STATES else None

        try:
            return self._wait(finished, timeout, f"run {run_id} of {dag_id} to end", logs=("scheduler",))
        except ClusterError as error:
            states = {name: ti["state"] for name, ti in self._states(dag_id, run_id)}
            raise ClusterError(f"task states: {states}\n{error}") from None

    def _states(self, dag_id: str, run_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for instance in self.task_instances(dag_id, run_id):
            yield f"{instance['task_id']}[{instance['map_index']}]", instance

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """All task instances of a run, mapped ones included."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.api(
                "GET",
                f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances",
                params={"limit": 100, "offset": len(found)},
            )
            found += page["task_instances"]
            if len(found) >= page["total_entries"] or not page["task_instances"]:
                return found

    def wait_for_task_state(
        self, dag_id: str, run_id: str, task_id: str, states: Sequence[str], timeout: float = 120.0, map_index: int = -1
    ) -> dict[str, Any]:
        """Return the task instance as soon as it is in one of ``states`` (``deferred``, ``running``, …)."""

        def reached() -> dict[str, Any] | None:
            for instance in self.task_instances(dag_id, run_id):
                if (instance["task_id"], instance["map_index"]) == (task_id, map_index) and instance["state"] in states:
                    return instance
            return None

        what = f"task {dag_id}.{task_id} of {run_id} to be {' or '.join(states)}"
        return self._wait(reached, timeout, what, logs=("scheduler",))

    def task_log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1) -> str:
        """The log of one try as plain lines, tracebacks included, as the UI gets it from the API."""
        answer = self.api(
            "GET",
            f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}",
            params={"map_index": map_index, "full_content": "true"},
        )
        content = answer["content"]
        if isinstance(content, str):  # 2.11
            return content
        return "\n".join(_log_line(event) for event in content)

    def xcom(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        key: str = "return_value",
        map_index: int = -1,
        *,
        deserialize: bool = False,
    ) -> Any:
        """The value of one XCom; ``deserialize`` as in Airflow's API."""
        params: dict[str, Any] = {"map_index": map_index, "stringify": "false"}
        if deserialize:
            params["deserialize"] = "true"
        entry = self.api(
            "GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}", params=params
        )
        return entry["value"]

    def clear(
        self, dag_id: str, run_id: str, task_ids: Sequence[str], *, downstream: bool = False, only_failed: bool = False
    ) -> None:
        """Clear tasks of a run, as a user does in the UI; the run is queued again."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": list(task_ids),
            "include_downstream": downstream,
            "only_failed": only_failed,
            "reset_dag_runs": True,
        }
        self.api("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)

    # ---------------------------------------------------------------- command line, logs

    def cli(self, *arguments: str, timeout: float = 120.0) -> str:
        """Run an ``airflow`` command in this cluster's environment and return what it printed."""
        try:
            done = subprocess.run(
                [str(self.python), "-m", "airflow", *arguments],
                env=self.env,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ClusterError(f"airflow {' '.join(arguments)} took more than {timeout:g} s") from error
        if done.returncode != 0:
            output = (done.stdout + done.stderr)[-4000:]
            raise ClusterError(f"airflow {' '.join(arguments)} ended with {done.returncode}:\n{output}")
        return done.stdout

    @property
    def log_dir(self) -> Path:
        """Where the components' own output goes; task logs are in ``home/logs``."""
        return self.home / "component-logs"

    def component_log(self, name: str) -> Path:
        """The file with everything that a component printed."""
        return self.log_dir / f"{name}.log"

    def log_tail(self, name: str, lines: int = 40) -> str:
        """The last lines that a component printed."""
        path = self.component_log(name)
        text = path.read_text(errors="replace") if path.exists() else ""
        return f"--- {name} ({path}):\n" + "\n".join(text.splitlines()[-lines:])

    # ---------------------------------------------------------------- inside

    def _wait(
        self,
        attempt: Callable[[], T | None],
        timeout: float,
        what: str,
        logs: Sequence[str] = (),
    ) -> T:
        """Repeat ``attempt`` until it returns something; an API that is away for a moment does no harm."""
        deadline = time.monotonic() + timeout
        last: object = None
        while time.monotonic() < deadline:
            try:
                if (value := attempt()) is not None:
                    return value
            except (requests.RequestException, KeyError) as error:
                last = error
            except ApiError as error:
                if error.status_code < 500:
                    raise
                last = error
            self._check_alive()
            time.sleep(PAUSE)
        tails = "\n".join(self.log_tail(name) for name in logs)
        raise ClusterError(f"waited {timeout:g} s for {what} (last error: {last})\n{tails}")

    def _check_alive(self) -> None:
        for name, process in self._running.items():
            if process.poll() is not None:
                raise ClusterError(f"{name} ended with code {process.returncode}\n{self.log_tail(name)}")

    def _read_version(self) -> str:
        code = "import importlib.metadata as m; print(m.version('apache-airflow'))"
        try:
            done = subprocess.run(
                [str(self.python), "-c", code], capture_output=True, text=True, check=True, timeout=60
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise ClusterError(f"{self.python} has no Airflow: {error}") from error
        return done.stdout.strip()

    def _arguments(self, name: str) -> list[str]:
        no_log_server = [] if self._serve_logs else ["--skip-serve-logs"]
        address = ["--port", str(self.port)]
        web = ["webserver", "--hostname"] if self.is_airflow_2 else ["api-server", "--host"]
        return {
            "scheduler": ["scheduler", *no_log_server],
            API_SERVER: [*web, "127.0.0.1", *address],
            "triggerer": ["triggerer", *no_log_server],
            "dag-processor": ["dag-processor"],
        }[name]

    def _environment(self) -> dict[str, str]:
        # Settings of the developer's own Airflow must not leak in.
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "PYTHON"))}
        settings = self._settings_2() if self.is_airflow_2 else self._settings_3()
        return {
            **inherited,
            "AIRFLOW_HOME": str(self.home),
            "PATH": f"{self.python.parent}{os.pathsep}{inherited.get('PATH', os.defpath)}",
            "PYTHONUNBUFFERED": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            **{f"AIRFLOW__{key}": value for key, value in {**self._settings(), **settings}.items()},
        }

    def _settings(self) -> dict[str, str]:
        return {
            "CORE__DAGS_FOLDER": str(self.dags_folder),
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": str(self._parallelism),
            "CORE__FERNET_KEY": self._keys["fernet"],
            "DATABASE__SQL_ALCHEMY_CONN": self.database,
            "DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
            "LOGGING__WORKER_LOG_SERVER_PORT": str(self._worker_log_port),
            "LOGGING__TRIGGER_LOG_SERVER_PORT": str(self._trigger_log_port),
            "LOGGING__COLORED_CONSOLE_LOG": "False",
            "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
            "USAGE_DATA_COLLECTION__ENABLED": "False",
        }

    def _settings_3(self) -> dict[str, str]:
        return {
            "API__HOST": "127.0.0.1",
            "API__PORT": str(self.port),
            "API__BASE_URL": self.base_url,
            "API__WORKERS": "1",
            "API__SECRET_KEY": self._keys["session"],
            "API_AUTH__JWT_SECRET": self._keys["jwt"],
            "CORE__EXECUTION_API_SERVER_URL": f"{self.base_url}/execution/",
            "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "DAG_PROCESSOR__REFRESH_INTERVAL": "2",
            "DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
            "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
            "DAG_PROCESSOR__PARSING_PROCESSES": "1",
        }

    def _settings_2(self) -> dict[str, str]:
        settings = {
            "API__AUTH_BACKENDS": "airflow.api.auth.backend.default",
            "SCHEDULER__DAG_DIR_LIST_INTERVAL": "2",
            "SCHEDULER__MIN_FILE_PROCESS_INTERVAL": "60",
            "SCHEDULER__PARSING_PROCESSES": "1",
            "SCHEDULER__STANDALONE_DAG_PROCESSOR": str("dag-processor" in self.components),
            "WEBSERVER__BASE_URL": self.base_url,
            "WEBSERVER__SECRET_KEY": self._keys["session"],
            "WEBSERVER__WORKERS": "1",
        }
        if self.database.startswith("sqlite"):
            settings["CORE__EXECUTOR"] = "SequentialExecutor"  # the only one that 2.11 allows with SQLite
        return settings


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _log_line(event: Any) -> str:
    if not isinstance(event, dict):
        return str(event)
    known = {"timestamp", "level", "event", "logger"}
    rest = {key: value for key, value in event.items() if key not in known and value is not None}
    line = " ".join(str(event[key]) for key in ("timestamp", "level", "event") if event.get(key))
    return f"{line} {json.dumps(rest, ensure_ascii=False, default=str)}" if rest else line
