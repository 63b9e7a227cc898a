# make and python3 (3.11 to 3.14) are all a machine needs beforehand; everything else is set up here.
# State lives in .local/. Ports, all on 127.0.0.1: AIRFLOW_PORT (8080), SANDBOX_PORT (8765).

PYTHON ?= python3
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

venv := .venv/bin
local := $(venv)/python -m include.local
# Cyclomatic complexity of a function. Ruff's C901 leaves out boolean operators; lizard counts them.
max_complexity := 14
# Uncached bytecode would make every start of Airflow recompile itself.
unexport PYTHONDONTWRITEBYTECODE
# Tests must not meet the Airflow, nor the connections, of the shell they are started from.
pytest := unset $${!AIRFLOW_@}; export AIRFLOW_HOME=$(CURDIR)/.local/test-airflow; $(venv)/python -m pytest
# Two at a time where pytest-xdist is installed; whole files to a worker, because their fixtures start servers.
workers := $$($(venv)/python -c 'import xdist' 2>/dev/null && echo --numprocesses=2 --dist=loadfile)

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## .venv from the pinned requirements (every other target does this by itself)
	@$(PYTHON) -m include.local.bootstrap

.PHONY: run
run: setup ## sandbox + Airflow, one nightly batch, a table of results; MANIFEST=path takes another manifest
	@$(local) run

.PHONY: up
up: setup ## the same stack, kept for the UI
	@$(local) up

.PHONY: down
down: setup ## stop it, whole
	@$(local) down

.PHONY: status
status: setup ## what runs, where, and how it is
	@$(local) status

.PHONY: sandbox
sandbox: setup ## the sandbox alone, in the foreground; SANDBOX_PORT, SANDBOX_TOKEN
	@exec $(venv)/python -m include.sandbox

.PHONY: test
test: lint types unit ## lint, types, unit, integration and Dag tests

.PHONY: lint
lint: setup ## ruff (rules and format) and lizard (complexity, boolean operators included)
	@$(venv)/ruff check .
	@$(venv)/ruff format --check .
	@$(venv)/lizard --languages python --CCN $(max_complexity) --warnings_only plugins include dags

.PHONY: types
types: setup ## mypy
	@$(venv)/mypy

.PHONY: unit
unit: setup ## unit, integration and Dag tests; TESTS="..." takes other arguments for pytest
	@$(pytest) $(workers) $(TESTS)

.PHONY: test-system
test-system: setup ## the slow, real ones: restarts, kills, browser, MariaDB, long property tests
	@$(PYTHON) -m include.local.debian
	@export GOENHANCE_LEDGER_EXAMPLES=300 \
		GOENHANCE_TEST_DATABASES="sqlite postgres $$(PATH=$$PATH:/usr/sbin command -v mariadbd >/dev/null && echo mariadb)"; \
		$(pytest) $(or $(TESTS),tests/integration/results tests/integration/pictures tests/system)

.PHONY: bench
bench: setup ## ours beside the alternatives, as ratios; writes .local/bench.json
	@$(venv)/python -m include.local.bench

.PHONY: clean
clean: ## stop everything and delete .local and caches; .venv stays
	@if [ -x $(venv)/python ] && [ -e .local/stack.json ]; then $(local) down; fi
	@rm -rf .local .pytest_cache .ruff_cache .mypy_cache .hypothesis dist
	@find . -path ./.venv -prune -o -type d -name __pycache__ -print0 | xargs -0 rm -rf
