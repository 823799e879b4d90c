"""What all tests share: Airflow's home is thrown away, and options of the command line."""

import os
import tempfile

import pytest

# Before anything imports Airflow: the tests must neither read nor write the developer's own Airflow.
for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
    del os.environ[name]
_HOME = tempfile.TemporaryDirectory(prefix="airflow-home-", ignore_cleanup_errors=True)
os.environ["AIRFLOW_HOME"] = _HOME.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--airflow-python",
        help="interpreter of the Airflow that tests/airflow runs; default: the one that runs pytest",
    )
