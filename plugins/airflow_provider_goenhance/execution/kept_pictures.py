# SPDX-License-Identifier: Apache-2.0
"""Look for the pictures of earlier rows in storage."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from .messages import pluralize

if TYPE_CHECKING:
    from ..results.swap import Swap

log = logging.getLogger(__name__)

#: Concurrent look-ups.
STORAGE_THREADS = 16
#: Errors of the storage that are logged one by one.
NAMED_ERRORS = 10


class KeptPictures:
    """
    Looks for pictures, and counts what it does not find.

    :param conn_id: Airflow connection of the storage
    """

    def __init__(self, conn_id: str | None = None) -> None:
        self._conn_id = conn_id
        self._lock = threading.Lock()
        self._gone = 0
        self._errors = 0

    def still_there(self, rows: Sequence[Swap]) -> dict[str, Swap]:
        """Return, by pair, the rows whose picture is in storage."""
        if not rows:
            return {}
        # A slice for each thread: to hand over a single row takes longer than to look into a local folder.
        size = -(-len(rows) // STORAGE_THREADS)
        slices = [rows[start : start + size] for start in range(0, len(rows), size)]
        with ThreadPoolExecutor(STORAGE_THREADS) as pool:
            found = [there for part in pool.map(self._exist, slices) for there in part]
        with self._lock:
            self._gone += len(found) - sum(found)
        return {row.pair_fingerprint: row for row, there in zip(rows, found, strict=True) if there}

    def log_missing(self) -> None:
        """Log how many pictures were not found."""
        if self._gone:
            log.warning(
                "%s no longer in storage; if GoEnhance still has the job, it is fetched again at no cost.",
                pluralize(self._gone, "earlier picture is", "earlier pictures are"),
            )
        if self._errors > NAMED_ERRORS:
            log.warning(
                "%d earlier pictures could not be looked for, and are assumed to exist.", self._errors
            )

    def _exist(self, rows: Sequence[Swap]) -> list[bool]:
        return [self._exists(row) for row in rows]

    def _exists(self, row: Swap) -> bool:
        from ..pictures.storage import picture_exists

        try:
            return picture_exists(str(row.result_uri), self._conn_id)
        except Exception as error:  # noqa: BLE001  a storage error must neither make us pay again nor end the run
            with self._lock:
                self._errors += 1
                named = self._errors <= NAMED_ERRORS
            if named:
                log.warning(
                    "Could not check whether %s exists: %s. Assuming that it does.", row.result_uri, error
                )
            return True
