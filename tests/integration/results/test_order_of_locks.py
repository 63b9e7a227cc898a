# SPDX-License-Identifier: Apache-2.0
"""Tasks that write the same rows lock them in the same order, so that none waits for another in a circle."""

from __future__ import annotations

import threading
import time

import pytest
import sqlalchemy as sa

from airflow_provider_goenhance.results.database import ResultsDatabase
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.transitions import Outcome
from tests.swaps import planned

KEY = RunKey("dag", "run")


@pytest.fixture
def ledger(postgres_url: sa.URL) -> Ledger:
    ledger = Ledger(ResultsDatabase(postgres_url, name="the test's database"))
    ledger.plan(
        KEY, [planned(number, status=Status.SUBMITTED, img_uuid=f"job-{number}") for number in range(4)]
    )
    return ledger


def wait_until_blocked(connection: sa.Connection) -> None:
    deadline = time.monotonic() + 30
    blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    while not connection.exec_driver_sql(blocked).scalar_one():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_outcomes_lock_their_rows_in_the_order_of_the_ids_whatever_order_they_come_in(ledger: Ledger) -> None:
    rows = sorted(ledger.of_run(KEY), key=lambda row: row.swap_id, reverse=True)
    outcomes = [
        Outcome(
            row.swap_id, str(row.img_uuid), Status.FAILED, error_code="job_failed", error_message="No face."
        )
        for row in rows
    ]
    c = ledger.swaps.c
    *others, first = [row.swap_id for row in rows]
    with ledger.database.engine.connect() as connection:
        connection.execute(sa.select(c.swap_id).where(c.swap_id == first).with_for_update())
        recording = threading.Thread(target=ledger.record_outcomes, args=(outcomes,))
        recording.start()
        wait_until_blocked(connection)
        free = sa.select(c.swap_id).where(c.swap_id.in_(others)).with_for_update(skip_locked=True)
        found = set(connection.execute(free).scalars())
        connection.rollback()
    recording.join()
    ledger.database.close()
    assert found == set(others)
