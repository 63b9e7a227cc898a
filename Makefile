# Requires make and python3 (3.11 to 3.14); everything else is installed from here.
# State is kept in .local/. Ports, all on 127.0.0.1: AIRFLOW_PORT (8080), SANDBOX_PORT (8765).

PYTHON ?= python3
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

venv := .venv/bin
local := $(venv)/python -m include.local
install = $$(ls .venv/uv-*/bin/uv | tail -1) pip install --quiet --python $(venv)/python -r
# Cyclomatic complexity of a function. Ruff's C901 leaves out boolean operators; lizard counts them.
max_complexity := 14
nox := nox==2026.10.20
# Without cached bytecode, every start of Airflow would compile all of its modules again.
unexport PYTHONDONTWRITEBYTECODE
# Tests must not use the Airflow or the connections of the calling shell.
pytest := unset $${!AIRFLOW_@}; export AIRFLOW_HOME=$(CURDIR)/.local/test-airflow; $(venv)/python -m pytest
# Four workers if pytest-xdist is installed, because many tests wait. A worker runs whole files, because their fixtures
# start servers; in the order of the folders, because the slow ones come first.
workers := $$($(venv)/python -c 'import xdist' 2>/dev/null && echo --numprocesses=4 --dist=loadfile --no-loadscope-reorder)

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
up: setup ## start the same stack and keep it running for the UI; EXECUTOR=celery: with Celery workers
ifeq ($(EXECUTOR),celery)
	@$(install) requirements-celery.txt
endif
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
lint: setup ## check rules and format (ruff), complexity (lizard) and spelling (codespell)
	@$(venv)/ruff check .
	@$(venv)/ruff format --check .
	@$(venv)/lizard --languages python --CCN $(max_complexity) --warnings_only plugins include dags
	@$(venv)/codespell

.PHONY: types
types: setup ## check types (mypy)
	@$(venv)/mypy

.PHONY: unit
unit: setup ## run the unit, integration and Dag tests but slow ones; TESTS="..." passes other arguments to pytest
	@$(pytest) $(workers) $(or $(TESTS),-m "not slow")

fab := .local/fab
.PHONY: fab
fab: setup ## install the FAB auth manager into .local/fab, for the tests of rights for each Dag
	@uv=$$(ls .venv/uv-*/bin/uv | tail -1); $$uv venv --quiet --allow-existing --python $(venv)/python $(fab); \
		$$uv pip install --quiet --python $(fab)/bin/python -r requirements-fab.txt; \
		$$uv pip install --quiet --python $(fab)/bin/python --no-deps -e .

.PHONY: docs-pictures
docs-pictures: setup ## make the pictures of the UI for the documentation again, in docs/pictures
	@$(PYTHON) -m include.local.debian
	@$(install) requirements-browser.txt
	@export GOENHANCE_DOCS_PICTURES=docs/pictures; $(pytest) tests/system/ui/test_results_page.py tests/system/ui/test_airflow_ui.py

.PHONY: test-system
test-system: setup ## run the slow tests: restarts, kills, browser, MariaDB, long property tests
	@$(PYTHON) -m include.local.debian
	@$(install) requirements-browser.txt -r requirements-celery.txt
	@$(MAKE) --no-print-directory fab
	@export GOENHANCE_LEDGER_EXAMPLES=300 GOENHANCE_MANIFEST_EXAMPLES=5000 GOENHANCE_WHOLE_FAULT_MATRIX=1 \
		GOENHANCE_TEST_DATABASES="sqlite postgres $$(PATH=$$PATH:/usr/sbin command -v mariadbd >/dev/null && echo mariadb)"; \
		$(pytest) $(or $(TESTS),tests/integration/operators/test_fault_matrix.py \
			tests/integration/results tests/integration/pictures tests/unit/manifest/test_generated_manifests.py \
			tests/system)
ifndef TESTS
	@$(pytest) -m slow --ignore=tests/integration/results
endif

stores := .local/stores
store_tests := unset $${!AIRFLOW_@}; export AIRFLOW_HOME=$(CURDIR)/.local/test-airflow \
	PATH=$(CURDIR)/$(stores)/npm/node_modules/.bin:$$PATH; \
	$(stores)/bin/python -m pytest tests/integration/inputs/test_azure.py tests/integration/inputs/test_gcs.py \
	tests/unit/hooks/test_refused_objects.py
