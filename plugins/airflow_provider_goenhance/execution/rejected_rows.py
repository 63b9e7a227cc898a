# SPDX-License-Identifier: Apache-2.0
"""Log the rejected rows of a run, and keep them beside its pictures."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..manifest.model import RejectedRow
from ..manifest.read import refusal
from ..manifest.rejected import RejectedFile
from ..picture_address import read_address
from ..pictures.names import folder_for
from ..pictures.storage import keep_file
from .messages import pluralize

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..manifest.validate import Checked
    from ..results.ledger import RunKey
    from ..results.swap import Swap

log = logging.getLogger(__name__)

#: Rejected rows that the log lists one by one; all are in the results table.
NAMED_ROWS = 50


class RejectedRows:
    """
    Takes note of the rejected rows of a run: all of them for ``rejected.csv``, the first ones by name.

    :param several: whether the run has several manifests
    """

    def __init__(self, *, several: bool = False) -> None:
        self._file = RejectedFile(several=several)
        self._of_manifests: list[_OfManifest] = []

    def begin(self, location: str) -> None:
        """Count what follows as rows of this manifest."""
        self._of_manifests.append(_OfManifest(location))

    def add(self, checked: Checked) -> None:
        """Take note of the next rows of the manifest."""
        manifest = self._of_manifests[-1]
        manifest.pairs += len(checked.pairs)
        manifest.rejected += len(checked.rejected)
        manifest.named += checked.rejected[: NAMED_ROWS - len(manifest.named)]
        self._file.add_rejected(manifest.location, checked.rejected)

    def add_without_picture(self, rows: Iterable[Swap]) -> None:
        """Take note of pairs that the plan rejects, because one of their pictures is not there, and log the first."""
        known = {manifest.location: manifest for manifest in self._of_manifests}
        count = 0
        for swap in rows:
            row = _without_picture(swap)
            manifest = known[swap.manifest or ""]
            manifest.pairs -= 1
            manifest.rejected += 1
            if len(manifest.named) < NAMED_ROWS:
                manifest.named.append(row)
            self._file.add_rejected(manifest.location, [row])
            count += 1
            if count <= NAMED_ROWS:
                log.warning("Row %d is rejected: %s.", row.row_number, row.reason)
        if count > NAMED_ROWS:
            log.warning("... and %d more, all in the results table.", count - NAMED_ROWS)

    def log(self) -> None:
        """Log how many rows of the manifest can be swapped, and why the others cannot."""
        manifest = self._of_manifests[-1]
        log.info(
            "%s: %s to swap, %s rejected.",
            manifest.location,
            pluralize(manifest.pairs, "pair"),
            pluralize(manifest.rejected, "row"),
        )
        for row in manifest.named:
            log.warning("Row %d is rejected: %s.", row.row_number, row.reason)
        if manifest.rejected > len(manifest.named):
            log.warning("... and %d more, all in the results table.", manifest.rejected - len(manifest.named))

    def any(self) -> bool:
        """Return whether a row was rejected."""
        return any(manifest.rejected for manifest in self._of_manifests)

    def keep(self, key: RunKey, task_id: str, storage: str, *, conn_id: str | None = None) -> str | None:
        """
        Store ``<storage>/<run>/<Dag and task>/rejected.csv``, and return its URI; ``None`` if no row is rejected.

        Dags on one schedule have runs of the same name, which share a folder: hence one more for each Dag and task.

        :param task_id: the task that plans
        :raises CollectError: when the storage cannot be used
        """
        if not self.any():
            return None
        name = f"{folder_for(key.run_id)}/{folder_for(f'{key.dag_id}.{task_id}')}/rejected.csv"
        with self._file.finish() as written:
            return keep_file(written, storage, name, conn_id=conn_id)

    def refuse(self) -> None:
        """
        Refuse the manifest with the first rejected rows, as strict mode does.

        :raises ManifestError: when a row is rejected
        """
        for manifest in self._of_manifests:
            if manifest.rejected:
                raise refusal(manifest.location, manifest.named, manifest.rejected)


def _without_picture(swap: Swap) -> RejectedRow:
    """Return the row of a manifest that a plan rejects."""
    reason = swap.error_message or ""
    reason = reason.removesuffix(" Never sent.").removesuffix(".")
    reference = read_address(swap.reference_img)
    of_reference = reference is not None and reason.startswith(f"{reference} ")
    return RejectedRow(
        swap.row_number or 0,
        swap.pair_id,
        swap.source_img,
        swap.reference_img,
        "reference_img" if of_reference else "source_img",
        swap.error_code or "",
        reason,
        swap.consent_ref,
        swap.source_key,
        swap.reference_key,
        swap.labels,
        swap.consent_expires,
    )


@dataclass(slots=True)
class _OfManifest:
    """The rows of one manifest."""

    location: str
    pairs: int = 0
    rejected: int = 0
    named: list[RejectedRow] = field(default_factory=list)
