"""The link from a task to what is known of its video."""

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_digitalhuman.get_provider_info import get_provider_info
from airflow_provider_digitalhuman.operators.digitalhuman import CreateDigitalHumanVideoOperator
from airflow_provider_digitalhuman.sensors.digitalhuman import DigitalHumanVideoSensor
from airflow_provider_digitalhuman.support import links
from airflow_provider_digitalhuman.support.links import (
    LINK_XCOM_KEY,
    DigitalHumanVideoLink,
    push_video_link,
    video_link,
)
from tests.unit.conftest import FakeTaskInstance

RUN_ID = "manual__2025-11-22T08:00:00+00:00"


def a_ti(map_index: int | None = -1) -> Any:
    return SimpleNamespace(dag_id="my dag", run_id=RUN_ID, task_id="group.create", map_index=map_index)


@pytest.fixture(autouse=True)
def _base_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links.conf, "get", lambda *_, **__: "https://airflow.example.com/sub/")


def test_it_leads_to_the_xcoms_of_the_task_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "AIRFLOW", (3, 0))
    base = "https://airflow.example.com/sub/dags/my%20dag/runs/manual__2025-11-22T08%3A00%3A00%2B00%3A00/tasks/"
    assert video_link(a_ti()) == base + "group.create/xcom"
    assert video_link(a_ti(None)) == base + "group.create/xcom"
    assert video_link(a_ti(7)) == base + "group.create/mapped/7/xcom"


def test_it_leads_to_the_xcoms_of_the_task_instance_in_airflow_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "AIRFLOW", (2, 11))
    assert video_link(a_ti(7)) == (
        "https://airflow.example.com/sub/dags/my%20dag/grid?dag_run_id=manual__2025-11-22T08%3A00%3A00%2B00%3A00"
        "&task_id=group.create&map_index=7&tab=xcom"
    )


def test_what_is_pushed_early_is_what_airflow_reads() -> None:
    ti, link = FakeTaskInstance(), DigitalHumanVideoLink()
    push_video_link(ti)
    assert ti.xcoms == {LINK_XCOM_KEY: link.get_link(None, ti_key=ti)}  # type: ignore[arg-type]
    assert link.xcom_key == LINK_XCOM_KEY


def test_it_is_on_the_tasks_and_declared() -> None:
    for kind in (CreateDigitalHumanVideoOperator, DigitalHumanVideoSensor):
        assert [type(link) for link in kind.operator_extra_links] == [DigitalHumanVideoLink]
    path = f"{DigitalHumanVideoLink.__module__}.{DigitalHumanVideoLink.__qualname__}"
    serialized_before = "airflow_provider_digitalhuman.links.DigitalHumanVideoLink"
    assert get_provider_info()["extra-links"] == [path, serialized_before]
