"""What Airflow discovers: a mistake in here breaks every ``airflow`` command of the user."""

import importlib
import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest

import airflow_provider_digitalhuman
from airflow_provider_digitalhuman.get_provider_info import get_provider_info

DISTRIBUTION = "airflow-provider-digitalhuman"


def schema(name: str) -> dict[str, Any]:
    return dict(json.loads((Path(airflow.__file__).parent / name).read_text()))


def test_airflows_runtime_schema_accepts_it() -> None:
    jsonschema.validate(get_provider_info(), schema("provider_info.schema.json"))


def test_airflows_schema_of_connection_types_accepts_ours() -> None:
    """The schema that knows ``conn-fields`` (3.2 and later); below, it demands nothing of keys it does not know."""
    whole = schema("provider.yaml.schema.json")
    part = {**whole["properties"]["connection-types"], "definitions": whole.get("definitions", {})}
    jsonschema.validate(get_provider_info()["connection-types"], part)


def test_it_is_json_and_new_each_time() -> None:
    first = get_provider_info()
    assert json.loads(json.dumps(first)) == first
    first.clear()
    assert get_provider_info()


def test_the_package_name_is_the_canonical_name_of_the_distribution() -> None:
    metadata = importlib.metadata.distribution(DISTRIBUTION).metadata
    canonical = re.sub(r"[-_.]+", "-", metadata["Name"]).lower()  # PEP 503
    assert get_provider_info()["package-name"] == canonical == DISTRIBUTION


def test_the_version_is_the_distributions() -> None:
    assert importlib.metadata.version(DISTRIBUTION) == airflow_provider_digitalhuman.__version__


def test_the_entry_point_leads_to_it() -> None:
    points = importlib.metadata.distribution(DISTRIBUTION).entry_points.select(group="apache_airflow_provider")
    (point,) = points
    assert point.load() is get_provider_info


def modules_and_classes() -> list[str]:
    info = get_provider_info()
    modules = [
        module
        for kind in ("operators", "hooks", "sensors", "triggers")
        for entry in info.get(kind, [])
        for module in entry["python-modules"]
    ]
    classes = [entry["hook-class-name"] for entry in info["connection-types"]] + info.get("extra-links", [])
    return modules + classes


@pytest.mark.parametrize("path", modules_and_classes())
def test_what_it_names_is_there(path: str) -> None:
    try:
        importlib.import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        assert isinstance(getattr(importlib.import_module(module), name), type)


@pytest.mark.parametrize(
    ("kind", "module"),
    [
        ("operators", "airflow_provider_digitalhuman.operators.digitalhuman"),
        ("hooks", "airflow_provider_digitalhuman.hooks.digitalhuman"),
        ("sensors", "airflow_provider_digitalhuman.sensors.digitalhuman"),
        ("triggers", "airflow_provider_digitalhuman.triggers.digitalhuman"),
    ],
)
def test_every_public_module_is_named(kind: str, module: str) -> None:
    assert module in [path for entry in get_provider_info()[kind] for path in entry["python-modules"]]


def test_integrations_fit() -> None:
    info = get_provider_info()
    names = {entry["integration-name"] for entry in info["integrations"]}
    for kind in ("operators", "hooks", "sensors", "triggers"):
        assert {entry["integration-name"] for entry in info[kind]} <= names


def test_the_connection_type_is_the_hooks_own() -> None:
    from airflow_provider_digitalhuman.hooks.digitalhuman import DigitalHumanHook

    (declared,) = get_provider_info()["connection-types"]
    assert declared["connection-type"] == DigitalHumanHook.conn_type == "digitalhuman"
    assert declared["hook-class-name"] == f"{DigitalHumanHook.__module__}.{DigitalHumanHook.__qualname__}"
    assert declared["hook-name"] == DigitalHumanHook.hook_name


def test_asking_for_it_imports_nothing_else() -> None:
    program = """if True:
        import sys
        import typing  # the interpreter's own
        before = set(sys.modules)
        from airflow_provider_digitalhuman.get_provider_info import get_provider_info
        get_provider_info()
        print(*sorted(set(sys.modules) - before))
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["airflow_provider_digitalhuman", "airflow_provider_digitalhuman.get_provider_info"]


def test_the_providers_manager_takes_it_without_a_word() -> None:
    program = """if True:
        import logging
        said = []
        class Listener(logging.Handler):
            def emit(self, record):
                said.append(record.getMessage())
        from airflow.providers_manager import ProvidersManager
        logging.getLogger("airflow.providers_manager").addHandler(Listener(logging.WARNING))
        manager = ProvidersManager()
        hook = manager.hooks["digitalhuman"]
        assert manager.providers["airflow-provider-digitalhuman"].version
        assert (hook.hook_name, hook.connection_type) == ("DigitalHuman", "digitalhuman"), hook
        assert not [text for text in said if "digitalhuman" in text.lower()], said
        print("fine")
    """
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "fine"
    about_us = [line for line in done.stderr.lower().splitlines() if "digitalhuman" in line]
    assert [
        line for line in about_us if "[info" not in line
    ] == []  # 3.1 notes that FAB, which it does not need, is missing
