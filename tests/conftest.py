"""What all tests share: a temporary Airflow home, options of the command line, time-outs."""

import os
import tempfile
from pathlib import Path
from typing import Final

import pytest

# Before anything imports Airflow: the tests must neither read nor write the developer's own Airflow.
for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
    del os.environ[name]
_HOME = tempfile.TemporaryDirectory(prefix="airflow-home-", ignore_cleanup_errors=True)
os.environ["AIRFLOW_HOME"] = _HOME.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

REAL_AIRFLOW_TIMEOUTS: Final = {"airflow": 900, "chaos": 1800}
"""Folder -> seconds for one test with its fixtures; all other tests have those of pyproject.toml."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--airflow-python",
        help="interpreter of the Airflow that tests/airflow runs; default: the one that runs pytest",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        if folder in REAL_AIRFLOW_TIMEOUTS:
            item.add_marker(pytest.mark.timeout(REAL_AIRFLOW_TIMEOUTS[folder]))
