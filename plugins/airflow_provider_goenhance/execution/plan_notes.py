# SPDX-License-Identifier: Apache-2.0
"""What planning finds out about pairs, logged once for a whole run: the first ones by name, and how many there are."""

from __future__ import annotations

import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..exceptions import ErrorCode
from ..results.states import Status
from ..url_identity import differing_parameters, same_but_for_query, url_identity
from .kept_pictures import KeptPictures
from .messages import pluralize

if TYPE_CHECKING:
    from ..results.ledger import Ledger, RunKey
    from ..results.swap import Swap

log = logging.getLogger(__name__)

#: Pairs that a warning names.
NAMED_PAIRS = 10
#: Pairs of a run whose links are compared with those of the run before.
COMPARED_PAIRS = 200
#: Parameters that the warning about them names.
NAMED_PARAMETERS = 5


_WHY_HELD: Mapping[str, str] = {
    ErrorCode.ERASED: "the pair was erased",
    ErrorCode.PICTURE_REJECTED: "a reviewer rejected the picture of the pair",
    ErrorCode.PICTURE_DELETED: "the picture of the pair was deleted, as keep_pictures_days says",
}


class PlanNotes:
    """
    Notes what is worth a warning.

    :param storage_conn_id: Airflow connection of the storage
    """

    def __init__(self, storage_conn_id: str | None = None) -> None:
        self.kept = KeptPictures(storage_conn_id)
        # Pages are planned in several threads.
        self._lock = threading.Lock()
        self._held: dict[str, list[Swap]] = defaultdict(list)
        self._held_count: Counter[str] = Counter()
        self._compared = 0

    def note_held(self, rows: Sequence[Swap]) -> None:
        """Note the rows that are held."""
        with self._lock:
            for row in rows:
                if row.status is Status.HELD:
                    code = str(row.error_code)
                    self._held_count[code] += 1
                    if self._held_count[code] <= NAMED_PAIRS:
                        self._held[code].append(row)

    def log(self) -> None:
        """Log what was noted."""
        self.kept.log_missing()
        for code, held in self._held.items():
            log.warning(
                "%s held, because %s: %s%s. The first: %s",
                pluralize(self._held_count[code], "pair is", "pairs are"),
                _WHY_HELD.get(code, "an earlier submit of the pair may have been accepted and paid for"),
                ", ".join(f"row {row.row_number}" if row.erased_at else row.label for row in held),
                ", ..." if self._held_count[code] > len(held) else "",
                held[0].error_message,
            )

    def warn_of_new_links(self, rows: Sequence[Swap], ledger: Ledger, key: RunKey, task_id: str) -> None:
        """Name pairs whose links differ from the last run's in parameters of which we do not know what they mean."""
        if self._compared >= COMPARED_PAIRS:
            return
        candidates = {
            row.pair_id: row
            for row in rows
            if row.status is Status.PLANNED
            and ("?" in row.source_img or "?" in row.reference_img)
            and any("?" in url_identity(link) for link in (row.source_img, row.reference_img))
        }
        with self._lock:
            some = list(candidates)[: max(0, COMPARED_PAIRS - self._compared)]
            self._compared += len(some)
        for before in ledger.links_before(key, task_id, some) if some else []:
            row = candidates.pop(before.pair_id, None)
            parameters = _new_parameters(row, before) if row is not None else []
            if row is None or not parameters:
                continue
            log.warning(
                "%s is planned as other pictures than in run %s: its links differ only in the parameters %s. If the "
                "pictures are the same, they are paid for again. A source_key or reference_key that stays the same "
                "prevents that; adding one to a pair that was paid for makes it a new pair, which is paid for once "
                "more.",
                row.label,
                before.run_id,
                ", ".join(name[:40] for name in parameters[:NAMED_PARAMETERS]),
            )


def _new_parameters(row: Swap, before: Swap) -> list[str]:
    """Return the parameters that alone make the pair of two rows another one; none if there is more, or nothing."""
    pairs = [
        (row.source_img, before.source_img, row.source_key),
        (row.reference_img, before.reference_img, row.reference_key),
    ]
    if row.pair_fingerprint == before.pair_fingerprint:
        return []
    unnamed = [(link, other) for link, other, key in pairs if not key]
    if not all(same_but_for_query(link, other) for link, other in unnamed):
        return []
    return list(dict.fromkeys(name for link, other in unnamed for name in differing_parameters(link, other)))
