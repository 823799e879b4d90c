"""What the running API server tells the UI about the connection form."""

from typing import Any

import pytest

from airflow_provider_digitalhuman.get_provider_info import get_provider_info
from tools.airflow_cluster import AirflowCluster


@pytest.fixture(scope="module")
def form(airflow: AirflowCluster) -> dict[str, Any]:
    forms = [one for one in airflow.api("GET", "/ui/connections/hook_meta") if one["connection_type"] == "digitalhuman"]
    assert len(forms) == 1
    return forms[0]


def test_name_and_hook(form: dict[str, Any]) -> None:
    assert form["hook_name"] == "DigitalHuman"
    assert form["hook_class_name"] == "airflow_provider_digitalhuman.hooks.digitalhuman.DigitalHumanHook"


def test_standard_fields(form: dict[str, Any]) -> None:
    fields = form["standard_fields"]
    hidden = {name for name, field in fields.items() if field and field["hidden"]}
    assert hidden == {"login", "port", "url_schema"}
    assert fields["password"]["title"] == "API key"
    assert fields["host"]["title"] == "Base URL"
    assert fields["host"]["placeholder"] == "https://zcbservice.aizfw.cn/kyyReactApiServer"


@pytest.mark.parametrize(
    ("name", "json_type"),
    [
        ("model", "string"),
        ("connect_timeout", "number"),
        ("submit_timeout", "number"),
        ("query_timeout", "number"),
        ("verify", "string"),
        ("proxies", "string"),
    ],
)
def test_extra_field_is_typed_and_may_stay_empty(form: dict[str, Any], name: str, json_type: str) -> None:
    field = form["extra_fields"][name]
    assert field["schema"]["type"] == [json_type, "null"]
    assert field["value"] is None
    assert field["schema"]["title"]
    assert field["description"]


def test_every_declared_field_arrives(form: dict[str, Any]) -> None:
    (declared,) = get_provider_info()["connection-types"]
    assert set(form["extra_fields"]) == set(declared["conn-fields"])
    for name, field in declared["conn-fields"].items():
        served = form["extra_fields"][name]
        assert served["schema"] == {**field["schema"], "title": field["label"]}
        assert served["description"] == field["description"]
