"""The most telling cases of `make chaos`, one video each, on one real Airflow that all of them share."""

from __future__ import annotations

import pytest

from tests.chaos.cases import FAST, fast_cases
from tests.chaos.invariants import Verdict
from tests.chaos.runner import run_cases
from tests.chaos.world import running_world
from tools.airflow_cluster import exit_on_signals


@pytest.fixture(scope="session")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verdict]:
    """All cases, run once, whatever the order of the tests; Airflow has ended when the first test looks."""
    exit_on_signals()
    with running_world(tmp_path_factory.mktemp("chaos"), parallelism=4) as world:
        return {verdict.case.name: verdict for verdict in run_cases(world, fast_cases())}


def test_all_of_them_exist() -> None:
    assert sorted(case.name for case in fast_cases()) == sorted(FAST)


@pytest.mark.parametrize("name", FAST)
def test_never_paid_twice_and_no_id_lost(verdicts: dict[str, Verdict], name: str) -> None:
    verdict = verdicts[name]
    assert verdict.violations == []
    assert (verdict.double_charges, verdict.ids_lost) == (0, 0)
