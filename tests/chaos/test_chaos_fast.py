"""The most important cases of `make chaos`, one video each, all on one real Airflow."""

from __future__ import annotations

import pytest

from tests.chaos.cases import FAST, fast_cases
from tests.chaos.environment import running_environment
from tests.chaos.invariants import Verdict
from tests.chaos.runner import run_cases
from tools.airflow_cluster import exit_on_signals


@pytest.fixture(scope="session")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verdict]:
    """All cases, run once, whatever the order of the tests; Airflow has ended when the first test looks."""
    exit_on_signals()
    with running_environment(tmp_path_factory.mktemp("chaos"), parallelism=4) as environment:
        return {verdict.case.name: verdict for verdict in run_cases(environment, fast_cases())}


def test_all_of_them_exist() -> None:
    assert sorted(case.name for case in fast_cases()) == sorted(FAST)


@pytest.mark.parametrize("name", FAST)
def test_never_paid_twice_and_no_id_lost(verdicts: dict[str, Verdict], name: str) -> None:
    verdict = verdicts[name]
    assert verdict.violations == []
    assert (verdict.double_charges, verdict.ids_lost) == (0, 0)
