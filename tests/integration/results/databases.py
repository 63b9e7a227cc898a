# SPDX-License-Identifier: Apache-2.0
"""Results tables for tests, and commits that go wrong on demand."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, Literal

import sqlalchemy as sa

from airflow_provider_goenhance.results.database import ResultsDatabase
from airflow_provider_goenhance.results.transition_sql import apply
from airflow_provider_goenhance.results.transitions import ClaimOwner, Transition

#: What happens at the next COMMIT: it goes through; its connection is cut before or after it took effect, and the
#: transaction is run again; or the process dies before or after it took effect.
Fate = Literal["ok", "cut_before", "cut_after", "crash_before", "crash_after"]


class ProcessDied(BaseException):
    """The process that took a step is no more; not an Exception, so that nothing in the product handles it."""


class TestDatabase(ResultsDatabase):
    """A results table whose next COMMIT can be spoiled; it does not pause between attempts."""

    __test__ = False
    fate: Fate = "ok"
    spoiled: sa.Engine | None = None

    def __init__(self, url: str | sa.URL, *, name: str) -> None:
        super().__init__(url, name=name, sleep=lambda _seconds: None)

    @property
    def engine(self) -> sa.Engine:
        engine = super().engine
        if engine is not self.spoiled:
            self.spoiled = engine
            engine.dialect.do_commit = self._spoiled(engine.dialect.do_commit)  # type: ignore[method-assign]
        return engine

    def take(self, owner: ClaimOwner, steps: list[Transition], fate: Fate = "ok") -> list[bool]:
        """Take steps in one transaction, as the group commit does."""
        _ = self.engine
        self.fate = fate
        try:
            return self.run(lambda connection: apply(connection, self.swaps, owner, steps))
        finally:
            self.fate = "ok"

    def _spoiled(self, commit: Callable[[Any], None]) -> Callable[[Any], None]:
        def do_commit(connection: Any) -> None:
            fate, self.fate = self.fate, "ok"
            if fate in {"ok", "cut_after", "crash_after"}:
                commit(connection)
            if fate.startswith("cut"):
                raise self._connection_cut()
            if fate.startswith("crash"):
                raise ProcessDied

        return do_commit

    def _connection_cut(self) -> Exception:
        if self.url.get_backend_name() == "sqlite":
            return sqlite3.OperationalError("database is locked")
        if self.url.get_backend_name() == "mysql":
            import pymysql

            return pymysql.err.OperationalError(2013, "Lost connection to MySQL server during query")
        import psycopg2

        return psycopg2.OperationalError("server closed the connection unexpectedly")
