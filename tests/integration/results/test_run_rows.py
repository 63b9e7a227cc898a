# SPDX-License-Identifier: Apache-2.0
"""Reading the rows of a run: as a stream, the first few, and page by page, always in the same order."""

from __future__ import annotations

import dataclasses
import random
import sqlite3
from collections.abc import Iterable

import pytest
import sqlalchemy as sa

from airflow_provider_goenhance.exceptions import ErrorCode, ResultsTableError
from airflow_provider_goenhance.results import database as database_module
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.run_rows import Place, RunRows
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap
from tests.integration.results.databases import TestDatabase
from tests.swaps import planned

KEY = RunKey("dag", "run")


def write(database: TestDatabase, rows: Iterable[Swap]) -> None:
    """Write rows as they are, in an order that is not the manifest's."""
    shuffled = list(rows)
    random.Random(1).shuffle(shuffled)
    Ledger(database).plan(KEY, shuffled)


def row(number: int, **values: object) -> Swap:
    return dataclasses.replace(planned(number), **values)


def ids(rows: Iterable[Swap]) -> list[str]:
    return [swap.pair_id for swap in rows]


def pages(rows: RunRows, size: int) -> list[list[str]]:
    found, after = [], None
    while page := rows.page(size, after):
        found.append(ids(page))
        after = Place.of(page[-1])
    return found


def test_a_stream_yields_each_row_of_the_run_once_and_a_batch_in_the_manifests_order(
    database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "STREAMED_ROWS", 7)
    write(database, (row(number) for number in range(50)))
    Ledger(database).plan(RunKey("dag", "other"), [planned(1, run_id="other")])
    assert ids(RunRows(database, KEY)) == [f"p{number}" for number in range(50)]


def test_rows_without_a_number_are_last_on_every_database(database: TestDatabase) -> None:
    write(database, [*map(row, range(3)), *(row(number, row_number=None) for number in (7, 8, 9))])
    rows = RunRows(database, KEY)
    expected = ["p0", "p1", "p2", "p7", "p8", "p9"]
    assert ids(rows) == ids(rows.page(10)) == expected
    assert pages(rows, 2) == [expected[:2], expected[2:4], expected[4:]]
    assert pages(rows, 4) == [expected[:4], expected[4:]]


def test_the_order_is_by_task_and_batch_and_rows_without_a_batch_are_last(database: TestDatabase) -> None:
    write(
        database,
        [
            row(0, batch=1),
            row(1, batch=0),
            row(2, batch=None, status=Status.REJECTED),
            row(3, batch=0),
            row(4, batch=0, task_id="another"),
            row(5, batch=None, task_id=None),
            row(6, batch=1),
        ],
    )
    rows = RunRows(database, KEY)
    expected = ["p4", "p1", "p3", "p0", "p6", "p5", "p2"]
    assert ids(rows) == ids(rows.page(10)) == expected
    for size in (1, 2, 3, 5):
        assert [name for page in pages(rows, size) for name in page] == expected
    swap = RunRows(database, KEY, task_id="swap")
    assert [name for page in pages(swap, 2) for name in page] == ["p1", "p3", "p0", "p6", "p2"]


