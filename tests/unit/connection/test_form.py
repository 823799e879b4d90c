"""The connection form: declared once, read by Airflow 3.2 and later, and made from that for the versions before."""

import importlib.util
import sys
from types import ModuleType
from typing import Any

import jsonschema
import pytest

from airflow_provider_digitalhuman.api.endpoints import DEFAULT_BASE_URL
from airflow_provider_digitalhuman.get_provider_info import get_provider_info
from airflow_provider_digitalhuman.hooks.digitalhuman import DigitalHumanHook

(DECLARED,) = get_provider_info()["connection-types"]
FIELDS: dict[str, dict[str, Any]] = DECLARED["conn-fields"]
BEHAVIOUR: dict[str, Any] = DECLARED["ui-field-behaviour"]


def test_the_fields_of_the_issue_are_there() -> None:
    assert {"model", "connect_timeout", "submit_timeout", "query_timeout", "verify", "proxies"} <= set(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
def test_each_field_has_a_label_a_description_and_a_type(name: str) -> None:
    field = FIELDS[name]
    assert field["label"].strip()
    assert field["description"].strip()
    assert "null" in field["schema"]["type"], "optional, or the form demands a value"
    jsonschema.Draft7Validator.check_schema(field["schema"])
    jsonschema.validate(field["schema"]["default"], field["schema"])


@pytest.mark.parametrize("name", [name for name in FIELDS if name.endswith("_timeout")])
def test_time_outs_are_positive_numbers(name: str) -> None:
    assert FIELDS[name]["schema"]["type"] == ["number", "null"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(0, FIELDS[name]["schema"])
    jsonschema.validate(0.5, FIELDS[name]["schema"])


def test_every_field_of_the_form_is_read(connect: Any) -> None:
    """A field that the form offers and the hook does not know would be a lie."""
    defaults = connect().settings
    values = {
        "model": "m",
        "connect_timeout": 1,
        "submit_timeout": 2,
        "query_timeout": 3,
        "max_queries_per_second": 4,
        "verify": "false",
        "proxies": "http://proxy.example.com:3128",
    }
    assert set(values) == set(FIELDS)
    settings = connect(extra=values).settings
    for name in FIELDS:
        assert getattr(settings, name) != getattr(defaults, name), name


def test_the_descriptions_name_the_real_defaults(connect: Any) -> None:
    settings = connect().settings
    for name in ("model", "connect_timeout", "submit_timeout", "query_timeout", "max_queries_per_second"):
        value = getattr(settings, name)
        shown = value if isinstance(value, str) else f"{value:g}"
        assert f"Empty: {shown}." in FIELDS[name]["description"]


def test_standard_fields() -> None:
    assert "login" in BEHAVIOUR["hidden-fields"]
    assert BEHAVIOUR["relabeling"] == {"password": "API key", "host": "Base URL"}
    assert BEHAVIOUR["placeholders"]["host"] == DEFAULT_BASE_URL
    assert not {"password", "host", "extra"} & set(BEHAVIOUR["hidden-fields"])
    assert "__" not in DECLARED["connection-type"], "Airflow splits the names of the fields at it"


# --- below Airflow 3.2 ------------------------------------------------------------------------------------------------


def test_the_behaviour_for_older_versions_is_the_declared_one() -> None:
    assert DigitalHumanHook.get_ui_field_behaviour() == {
        "hidden_fields": BEHAVIOUR["hidden-fields"],
        "relabeling": BEHAVIOUR["relabeling"],
        "placeholders": BEHAVIOUR["placeholders"],
    }


class StandIn:
    """What Airflow 3.0 and 3.1, which have no FAB, put in the place of wtforms' and FAB's classes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args, self.kwargs = args, kwargs


@pytest.fixture
def wtforms(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real ones where they are installed (2.11)."""
    if importlib.util.find_spec("flask_appbuilder"):
        return
    for path, name in (
        ("wtforms", "StringField"),
        ("wtforms.validators", "Optional"),
        ("flask_appbuilder", ""),
        ("flask_appbuilder.fieldwidgets", "BS3TextFieldWidget"),
    ):
        module = ModuleType(path)
        if name:
            setattr(module, name, StandIn)
        monkeypatch.setitem(sys.modules, path, module)


@pytest.mark.usefixtures("wtforms")
def test_the_widgets_for_older_versions_are_the_declared_fields() -> None:
    widgets = DigitalHumanHook.get_connection_form_widgets()
    assert set(widgets) == set(FIELDS)
    for name, widget in widgets.items():
        assert FIELDS[name]["label"] in widget.args
        assert widget.kwargs["description"] == FIELDS[name]["description"]
        assert widget.kwargs["validators"]


def test_the_hook_module_needs_neither() -> None:
    import subprocess

    program = """if True:
        import sys
        sys.modules["wtforms"] = sys.modules["flask_appbuilder"] = None
        from airflow_provider_digitalhuman.hooks.digitalhuman import DigitalHumanHook
        DigitalHumanHook.get_ui_field_behaviour()
        print("fine")
    """
    if importlib.util.find_spec("flask_appbuilder"):  # Airflow 2.11 itself needs them
        program = program.replace('sys.modules["wtforms"] = sys.modules["flask_appbuilder"] = None', "")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True)
    assert done.stdout.split()[-1:] == ["fine"], done.stderr
