"""The most telling cases of `make chaos`, one video each, on one real Airflow that all of them share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.chaos.cases import FAST, all_cases
from tests.chaos.runner import Verdict, run_cases
from tests.chaos.world import running_world
from tools.airflow_cluster import exit_on_signals

CASES = [replace(case, count=1) for case in all_cases("3.3", seeds=(1,)) if case.name in FAST]


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Verdict]]:
    exit_on_signals()
    with running_world(tmp_path_factory.mktemp("chaos"), parallelism=4) as world:
        yield {verdict.case.name: verdict for verdict in run_cases(world, CASES)}


def test_all_of_them_exist() -> None:
    assert sorted(case.name for case in CASES) == sorted(FAST)


@pytest.mark.parametrize("name", FAST)
def test_never_paid_twice_and_no_id_lost(verdicts: dict[str, Verdict], name: str) -> None:
    verdict = verdicts[name]
    assert verdict.violations == []
    assert (verdict.double_charges, verdict.ids_lost) == (0, 0)
