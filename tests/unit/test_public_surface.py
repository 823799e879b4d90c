"""What is public does not change unnoticed. Public is what docs/api.md shows."""

from importlib import import_module

import pytest

from tools.public_surface import DESCRIPTION, ROOT, PublicSurface

SURFACE = PublicSurface()
MODULES = sorted({path.rpartition(".")[0] for path in SURFACE.shown})


def test_public_surface_is_as_described():
    assert SURFACE.describe() == DESCRIPTION.read_text(encoding="utf-8"), (
        "What is public has changed. If that is meant (docs/compatibility.md), write it down with"
        " `python -m tools.public_surface`, and into CHANGELOG.md."
    )


@pytest.mark.parametrize("module", MODULES)
def test_page_shows_what_module_exports(module):
    shown = {path.rpartition(".")[2] for path in SURFACE.shown if path.rpartition(".")[0] == module}
    assert shown == set(import_module(module).__all__)


def test_compatibility_page_names_public_modules():
    page = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
    assert [module for module in MODULES if f"`{module.partition('.')[2]}`" not in page] == []
