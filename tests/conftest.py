# SPDX-License-Identifier: Apache-2.0
"""Fixtures for all tests, and how pytest-xdist distributes the tests over its workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadFileScheduling

pytest_plugins = ["include.sandbox.pytest_plugin"]

#: Files that share a real Airflow, which takes seconds to start: one worker runs them all.
AIRFLOW = "tests/integration/operators/airflow"
AIRFLOW_FILES = (
    "tests/integration/operators/test_in_airflow.py",
    "tests/integration/operators/test_contact_sheet_and_asset.py",
)
#: The slowest files start first, so that no worker is left alone with one of them at the end.
SLOWEST_FIRST = (
    AIRFLOW,
    "tests/integration/operators/test_recovery.py",
    "tests/integration/results/test_several_processes.py",
    "tests/integration/results/test_no_interleaving_breaks_the_ledger.py",
    "tests/integration/",
    "tests/dags/",
)


def scope_of(nodeid: str) -> str:
    """Return what one worker runs as a whole: a file, or all files that share the Airflow."""
    file = nodeid.split("::", 1)[0]
    return AIRFLOW if file in AIRFLOW_FILES else file


def rank_of(item: pytest.Item) -> int:
    """Return the place of a test's scope in the order of starting."""
    scope = scope_of(item.nodeid)
    return next(
        (rank for rank, start in enumerate(SLOWEST_FIRST) if scope.startswith(start)), len(SLOWEST_FIRST)
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Start the slowest files first where several workers share the tests."""
    if hasattr(config, "workerinput"):
        items.sort(key=rank_of)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """Distribute scopes, in the order above, where `--dist=loadfile` asks for whole files."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class LoadScopes(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

    config.option.loadscopereorder = False  # xdist would start the files with the most tests first
    return LoadScopes(config, log)
