# SPDX-License-Identifier: Apache-2.0
"""Reading a run's rows from the results table that the product writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from airflow_provider_goenhance.results.schema import swaps_table
from include.local.errors import LocalStackError
from include.local.results import RunResults
from include.local.settings import ConnectionSetting

DAG = "goenhance_face_swap_batch"


def connection(path: Path, **extra: str) -> ConnectionSetting:
    return ConnectionSetting("goenhance_results", "sqlite", str(path), extra=extra)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A results table with two rows of run r1 and one of run r2."""
    path = tmp_path / "results.db"
    engine, table = sa.create_engine(f"sqlite:///{path}"), swaps_table()
    table.metadata.create_all(engine)
    common = {"dag_id": DAG, "source_img": "s", "reference_img": "r", "pair_fingerprint": "f", "attempts": 1}
    rows = [
        {
            "swap_id": "2",
            "run_id": "r1",
            "row_number": 2,
            "pair_id": "b",
            "status": "failed",
            "error_code": "x",
        },
        {
            "swap_id": "1",
            "run_id": "r1",
            "row_number": 1,
            "pair_id": "a",
            "status": "succeeded",
            "img_uuid": "u",
        },
        {"swap_id": "3", "run_id": "r2", "row_number": 1, "pair_id": "a", "status": "reused"},
    ]
    with engine.begin() as writing:
        for row in rows:
            writing.execute(table.insert(), {**common, **row})
    engine.dispose()
    return path


@pytest.fixture
def results(database: Path) -> Iterator[RunResults]:
    found = RunResults(connection(database), DAG, "r1")
    yield found
    found.close()


def test_rows_of_the_run_come_in_the_order_of_the_manifest(results: RunResults) -> None:
    assert [(row.pair_id, row.status, row.img_uuid) for row in results.rows(10)] == [
        ("a", "succeeded", "u"),
        ("b", "failed", None),
    ]


def test_of_a_longer_run_only_the_rows_that_need_attention_are_read(results: RunResults) -> None:
    assert [row.pair_id for row in results.rows(1)] == ["b"]


def test_only_rows_of_the_run_are_counted(results: RunResults) -> None:
    assert results.counts() == {"succeeded": 1, "failed": 1}


def test_before_the_first_run_there_is_nothing_and_no_file_is_left_behind(tmp_path: Path) -> None:
    results = RunResults(connection(tmp_path / "none.db"), DAG, "r1")
    assert results.counts() == {}
    assert results.rows(10) == []
    assert list(tmp_path.iterdir()) == []


def test_a_database_without_the_table_has_no_rows_yet(database: Path) -> None:
    assert RunResults(connection(database, goenhance_table="other"), DAG, "r1").counts() == {}


def test_a_file_that_is_no_database_is_an_error_with_a_cause(tmp_path: Path) -> None:
    (tmp_path / "results.db").write_text("this is not a database, whatever its name says" * 100)
    with pytest.raises(LocalStackError, match="cannot be used: file is not a database"):
        RunResults(connection(tmp_path / "results.db"), DAG, "r1").counts()


def test_a_connection_of_a_type_we_cannot_read_is_refused_by_name() -> None:
    with pytest.raises(LocalStackError, match="connection 'goenhance_results' has the type 'mongo'"):
        RunResults(ConnectionSetting("goenhance_results", "mongo"), DAG, "r1")
