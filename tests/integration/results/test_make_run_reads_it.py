# SPDX-License-Identifier: Apache-2.0
"""`make run` follows the results table in whatever database the connection names."""

from __future__ import annotations

import sqlalchemy as sa

from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.states import Status
from include.local.results import RunResults
from include.local.settings import ConnectionSetting
from tests.integration.results.databases import TestDatabase
from tests.swaps import planned

TYPES = {"sqlite": "sqlite", "postgresql": "postgres", "mysql": "mysql"}


def connection_to(url: sa.URL) -> ConnectionSetting:
    conn_type = TYPES[url.get_backend_name()]
    if conn_type == "sqlite":
        return ConnectionSetting("goenhance_results", conn_type, host=url.database)
    # The test servers listen on sockets only.
    host = url.query.get("host") or url.host
    socket = {name: url.query[name] for name in ("unix_socket",) if name in url.query}
    return ConnectionSetting(
        "goenhance_results",
        conn_type,
        host=str(host) if host else None,
        schema=url.database,
        login=url.username,
        password=str(url.password) if url.password else None,
        port=url.port,
        extra=dict(socket),
    )


def test_the_rows_and_their_counts_are_read(database: TestDatabase) -> None:
    key = RunKey("dag", "run")
    rows = [planned(0, status=Status.SUCCEEDED), planned(1, status=Status.FAILED), planned(2)]
    Ledger(database).plan(key, [*rows, planned(3, run_id="another run")])

    results = RunResults(connection_to(database.url), key.dag_id, key.run_id)

    assert results.counts() == {"succeeded": 1, "failed": 1, "planned": 1}
    assert [row.pair_id for row in results.rows(10)] == ["p0", "p1", "p2"]
    results.close()
