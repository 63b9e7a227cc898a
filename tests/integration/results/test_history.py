# SPDX-License-Identifier: Apache-2.0
"""However long the history is, tonight's plan reads only the rows that it needs."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_goenhance.results.ledger import Ledger
from airflow_provider_goenhance.results.reuse import by_pair, job_of, picture_of, unknown_submit
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap
from tests.integration.results.databases import TestDatabase
from tests.swaps import planned

PAIRS = 20
NIGHTS = 60
FIRST_NIGHT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class CountingDatabase:
    """Counts the rows that a results table returns."""

    def __init__(self, database: TestDatabase) -> None:
        self.swaps = database.swaps
        self.url = database.url
        self.rows = 0
        self._database = database

    def run_read(self, work: Callable[[sa.Connection], list[Any]]) -> list[Any]:
        """Run a query of the ledger."""
        found = self._database.run_read(work)
        self.rows += len(found)
        return found


def row(number: int, night: int, **values: Any) -> Swap:
    """Return a row that one night left."""
    return planned(
        number,
        run_id=f"run-{night:04}",
        account="account",
        attempts=1,
        planned_at=FIRST_NIGHT + dt.timedelta(days=night),
        **values,
    )


def insert(database: TestDatabase, rows: list[Swap]) -> None:
    table = sa.insert(database.swaps)
    database.run(lambda connection: connection.execute(table, [swap.to_row() for swap in rows]))


@pytest.fixture
def fingerprints() -> list[str]:
    return [planned(number).pair_fingerprint for number in range(PAIRS)]


def failing(number: int, night: int) -> Swap:
    return row(
        number,
        night,
        status=Status.FAILED,
        img_uuid=f"job-{number}-{night}",
        error_code="job_failed",
        error_message="It failed.",
    )


def test_nights_of_failing_pairs_are_one_row_for_each_pair(
    database: TestDatabase, fingerprints: list[str]
) -> None:
    insert(database, [failing(number, night) for night in range(NIGHTS) for number in range(PAIRS)])
    counting = CountingDatabase(database)
    earlier = Ledger(counting).earlier(fingerprints, "account")  # type: ignore[arg-type]
    assert counting.rows == len(earlier) == PAIRS
    assert {swap.run_id for swap in earlier} == {f"run-{NIGHTS - 1:04}"}


def histories() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    kept = {"status": Status.SUCCEEDED, "img_uuid": "kept", "result_uri": "file:///kept.jpg"}
    running = {"status": Status.SUBMITTED, "img_uuid": "running"}
    failed = {"status": Status.FAILED, "img_uuid": "failed", "error_code": "job_failed"}
    missing = {"status": Status.FAILED, "img_uuid": "missing", "error_code": "job_not_found"}
    unknown = {"status": Status.UNKNOWN, "error_code": "submit_outcome_unknown"}
    reused = {"status": Status.REUSED, "img_uuid": "kept", "result_uri": "file:///kept.jpg"}
    declined = {"status": Status.FAILED, "error_code": "bad_request"}
    kinds = [kept, running, failed, missing, unknown, reused, declined]
    for first in kinds:
        for second in kinds:
            for third in kinds:
                name = ", ".join(
                    f"{kind['status']} {kind.get('error_code', '')}" for kind in (first, second, third)
                )
                yield name, [first, second, third]


def test_what_is_read_decides_as_all_of_the_history_would(database: TestDatabase) -> None:
    written: dict[str, list[Swap]] = {}
    for number, (_, kinds) in enumerate(histories()):
        rows = [row(number, night, **kind) for night, kind in enumerate([*kinds, *kinds])]
        written[rows[0].pair_fingerprint] = rows
    insert(database, [swap for rows in written.values() for swap in rows])

    read = by_pair(Ledger(database).earlier(written, "account"))

    for fingerprint, rows in written.items():
        worth_reading = [
            swap
            for swap in rows
            if swap.status is not Status.REUSED and (swap.img_uuid or swap.status is Status.UNKNOWN)
        ]
        found = read.get(fingerprint, [])
        for decide in (picture_of, job_of, unknown_submit):
            expected, decided = decide(worth_reading), decide(found)
            if isinstance(expected, Swap):
                expected = dataclasses.replace(expected)
            assert getattr(decided, "swap_id", decided) == getattr(expected, "swap_id", expected)
