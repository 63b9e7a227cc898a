# SPDX-License-Identifier: Apache-2.0
"""
Erase what is kept of a person, a pair or a run.

What must not be relaxed:

- Files first, then the row: a row is what finds its files, so that an erasure that was killed goes on when it is
  repeated.
- Nothing is erased while a row is in flight, or its submit is not settled: its picture would come after the erasure.
- The row stays, with what a bill needs, and so does its ``pair_fingerprint``: the pair is not paid for again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..results.erasure_transitions import IN_FLIGHT
from ..results.erasures import ErasureRecord, Kind, Selector, Targets, mentions
from ..results.ledger import RunKey
from .erasure_files import RunFiles, delete_files, files_of, still_there

if TYPE_CHECKING:
    from ..results.ledger import Ledger
    from ..results.swap import Swap

log = logging.getLogger(__name__)

#: Rows that an error names.
NAMED_ROWS = 5
#: What no erasure here can do.
AT_THE_VENDOR = (
    "GoEnhance has copies of the inputs and results of these jobs, and its API has no call that deletes them: ask "
    "GoEnhance to delete the jobs by their img_uuid, which the rows keep. The manifest and the original pictures are "
    "yours to delete. Airflow's metadata database may name the pairs in XCom, rendered fields, run configurations and "
    "task logs: see `airflow db clean`."
)


class ErasureError(ValueError):
    """It cannot be erased now. Nothing was erased, unless the message says so."""


@dataclass(frozen=True, slots=True)
class Item:
    """
    One thing that is kept, or was erased.

    :param kind: ``row``, or what a file is
    :param done: ``found``, ``content erased``, ``deleted``, ``rewritten`` or ``left``
    :param row: its row; ``None`` for a file of the run
    """

    kind: str
    run: RunKey
    done: str
    uri: str | None = None
    row: Swap | None = None


class Erasure:
    """
    Lists or erases what a selector means.

    :param ledger: the results table
    :param storages: where runs may have kept files, beside where the rows say
    :param conn_id: Airflow connection of the storage
    """

    def __init__(
        self, ledger: Ledger, selector: Selector, *, storages: Iterable[str] = (), conn_id: str | None = None
    ) -> None:
        self._ledger = ledger
        self._selector = selector
        self._conn_id = conn_id
        self._targets = Targets(ledger.database, selector)
        self._storages = list(storages)
        self.rows = self.files = 0
        #: What is still there after an erasure: rows, and values that name it.
        self.left_over = 0

    def find(self) -> Iterator[Item]:
        """Yield what is kept; nothing is changed."""
        run_files = self._run_files()
        for page in self._targets.pages():
            run_files.add(page)
            there = still_there((file for row in page for file in files_of(row)), self._conn_id)
            self.rows += len(page)
            self.files += len(there)
            for row in page:
                key = RunKey(row.dag_id, row.run_id)
                yield Item("row", key, "found", row=row)
                for file in there.intersection(files_of(row)):
                    yield Item(file.kind, key, "found", file.uri, row)
        for key, file in run_files.find():
            self.files += 1
            yield Item(file.kind, key, "found", file.uri)

    def erase(self, *, by: str) -> Iterator[Item]:
        """
        Erase it, and yield what was erased. Repeated, it goes on where it was killed.

        :param by: who asks for it, which is recorded
        :raises ErasureError: when a row is in flight or not settled; nothing is erased
        :raises CollectError: when a file cannot be deleted; the rows after it are not erased
        """
        run_files = self._run_files()
        self._survey(run_files)
        record = ErasureRecord(self._ledger.database, self._selector, by=by)
        for key, file in list(run_files.find()):
            done = run_files.clean(key, file)
            self._count(record, 1)
            yield Item(file.kind, key, done, file.uri)
        for page in self._targets.pages():
            yield from self._erase_page(record, page)
        record.forget_checks()
        self.left_over = self._look_again(run_files)
        record.finish(self.left_over)

    def _run_files(self) -> RunFiles:
        return RunFiles(self._storages, self._conn_id, whole=self._selector.run)

    def _survey(self, run_files: RunFiles) -> None:
        """Note the runs, and refuse if a row is in flight."""
        busy: list[Swap] = []
        count = 0
        for page in self._targets.pages():
            run_files.add(page)
            found = [row for row in page if row.status in IN_FLIGHT]
            busy += found[: NAMED_ROWS - len(busy)]
            count += len(found)
        if count:
            named = ", ".join(f"{row.swap_id} of run {row.run_id} ({row.status})" for row in busy)
            raise ErasureError(
                f"{count} of the rows may still get a picture, or are not settled: {named}"
                f"{', ...' if count > len(busy) else ''}. Nothing was erased. Wait until their tasks have ended, or "
                "clear the tasks; settle an unknown submit with `airflow goenhance resolve`. Then repeat the command."
            )

    def _erase_page(self, record: ErasureRecord, page: list[Swap]) -> Iterator[Item]:
        by_row = {row.swap_id: files_of(row) for row in page}
        every = [file for files in by_row.values() for file in files]
        deleted = delete_files(every, self._conn_id)
        self._count(record, len(deleted))
        # Looked for before the rows forget where they were.
        left = still_there(every, self._conn_id)
        gone = [row for row in page if left.isdisjoint(by_row[row.swap_id])]
        self.rows += record.erase(gone)
        for row in page:
            key = RunKey(row.dag_id, row.run_id)
            for file in deleted.intersection(by_row[row.swap_id]):
                yield Item(file.kind, key, "deleted", file.uri, row)
            yield Item("row", key, "content erased" if row in gone else "left", row=row)

    def _count(self, record: ErasureRecord, files: int) -> None:
        self.files += files
        if files:
            record.count_files(files)

    def _look_again(self, run_files: RunFiles) -> int:
        """Return how much of what was named is still there: rows, files of the runs, and values with its name."""
        left = self._targets.count() + sum(1 for _ in run_files.find())
        if self._selector.kind is Kind.SOURCE and "/" in self._selector.value and not left:
            left += mentions(self._ledger.database, self._selector.value)
        return left
