# SPDX-License-Identifier: Apache-2.0
"""Write the rejected rows of a manifest as a CSV file, to be corrected and fed back."""

from __future__ import annotations

from collections.abc import Sequence

from .model import Manifest
from .own_files import RowsFile

#: The most rows of one file: all are in the results table.
MAX_ROWS = 100_000
COLUMNS = ("row_number", "error_code", "column", "reason")


def rejected_csv(manifests: Sequence[Manifest]) -> bytes:
    """
    Return the rejected rows of manifests, at most :data:`MAX_ROWS`, as a CSV file in UTF-8.

    The row number is that of its manifest, which has a column of its own if there are several.
    """
    rows = [(manifest.location, row) for manifest in manifests for row in manifest.rejected][:MAX_ROWS]
    several = len(manifests) > 1
    file = RowsFile(["manifest", *COLUMNS] if several else COLUMNS)
    for location, row in rows:
        values = [row.row_number, row.code, row.column, row.reason]
        file.add(row, [location, *values] if several else values)
    with file.finish() as written:
        return written.read()
