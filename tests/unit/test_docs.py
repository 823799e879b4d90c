"""The pages are written by hand: operators.md names every argument, links lead somewhere, and lines are sentences."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_digitalhuman.get_provider_info import get_provider_info
from airflow_provider_digitalhuman.operators.digitalhuman import CreateDigitalHumanVideoOperator
from airflow_provider_digitalhuman.operators.download import DownloadDigitalHumanVideoOperator
from airflow_provider_digitalhuman.sensors.digitalhuman import DigitalHumanVideoSensor

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operators.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
SOURCES = ("airflow_provider_digitalhuman", "tests", "tools")
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


def test_connection_page_names_each_extra_and_option() -> None:
    page = (ROOT / "docs" / "connection.md").read_text(encoding="utf-8")
    extras = get_provider_info()["connection-types"][0]["conn-fields"]
    assert set(re.findall(r"^\| extra `(\w+)` \|", page, re.MULTILINE)) == set(extras)
    options = get_provider_info()["config"]["digitalhuman"]["options"]
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) >= set(options)


def prose(page: Path) -> str:
    """Return a page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return what a link can name in a page, by GitHub's rule."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_file_and_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not target.startswith("https://"):
            path, _, anchor = target.partition("#")
            linked = page.parent / path if path else page
            assert linked.exists(), target
            assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_line_is_one_sentence(page: Path) -> None:
    lines = [line for line in prose(page).splitlines() if not line.startswith("|")]
    assert [line for line in lines if re.search(r"[a-z)`*][.?!]\**\)? +[A-Z`*]", line)] == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: page.name)
def test_module_that_page_names_is_there(page: Path) -> None:
    sources = [f"/{path.relative_to(ROOT)}" for folder in SOURCES for path in (ROOT / folder).rglob("*.py")]
    for name in re.findall(r"`([\w/]+\.py)`", prose(page)):
        assert any(path.endswith(f"/{name}") for path in sources), name