def test_pages_neither_repeat_nor_skip_rows_of_the_same_number(database: TestDatabase) -> None:
    # Two manifests in one run, and two rows without anything that tells them apart but their ids.
    rows = [row(number, row_number=2 + number // 3) for number in range(9)]
    twins = [row(20 + number, pair_id="p4", row_number=3) for number in range(2)]
    write(database, [*rows, *twins])
    assert [name for page in pages(RunRows(database, KEY), 2) for name in page] == [
        "p0", "p1", "p2", "p3", "p4", "p4", "p4", "p5", "p6", "p7", "p8",
    ]  # fmt: skip


def test_rows_are_chosen_by_task_batch_state_and_code(database: TestDatabase) -> None:
    write(
        database,
        [
            row(0),
            row(1, status=Status.FAILED, error_code="job_failed"),
            row(2, status=Status.FAILED, error_code="declined"),
            row(3, status=Status.HELD, error_code=ErrorCode.BUDGET_REACHED),
            row(4, status=Status.HELD, error_code=ErrorCode.UNKNOWN_SUBMIT),
            row(5, task_id="another", batch=1, map_index=1),
            row(6, status=Status.REJECTED),
        ],
    )

    def chosen(**options: object) -> list[str]:
        rows = RunRows(database, KEY, **options)  # type: ignore[arg-type]
        assert rows.count() == len(rows.page(100))
        assert rows.exists() is bool(rows.page(1))
        return ids(rows)

    assert chosen(task_id="another") == chosen(batch=1) == chosen(map_index=1) == ["p5"]
    assert chosen(statuses=[Status.FAILED, Status.HELD]) == ["p1", "p2", "p3", "p4"]
    assert chosen(error_codes=["declined"]) == ["p2"]
    assert chosen(over_budget=True) == ["p3"]
    assert chosen(over_budget=False, task_id="swap") == ["p0", "p1", "p2", "p4", "p6"]
    assert chosen(statuses=[]) == []


def test_rows_that_a_later_plan_no_longer_held_can_be_left_out(database: TestDatabase) -> None:
    ledger = Ledger(database)
    ledger.plan(KEY, [row(0), row(1)], task_id="swap")
    ledger.plan(KEY, [row(0)], task_id="swap")
    assert ids(RunRows(database, KEY)) == ["p0", "p1"]
    assert ids(RunRows(database, KEY, counted=True)) == ["p0"]


def cut_cursors(database: TestDatabase, monkeypatch: pytest.MonkeyPatch, after: list[int]) -> list[int]:
    """Cut the connection after a number of rows of each cursor in turn; return how many rows each has read."""
    real, read = database.through_cursor, []

    def cut(query: sa.Select[tuple[object, ...]]) -> Iterable[dict[str, object]]:
        read.append(0)
        limit = after.pop(0) if after else None
        for found in real(query):
            if read[-1] == limit:
                raise sa.exc.OperationalError("FETCH", {}, sqlite3.OperationalError("database is locked"))
            read[-1] += 1
            yield found

    monkeypatch.setattr(database, "through_cursor", cut)
    return read


def test_a_stream_whose_connection_is_cut_goes_on_after_the_last_row(
    database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(database, (row(number) for number in range(50)))
    read = cut_cursors(database, monkeypatch, [20, 0, 10])
    assert ids(RunRows(database, KEY)) == [f"p{number}" for number in range(50)]
    assert read[:4] == [20, 0, 10, 20]


def test_a_stream_that_is_cut_again_and_again_is_an_error_that_names_the_results_table(
    database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(database, [row(0)])
    read = cut_cursors(database, monkeypatch, [0] * 100)
    with pytest.raises(ResultsTableError, match="database is locked"):
        list(RunRows(database, KEY))
    assert len(read) == database_module.ATTEMPTS


def test_a_stream_survives_a_server_that_ends_its_connection(
    database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    if database.engine.dialect.name != "postgresql":
        pytest.skip("SQLite has no connection to a server")
    monkeypatch.setattr(database_module, "STREAMED_ROWS", 7)
    write(database, (row(number) for number in range(50)))
    read = []
    for swap in RunRows(database, KEY):
        read.append(swap.pair_id)
        if len(read) == 10:
            others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            killer = sa.create_engine(database.url, isolation_level="AUTOCOMMIT")
            with killer.connect() as connection:
                connection.exec_driver_sql(f"SELECT pg_terminate_backend(pid) {others}")
            killer.dispose()
    assert read == [f"p{number}" for number in range(50)]


def test_a_stream_that_nobody_reads_to_its_end_gives_its_connection_back(database: TestDatabase) -> None:
    write(database, (row(number) for number in range(50)))
    stream = iter(RunRows(database, KEY))
    assert next(stream).pair_id == "p0"
    stream.close()  # type: ignore[attr-defined]
    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_rows_can_be_written_while_a_stream_is_read(database: TestDatabase) -> None:
    write(database, (row(number) for number in range(50)))
    for swap in RunRows(database, KEY, batch=0):
        if swap.row_number == 10:
            Ledger(database).plan(KEY, [row(99)])
    assert RunRows(database, KEY).count() == 51
