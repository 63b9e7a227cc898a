# SPDX-License-Identifier: Apache-2.0
"""Pages of a run's rows, and its counts, read little by little."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import Counter

import pytest
import sqlalchemy as sa

from airflow_provider_goenhance.results.database import ResultsDatabase
from airflow_provider_goenhance.results.label_values import label_values, labels_to_filter_by
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.page_rows import PROBLEMS_FIRST, Filter, Order, PageRows
from airflow_provider_goenhance.results.page_runs import dags_with_rows, runs_of
from airflow_provider_goenhance.results.run_compare import changes_since
from airflow_provider_goenhance.results.search_indexes import ids_with, search_indexes
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap
from airflow_provider_goenhance.results.tally import Tally, Zone, figures_of
from tests.swaps import planned

KEY = RunKey("dag", "run")
STATES = (Status.SUCCEEDED, Status.FAILED, Status.SUCCEEDED, Status.UNKNOWN, Status.PLANNED, Status.REUSED)


class Clock:
    """A clock that goes on by itself, one second for each look."""

    def __init__(self, step: float = 1.0) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def swap_of(number: int, **values: object) -> Swap:
    status = STATES[number % len(STATES)]
    fields: dict[str, object] = {
        "batch": None if number % 11 == 5 else number // 10,
        "map_index": number // 10,
        "status": status,
        "error_code": "job_failed" if status is Status.FAILED else None,
        "attempts": 1 if status is not Status.PLANNED else 0,
        "cost": 2 if status is Status.SUCCEEDED else None,
        "labels": f'{{"client": "{"Acme" if number % 3 else "Zett & Co"}", "sku": "{number}"}}',
        "pair_id": f"p{(number * 7) % 60:02}",
        "row_number": None if number % 17 == 3 else number,
    }
    return dataclasses.replace(planned(number), **{**fields, **values})


@pytest.fixture
def rows(database: ResultsDatabase) -> list[Swap]:
    """A run of two tasks in batches, with rows in none, beside another run; one row counts no more."""
    swaps = [swap_of(number, task_id="swap" if number < 40 else "more") for number in range(60)]
    gone = swap_of(60, swap_id="gone", superseded_at=dt.datetime(2026, 11, 28, tzinfo=dt.UTC))
    other = [planned(number, run_id="other") for number in range(3)]
    Ledger(database).plan(KEY, [*swaps, gone, *other])
    return swaps


def place(swap: Swap) -> tuple[object, ...]:
    number = 2**31 - 1 if swap.row_number is None else swap.row_number
    return (swap.batch is None, swap.task_id, swap.batch or 0, number, swap.pair_id, swap.swap_id)


def all_pages(reader: PageRows, limit: int, order: Order = "manifest") -> list[str]:
    """The ids of all rows, page by page."""
    found: list[str] = []
    after: str | None = None
    for _ in range(500):
        page = reader.page(limit, order, after)
        assert len(page.rows) <= limit
        assert len(page.rows) == limit or page.cut or page.following is None
        found += [swap.swap_id for swap in page.rows]
        after = page.following
        if after is None:
            return found
    raise AssertionError("there is no last page")


FILTERS = [
    Filter(),
    Filter(statuses=(Status.FAILED,)),
    Filter(statuses=(Status.HELD,)),
    Filter(error_code="job_failed"),
    Filter(statuses=(Status.SUCCEEDED,), error_code="job_failed"),
    Filter(label=("client", "Zett & Co")),
    Filter(label=("client", "Zett & Co"), statuses=(Status.UNKNOWN, Status.PLANNED)),
    Filter(task_id="swap"),
    Filter(task_id="swap", map_index=1),
    Filter(task_id="no such task"),
    Filter(starts="http://pictures.example/1"),
]


def expected(rows: list[Swap], wanted: Filter) -> list[Swap]:
    def keeps(swap: Swap) -> bool:
        return (
            (not wanted.statuses or swap.status in wanted.statuses)
            and (wanted.error_code is None or swap.error_code == wanted.error_code)
            and (wanted.label is None or f'"{wanted.label[1]}"' in (swap.labels or ""))
            and (wanted.task_id is None or swap.task_id == wanted.task_id)
            and (wanted.map_index is None or wanted.map_index in {swap.batch, swap.map_index})
            and swap.source_img.startswith(wanted.starts)
        )

    return [swap for swap in rows if keeps(swap)]


@pytest.mark.parametrize("counted", ["not", "in part", "whole"])
@pytest.mark.parametrize("hurry", [False, True], ids=["", "in a hurry"])
@pytest.mark.parametrize("wanted", FILTERS, ids=str)
def test_the_pages_have_each_row_of_the_filter_once_and_in_order(
    database: ResultsDatabase, rows: list[Swap], wanted: Filter, hurry: bool, counted: str
) -> None:
    tally, labels = Tally(database, KEY), label_tally(database)
    if counted != "not":
        tally.advance(60.0 if counted == "whole" else 0.0)
        labels.advance(60.0 if counted == "whole" else 0.0)
    options = {"seconds": 0.0, "clock": Clock()} if hurry else {"seconds": 60.0}
    reader = PageRows(database, KEY, wanted, tally=tally, labels=labels, **options)
    right = expected(rows, wanted)

    assert all_pages(reader, 7) == [swap.swap_id for swap in sorted(right, key=place)]
    by_problem = sorted(right, key=lambda swap: (PROBLEMS_FIRST.index(swap.status), *place(swap)))
    assert all_pages(reader, 7, "problems") == [swap.swap_id for swap in by_problem]
    by_pair = sorted(right, key=lambda swap: (swap.pair_id, swap.swap_id))
    assert all_pages(reader, 7, "pair") == [swap.swap_id for swap in by_pair]


def label_tally(database: ResultsDatabase) -> Tally:
    return Tally(database, KEY, ("status", "label"), {"label": label_values(database, "client")})


@pytest.mark.parametrize("by_pair", [True, False])
@pytest.mark.parametrize("text", ["p0", "p07", "p", "q", "p%", "p_1", "P0"])
def test_a_search_finds_the_beginnings_of_pair_ids(
    database: ResultsDatabase, rows: list[Swap], text: str, by_pair: bool
) -> None:
    if not by_pair and database.engine.dialect.name == "sqlite" and text == "P0":
        pytest.skip("LIKE does not tell small letters from capitals there")
    reader = PageRows(database, KEY, Filter(starts=text), by_pair=by_pair, seconds=60.0)

    found = all_pages(reader, 5)

    assert sorted(found) == sorted(swap.swap_id for swap in rows if swap.pair_id.startswith(text))


def test_an_index_serves_a_search(database: ResultsDatabase, rows: list[Swap]) -> None:
    assert search_indexes(database).by_pair
    if database.engine.dialect.name != "postgresql":
        return
    reader = PageRows(database, KEY, Filter(starts="p0"))
    statements: list[tuple[str, object]] = []
    sa.event.listen(
        database.engine,
        "before_cursor_execute",
        lambda _c, _u, text, values, *_: statements.append((text, values)),
    )
    reader.page(5)
    text, values = statements[0]
    with database.engine.connect() as connection:
        connection.exec_driver_sql("SET enable_seqscan = off")
        plan = "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {text}", values))  # type: ignore[arg-type]

    assert "ix_goenhance_swaps_pair_id" in plan or "ix_goenhance_swaps_run" in plan


def test_a_table_of_an_earlier_release_is_searched_without_the_index(
    database: ResultsDatabase, rows: list[Swap]
) -> None:
    on = "" if database.engine.dialect.name in {"sqlite", "postgresql"} else " ON goenhance_swaps"
    database.run(lambda connection: connection.exec_driver_sql(f"DROP INDEX ix_goenhance_swaps_pair_id{on}"))

    assert not search_indexes(database).by_pair


def test_trigram_indexes_are_found_and_find_parts(database: ResultsDatabase, rows: list[Swap]) -> None:
    if database.engine.dialect.name != "postgresql":
        assert search_indexes(database).by_parts == ()
        return
    try:
        database.run(lambda connection: connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS pg_trgm"))
    except Exception as error:  # noqa: BLE001
        pytest.skip(f"this PostgreSQL has no pg_trgm: {error}")
    database.run(
        lambda connection: connection.exec_driver_sql(
            "CREATE INDEX parts ON goenhance_swaps USING gin (pair_id gin_trgm_ops, source_img gin_trgm_ops)"
        )
    )

    assert search_indexes(database).by_parts == ("pair_id", "source_img")
    found = ids_with(database, KEY, "example/13", ("pair_id", "source_img"))
    assert found == [swap.swap_id for swap in rows if "example/13" in swap.source_img]


def test_a_tally_counts_what_is_there(database: ResultsDatabase, rows: list[Swap]) -> None:
    tally = Tally(database, KEY)

    tally.advance(60.0)
    figures = figures_of(tally)

    assert figures.complete
    assert {status: n for status, n in figures.counts.items() if n} == Counter(swap.status for swap in rows)
    assert figures.reasons == {(Status.FAILED, "job_failed"): 10}
    assert (figures.attempts, figures.cost) == (50, 40)
    assert figures_of(tally, lambda zone: zone == Zone("swap", 1)).rows == len(
        [s for s in rows if s.batch == 1]
    )


def test_a_tally_counts_as_much_as_fits_into_its_time(database: ResultsDatabase, rows: list[Swap]) -> None:
    tally = Tally(database, KEY, clock=Clock())
    shares: list[float] = []

    while not tally.complete:
        tally.advance(0.5)
        shares.append(tally.share)

    assert len(shares) > 2
    assert shares == sorted(shares)
    assert 0 < shares[0] < 1


def test_a_tally_counts_again_what_may_have_changed(database: ResultsDatabase, rows: list[Swap]) -> None:
    clock = Clock(0.0)
    tally = Tally(database, KEY, clock=clock)
    tally.advance(60.0)
    swaps = database.swaps
    waiting = (
        sa.update(swaps)
        .where(swaps.c.run_id == "run", swaps.c.status == "planned")
        .values(status="succeeded")
    )
    database.run(lambda connection: connection.execute(waiting))

    tally.advance(60.0)
    assert figures_of(tally).counts[Status.PLANNED] == 10
    clock.now += 11
    tally.advance(60.0)
    assert figures_of(tally).counts[Status.PLANNED] == 0

    failed = (
        sa.update(swaps).where(swaps.c.run_id == "run", swaps.c.status == "failed").values(status="unknown")
    )
    database.run(lambda connection: connection.execute(failed))
    tally.forget(zone for zone, _ in tally.zones())
    tally.advance(60.0)
    assert figures_of(tally).counts[Status.FAILED] == 0


def test_the_rate_is_that_of_the_last_seconds(database: ResultsDatabase, rows: list[Swap]) -> None:
    clock = Clock(0.0)
    tally = Tally(database, KEY, clock=clock)
    tally.advance(60.0)
    assert tally.rate() is None
    swaps = database.swaps
    done = (
        sa.update(swaps)
        .where(swaps.c.run_id == "run", swaps.c.status == "planned")
        .values(status="succeeded")
    )
    database.run(lambda connection: connection.execute(done))

    clock.now += 20
    tally.advance(60.0)

    assert tally.rate() == pytest.approx(0.5)


def test_labels_with_few_values_are_found(database: ResultsDatabase, rows: list[Swap]) -> None:
    assert labels_to_filter_by(database, KEY) == ["client"]
    tally = label_tally(database)
    tally.advance(60.0)
    values = Counter[str]()
    for (_, value), cell in tally.groups().items():
        values[value] += cell.rows
    assert values == {"Acme": 40, "Zett & Co": 20}


def test_the_runs_are_listed_latest_first(database: ResultsDatabase) -> None:
    days = [dt.datetime(2026, 11, day, tzinfo=dt.UTC) for day in range(1, 6)]
    order = ["manual__b", "scheduled__a", "manual__a", "scheduled__b", "x"]
    for day, run_id in zip(days, order, strict=True):
        dag_id = "dag" if run_id != "x" else "other dag"
        swaps = [
            planned(n, run_id=run_id, dag_id=dag_id, swap_id=f"{run_id}{n}", planned_at=day) for n in range(3)
        ]
        Ledger(database).plan(RunKey(dag_id, run_id), swaps)

    assert dags_with_rows(database) == ["dag", "other dag"]
    assert [entry.key.run_id for entry in runs_of(database, ["dag"])] == order[3::-1]
    assert [entry.planned_at for entry in runs_of(database, ["dag", "other dag"])] == days[::-1]
    assert runs_of(database, []) == []


def test_pairs_that_changed_are_found_page_by_page(database: ResultsDatabase, rows: list[Swap]) -> None:
    before = RunKey("dag", "before")
    old = [
        dataclasses.replace(
            swap,
            swap_id=f"old-{swap.row_number}-{swap.pair_id}",
            run_id="before",
            status=Status.SUCCEEDED if number % 2 else swap.status,
        )
        for number, swap in enumerate(rows)
        if number % 10
    ]
    Ledger(database).plan(before, old)
    status_then = {(swap.pair_id, swap.pair_fingerprint): swap.status for swap in old}

    def kind(status: Status | None) -> Status | None:
        return Status.SUCCEEDED if status is Status.REUSED else status

    changed = []
    for swap in sorted(rows, key=place):
        then = status_then.get((swap.pair_id, swap.pair_fingerprint))
        if kind(then) != kind(swap.status):
            changed.append((swap.swap_id, then))

    for seconds in (60.0, 0.0):
        found, after = [], None
        while True:
            page = changes_since(database, KEY, before, 4, after, seconds=seconds, clock=Clock())
            found += [(change.swap.swap_id, change.before) for change in page.changes]
            after = page.following
            if after is None:
                break
        assert found == changed
