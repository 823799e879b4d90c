import re
from pathlib import Path

from airflow_provider_digitalhuman.sandbox.fault_kinds import KINDS

PAGE = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text()
CELLS = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.splitlines() if line.startswith("| `")]
ROWS = {row[0].strip("`"): (row[1], row[2], row[5]) for row in CELLS if len(row) == 6}


def test_the_page_has_every_fault_with_its_operations_and_options():
    assert list(ROWS) == list(KINDS)
    for name, kind in KINDS.items():
        on, options, known = ROWS[name]
        stages = " (" + ", ".join(kind.stages) + ")"
        assert on == ", ".join(one + (stages if one == "create" else "") for one in kind.on), name
        for option in kind.options:
            assert f"`{option}`" in options, name
        assert re.match(r"[DSP?]", known), name


def test_every_case_is_spoken_of():
    for number in range(2, 27):
        assert re.search(rf"\bF{number}\b", PAGE), number
