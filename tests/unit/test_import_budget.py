"""What it costs to import the operator: a task process that inherits nothing pays it, and whoever parses a DAG file."""

import json
import subprocess
import sys
from typing import Any

import pytest

from airflow_provider_digitalhuman.support.compat import AIRFLOW

MOST_MODULES = 40
HEAVY = (
    "requests",
    "urllib3",
    "aiohttp",
    "httpcore",
    "httpx",
    "fastapi",
    "starlette",
    "av",
    "fsspec",
    "sqlalchemy",
    "flask",
)
BASELINE = "import airflow.sdk" if AIRFLOW >= (3, 0) else "import airflow.models.baseoperator, airflow.hooks.base"


STAGES = {
    "operator": "import airflow_provider_digitalhuman.operators.digitalhuman",
    "hook": "import airflow_provider_digitalhuman.hooks.digitalhuman",
    "sensor": "import airflow_provider_digitalhuman.sensors.digitalhuman",
    "making any": "from airflow.providers.common.compat.sdk import BaseOperator; BaseOperator(task_id='any')",
    "making ours": (
        "from airflow_provider_digitalhuman.operators.digitalhuman import CreateDigitalHumanVideoOperator as Create;"
        " Create(task_id='create', audio_url='https://h.example.com/a.mp3', video_url='https://h.example.com/v.mp4')"
    ),
}


@pytest.fixture(scope="module")
def added() -> dict[str, list[str]]:
    """The modules that each stage imports, one after the other, after Airflow's own authoring interface was."""
    program = f"""if True:
        import json, sys
        {BASELINE}
        added, before = {{}}, set(sys.modules)
        for stage, statement in {STAGES!r}.items():
            exec(statement)
            added[stage] = sorted(set(sys.modules) - before)
            before = set(sys.modules)
        print("\\n" + json.dumps(added))
    """
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True)
    stages: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return stages


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "making any"])
def test_no_heavy_module_for_parsing_a_dag(added: dict[str, list[str]], stage: str) -> None:
    assert [name for name in added[stage] if name.partition(".")[0] in HEAVY] == []


def test_the_operator_adds_few_modules(added: dict[str, list[str]]) -> None:
    modules = added["operator"]
    assert "airflow_provider_digitalhuman.operators.digitalhuman" in modules
    if AIRFLOW < (3, 3):  # the promise is for 3.3: before, airflow.sdk does not load all of Airflow's own
        modules = [name for name in modules if name.startswith("airflow_provider_digitalhuman")]
    assert len(modules) <= MOST_MODULES, modules


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("airflow_provider_digitalhuman.api.request", ("airflow", "requests", "urllib3")),
        ("airflow_provider_digitalhuman.api.response", ("airflow", "requests", "urllib3")),
        ("airflow_provider_digitalhuman.exceptions", ("airflow", "requests", "pendulum")),
        ("airflow_provider_digitalhuman.waiting.decision", ("airflow", "requests")),
        ("airflow_provider_digitalhuman.ledger.record", ("airflow", "requests")),
        ("airflow_provider_digitalhuman.ledger.decision", ("airflow", "requests")),
    ],
)
def test_what_is_pure_stays_pure(package: str, forbidden: tuple[str, ...]) -> None:
    program = f"import sys, {package}; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded: list[Any] = done.stdout.split()
    assert package in loaded
    assert [name for name in loaded if name.partition(".")[0] in forbidden] == []
