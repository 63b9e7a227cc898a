# SPDX-License-Identifier: Apache-2.0
"""Plan the rows of a whole run, a part of its manifests at a time: however many there are, memory stays bounded."""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from ..exceptions import BatchFailedError
from ..manifest.chunk import SLOTS, settled_pairs_per_task
from ..manifest.model import Manifest
from ..results.staged_plan import StagedPlan
from ..results.states import OnUnknownSubmit, Status
from .batches import batch_size, is_work, list_batches, log_dry_run, log_written
from .heap import frozen_heap
from .messages import pluralize
from .meter import count_rows
from .plan_notes import PlanNotes
from .planning import plan_rows
from .preflight import MOST_PICTURES, DistinctPictures

if TYPE_CHECKING:
    from ..inputs.versions import LookUp
    from ..results.early_rows import EarlyRows
    from ..results.ledger import Ledger, RunKey
    from ..results.staged_rows import FilePart, StagedRow
    from ..results.swap import Swap

#: Rows that are looked up in the results table, and in storage, at a time.
PAGE_ROWS = 5000
#: Pages that are planned at the same time: while one waits for the database, the next one uses the processor.
PAGES_AT_ONCE = 2
#: Rows from which on they are written while further ones are planned, where the database can do that.
EARLY_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """
    How the rows of a run are planned; the other fields are parameters of :func:`.planning.plan_rows`.

    :param dry_run: count the rows, and write none
    :param slots: how many of the tasks that swap the rows may be in progress at once, if that is known
    :param preflight: whether the pictures are checked afterwards
    :param pairs_per_task: rows in one batch as :meth:`RunPlan.write` is told; 0 chooses a suitable number
    """

    account: str
    reuse: bool = True
    on_unknown_submit: OnUnknownSubmit = "hold"
    storage_conn_id: str | None = None
    marking: bool = False
    dry_run: bool = False
    slots: int | None = None
    look_up: LookUp | None = None
    preflight: bool = False
    pairs_per_task: int = 0