.PHONY: stores
stores: setup ## install the extras gcs and azure, and emulators of both stores, into .local/stores
	@uv=$$(ls .venv/uv-*/bin/uv | tail -1); $$uv venv --quiet --allow-existing --python $(venv)/python $(stores); \
		$$uv pip install --quiet --python $(stores)/bin/python -r requirements-stores.txt; \
		$$uv pip install --quiet --python $(stores)/bin/python --no-deps -e .
	@npm install --silent --no-audit --no-fund --prefix $(stores)/npm azurite || \
		echo "azurite could not be installed with npm: the tests of Azure are skipped."

.PHONY: test-stores
test-stores: stores ## run the tests of private inputs on Google Cloud Storage and Azure, against emulators
	@$(store_tests)

.PHONY: test-install
test-install: setup ## build the wheel, and run the README's Dag in a clean environment with `airflow standalone`
	@$(pytest) tests/system/packaging/test_standalone.py

docs := .local/docs
.PHONY: docs
docs: setup ## build the documentation site in .local/site; a broken link fails
	@uv=$$(ls .venv/uv-*/bin/uv | tail -1); $$uv venv --quiet --allow-existing --python $(venv)/python $(docs); \
		$$uv pip install --quiet --python $(docs)/bin/python -r requirements-docs.txt
	@$(docs)/bin/zensical build --strict --clean

.PHONY: coverage
coverage: stores ## run the tests with coverage, those of test-stores too; fails below 92 % of lines or branches, or 80 % of a module
	@mkdir -p .local/coverage
	@$(pytest) $(workers) -m "not slow" --cov --cov-report=
	@$(store_tests) --cov --cov-append --cov-report=json:.local/coverage/coverage.json
	@$(venv)/python -m tests.coverage_gate .local/coverage/coverage.json

.PHONY: lock
lock: setup ## compile requirements*.txt from pyproject.toml; UPGRADE=1 takes the newest versions
	@export UV_CUSTOM_COMPILE_COMMAND="make lock"; \
		compile="$$(ls .venv/uv-*/bin/uv | tail -1) pip compile --quiet --universal --python-version 3.11 --no-annotate $(if $(UPGRADE),--upgrade)"; \
		$$compile pyproject.toml --group dev --extra postgres --extra manifests --extra c2pa --extra s3 --extra sandbox -o requirements-dev.txt; \
		$$compile pyproject.toml --extra postgres --extra manifests -c requirements-dev.txt -o requirements.txt; \
		$$compile --group browser -c requirements-dev.txt -o requirements-browser.txt; \
		$$compile pyproject.toml --group fab --extra postgres -c requirements-dev.txt -o requirements-fab.txt; \
		$$compile --group docs -o requirements-docs.txt; \
		$$compile --group celery -c requirements-dev.txt -o requirements-celery.txt; \
		$$compile pyproject.toml --group dev --group stores --extra s3 --extra gcs --extra azure --extra sandbox -o requirements-stores.txt

.PHONY: audit
audit: setup ## look for known vulnerabilities in the pinned requirements; needs the public index; fails for a package it cannot look up
	@uv=$$(ls .venv/uv-*/bin/uv | tail -1); for file in requirements.txt requirements-dev.txt; do \
		$$uv tool run --quiet --from 'pip-audit==2.*' pip-audit --strict --no-deps --disable-pip --requirement $$file; done

.PHONY: matrix
matrix: setup ## run unit, Dag and end-to-end tests on Airflow 3.1 to 3.3 (noxfile.py); ROWS="3.1-lowest" runs some rows only
	@uv=$$(ls .venv/uv-*/bin/uv | tail -1); export PATH=$(CURDIR)/$$(dirname $$uv):$$PATH; unset $${!AIRFLOW_@}; \
		uv tool run --quiet --from '$(nox)' nox $(if $(ROWS),--session $(ROWS) table)

.PHONY: bench
bench: setup ## compare with the alternatives, as ratios; writes .local/bench.json
	@$(install) requirements-celery.txt
	@$(venv)/python -m include.local.bench

.PHONY: clean
clean: ## stop the stack and delete .local and caches; keeps .venv
	@if [ -x $(venv)/python ] && [ -e .local/stack.json ]; then $(local) down; fi
	@rm -rf .local .pytest_cache .ruff_cache .mypy_cache .hypothesis dist
	@find . -path ./.venv -prune -o -type d -name __pycache__ -print0 | xargs -0 rm -rf
