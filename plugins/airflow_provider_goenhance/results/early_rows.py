# SPDX-License-Identifier: Apache-2.0
"""
Write the rows of a large plan while others are still planned, in one transaction that the end of the plan commits.

PostgreSQL writes them on another processor than the one that plans. It is an attempt: the rows wait in their file as
well, and :class:`.staged_plan.StagedPlan` writes them from there if anything at all was not as expected.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from .plan import PlanResult
from .staged_rows import FilePart, StagedRows, create_staging_table

if TYPE_CHECKING:
    from .database import ResultsDatabase
    from .staged_plan import StagedPlan

log = logging.getLogger(__name__)

#: Parts of the file that are written by one statement, at most.
_PARTS = 4


class EarlyRows:
    """
    Writes the rows of a task that has none yet. Close it, which undoes what was not committed.

    :param database: where the results table is, a PostgreSQL that the rows can be copied into
    :param plan: the task, and the file with its rows; its size of batches does not count
    """

    def __init__(self, database: ResultsDatabase, plan: StagedPlan) -> None:
        self._database = database
        self._plan = plan
        self._now = dt.datetime.now(dt.UTC)
        self._lock = threading.Lock()
        self._parts: deque[FilePart] = deque()
        #: Parts with rows whose batches are not known yet.
        self._later: list[FilePart] = []
        self._size: int | None = None
        self._added = 0
        self._thread = ThreadPoolExecutor(1, "goenhance-early-rows")
        self._open = ExitStack()
        self._connection: sa.Connection | None = None
        self._stage: sa.Table | None = None
        self._failure: BaseException | None = None

    def add(self, part: FilePart, *, with_places: bool, size: int | None) -> None:
        """
        Have the rows of a part of the file written. Returns at once.

        :param with_places: whether some of them belong into batches
        :param size: rows in one batch, if that is known already; from then on it must not change
        """
        if size is not None:
            self._size = size
        if with_places and self._size is None:
            self._later.append(part)
            return
        self._queue([*self._later, part] if self._size is not None else [part])
        if self._size is not None:
            self._later = []

    def finish(self, size: int) -> PlanResult | None:
        """
        Commit the rows and return how many there are; ``None`` if nothing was written, which happens for many reasons.

        :param size: rows in one batch
        """
        if self._size not in {None, size}:
            return None
        self._size = size
        self._queue(self._later)
        self._later = []
        try:
            return self._thread.submit(self._commit).result()
        except sa.exc.SQLAlchemyError as error:
            log.debug("The rows of the plan are written again, from their file.", exc_info=error)
            return None

    def close(self) -> None:
        """Undo what was not committed, and close the connection; more than once does nothing more."""
        with self._lock:
            self._parts.clear()
        self._thread.shutdown()
        # Nobody else uses the connection any more. It is rolled back before it returns to its pool.
        self._open.close()

    def _queue(self, parts: list[FilePart]) -> None:
        with self._lock:
            self._parts.extend(parts)
        if parts:
            self._thread.submit(self._write_parts)

    def _write_parts(self) -> None:
        """Write what is queued; what fails makes the end of the plan write everything from the file."""
        while self._failure is None:
            with self._lock:
                parts = [self._parts.popleft() for _ in range(min(_PARTS, len(self._parts)))]
            if not parts:
                return
            try:
                self._write(parts)
            except Exception as error:
                self._failure = error
                log.debug("The rows of the plan will be written at its end.", exc_info=error)
                self._open.close()

    def _write(self, parts: list[FilePart]) -> None:
        connection, stage = self._begun()
        self._plan.rows.copy(connection, parts)
        statement = self._plan.insert(stage, connection.dialect.name)
        values = {"plan_first": 0, "plan_size": self._size or 1, "plan_now": self._now}
        options: dict[str, Any] = {"preserve_rowcount": True}
        self._added += connection.execute(statement, values, execution_options=options).rowcount
        connection.exec_driver_sql(f"TRUNCATE {stage.name}")

    def _begun(self) -> tuple[sa.Connection, sa.Table]:
        """Return the connection with the transaction, and the temporary table."""
        if self._connection is None or self._stage is None:
            self._connection = self._open.enter_context(self._database.engine.connect())
            self._connection.begin()
            self._stage = create_staging_table(self._connection, self._plan.swaps)
        return self._connection, self._stage

    def _commit(self) -> PlanResult | None:
        connection = self._connection
        rows: StagedRows = self._plan.rows
        # Fewer were added if another plan of this run has added some of them, or one of them is there twice.
        if self._failure is not None or connection is None or self._added != rows.count:
            return None
        # And another one may have added rows that the manifest no longer holds, which have to be withdrawn.
        if self._plan.count(connection) != rows.count:
            return None
        transaction = connection.get_transaction()
        if transaction is None:
            return None
        transaction.commit()
        return PlanResult(added=self._added, known=0, withdrawn=0, restored=0)
