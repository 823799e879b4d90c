"""The pause of a worker before another attempt."""

import pytest

from airflow_provider_digitalhuman.api.retry_after import LONGEST_IN_WORKER, pause_in_worker


@pytest.mark.parametrize("asked", [None, 0.0, 1.0])
def test_pause_is_back_off_with_up_to_half_of_it_added(asked: float | None) -> None:
    pauses = [pause_in_worker(4.0, asked) for _ in range(50)]
    assert all(pause is not None and 4.0 <= pause <= 6.0 for pause in pauses)
    assert len(set(pauses)) > 1


@pytest.mark.parametrize(("asked", "pause"), [(30.0, 30.0), (LONGEST_IN_WORKER, LONGEST_IN_WORKER)])
def test_pause_is_what_server_asks_for(asked: float, pause: float) -> None:
    assert pause_in_worker(4.0, asked) == pause


def test_longer_pause_than_worker_waits_is_none() -> None:
    assert pause_in_worker(4.0, LONGEST_IN_WORKER + 1) is None
