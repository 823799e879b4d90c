"""Airflow's time-out at each line of a try: nothing is paid for twice, and no ID that was read is lost."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowTaskTimeout

from airflow_provider_digitalhuman.ledger import backoff
from tests.support.interruption import InterruptedAt
from tests.support.studio import Studio

Make = Callable[..., Any]


@pytest.fixture
def studio(connect: Callable[..., Any]) -> Iterator[Studio]:
    server = Studio()
    connect(server.url)
    yield server
    server.close()


def test_interruption_at_any_line_loses_no_id_that_was_read(
    studio: Studio, make_operator: Make, context: dict[str, Any], records: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "STORE_BACKOFF", ())
    for number in range(10_000):
        records.values.clear()
        before = studio.posts
        point = InterruptedAt(number, AirflowTaskTimeout, ("hooks/digitalhuman.py", "hooks/observer.py"))
        with point:
            try:
                make_operator(**studio.media).execute(context)
            except AirflowTaskTimeout:
                assert point.has_come
        if not point.has_come:
            break
        if studio.posts > before:
            assert f'"v{studio.posts}"' in json.dumps(records.values).replace("\\", ""), f"line {number}"
    assert number > 30


@pytest.mark.parametrize("waits", [False, True])
def test_interruption_at_any_line_after_post_ends_retries_where_no_record_outlasts_try(
    studio: Studio, make_operator: Make, context: dict[str, Any], waits: bool
) -> None:
    places = ("operators/run.py", "hooks/digitalhuman.py", "support/metrics.py", "waiting/decision.py")
    for number in range(10_000):
        before = studio.posts
        point = InterruptedAt(number, AirflowTaskTimeout, places)
        raised: BaseException | None = None
        with point:
            try:
                make_operator(**studio.media, durable=False, wait_for_completion=waits).execute(context)
            except BaseException as error:
                raised = error
        if not point.has_come:
            break
        if studio.posts > before:
            assert isinstance(raised, AirflowFailException), f"line {number}: {raised!r}"
    assert number > 100
