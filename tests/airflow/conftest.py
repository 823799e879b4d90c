"""One real Airflow and one sandbox for all tests in here: starting them takes longer than most tests."""

import json
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_digitalhuman.sandbox.testing import SandboxClient, running_sandbox
from tools.airflow_cluster import AirflowCluster, exit_on_signals

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def sandbox() -> Iterator[SandboxClient]:
    # A key that occurs nowhere else, so that a search for it finds leaks and nothing but leaks.
    with running_sandbox(api_key=f"key-{secrets.token_hex(20)}", processing_seconds=1) as running:
        yield running


@pytest.fixture(scope="session")
def dags_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example DAGs and those of the tests; a copy, so that a run leaves no traces in the checkout."""
    folder = tmp_path_factory.mktemp("air flow") / "dags"
    for source in (ROOT / "dags_examples", ROOT / "tests" / "airflow" / "dags"):
        if source.exists():
            shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="session")
def airflow(dags_folder: Path, sandbox: SandboxClient, pytestconfig: pytest.Config) -> Iterator[AirflowCluster]:
    """A running Airflow whose connection `digitalhuman_default` leads to the sandbox."""
    exit_on_signals()
    connection = {"conn_type": "digitalhuman", "password": sandbox.api_key, "host": sandbox.base_url}
    env = {
        "AIRFLOW_CONN_DIGITALHUMAN_DEFAULT": json.dumps(connection),
        "DIGITALHUMAN_SAMPLE_AUDIO_URL": sandbox.sample_audio_url,
        "DIGITALHUMAN_SAMPLE_VIDEO_URL": sandbox.sample_video_url,
        "DIGITALHUMAN_ARCHIVE": str(dags_folder.parent / "archive"),
    }
    python = pytestconfig.getoption("--airflow-python") or sys.executable
    with AirflowCluster(dags_folder.parent, dags_folder, env, python=python) as running:
        yield running
