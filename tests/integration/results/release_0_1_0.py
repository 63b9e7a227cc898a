# SPDX-License-Identifier: Apache-2.0
"""The results table as release 0.1.0 created and filled it, in plain SQL."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

import sqlalchemy as sa

COLUMNS = """
    swap_id VARCHAR(36) NOT NULL PRIMARY KEY, dag_id VARCHAR(250) NOT NULL, run_id VARCHAR(250) NOT NULL,
    task_id VARCHAR(250), map_index INTEGER, batch INTEGER, manifest TEXT, row_number INTEGER,
    pair_id VARCHAR(250) NOT NULL, source_img TEXT NOT NULL, reference_img TEXT NOT NULL,
    pair_fingerprint VARCHAR(64) NOT NULL, consent_ref TEXT, status VARCHAR(16) NOT NULL, img_uuid VARCHAR(128),
    former_uuids TEXT, attempts INTEGER DEFAULT 0 NOT NULL, cost INTEGER, account VARCHAR(32),
    error_code VARCHAR(64), error_message TEXT, result_uri TEXT, result_sha256 VARCHAR(64),
    additional_result_uris TEXT, reused_from VARCHAR(36), claimed_by VARCHAR(400), max_tries INTEGER,
    planned_at {time}, claimed_at {time}, submitted_at {time}, finished_at {time}
"""
TIMES = {"sqlite": "DATETIME", "postgresql": "TIMESTAMP WITH TIME ZONE"}


def create(connection: sa.Connection) -> None:
    """Create the table and its two indexes."""
    time = TIMES.get(connection.dialect.name, "DATETIME")
    quoted = COLUMNS.format(time=time)
    if connection.dialect.name in {"mysql", "mariadb"}:
        quoted = quoted.replace("row_number", "`row_number`")
    connection.exec_driver_sql(f"CREATE TABLE goenhance_swaps ({quoted})")
    run = "CREATE INDEX ix_goenhance_swaps_run ON goenhance_swaps (dag_id, run_id, task_id, batch)"
    connection.exec_driver_sql(run)
    connection.exec_driver_sql("CREATE INDEX ix_goenhance_swaps_pair ON goenhance_swaps (pair_fingerprint)")


def insert(connection: sa.Connection, **values: Any) -> str:
    """Insert a row, with the fingerprint of that release; return its key."""
    pair = f"{values['source_img']}\n{values['reference_img']}"
    row = {
        "swap_id": str(uuid.uuid4()),
        "dag_id": "dag",
        "run_id": "run-1",
        "task_id": "swap",
        "pair_id": "p1",
        "pair_fingerprint": hashlib.sha256(pair.encode()).hexdigest(),
        "attempts": 1,
        "planned_at": "2026-01-01 00:00:00",
        **values,
    }
    names = ", ".join(row)
    parameters = ", ".join(f":{name}" for name in row)
    connection.execute(sa.text(f"INSERT INTO goenhance_swaps ({names}) VALUES ({parameters})"), row)
    return str(row["swap_id"])
