# SPDX-License-Identifier: Apache-2.0
"""The sandbox's ledger in SQLite. Every accepted submit is recorded before its response is sent."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING

from .jobs import JOB_COLUMNS, Job

if TYPE_CHECKING:
    from pathlib import Path

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS jobs ({", ".join(JOB_COLUMNS)}, PRIMARY KEY (sequence)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""
_PUT_JOB = f"INSERT OR REPLACE INTO jobs VALUES ({', '.join('?' * len(JOB_COLUMNS))})"  # noqa: S608
_PUT_FACT = "INSERT OR REPLACE INTO facts VALUES (?, ?)"


LEDGER_FILE = "ledger.sqlite3"


class Ledger:
    """
    Jobs and balance on disk, written by group commit.

    All records of one event loop iteration share a transaction. With `synchronous=OFF`, a record survives the death of
    this process but not a power failure.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.executescript(_SCHEMA)
        self._jobs: dict[int, Job] = {}
        self._facts: dict[str, object] = {}
        self._written: asyncio.Future[None] | None = None

    def check(self) -> None:
        """
        Raise if the file does not have the schema of this version.

        :raises sqlite3.Error: the schema differs, or the file is not a database.
        """
        self._db.execute(f"SELECT {', '.join(JOB_COLUMNS)} FROM jobs LIMIT 0")  # noqa: S608

    def load(self) -> list[Job]:
        """Return all jobs in the order of acceptance."""
        rows = self._db.execute(f"SELECT {', '.join(JOB_COLUMNS)} FROM jobs ORDER BY sequence")  # noqa: S608
        jobs = [Job(**dict(zip(JOB_COLUMNS, row, strict=True))) for row in rows]
        for job in jobs:
            job.refunded = bool(job.refunded)
        return jobs

    def fact(self, name: str) -> object:
        """Return a named value, or None if it was never written."""
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def keep(self, job: Job | None = None, **facts: object) -> asyncio.Future[None]:
        """Add a job and named values to the next group; await the result to be sure that they are on disk."""
        if self._written is None:
            loop = asyncio.get_running_loop()
            self._written = loop.create_future()
            loop.call_soon(self._write_group)
        if job is not None:
            self._jobs[job.sequence] = job
        self._facts.update(facts)
        return self._written

    def clear(self) -> None:
        """Delete all jobs; keep the named values."""
        self._write_group()
        self._db.execute("DELETE FROM jobs")

    def close(self) -> None:
        """Write the pending group and close the file."""
        self._write_group()
        self._db.close()

    def _write_group(self) -> None:
        written, self._written = self._written, None
        if written is None:
            return
        jobs, self._jobs = self._jobs, {}
        facts, self._facts = self._facts, {}
        rows = [tuple(getattr(job, name) for name in JOB_COLUMNS) for job in jobs.values()]
        try:
            self._db.execute("BEGIN")
            self._db.executemany(_PUT_JOB, rows)
            self._db.executemany(_PUT_FACT, list(facts.items()))
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            written.set_exception(error)
            # Not every caller awaits the future. Read the exception, or asyncio logs it as never retrieved.
            written.exception()
        else:
            written.set_result(None)
