# Needs make and Python 3.11 or newer; everything else goes into .venv (and .venv-<series> for `make matrix`).
# No path is absolute and programs are started as `python -m …`, so a checkout path with spaces works.

SHELL := /bin/sh
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
AIRFLOW ?= 3.3
UV_VERSION := $(shell sed -n 's/^uv==//p' constraints/airflow-3.3.txt)
PYTEST_ARGS ?=

PY := .venv/bin/python
READY := .venv/.ready
CONSTRAINTS := constraints/airflow-$(AIRFLOW).txt

.PHONY: help setup demo up down test unit slowest lint format matrix chaos upgrades mutation bench docs constraints clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## Make the virtual environment (the other targets do it by themselves)

# Done once, and again when what it installs has changed. An environment that does not start is made anew.
$(READY): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "This needs Python 3.11 or newer as '$(PYTHON)' (found: $$($(PYTHON) --version 2>&1 || true))." >&2; \
	  echo "Name another one with: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "==> Setting up .venv with Airflow $(AIRFLOW) (once; the first time may take some minutes)"
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv || { \
	  echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu it needs the package python3-venv." >&2; exit 1; }
	@$(PY) -m uv --version 2>/dev/null | grep -q 'uv $(UV_VERSION)' || \
	  $(PY) -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(PY) -m uv pip install --python $(PY) --constraints $(CONSTRAINTS) --editable '.[dev]'
	@touch $(READY)

demo: $(READY) ## Make one video on a real Airflow against the sandbox; ends by itself
	@$(PY) -m tools.demo run

up: $(READY) ## Start Airflow with its UI and the sandbox, and leave them running
	@$(PY) -m tools.demo up

down: $(READY) ## End what `make up` started
	@$(PY) -m tools.demo down

# Tests on a real Airflow measure and kill its processes, so they run one after the other, with nothing beside them.
# With PYTEST_ARGS, such as -k, a part may have no test at all: pytest ends with 5 then.
NO_TESTS_OK = $(if $(PYTEST_ARGS),|| [ $$? -eq 5 ])

test: lint ## Run all checks and tests
	$(PY) -m pytest -n 2 --dist worksteal tests/unit tests/sandbox tests/integrations $(PYTEST_ARGS) $(NO_TESTS_OK)
	$(PY) -m pytest tests/airflow $(PYTEST_ARGS) $(NO_TESTS_OK)
	$(PY) -m pytest tests/chaos $(PYTEST_ARGS) $(NO_TESTS_OK)

unit: $(READY) ## Run the unit tests, in two processes
	$(PY) -m pytest -n 2 --dist worksteal tests/unit $(PYTEST_ARGS)

slowest: $(READY) ## Run all tests that need no real Airflow, and list the twenty slowest
	$(PY) -m pytest -n 2 --dist worksteal -q --durations=20 tests/unit tests/sandbox tests/integrations $(PYTEST_ARGS)

lint: $(READY) ## Check style, types, and who imports whom
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'

format: $(READY) ## Put all files into the project's format
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

matrix: $(READY) ## Run the unit tests and the main job on every supported Airflow (SERIES="2.11 3.0": on these)
	$(PY) -m tools.matrix $(SERIES)

chaos: $(READY) ## Kill, freeze and break a real Airflow at the worst moments, and count the charges (SERIES="2.11": on it)
	$(PY) -m tests.chaos $(SERIES)

upgrades: $(READY) ## Upgrade a real Airflow to 3.3 with videos in the making (FROM="2.11": from it; `make matrix` sets the old ones up)
	$(PY) -m tests.chaos --upgrades $(FROM)

mutation: $(READY) ## Change the money core in one place at a time, and list what no test detects (MODULES="waiting": in it)
	$(PY) -m tools.mutation $(MODULES)

bench: $(READY) ## Measure beside other providers, about 20 minutes (PARTS="waiting imports download triggerer airflow": those)
	$(PY) -m uv pip install --quiet --python $(PY) --constraints $(CONSTRAINTS) --editable '.[dev,bench]'
	$(PY) -m tests.bench $(PARTS)

docs: $(READY) ## Build the documentation's site into .work/site, and check its links
	$(PY) -m uv pip install --quiet --python $(PY) --constraints $(CONSTRAINTS) --editable '.[dev,docs]'
	$(PY) -m mkdocs build

constraints: $(READY) ## Write constraints/ again, with the newest versions that work
	tools/compile_constraints.sh "$$PWD/.venv/bin/uv"

clean: ## Remove everything that make has made
	@if [ -f $(READY) ]; then $(PY) -m tools.demo down; fi
	rm -rf .venv .venv-* .work demo-output dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
