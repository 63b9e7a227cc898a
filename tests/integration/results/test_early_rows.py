# SPDX-License-Identifier: Apache-2.0
"""The rows of a large plan are written while others are planned; what is in its way makes the end write them all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
import sqlalchemy as sa

from airflow_provider_goenhance.execution import run_plan
from airflow_provider_goenhance.execution.run_plan import PlanOptions, RunPlan
from airflow_provider_goenhance.manifest.model import Manifest, Pair
from airflow_provider_goenhance.results.early_rows import EarlyRows
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.staged_plan import StagedPlan
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap
from tests.integration.results.conftest import MakeDatabase
from tests.integration.results.databases import TestDatabase

KEY = RunKey("dag", "run")


def row(number: int, status: Status = Status.PLANNED) -> Swap:
    return Swap(
        f"swap-{number}",
        "dag",
        "run",
        f"p{number}",
        "a",
        "b",
        f"{number:064}",
        status,
        "swap",
        row_number=number,
    )


@contextmanager
def early(database: TestDatabase) -> Iterator[tuple[StagedPlan, EarlyRows]]:
    """Yield a plan of three rows, two of which are in batches, and what writes them early."""
    ledger = Ledger(database)
    with closing(ledger.stage()) as staged:
        if not staged.can_be_copied:
            pytest.skip("only PostgreSQL copies rows")
        plan = StagedPlan(ledger.swaps, KEY, "swap", staged, pairs_per_task=1)
        with closing(ledger.write_early(plan)) as rows:
            rows.add(staged.add([(row(1), 0, False), (row(2), 1, False)]), with_places=True, size=None)
            rows.add(staged.add([(row(3, Status.REUSED), None, False)]), with_places=False, size=None)
            yield plan, rows


def batches(database: TestDatabase) -> dict[str, int | None]:
    c = database.swaps.c
    return {found["pair_id"]: found["batch"] for found in database.read(sa.select(c.pair_id, c.batch))}


def test_nothing_is_seen_before_the_end_and_then_everything(database: TestDatabase) -> None:
    with early(database) as (_, rows):
        assert batches(database) == {}
        result = rows.finish(1)
    assert result is not None
    assert result.added == 3
    assert batches(database) == {"p1": 0, "p2": 1, "p3": None}


def test_a_plan_that_ends_early_leaves_nothing(database: TestDatabase) -> None:
    with early(database):
        pass
    assert batches(database) == {}


def test_another_size_of_batches_than_was_settled_is_written_at_the_end(database: TestDatabase) -> None:
    with early(database) as (plan, rows):
        rows.add(plan.rows.add([(row(4), 2, False)]), with_places=True, size=2)
        assert rows.finish(1) is None
    assert batches(database) == {}


@pytest.mark.parametrize("number", [1, 9], ids=["one of them", "one that the manifest no longer holds"])
def test_rows_that_another_plan_of_the_run_adds_are_left_to_the_end(
    database: TestDatabase, make_database: MakeDatabase, number: int
) -> None:
    with early(database) as (plan, rows):
        Ledger(make_database()).plan(KEY, [row(number)], task_id="swap")
        assert rows.finish(1) is None
        rows.close()
        written = Ledger(database).plan_staged(plan)
    assert written.added + written.known == 3
    assert written.withdrawn == (number == 9)


def test_rows_that_the_database_refuses_are_left_to_the_end(database: TestDatabase) -> None:
    with early(database) as (plan, rows):
        wrong = plan.rows.add([(row(4), None, False)])
        rows.add(wrong._replace(size=wrong.size - 5), with_places=False, size=None)
        assert rows.finish(1) is None
        rows.close()
        assert Ledger(database).plan_staged(plan).added == 4


def test_a_large_plan_of_a_run_uses_it(database: TestDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    if database.url.get_backend_name() != "postgresql":
        pytest.skip("only PostgreSQL copies rows")
    monkeypatch.setattr(run_plan, "EARLY_ROWS", 2)
    monkeypatch.setattr(Ledger, "plan_staged", lambda *_: pytest.fail("they were written already"))
    pairs = [Pair(f"p{number}", f"https://a.example/{number}.jpg", "b", number) for number in range(5)]
    with RunPlan(Ledger(database), KEY, "swap", PlanOptions("account")) as plan:
        for pair in pairs:
            plan.add(Manifest("pairs.csv", [pair], [], "0" * 64))
        plan.write(2)
    assert sorted(batches(database).items()) == [("p0", 0), ("p1", 0), ("p2", 1), ("p3", 1), ("p4", 2)]
