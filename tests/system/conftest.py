# SPDX-License-Identifier: Apache-2.0
"""Tests with a whole Airflow: each waits with deadlines of its own, longer than a test's usual limit."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(3600))
