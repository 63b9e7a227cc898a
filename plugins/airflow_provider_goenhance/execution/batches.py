# SPDX-License-Identifier: Apache-2.0
"""The batches of a run, each the work of one mapped task: form them, write their rows, and list them."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ..manifest.chunk import batch_label, choose_pairs_per_task
from ..results.states import Status
from .messages import pluralize

if TYPE_CHECKING:
    from ..results.ledger import Ledger, RunKey
    from ..results.plan import PlanResult
    from ..results.swap import Swap

log = logging.getLogger(__name__)

#: Airflow maps at most 1,024 tasks ([core] max_map_length).
MAX_TASKS = 1000


def is_work(row: Swap) -> bool:
    """Return whether a new row needs a task: to be submitted, to wait for an earlier run's job, or to look again."""
    return row.status in {Status.PLANNED, Status.SUBMITTED, Status.HELD}


def write_batches(
    ledger: Ledger, key: RunKey, task_id: str, rows: Sequence[Swap], pairs_per_task: int
) -> list[dict[str, Any]]:
    """
    Write the rows that the run does not have yet, and return all of its batches, the existing ones first.

    :param task_id: the task that will swap them
    :param pairs_per_task: rows in one batch; 0 chooses a suitable number
    :return: for each batch, ``{"batch": int, "label": str}``
    """
    known = {swap.swap_id: swap for swap in ledger.of_run(key, task_id=task_id)}
    new = [row for row in rows if row.swap_id not in known]
    first = 1 + max((swap.batch for swap in known.values() if swap.batch is not None), default=-1)
    batched = into_batches(new, _size(sum(map(is_work, new)), pairs_per_task), first_batch=first)
    result = ledger.plan(key, [*batched, *(row for row in rows if row.swap_id in known)], task_id=task_id)
    _log_written(result, batched)
    return list_batches([*known.values(), *batched])


def list_batches(rows: Sequence[Swap]) -> list[dict[str, Any]]:
    """Return the batches of a run's rows, in order."""
    in_batches = sorted(
        (row for row in rows if row.batch is not None),
        key=lambda row: (row.batch or 0, row.row_number or 0),
    )
    batches = []
    for number, group in groupby(in_batches, key=lambda row: row.batch or 0):
        members = list(group)
        batches.append({"batch": number, "label": batch_label(members[0], members[-1], number, len(members))})
    return batches


def into_batches(rows: Sequence[Swap], pairs_per_task: int, *, first_batch: int = 0) -> list[Swap]:
    """
    Assign each row that needs a task to a batch, whose number is the map index of the task.

    :param pairs_per_task: rows in one batch
    :param first_batch: number of the first batch, above those that the run has already
    """
    numbered: list[Swap] = []
    placed = 0
    for row in rows:
        if is_work(row):
            batch = first_batch + placed // pairs_per_task
            numbered.append(dataclasses.replace(row, batch=batch, map_index=batch))
            placed += 1
        else:
            numbered.append(row)
    return numbered


def log_dry_run(rows: Sequence[Swap], pairs_per_task: int) -> None:
    """
    Log what a run of these rows would do.

    :param pairs_per_task: rows in one batch; 0 chooses a suitable number
    """
    counts = Counter(row.status for row in rows)
    work = sum(map(is_work, rows))
    size = _size(work, pairs_per_task)
    log.info(
        "Dry run: nothing is written or submitted. This run would submit, and pay for, %s in %s of up to %d; "
        "%s and %s at no cost; %s held, because an earlier submit may have been paid for; %s rejected.",
        pluralize(counts[Status.PLANNED], "pair"),
        pluralize(-(-work // size), "task"),
        size,
        pluralize(counts[Status.SUBMITTED], "earlier job is adopted", "earlier jobs are adopted"),
        pluralize(counts[Status.REUSED], "earlier picture is reused", "earlier pictures are reused"),
        pluralize(counts[Status.HELD], "pair is", "pairs are"),
        pluralize(counts[Status.REJECTED], "row is", "rows are"),
    )


def _size(pairs: int, asked: int) -> int:
    size = choose_pairs_per_task(pairs, asked, MAX_TASKS)
    if asked and size != asked:
        log.warning("pairs_per_task=%d would map more than %d tasks; using %d.", asked, MAX_TASKS, size)
    return size


def _log_written(result: PlanResult, batched: Sequence[Swap]) -> None:
    added = Counter(row.status for row in batched)
    log.info(
        "Results table: %s added, of which %s, %s and %s; %d known already, %d withdrawn, %d restored, "
        "%d rejected rows no longer in the manifest, %d with new links.",
        pluralize(result.added, "row"),
        pluralize(added[Status.REUSED], "reuses an earlier picture", "reuse earlier pictures"),
        pluralize(added[Status.SUBMITTED], "adopts an earlier job", "adopt earlier jobs"),
        pluralize(added[Status.HELD], "is held", "are held"),
        result.known,
        result.withdrawn,
        result.restored,
        result.superseded,
        result.relinked,
    )
