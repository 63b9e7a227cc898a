# Requires make and python3 (3.11 to 3.14); everything else is installed from here.
# State is kept in .local/. Ports, all on 127.0.0.1: AIRFLOW_PORT (8080), SANDBOX_PORT (8765).

PYTHON ?= python3
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

venv := .venv/bin
local := $(venv)/python -m include.local
# Cyclomatic complexity of a function. Ruff's C901 leaves out boolean operators; lizard counts them.
max_complexity := 14
# Without cached bytecode, every start of Airflow would compile all of its modules again.
unexport PYTHONDONTWRITEBYTECODE
# Tests must not use the Airflow or the connections of the calling shell.
pytest := unset $${!AIRFLOW_@}; export AIRFLOW_HOME=$(CURDIR)/.local/test-airflow; $(venv)/python -m pytest
# Four workers if pytest-xdist is installed, because many tests wait. A worker runs whole files, because their fixtures
# start servers.
workers := $$($(venv)/python -c 'import xdist' 2>/dev/null && echo --numprocesses=4 --dist=loadfile)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## create .venv from the pinned requirements (the other targets do this automatically)
	@$(PYTHON) -m include.local.bootstrap

.PHONY: run
run: setup ## run the nightly batch once on a sandbox and Airflow, and show the results; MANIFEST=path selects a manifest
	@$(local) run

.PHONY: up
up: setup ## start the same stack and keep it running for the UI
	@$(local) up

.PHONY: down
down: setup ## stop the stack
	@$(local) down

.PHONY: status
status: setup ## show the running components, their ports and their health
	@$(local) status

.PHONY: sandbox
sandbox: setup ## run only the sandbox, in the foreground; SANDBOX_PORT, SANDBOX_TOKEN
	@exec $(venv)/python -m include.sandbox

.PHONY: test
test: lint ## run lint, types, and the unit, integration and Dag tests
	@# The type checker runs beside the tests, which wait for servers and timers part of the time.
	@$(MAKE) --no-print-directory --jobs=2 types unit

.PHONY: lint
lint: setup ## check rules and format (ruff) and complexity (lizard)
	@$(venv)/ruff check .
	@$(venv)/ruff format --check .
	@$(venv)/lizard --languages python --CCN $(max_complexity) --warnings_only plugins include dags

.PHONY: types
types: setup ## check types (mypy)
	@$(venv)/mypy

.PHONY: unit
unit: setup ## run the unit, integration and Dag tests but slow ones; TESTS="..." passes other arguments to pytest
	@$(pytest) $(workers) $(or $(TESTS),-m "not slow")

.PHONY: test-system
test-system: setup ## run the slow tests: restarts, kills, browser, MariaDB, long property tests
	@$(PYTHON) -m include.local.debian
	@$$(ls .venv/uv-*/bin/uv | tail -1) pip install --quiet --python $(venv)/python -r requirements-browser.txt
	@export GOENHANCE_LEDGER_EXAMPLES=300 GOENHANCE_MANIFEST_EXAMPLES=5000 GOENHANCE_WHOLE_FAULT_MATRIX=1 \
		GOENHANCE_TEST_DATABASES="sqlite postgres $$(PATH=$$PATH:/usr/sbin command -v mariadbd >/dev/null && echo mariadb)"; \
		$(pytest) $(or $(TESTS),tests/integration/operators/test_fault_matrix.py \
			tests/integration/results tests/integration/pictures tests/unit/manifest/test_generated_manifests.py \
			tests/system)
ifndef TESTS
	@$(pytest) -m slow --ignore=tests/integration/results
endif

stores := .local/stores
.PHONY: test-stores
test-stores: setup ## run the tests of private inputs on Google Cloud Storage and Azure; installs emulators into .local
	@uv=$$(ls .venv/uv-*/bin/uv | tail -1); $$uv venv --quiet --allow-existing --python $(venv)/python $(stores); \
		$$uv pip install --quiet --python $(stores)/bin/python -r requirements-stores.txt; \
		$$uv pip install --quiet --python $(stores)/bin/python --no-deps -e .
	@npm install --silent --no-audit --no-fund --prefix $(stores)/npm azurite || \
		echo "azurite could not be installed with npm: the tests of Azure are skipped."
	@unset $${!AIRFLOW_@}; export AIRFLOW_HOME=$(CURDIR)/.local/test-airflow PATH=$(CURDIR)/$(stores)/npm/node_modules/.bin:$$PATH; \
		$(stores)/bin/python -m pytest tests/integration/inputs

.PHONY: bench
bench: setup ## compare with the alternatives, as ratios; writes .local/bench.json
	@$(venv)/python -m include.local.bench

.PHONY: clean
clean: ## stop the stack and delete .local and caches; keeps .venv
	@if [ -x $(venv)/python ] && [ -e .local/stack.json ]; then $(local) down; fi
	@rm -rf .local .pytest_cache .ruff_cache .mypy_cache .hypothesis dist
	@find . -path ./.venv -prune -o -type d -name __pycache__ -print0 | xargs -0 rm -rf
