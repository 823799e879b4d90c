"""The built wheel, installed into an empty virtual environment."""

import json
import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from airflow_provider_digitalhuman import __version__

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "airflow-provider-digitalhuman"


def run(command: list[str | Path], **env: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
    return subprocess.run(command, env={**kept, **env}, cwd=ROOT, capture_output=True, text=True, timeout=300)


def checked(command: list[str | Path], **env: str) -> str:
    done = run(command, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    checked([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder])
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment that holds the wheel and what it requires, without any extra."""
    folder = tmp_path_factory.mktemp("empty venv")
    venv.create(folder, symlinks=True)
    constraints = ROOT / "constraints" / "airflow-3.3.txt"
    uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", folder / "bin" / "python"]
    checked([*uv, "--constraints", constraints, wheel])
    return folder / "bin"


@pytest.fixture(scope="module")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("home"))


def providers(installed: Path, airflow_home: str, *arguments: str) -> list[dict[str, object]]:
    """What an `airflow providers …` command tells; a warning or an error beside it fails."""
    command = [installed / "python", "-m", "airflow", "providers", *arguments, "--output", "json"]
    done = run(command, AIRFLOW_HOME=airflow_home)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stderr + "".join(line for line in done.stdout.splitlines() if not line.startswith("["))
    assert not [word for word in ("warning", "error", "traceback") if word in said.lower()], said
    rows: list[dict[str, object]] = json.loads(done.stdout[done.stdout.index("[{") :])
    return rows


def test_wheel_is_complete(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in ("py.typed", "sandbox/media/speech.m4a", "sandbox/media/presenter.mp4"):
        assert f"airflow_provider_digitalhuman/{name}" in names
    sources = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "airflow_provider_digitalhuman").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert sources <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_wheel_holds_only_the_package(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"airflow_provider_digitalhuman"}


def test_no_test_tool_is_required(wheel: Path, installed: Path) -> None:
    listed = checked([sys.executable, "-m", "uv", "pip", "list", "--python", installed / "python", "--format", "json"])
    names = {row["name"] for row in json.loads(listed)}
    assert PACKAGE in names
    assert names.isdisjoint({"pytest", "hypothesis", "schemathesis", "mypy", "ruff", "av"})


def test_providers_get(installed: Path, airflow_home: str) -> None:
    assert providers(installed, airflow_home, "get", PACKAGE) == [{"Provider": PACKAGE, "Version": __version__}]


def test_providers_list(installed: Path, airflow_home: str) -> None:
    assert PACKAGE in [row["package_name"] for row in providers(installed, airflow_home, "list")]


def test_providers_hooks(installed: Path, airflow_home: str) -> None:
    (row,) = [row for row in providers(installed, airflow_home, "hooks") if row["connection_type"] == "digitalhuman"]
    assert row["class"] == "airflow_provider_digitalhuman.hooks.digitalhuman.DigitalHumanHook"
    assert row["conn_id_attribute_name"] == "digitalhuman_conn_id"
    assert row["package_name"] == PACKAGE
    assert row["hook_name"] == "DigitalHuman"


def test_sandbox_command_tells_what_is_missing(installed: Path) -> None:
    assert "--processing-seconds" in checked([installed / "digitalhuman-sandbox", "--help"])
    started = run([installed / "digitalhuman-sandbox", "--port", "0"])
    assert started.returncode == 1
    assert f'pip install "{PACKAGE}[sandbox]"' in started.stderr


@pytest.mark.parametrize(("series", "common_compat"), [("2.11", "1.7.0"), ("3.0", "1.7.3"), ("3.1", "1.7.4")])
def test_installation_in_two_steps_replaces_only_common_compat(
    series: str, common_compat: str, wheel: Path, tmp_path: Path
) -> None:
    """README's advice. Airflow's constraint files pin this old common.compat; ours stand in for the rest of them."""
    name = "apache-airflow-providers-common-compat"
    ours = (ROOT / "constraints" / f"airflow-{series}.txt").read_text()
    pins = re.sub(f"(?m)^{name}==.*$", f"{name}=={common_compat}", ours)
    (airflow,) = re.findall(r"(?m)^apache-airflow==.*$", pins)
    wanted, constraints, installed = (tmp_path / file for file in ("wanted.in", "constraints.txt", "installed.txt"))
    wanted.write_text(f"{airflow}\n{wheel}\n")
    constraints.write_text(f"{name}=={common_compat}\n")
    installed.write_text(pins)
    compile_: list[str | Path] = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-annotate", wanted]
    in_one_step = run([*compile_, "--constraints", constraints])
    assert in_one_step.returncode != 0
    assert f"depends on {name}>=" in in_one_step.stderr
    checked([*compile_, "--output-file", installed])  # which keeps what its output holds already, as pip does
    changed = [line for line in installed.read_text().splitlines() if "==" in line and line not in pins.splitlines()]
    assert [line.partition("==")[0] for line in changed] == [name]
