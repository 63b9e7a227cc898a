# SPDX-License-Identifier: Apache-2.0
"""Every SQL statement of the documentation runs on the databases that it is meant for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import sqlalchemy as sa

from airflow_provider_goenhance.results.ledger import Ledger
from tests.integration.results.databases import TestDatabase

DOCS = Path(__file__).resolve().parents[3] / "docs"
#: What only one kind of database understands; everything else runs on all.
ONLY_ON = {
    "CONVERT TO CHARACTER SET": "mysql",
    "USING brin": "postgresql",
    "CONCURRENTLY": "postgresql",
    "CREATE EXTENSION": "postgresql",
    "interval '": "postgresql",
}


def statements() -> list[str]:
    found = []
    for page in sorted(DOCS.glob("*.md")):
        for block in re.findall(r"```sql\n(.*?)```", page.read_text(), re.DOTALL):
            bare = re.sub(r"--.*$", "", block, flags=re.MULTILINE)
            found += [statement.strip() for statement in bare.split(";") if statement.strip()]
    return found


@pytest.mark.parametrize("statement", statements(), ids=lambda text: text[:50])
def test_a_documented_statement_runs(database: TestDatabase, statement: str) -> None:
    kind = next((kind for mark, kind in ONLY_ON.items() if mark in statement), None)
    dialect = database.engine.dialect.name
    if kind not in {None, dialect} and not (kind == "mysql" and dialect == "mariadb"):
        pytest.skip(f"the statement is for {kind}")
    Ledger(database)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if "pg_trgm" in statement or "gin_trgm_ops" in statement:
            available = "SELECT 1 FROM pg_available_extensions WHERE name = 'pg_trgm'"
            if not connection.exec_driver_sql(available).first():
                pytest.skip("this PostgreSQL has no pg_trgm")
            connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS pg_trgm")
            if statement.startswith("CREATE EXTENSION"):
                return
        if index := re.search(r"CONCURRENTLY (\w+)", statement):
            # The statement is for tables of an earlier release, which lack the index.
            connection.exec_driver_sql(f"DROP INDEX IF EXISTS {index[1]}")
        connection.execute(sa.text(statement.replace(":", r"\:")))
