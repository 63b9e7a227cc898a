# SPDX-License-Identifier: Apache-2.0
"""Write the rejected rows of manifests as a CSV file, to be corrected and fed back."""

from __future__ import annotations

from collections.abc import Sequence

from .model import RejectedRow
from .own_files import RowsFile

#: The most rows of one file: all are in the results table.
MAX_ROWS = 100_000
COLUMNS = ("row_number", "error_code", "column", "reason")


class RejectedFile(RowsFile):
    """
    The file ``rejected.csv``, with at most :data:`MAX_ROWS` rows.

    The row number is that of the row's manifest.

    :param several: whether there are several manifests: then a column names that of each row
    """

    def __init__(self, *, several: bool = False) -> None:
        super().__init__(["manifest", *COLUMNS] if several else COLUMNS)
        self._several = several

    def add_rejected(self, location: str, rows: Sequence[RejectedRow]) -> None:
        """Add rows of a manifest."""
        for row in rows[: MAX_ROWS - self.count]:
            values = [row.row_number, row.code, row.column, row.reason]
            self.add(row, [location, *values] if self._several else values)
