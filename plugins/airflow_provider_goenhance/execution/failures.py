# SPDX-License-Identifier: Apache-2.0
"""Keep ``failures.csv`` beside the pictures of a run: the rows without a picture, to be corrected and fed back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, TYPE_CHECKING

from ..manifest.own_files import RowsFile, UnsignedLinks
from ..pictures.names import folder_for
from ..pictures.storage import keep_file, remove_file
from ..results.recovery import Policies
from ..results.reuse import rejection
from ..results.states import Status
from .messages import new_run, paid_for
from .past_runs import REJECTED_BY_REVIEWER, location_of

if TYPE_CHECKING:
    from ..results.ledger import RunKey
    from ..results.swap import Swap

#: The rows in the file.
STATUSES = (Status.FAILED, Status.UNKNOWN, Status.HELD, Status.REJECTED, Status.PLANNED)
#: What the file says about a row, before the row itself.
COLUMNS = (
    "manifest",
    "row_number",
    "status",
    "error_code",
    "reason",
    "img_uuid",
    "attempts",
    "cost",
    "paid",
    "new_run",
)


def keep_failures(
    swaps: Iterable[Swap], key: RunKey, task_id: str, storage: str, *, conn_id: str | None = None
) -> str | None:
    """
    Store ``<storage>/<run>/<Dag and task>/failures.csv`` in bounded memory, and return its URI.

    Without failures there is no file: one of an earlier attempt is removed.

    :param swaps: the rows in one of :data:`STATUSES`, and those whose pictures a reviewer rejected
    :param task_id: the task that reports
    :raises CollectError: when the storage cannot be used
    """
    file = _file_of(swaps, key)
    name = f"{folder_for(key.run_id)}/{folder_for(f'{key.dag_id}.{task_id}')}/failures.csv"
    if not file.count:
        remove_file(storage, name, conn_id=conn_id)
        return None
    with file.finish() as written:
        return keep_file(written, storage, name, conn_id=conn_id)


def open_failures(swaps: Iterable[Swap], key: RunKey) -> tuple[int, IO[bytes]]:
    """Return how many rows there are, and the file; it is deleted once it is closed."""
    file = _file_of(swaps, key)
    return file.count, file.finish()


def _file_of(swaps: Iterable[Swap], key: RunKey) -> RowsFile:
    file = RowsFile(COLUMNS)
    for swap in swaps:
        if swap.erased_at or swap.gone_by_choice:
            continue  # Nobody has to act, and of an erased row nothing is left to be fed back.
        links = UnsignedLinks.of(swap)
        file.add(swap, _facts(swap, key, links.removed), links)
    return file


def _facts(swap: Swap, key: RunKey, removed: str) -> list[object]:
    unsent = swap.status is Status.PLANNED
    return [
        swap.manifest,
        swap.row_number,
        REJECTED_BY_REVIEWER if swap.rejected_by_reviewer else swap.status,
        swap.error_code,
        _reason(swap) or ("Not sent." if unsent else ""),
        swap.img_uuid,
        swap.attempts,
        swap.cost,
        paid_for(swap),
        _new_run(swap, key, removed),
    ]


def _reason(swap: Swap) -> str | None:
    return f"Its picture {rejection(swap)}." if swap.rejected_by_reviewer else swap.error_message


def _new_run(swap: Swap, key: RunKey, removed: str) -> str:
    """Return what a new run does with the row of the file."""
    if swap.status is Status.REJECTED:
        return "A new run rejects it unless it is corrected."
    sentence = f"A new run {new_run(swap, Policies())}."
    if removed:
        sentence += (
            f" It needs a signed link in {removed.replace(' ', ' and ')} for that; manifest='{location_of(key)}' "
            "reads the row with the link that it had."
        )
    return sentence
