# SPDX-License-Identifier: Apache-2.0
"""Write the rejected rows of a manifest as a CSV file, to be corrected and fed back."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from ..url_identity import url_identity
from .labels import read_labels
from .model import Manifest, RejectedRow

#: The most rows of one file: all are in the results table.
MAX_ROWS = 100_000
#: The columns before the labels. The first four are labels if the file is fed back.
COLUMNS = (
    "row_number",
    "error_code",
    "column",
    "reason",
    "source_img",
    "reference_img",
    "pair_id",
    "consent_ref",
    "source_key",
    "reference_key",
)


def rejected_csv(manifests: Sequence[Manifest]) -> bytes:
    """
    Return the rejected rows of manifests, at most :data:`MAX_ROWS`, as a CSV file in UTF-8.

    The values are those of the rows, without what signs their links: the file is kept where the pictures are. The
    row number is that of its manifest, which has a column of its own if there are several.
    """
    rows = [(manifest.location, row) for manifest in manifests for row in manifest.rejected][:MAX_ROWS]
    several = len(manifests) > 1
    labels = [
        {name: value for name, value in read_labels(row.labels).items() if name not in COLUMNS}
        for _, row in rows
    ]
    names = list(dict.fromkeys(name for of_row in labels for name in of_row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*(["manifest"] if several else []), *COLUMNS, *names])
    for (location, row), of_row in zip(rows, labels, strict=True):
        values = [*_values(row), *(of_row.get(name, "") for name in names)]
        writer.writerow([location, *values] if several else values)
    return text.getvalue().encode("utf-8", "replace")


def _values(row: RejectedRow) -> list[object]:
    return [
        row.row_number,
        row.code,
        row.column,
        row.reason,
        _unsigned(row.source_img),
        _unsigned(row.reference_img),
        row.pair_id,
        row.consent_ref or "",
        row.source_key or "",
        row.reference_key or "",
    ]


def _unsigned(url: str) -> str:
    """Return a URL without what signs it; as it is if nothing does."""
    bare = url_identity(url)
    return url if bare.partition("?")[2] == url.partition("#")[0].partition("?")[2] else bare
