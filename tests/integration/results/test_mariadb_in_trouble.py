# SPDX-License-Identifier: Apache-2.0
"""What MariaDB does in trouble: connections that are cut, restarts, refusals, and texts that it cannot hold."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_goenhance.exceptions import ResultsTableError
from airflow_provider_goenhance.results.database import ResultsDatabase
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.transient_errors import is_transient
from tests.integration.results.conftest import DATABASES
from tests.integration.results.mariadb import MariaDBServer
from tests.integration.results.test_databases_in_trouble import submit_while
from tests.swaps import planned

pytestmark = pytest.mark.skipif("mariadb" not in DATABASES, reason="MariaDB is tested by make test-system")

KEY = RunKey("dag", "run")


@pytest.fixture
def database(mariadb_url: sa.URL) -> Iterator[ResultsDatabase]:
    opened = ResultsDatabase(mariadb_url, name="connection 'goenhance_results'")
    yield opened
    opened.close()


def test_connections_cut_during_a_round_neither_lose_a_job_nor_pay_one_twice(
    database: ResultsDatabase, mariadb_server: MariaDBServer
) -> None:
    seen = {"begin": 0, "commit": 0}
    to_cut = {("begin", 8), ("commit", 10), ("commit", 12)}
    cut: list[tuple[str, int]] = []

    def passes(moment: str, connection: sa.Connection) -> None:
        seen[moment] += 1
        if (moment, seen[moment]) in to_cut:
            mariadb_server.do(f"KILL CONNECTION {connection.connection.driver_connection.thread_id()}")  # type: ignore[union-attr]
            cut.append((moment, seen[moment]))

    engine = database.engine
    sa.event.listen(engine, "begin", lambda connection: passes("begin", connection))
    sa.event.listen(engine, "commit", lambda connection: passes("commit", connection))
    accepted = submit_while(database)
    assert set(cut) == to_cut
    assert len(accepted) == len(set(accepted)) == 300


def test_a_restart_during_a_round_only_delays_it(
    database: ResultsDatabase, mariadb_server: MariaDBServer
) -> None:
    accepted = submit_while(database, mariadb_server.restart)
    assert len(accepted) == len(set(accepted)) == 300


def test_a_wrong_password_is_a_clear_error_at_once(
    mariadb_server: MariaDBServer, mariadb_url: sa.URL
) -> None:
    pauses: list[float] = []
    mariadb_server.do("CREATE USER guarded@localhost IDENTIFIED BY 'right'")
    try:
        url = mariadb_url.set(username="guarded", password="wrong")
        database = ResultsDatabase(url, name="connection 'goenhance_results'", sleep=pauses.append)
        with pytest.raises(ResultsTableError, match=r"goenhance_results.*Access denied") as caught:
            _ = database.engine
    finally:
        mariadb_server.do("DROP USER guarded@localhost")
    assert pauses == []
    assert "wrong" not in str(caught.value)


def test_a_database_that_does_not_exist_is_a_clear_error_at_once(mariadb_url: sa.URL) -> None:
    pauses: list[float] = []
    database = ResultsDatabase(mariadb_url.set(database="nowhere"), name="MariaDB", sleep=pauses.append)
    with pytest.raises(ResultsTableError, match="Unknown database"):
        _ = database.engine
    assert pauses == []


def test_a_text_that_a_table_of_another_encoding_cannot_hold_is_named_with_connection_and_encoding(
    database: ResultsDatabase,
) -> None:
    with database.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE goenhance_swaps CONVERT TO CHARACTER SET latin1")
    ledger = Ledger(database)
    assert ledger.plan(KEY, [planned(0)]).added == 1
    with pytest.raises(
        ResultsTableError, match=r"connection 'goenhance_results'.*table has the encoding latin1.*utf8mb4"
    ):
        ledger.plan(KEY, [planned(1, consent_ref="\u5951\u7d04 7")])


def test_a_claim_expires_by_utc_whatever_zone_the_server_is_in(
    database: ResultsDatabase, mariadb_server: MariaDBServer
) -> None:
    mariadb_server.do("SET GLOBAL time_zone = '-08:00'")
    try:
        ledger = Ledger(database)
        ledger.plan(KEY, [planned(0)], task_id="swap")
        assert abs(ledger.now() - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=5)
        zone = sa.text("SELECT @@session.time_zone")
        assert database.run_read(lambda connection: connection.execute(zone).scalar_one()) == "+00:00"
    finally:
        mariadb_server.do("SET GLOBAL time_zone = SYSTEM")


def test_a_row_that_changed_since_it_was_read_only_repeats_the_transaction(
    database: ResultsDatabase, mariadb_url: sa.URL
) -> None:
    """MariaDB refuses it, by default from 11.6.2 on, where earlier servers overwrote the row."""
    other = ResultsDatabase(mariadb_url, name="another process")
    ledger = Ledger(database)
    ledger.plan(KEY, [planned(0), planned(1)], task_id="swap")
    sa.event.listen(database.engine, "connect", _isolate_snapshots)
    database.engine.dispose()
    tries: list[int] = []

    def read_then_write(connection: sa.Connection) -> None:
        tries.append(connection.execute(sa.select(sa.func.count()).select_from(database.swaps)).scalar_one())
        if len(tries) == 1:
            other.run(lambda elsewhere: elsewhere.execute(sa.update(other.swaps).values(cost=7)))
        connection.execute(sa.update(database.swaps).values(manifest="changed"))

    database.run(read_then_write)
    other.close()
    assert len(tries) == 2
    assert [(row.cost, row.manifest) for row in ledger.of_run(KEY)] == [(7, "changed")] * 2


def _isolate_snapshots(connection: Any, _record: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION innodb_snapshot_isolation = ON")


@pytest.mark.parametrize("number", [1020, 1053, 1205, 1213, 1317, 1927, 2002, 2003])
def test_an_error_that_passes_by_itself_is_repeated_whatever_its_text(number: int) -> None:
    import pymysql

    error = sa.exc.OperationalError("UPDATE", {}, pymysql.err.OperationalError(number, "some text"))
    assert is_transient(error, attempt=1)
