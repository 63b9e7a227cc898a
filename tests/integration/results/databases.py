# SPDX-License-Identifier: Apache-2.0
"""Results tables for tests, and commits that go wrong on demand."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, Literal

import sqlalchemy as sa

from airflow_provider_goenhance.results.database import ResultsDatabase
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap, pair_fingerprint, swap_id_for
from airflow_provider_goenhance.results.transition_sql import apply
from airflow_provider_goenhance.results.transitions import ClaimOwner, Transition

#: What happens at the next COMMIT: it goes through; its connection is cut before or after it took effect, and the
#: transaction is run again; or the process dies before or after it took effect.
Fate = Literal["ok", "cut_before", "cut_after", "crash_before", "crash_after"]


class ProcessDied(BaseException):
    """The process that took a step is no more; not an Exception, so that nothing in the product handles it."""


class TestDatabase(ResultsDatabase):
    """A results table whose next COMMIT can be spoiled; it does not pause between tries."""

    __test__ = False
    fate: Fate = "ok"

    @property
    def engine(self) -> sa.Engine:
        first = self._engine is None
        engine = super().engine
        if first:
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

    def _pause(self, error: BaseException, attempt: int) -> None:
        pass

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


def planned(number: int, *, run_id: str = "run", **values: Any) -> Swap:
    """Return a planned row."""
    source, reference = f"http://pictures.example/{number}.jpg", "http://pictures.example/scene.jpg"
    fingerprint = pair_fingerprint(source, reference)
    fields: dict[str, Any] = {
        "swap_id": swap_id_for("dag", run_id, "swap", f"p{number}", fingerprint),
        "dag_id": "dag",
        "run_id": run_id,
        "task_id": "swap",
        "batch": 0,
        "row_number": number + 1,
        "pair_id": f"p{number}",
        "source_img": source,
        "reference_img": reference,
        "pair_fingerprint": fingerprint,
        "status": Status.PLANNED,
    }
    return Swap(**{**fields, **values})
