# SPDX-License-Identifier: Apache-2.0
"""The way of a plan's rows into the results table: every value arrives as it was, through every driver."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import uuid
from pathlib import Path
from typing import IO, Any

import pytest
import sqlalchemy as sa

from airflow_provider_goenhance.execution.reused_marks import with_marked_pictures
from airflow_provider_goenhance.results import staged_rows
from airflow_provider_goenhance.results.key_lists import ARRAY_KEYS
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap, swap_id_for
from tests.integration.results.databases import TestDatabase
from tests.swaps import planned

KEY = RunKey("dag", "run")
ODD = "tab\tback\\slash \\N line\nfeed\r quote\" ' \u5951 \U0001f600"
MOMENT = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
FULL = planned(
    0,
    map_index=7,
    batch=7,
    manifest=ODD,
    consent_ref=ODD,
    source_key=ODD,
    reference_key="",
    labels=json.dumps({"a": ODD}),
    status=Status.REUSED,
    img_uuid="job",
    cost=0,
    account="account",
    error_message=ODD,
    result_uri=f"file:///{ODD}",
    result_mark="marked",
    additional_result_uris=('file:///a"b\\c.jpg', "file:///d.jpg"),
    planned_at=MOMENT,
    finished_at=MOMENT,
    reserved_cost=5,
    resolution_note=ODD,
)


def plan_and_read(database: TestDatabase, *rows: Swap) -> list[Swap]:
    ledger = Ledger(database)
    ledger.plan(KEY, rows, task_id="swap")
    return ledger.of_run(KEY)


def test_every_value_of_a_row_arrives_as_it_was(database: TestDatabase) -> None:
    assert plan_and_read(database, FULL) == [FULL]


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_both_drivers_of_postgresql_copy(postgres_url: sa.URL, driver: str) -> None:
    database = TestDatabase(postgres_url.set(drivername=f"postgresql+{driver}"), name="PostgreSQL")
    assert plan_and_read(database, FULL, planned(1))[0] == FULL
    database.close()


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_both_drivers_of_postgresql_count_what_they_add(postgres_url: sa.URL, driver: str) -> None:
    database = TestDatabase(postgres_url.set(drivername=f"postgresql+{driver}"), name="PostgreSQL")
    ledger = Ledger(database)
    first = ledger.plan(KEY, [planned(0), planned(1)], task_id="swap")
    second = ledger.plan(KEY, [planned(0), planned(1), planned(2)], task_id="swap")
    assert [(plan.added, plan.known) for plan in (first, second)] == [(2, 0), (1, 2)]
    database.close()


def test_text_that_no_database_stores_is_replaced(database: TestDatabase) -> None:
    [row] = plan_and_read(database, planned(0, consent_ref="nul \0 half \ud83d", pair_id="x" * 300))
    assert (row.consent_ref, row.pair_id) == ("nul \ufffd half ?", "x" * 250)


def test_a_row_that_is_staged_twice_is_planned_once(database: TestDatabase) -> None:
    assert len(plan_and_read(database, planned(0), planned(0), planned(1))) == 2


def test_rows_are_found_by_more_keys_than_fit_into_one_array(database: TestDatabase) -> None:
    plan_and_read(database, planned(0), planned(1))
    keys = [f"no-{number}" for number in range(ARRAY_KEYS)]
    found = Ledger(database).existing([planned(0).swap_id, *keys, planned(1).swap_id])
    assert found == {planned(0).swap_id, planned(1).swap_id}


def test_a_connection_that_is_cut_during_copy_is_replaced(
    postgres_url: sa.URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, cuts = staged_rows.COPY_BY_DRIVER["psycopg2"], [1]

    def cut_once(cursor: Any, statement: str, file: IO[bytes]) -> None:
        if cuts:
            cuts.pop()
            cursor.connection.close()
        copy(cursor, statement, file)

    monkeypatch.setitem(staged_rows.COPY_BY_DRIVER, "psycopg2", cut_once)
    database = TestDatabase(postgres_url, name="PostgreSQL")
    assert Ledger(database).plan(KEY, [planned(0)], task_id="swap").added == 1
    database.close()


def test_an_id_is_the_uuid_that_every_release_derives() -> None:
    namespace = uuid.UUID("6f1f7c0e-8f0b-5d0e-9a53-5c6f3c1d9b42")
    for parts in (["dag", "run", "swap", "p1", "f" * 64], ["d%s", 'r"\\', "s\u5951", "\ud83d\x07", ""]):
        assert swap_id_for(*parts) == str(uuid.uuid5(namespace, json.dumps(parts)))


def test_a_picture_that_is_known_to_disclose_its_origin_is_not_read(tmp_path: Path) -> None:
    row = planned(0, status=Status.REUSED, result_uri=(tmp_path / "none.jpg").as_uri(), result_mark="marked")
    assert with_marked_pictures([row]) == [row]


def test_a_changed_copy_is_what_replace_makes() -> None:
    changes = {"status": Status.HELD, "cost": 3, "resolution_note": "x"}
    assert FULL.changed(**changes) == dataclasses.replace(FULL, **changes)