class RunPlan(AbstractContextManager["RunPlan"]):
    """
    Plans a run. Nothing is written before :meth:`write`, which writes all rows or none.

    :param ledger: the results table
    :param key: the run
    :param task_id: the task that will swap the rows
    """

    def __init__(self, ledger: Ledger, key: RunKey, task_id: str, options: PlanOptions) -> None:
        self._ledger = ledger
        self._key = key
        self._task_id = task_id
        self._options = options
        self._notes = PlanNotes(options.storage_conn_id)
        #: The pictures of the pairs that would be sent.
        self.pictures = DistinctPictures(MOST_PICTURES if options.preflight else 0)
        self._locations: dict[str, None] = {}
        self._first: Swap | None = None
        self._counts: Counter[Status] = Counter()
        self._new: Counter[Status] = Counter()
        self._work = 0
        self._early: EarlyRows | None = None
        #: The rows before the first that are written early: where they are, and whether some belong into batches.
        self._parts: list[tuple[FilePart, bool]] = []
        self._to_pay = array("Q")
        self._under_way: deque[tuple[Future[list[Swap]], int]] = deque()
        #: Pairs of which a picture is not there, once their pages are planned, see :meth:`finish`.
        self.without_picture: list[Swap] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._staged = stack.enter_context(closing(self._ledger.stage()))
            self._replanned = self._ledger.has_rows(self._key, task_id=self._task_id)
            stack.enter_context(frozen_heap())
            self._threads = stack.enter_context(ThreadPoolExecutor(PAGES_AT_ONCE, "goenhance-plan"))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def locations(self) -> list[str]:
        """Where its manifests were read from."""
        return list(self._locations)

    def add(self, part: Manifest) -> None:
        """Plan the next rows of a manifest."""
        self._locations.setdefault(part.location)
        options = self._options
        for page in _pages(part):
            planned = self._threads.submit(
                plan_rows,
                page,
                self._key,
                self._task_id,
                known_in=self._ledger,
                account=options.account,
                reuse=options.reuse,
                on_unknown_submit=options.on_unknown_submit,
                storage_conn_id=options.storage_conn_id,
                marking=options.marking and not options.dry_run,
                notes=self._notes,
                look_up=options.look_up,
                planned_before=self._replanned,
            )
            self._under_way.append((planned, len(page.pairs)))
            self._take_pages(leave=PAGES_AT_ONCE)

    def finish(self) -> None:
        """Wait until all rows that were added are planned."""
        self._take_pages()

    def _take_pages(self, *, leave: int = 0) -> None:
        """Take the planned rows of pages, in order, until this many pages are left."""
        while len(self._under_way) > leave:
            planned, pairs = self._under_way.popleft()
            rows = planned.result()
            self.without_picture += [row for row in rows[:pairs] if row.status is Status.REJECTED]
            self._first = self._first or rows[0]
            self._counts.update(row.status for row in rows)
            self.pictures.add(rows)
            if self._options.dry_run:
                self._to_pay.extend(
                    int(row.pair_fingerprint[:16], 16) for row in rows if row.status is Status.PLANNED
                )
                self._work += sum(map(is_work, rows))
            else:
                self._stage(rows)

    def _stage(self, rows: list[Swap]) -> None:
        """Add planned rows to the file; of a large plan that is a run's first, they are written at the same time."""
        work_before = self._work
        part = self._staged.add(self._placed(rows))
        if self._replanned or not self._staged.can_be_copied:
            return
        self._parts.append((part, self._work > work_before))
        if self._early is None:
            if self._staged.count < EARLY_ROWS:
                return
            self._early = self._open.enter_context(closing(self._ledger.write_early(self._plan(1))))
        settled = settled_pairs_per_task(self._work, self._options.slots or SLOTS)
        for one, with_places in self._parts:
            size = None if self._options.pairs_per_task else settled
            self._early.add(one, with_places=with_places, size=size)
        self._parts = []

    def _plan(self, size: int) -> StagedPlan:
        return StagedPlan(self._ledger.swaps, self._key, self._task_id, self._staged, size)

    def write(self, pairs_per_task: int) -> list[dict[str, Any]]:
        """
        Write the rows that the run does not have yet, and return all of its batches, the existing ones first.

        :param pairs_per_task: rows in one batch; 0 chooses a suitable number
        :return: for each batch, ``{"batch": int, "label": str}``
        :raises BatchFailedError: when all rows are rejected; they are in the results table nevertheless
        """
        self._take_pages()
        self._notes.log()
        size = batch_size(self._work, pairs_per_task, self._options.slots)
        written = self._early.finish(size) if self._early else None
        if self._early:
            self._early.close()
        log_written(written or self._ledger.plan_staged(self._plan(size)), self._new)
        count_rows({status: number for status, number in self._new.items() if status is not Status.PLANNED})
        self._refuse_if_all_rejected()
        return list_batches(self._ledger, self._key, self._task_id)

    def log_dry_run(self, pairs_per_task: int) -> int:
        """Log what the run would do, and return how many pairs it would pay for."""
        self._take_pages()
        self._notes.log()
        log_dry_run(self._counts, self._work, batch_size(self._work, pairs_per_task, self._options.slots))
        return len(set(self._to_pay))

    def _placed(self, rows: list[Swap]) -> Iterator[StagedRow]:
        """Yield rows with their places among the new rows that need a task."""
        known = self._ledger.existing(row.swap_id for row in rows) if self._replanned else frozenset()
        for row in rows:
            if row.swap_id in known:
                yield row, None, True
                continue
            self._new[row.status] += 1
            if is_work(row):
                yield row, self._work, False
                self._work += 1
            else:
                yield row, None, False

    def _refuse_if_all_rejected(self) -> None:
        total = self._counts.total()
        if self._first is None or self._counts[Status.REJECTED] < total:
            return
        raise BatchFailedError(
            f"None of the {pluralize(total, 'row')} of {', '.join(self._locations)} can be swapped; "
            f"{self._first.label} is rejected: {self._first.error_message} Nothing was sent or paid. Correct the "
            "manifest, then start a new run, or clear this task to read the manifest again."
        )


def _pages(part: Manifest) -> Iterator[Manifest]:
    for start in range(0, max(len(part.pairs), len(part.rejected)), PAGE_ROWS):
        end = start + PAGE_ROWS
        yield Manifest(part.location, part.pairs[start:end], part.rejected[start:end], part.sha256)
