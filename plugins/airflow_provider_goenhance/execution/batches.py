# SPDX-License-Identifier: Apache-2.0
"""The batches of a run, each the work of one mapped task: form them, write their rows, and list them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from ..manifest.chunk import SLOTS, batch_label, choose_pairs_per_task
from ..results.states import Status
from .messages import pluralize

if TYPE_CHECKING:
    from collections import Counter

    from ..results.ledger import Ledger, RunKey
    from ..results.plan import PlanResult
    from ..results.swap import Swap

log = logging.getLogger(__name__)

#: Airflow maps at most 1,024 tasks ([core] max_map_length).
MAX_TASKS = 1000


#: A tuple, because a set asks each member of an enum for its hash.
_WORK = (Status.PLANNED, Status.SUBMITTED, Status.HELD)


def is_work(row: Swap) -> bool:
    """Return whether a new row needs a task: to be submitted, to wait for an earlier run's job, or to look again."""
    return row.status in _WORK and row.erased_at is None


def list_batches(ledger: Ledger, key: RunKey, task_id: str) -> list[dict[str, Any]]:
    """Return the batches of a run, in order: for each, ``{"batch": int, "label": str}``."""
    return [
        {
            "batch": found["batch"],
            "label": batch_label(
                _Edge(found["pair_id"], found["first_row"]),
                _Edge(found["pair_id"], found["last_row"]),
                found["batch"],
                found["pairs"],
            ),
        }
        for found in ledger.batches(key, task_id=task_id)
    ]


class _Edge(NamedTuple):
    """The first or the last pair of a batch."""

    pair_id: str
    row_number: int | None


def log_dry_run(counts: Counter[Status], work: int, size: int) -> None:
    """
    Log what a run would do.

    :param counts: its rows
    :param work: rows that need a task
    :param size: rows in one batch
    """
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


def batch_size(pairs: int, asked: int, slots: int | None = None) -> int:
    """
    Return how many rows one batch gets; with 0 ``asked`` for, a suitable number.

    :param slots: how many tasks may be in progress at once, if that is known
    """
    size = choose_pairs_per_task(pairs, asked, MAX_TASKS, slots or SLOTS)
    if asked and size != asked:
        log.warning("pairs_per_task=%d would map more than %d tasks; using %d.", asked, MAX_TASKS, size)
    return size


def log_written(result: PlanResult, added: Counter[Status]) -> None:
    """Log what planning has written."""
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
