# SPDX-License-Identifier: Apache-2.0
"""Several triggers of one triggerer open the results table at once: its tables are defined once."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_goenhance.results.account_tables import AccountTables, account_tables
from airflow_provider_goenhance.results.schema import swaps_table

THREADS = 8


@pytest.fixture(autouse=True)
def frequent_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_threads_that_open_the_table_at_once_get_the_same_definitions() -> None:
    with ThreadPoolExecutor(THREADS) as threads:
        for number in range(20):
            start = threading.Barrier(THREADS)

            def open_(
                name: str = f"opened_at_once_{number}", start: threading.Barrier = start
            ) -> AccountTables:
                start.wait()
                return account_tables(name)

            found = [each.result() for each in [threads.submit(open_) for _ in range(THREADS)]]
            assert len({id(tables) for tables in found}) == 1
            assert found[0].pairs.metadata is swaps_table(f"opened_at_once_{number}").metadata
