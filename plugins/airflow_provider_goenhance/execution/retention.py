# SPDX-License-Identifier: Apache-2.0
"""Delete pictures that are older than they may be kept. The rows stay, and hold their pairs in later runs."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..pictures.removal import delete_file, files_of_tasks, storage_of
from ..results.retention import old_pictures, record_deleted
from .erasure_files import delete_files, files_of

if TYPE_CHECKING:
    from ..results.ledger import Ledger

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Deleted:
    """What was deleted: ``rows`` whose pictures are gone, and the number of ``files``."""

    rows: int = 0
    files: int = 0


def delete_old_pictures(ledger: Ledger, days: float, *, conn_id: str | None = None) -> Deleted:
    """
    Delete pictures, sidecars and thumbnails that were kept more than some days ago, and the contact sheets with them.

    A slice of rows at a time: the files first, then the rows. Repeated, it goes on where it was killed.

    :param days: how long they are kept
    :param conn_id: Airflow connection of the storage
    :raises ValueError: when ``days`` is not positive
    :raises CollectError: when a file cannot be deleted; what was deleted before is recorded
    """
    if not days > 0:
        raise ValueError(
            f"days must be a positive number; got {days!r}. To keep pictures indefinitely, omit the task."
        )
    before = dt.datetime.now(dt.UTC) - dt.timedelta(days=days)
    deleted = Deleted()
    done: set[tuple[str, str]] = set()
    for rows in old_pictures(ledger.database, before):
        runs: set[tuple[str, str]] = set()
        for row in rows:
            if row.result_uri and (storage := storage_of(row.result_uri, row.run_id)):
                runs.add((storage, row.run_id))
        deleted.files += len(delete_files((file for row in rows for file in files_of(row)), conn_id))
        # Before the rows forget where their run's files are: a sheet shows its pictures.
        deleted.files += _delete_sheets(runs - done, conn_id)
        done |= runs
        record_deleted(ledger.database, rows)
        deleted.rows += len(rows)
        log.info("Deleted %d files of %d rows so far.", deleted.files, deleted.rows)
    return deleted


def _delete_sheets(runs: set[tuple[str, str]], conn_id: str | None) -> int:
    """Delete the contact sheets of some runs, which all Dags with a run of that name may share; return how many."""
    found = [
        uri
        for storage, run_id in sorted(runs)
        for _, uri in files_of_tasks(storage, run_id, conn_id)
        if uri.endswith(".html")
    ]
    return sum(delete_file(uri, conn_id) for uri in found)
