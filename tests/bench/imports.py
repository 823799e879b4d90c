"""``python -m tests.bench imports``: what every task process pays before it does anything, beside ``HttpOperator``.

Each figure comes from processes of their own that have imported ``airflow.sdk``, which is there anyway.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from tests.bench.peers import CONN_ID, environment
from tests.bench.report import Aim, Table, shown
from tests.bench.server import Server, running_server

OURS: Final = "airflow_provider_digitalhuman.operators.digitalhuman"
OPERATORS: Final = {
    "ours": f"from {OURS} import CreateDigitalHumanVideoOperator as Create",
    "http": "from airflow.providers.http.operators.http import HttpOperator",
}
MEDIA: Final = "audio_url='https://media.example.com/a.mp3', video_url='https://media.example.com/v.mp4'"
BODY: Final = '\'{"audio_url": "https://media.example.com/a.mp3", "video_url": "https://media.example.com/v.mp4"}\''
TASKS: Final = {
    "ours": f"Create(task_id=f'create_{{n}}', digitalhuman_conn_id='{CONN_ID}', {MEDIA})",
    "http": (
        f"HttpOperator(task_id=f'create_{{n}}', http_conn_id='{CONN_ID}', endpoint='v1/digitalHuman/videos',"
        f" data={BODY}, headers={{'Content-Type': 'application/json'}}, response_filter=lambda answer: answer.json())"
    ),
}
SUBMIT: Final = """
from types import SimpleNamespace
n = 0
ti = SimpleNamespace(
    xcom_push=lambda **_: None, max_tries=0, try_number=1, dag_id="d", task_id="create_0", run_id="r", map_index=-1
)
task = {task}
task.execute({{"ti": ti, "task_instance": ti}})
"""
PROGRAM: Final = """
import airflow.sdk, json, os, sys, time, logging
logging.disable()
{prepared}
before, cpu, started = set(sys.modules), time.process_time(), time.perf_counter()
{measured}
print("\\n" + json.dumps({{
    "cpu": (time.process_time() - cpu) * 1e3,
    "wall": (time.perf_counter() - started) * 1e3,
    "modules": len(set(sys.modules) - before),
}}))
"""
FORK: Final = """
import airflow.sdk.execution_time.supervisor  # what a task's process is forked from
{loaded}
if os.fork():
    os.wait()
    sys.exit()
"""
PLUGIN: Final = """
from airflow_provider_digitalhuman.plugins.preload import DigitalHumanPreloadPlugin
DigitalHumanPreloadPlugin.on_load()
"""
DAG_FILE: Final = """
from airflow.sdk import DAG
{imported}
with DAG(dag_id="parsed", schedule=None):
    for n in range({count}):
        {task}
"""

Figures = dict[str, float]


def measure(rounds: int) -> Iterator[str]:
    """Run everything, and yield the parts of the report."""
    with tempfile.TemporaryDirectory() as name, running_server(Path(name), tls=True) as server:
        folder = Path(name)
        table, aims = Table("", "ours, ms CPU", "HttpOperator, ms CPU", "ratio", "modules", "HttpOperator's"), []
        for what, programs, most in _cases(folder):
            runs = _runs(programs, rounds, server, folder)
            ours, http = (_medians(of_one) for of_one in zip(*runs, strict=True))
            figure = "wall" if "submission" in what else "cpu"  # what counts for one is how long it takes
            ratio = statistics.median(one[figure] / other[figure] for one, other in runs)
            cells = (f"{ours[figure]:.0f}", f"{http[figure]:.0f}", f"{ratio:.3f}")
            table.add(what, *cells, f"{ours['modules']:.0f}", f"{http['modules']:.0f}")
            if most is not None:
                aims.append(Aim(f"{what}, of HttpOperator's", ratio, most))
            if what == "import":
                aims.append(Aim("modules that the import adds", ours["modules"], 40))
    yield f"Medians of {rounds} runs in turn, also of the ratio of each two, in processes that have imported"
    yield "`airflow.sdk`. The server takes 50 ms for an answer. There is no Airflow around them, so the submission is"
    yield "one without its record, whose calls the end-to-end tables count. The forked ones come from a supervisor, as"
    yield "in Airflow, without and with what the provider's plugin loads there; `HttpOperator`'s inherits the same.\n"
    yield str(table)
    yield shown(aims)


def _cases(folder: Path) -> Iterator[tuple[str, dict[str, str], float | None]]:
    yield "import", {name: _program(imported) for name, imported in OPERATORS.items()}, 0.15
    for count, most in ((1, 0.2), (200, 0.35)):
        programs = {}
        for name, imported in OPERATORS.items():
            file = folder / f"dag_{name}_{count}.py"
            file.write_text(DAG_FILE.format(imported=imported, count=count, task=TASKS[name]))
            programs[name] = _program(f"import runpy; runpy.run_path({str(file)!r})")
        yield f"parse {count} task{'s' * (count > 1)}", programs, most
    submissions = {name: OPERATORS[name] + SUBMIT.format(task=TASKS[name]) for name in OPERATORS}
    starts = {"cold": "", "forked": FORK.format(loaded=""), "forked, with plugin:": FORK.format(loaded=PLUGIN)}
    aims = {"cold": 0.75, "forked, with plugin:": 0.45}
    for what, prepared in starts.items():
        programs = {name: _program(measured, prepared) for name, measured in submissions.items()}
        yield f"{what} submission over TLS (wall clock)", programs, aims.get(what)


def _program(measured: str, prepared: str = "") -> str:
    return PROGRAM.format(measured=measured, prepared=prepared)


def _runs(programs: dict[str, str], rounds: int, server: Server, home: Path) -> list[list[Figures]]:
    return [
        [
            _run(program, environment(name, server.url, server.bundle, 20), server, home)
            for name, program in programs.items()
        ]
        for _ in range(rounds)
    ]


def _medians(runs: Iterable[Figures]) -> Figures:
    runs = list(runs)
    return {key: statistics.median(one[key] for one in runs) for key in runs[0]}


def _run(program: str, connection: dict[str, str], server: Server, home: Path) -> Figures:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    trusted = {"REQUESTS_CA_BUNDLE": server.bundle or ""}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env={**inherited, "AIRFLOW_HOME": str(home), **connection, **trusted},
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=True,
    )
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures
