"""docs/operators.md is written by hand: it names every argument, with what may be templated and what is the default."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_digitalhuman.operators.digitalhuman import CreateDigitalHumanVideoOperator
from airflow_provider_digitalhuman.operators.download import DownloadDigitalHumanVideoOperator
from airflow_provider_digitalhuman.sensors.digitalhuman import DigitalHumanVideoSensor

PAGE = (Path(__file__).parents[2] / "docs" / "operators.md").read_text()
OPERATORS = [CreateDigitalHumanVideoOperator, DigitalHumanVideoSensor, DownloadDigitalHumanVideoOperator]


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_argument_is_there(operator: Any) -> None:
    section = PAGE.split(f"## `{operator.__name__}`")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)`( \*T\*)? \| (.*?) \|", section, re.MULTILINE)
    parameters = inspect.signature(operator.__init__).parameters
    own = [name for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY]
    assert [name for name, *_ in rows] == own
    assert {name for name, templated, _ in rows if templated} == set(operator.template_fields)
    for name, _, default in rows:
        if parameters[name].default is inspect.Parameter.empty:
            assert default == "required", name
        if isinstance(parameters[name].default, str):
            assert parameters[name].default in default, name
