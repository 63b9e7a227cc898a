# SPDX-License-Identifier: Apache-2.0
"""The SQL for large tables in the documentation: what it deletes, and that no pair is paid for again because of it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_goenhance.exceptions import ErrorCode
from airflow_provider_goenhance.results.account_tables import insert_missing
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.run_rows import RunRows
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap
from tests.integration.results.databases import TestDatabase
from tests.swaps import planned

PAGE = Path(__file__).resolve().parents[3] / "docs" / "results-table.md"
OLD, NEW = dt.datetime(2024, 5, 1, tzinfo=dt.UTC), dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
KEPT = {"status": Status.SUCCEEDED, "attempts": 1, "img_uuid": "job", "result_uri": "s3://b/p.jpg"}


def statements(start: str) -> list[str]:
    section = PAGE.read_text().split("\n## Large tables\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```sql\n(.*?)```", section, re.DOTALL)
    return [one for block in blocks for one in block.strip().split(";\n") if one.startswith(start)]


def row(number: int, night: str, at: dt.datetime = OLD, **values: Any) -> Swap:
    values = {"account": "account", "planned_at": at, "batch": None, **values}
    return dataclasses.replace(planned(number, run_id=night), **values)


def fill(database: TestDatabase) -> None:
    rows = [
        # Reused every night: the row that paid stays, the rows that reused it go.
        row(1, "old-1", **KEPT),
        row(1, "old-2", status=Status.REUSED, result_uri="s3://b/p.jpg"),
        row(1, "new", NEW, status=Status.REUSED, result_uri="s3://b/p.jpg"),
        # Paid for again later.
        row(2, "old-1", **KEPT),
        row(2, "old-2", status=Status.FAILED, attempts=1, img_uuid="job-2"),
        row(2, "new", NEW, **KEPT),
        # It was the last to claim its pair, so the pair's key names it.
        row(3, "old-1", **KEPT),
        row(3, "new", NEW, **KEPT),
        # Whatever may have been paid for and has no end.
        row(4, "old-1", status=Status.UNKNOWN, attempts=1),
        row(5, "old-1", status=Status.HELD, error_code=ErrorCode.UNKNOWN_SUBMIT),
        row(6, "old-1", status=Status.SUBMITTED, attempts=1, img_uuid="job-6"),
        row(7, "old-1", status=Status.SUBMITTING, attempts=1),
        # Never sent, and failed without a later picture.
        row(8, "old-1", status=Status.REJECTED),
        row(9, "old-1"),
        row(10, "old-1", status=Status.FAILED, attempts=1, img_uuid="job-10"),
        row(11, "new", NEW, status=Status.REJECTED),
        # Another account's picture serves only that account.
        row(12, "old-1", **KEPT),
        row(12, "new", NEW, **KEPT | {"account": "another"}),
    ]
    for night in ("old-1", "old-2", "new"):
        Ledger(database).plan(RunKey("dag", night), [one for one in rows if one.run_id == night])
    key = {
        "account": "account",
        "pair_fingerprint": rows[6].pair_fingerprint,
        "swap_id": rows[6].swap_id,
        "claims": 1,
    }
    database.run(lambda connection: insert_missing(connection, database.shared.pairs, key))


def delete(database: TestDatabase) -> None:
    for statement in statements("DELETE"):
        with database.engine.begin() as connection:
            connection.exec_driver_sql(statement)


def left(database: TestDatabase) -> set[str]:
    nights = [RunRows(database, RunKey("dag", night)) for night in ("old-1", "old-2", "new")]
    return {f"{swap.pair_id} {swap.run_id}" for night in nights for swap in night}


def test_the_documented_statements_delete_what_no_later_run_needs(database: TestDatabase) -> None:
    fill(database)
    assert len(statements("DELETE")) == 2
    before = left(database)
    delete(database)
    assert before - left(database) == {"p1 old-2", "p2 old-1", "p2 old-2", "p8 old-1", "p9 old-1"}


def test_what_a_new_run_would_reuse_adopt_or_hold_is_the_same_as_before(database: TestDatabase) -> None:
    fill(database)
    ledger = Ledger(database)
    pairs = [planned(number).pair_fingerprint for number in range(1, 13)]

    def kept() -> dict[str, tuple[str, str]]:
        rows = ledger.earlier(pairs, "account")
        return {swap.pair_fingerprint: (swap.swap_id, swap.status) for swap in rows if swap.result_uri}

    def others() -> set[str]:
        with_picture = kept()
        rows = ledger.earlier(pairs, "account")
        return {swap.swap_id for swap in rows if swap.pair_fingerprint not in with_picture}

    before = kept(), others()
    delete(database)
    assert (kept(), others()) == before


def test_the_documented_indexes_leave_updates_as_they_are(database: TestDatabase) -> None:
    if database.engine.dialect.name != "postgresql":
        pytest.skip("BRIN is PostgreSQL's")
    fill(database)
    indexes = statements("CREATE INDEX")
    assert len(indexes) == 2
    with database.engine.begin() as connection:
        for statement in indexes:
            connection.exec_driver_sql(statement)
        table = "relname = 'goenhance_swaps'"
        for status in ("planned", "submitting"):
            connection.exec_driver_sql(
                f"UPDATE goenhance_swaps SET status = '{status}', claimed_at = now() WHERE run_id = 'new'"
            )
    with database.engine.begin() as connection:
        connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
    with database.engine.begin() as connection:
        updated, hot = connection.exec_driver_sql(
            f"SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE {table}"
        ).one()
    assert updated == hot > 0
