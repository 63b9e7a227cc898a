# SPDX-License-Identifier: Apache-2.0
"""A manifest that is the rows of an SQL query, through Airflow connections to real databases."""

from __future__ import annotations

import json
import socket
import sqlite3
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_goenhance.exceptions import ManifestError, ManifestUnavailableError
from airflow_provider_goenhance.hooks.manifest_query import passes, query_manifest
from airflow_provider_goenhance.manifest.read import ManifestStream, Options
from airflow_provider_goenhance.retry_policy import is_final

CONN_ID = "goenhance_test_shoots"
FACE = "https://pictures.example/faces/%d.jpg"
SCENE = "https://pictures.example/scenes/%d.jpg?w=50%%25"
QUERY = (
    "SELECT number AS id, face, scene AS target, note, shot_at FROM shoots "
    "WHERE note NOT LIKE '%skip%' ORDER BY number;"
)


@pytest.fixture(params=["sqlite", "postgres", "dbapi"])
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[sa.Engine]:
    """A database with a connection; `dbapi` is SQLite through the driver's own connection, without SQLAlchemy."""
    kind = "postgres" if request.param == "postgres" else "sqlite"
    url: sa.URL = request.getfixturevalue(f"{kind}_url")
    if kind == "postgres":
        conn = {
            "conn_type": "postgres",
            "host": url.host or url.query.get("host"),
            "port": url.port,
            "login": url.username,
        }
        conn |= {"password": url.password, "schema": url.database}
    else:
        conn = {"conn_type": "sqlite", "host": url.database}
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps(conn))
    if request.param == "dbapi":
        from airflow.providers.sqlite.hooks.sqlite import SqliteHook

        def fail(*args: Any, **kwargs: Any) -> Any:
            raise NotImplementedError

        monkeypatch.setattr(SqliteHook, "get_sqlalchemy_engine", fail)
    engine = sa.create_engine(url)
    yield engine
    engine.dispose()


def fill(engine: sa.Engine, rows: int) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE shoots (number INTEGER, face TEXT, scene TEXT, note TEXT, shot_at TIMESTAMP)"
        )
        values = [
            {"n": n, "f": FACE % n, "s": SCENE % n, "note": "night" if n % 2 else "skip"}
            for n in range(1, rows + 1)
        ]
        insert = "INSERT INTO shoots VALUES (:n, :f, :s, :note, '2026-11-27 06:30:00')"
        connection.execute(sa.text(insert), values)


def test_the_rows_of_a_query_are_the_manifest(database: sa.Engine) -> None:
    fill(database, 4)
    source = query_manifest(QUERY, CONN_ID)
    manifest = ManifestStream(source, Options()).collect()
    assert manifest.location == f"query of connection {CONN_ID}"
    assert [(p.pair_id, p.row_number, p.source_img) for p in manifest.pairs] == [
        ("1", 1, FACE % 1),
        ("3", 2, FACE % 3),
    ]
    labels = json.loads(manifest.pairs[0].labels or "")
    assert labels["note"] == "night"
    assert labels["shot_at"].startswith("2026-11-27")
    assert manifest.sha256 == ManifestStream(query_manifest(QUERY, CONN_ID), Options()).sha256


def test_a_column_of_another_name_is_mapped(database: sa.Engine) -> None:
    fill(database, 1)
    source = query_manifest("SELECT face AS a, scene AS b FROM shoots", CONN_ID)
    options = Options(columns={"source_img": "a", "reference_img": "b"})
    assert len(ManifestStream(source, options).collect().pairs) == 1


def test_the_rows_are_streamed(database: sa.Engine) -> None:
    fill(database, 30_000)
    tracemalloc.start()
    try:
        source = query_manifest("SELECT face, scene FROM shoots", CONN_ID)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    with source.open() as stream:
        size = sum(map(len, stream))
    assert peak < size  # some of it at once, not all


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT x FROM nowhere", "nowhere"),
        ("SELECT 'unfinished", "unfinished"),
        ("SELECT face FROM shoots", "the column reference_img is missing; found: face"),
        ("SELECT face, scene FROM shoots WHERE 1 = 0", "has no rows: it needs at least one pair"),
        ("CREATE TABLE other (x INTEGER)", "(it must be a query that returns rows|syntax error)"),
    ],
)
def test_a_query_that_gives_no_manifest_is_final_and_named(database: sa.Engine, sql: str, said: str) -> None:
    fill(database, 1)
    with pytest.raises(ManifestError, match=rf"^manifest query of connection {CONN_ID}.*{said}") as caught:
        ManifestStream(query_manifest(sql, CONN_ID), Options()).collect()
    assert is_final(caught.value)


def test_a_database_that_is_not_there_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        conn = {
            "conn_type": "postgres",
            "host": "127.0.0.1",
            "port": closed.getsockname()[1],
            "password": "s3cret",
        }
        monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps(conn))
        with pytest.raises(ManifestUnavailableError) as caught:
            query_manifest("SELECT 1", CONN_ID)
    assert "s3cret" not in str(caught.value)


def test_a_connection_that_takes_no_sql_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps({"conn_type": "http", "host": "x"}))
    with pytest.raises(ManifestError, match="a connection of type 'http' takes no SQL"):
        query_manifest("SELECT 1", CONN_ID)
    with pytest.raises(ManifestError, match="there is no such connection"):
        query_manifest("SELECT 1", "goenhance_no_such_connection")


def test_every_driver_names_trouble_with_the_connection_alike() -> None:
    assert passes(
        sqlite3.OperationalError("database is locked"), sqlite3.OperationalError("database is locked")
    )
    assert passes(ConnectionResetError(), ConnectionResetError())
    assert not passes(sqlite3.ProgrammingError("x"), sqlite3.ProgrammingError("x"))
