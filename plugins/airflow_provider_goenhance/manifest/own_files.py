# SPDX-License-Identifier: Apache-2.0
"""The CSV files of rows that a run writes, ``rejected.csv`` and ``failures.csv``, and that come back as manifests."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from collections.abc import Sequence
from typing import IO, NamedTuple, Protocol

from ..exceptions import ErrorCode
from ..redaction import label_value, unsigned_link
from .consent import expiry_text
from .labels import read_labels
from .quoting import find_fault
from .spool import new_file

#: The columns of the row as it stood in its manifest.
ROW_COLUMNS = (
    "source_img",
    "reference_img",
    "pair_id",
    "consent_ref",
    "source_key",
    "reference_key",
    "consent_expires",
)
#: Names the columns whose links have lost their signatures; it is called as the code of a row that is rejected for it.
SIGNATURE_REMOVED = ErrorCode.SIGNATURE_REMOVED.value
#: What such a file says about a row. If it is a manifest, these columns say nothing, and are no labels.
OWN_COLUMNS = frozenset(
    {
        "manifest",
        "row_number",
        "status",
        "error_code",
        "column",
        "reason",
        "img_uuid",
        "attempts",
        "cost",
        "paid",
        "new_run",
        SIGNATURE_REMOVED,
    }
)
#: Put before the name of a label that would be one of the other columns.
LABEL_PREFIX = "label "
#: The most label columns of one file: rows of JSON may each have their own.
MAX_LABEL_COLUMNS = 500

_LINKS = ("source_img", "reference_img")
#: What a rejected row says about a link that has lost its signature, after the name of the column.
NOT_SIGNED = (
    "was signed, and the file has the link without its signature: put in a link that is signed again, or clear "
    f"{SIGNATURE_REMOVED} if the link needs no signature"
)


class ManifestRow(Protocol):
    """A row with what its manifest said: a rejected row, or one of the results table."""

    @property
    def source_img(self) -> str: ...  # noqa: D102
    @property
    def reference_img(self) -> str: ...  # noqa: D102
    @property
    def pair_id(self) -> str: ...  # noqa: D102
    @property
    def consent_ref(self) -> str | None: ...  # noqa: D102
    @property
    def source_key(self) -> str | None: ...  # noqa: D102
    @property
    def reference_key(self) -> str | None: ...  # noqa: D102
    @property
    def labels(self) -> str | None: ...  # noqa: D102
    @property
    def consent_expires(self) -> dt.datetime | None: ...  # noqa: D102


def is_own_file(names: Sequence[str]) -> bool:
    """
    Return whether a file with these columns was written by :class:`RowsFile`.

    People delete columns that they do not need, so one of its own beside :data:`SIGNATURE_REMOVED` is enough.
    """
    return SIGNATURE_REMOVED in names and len(OWN_COLUMNS.intersection(names)) > 1


def label_of(column: str) -> str:
    """Return the label that a column of such a file stands for."""
    name = column.removeprefix(LABEL_PREFIX)
    return name if name != column and _is_reserved(name) else column


def _column_of(label: str) -> str:
    return f"{LABEL_PREFIX}{label}" if _is_reserved(label) else label


def _is_reserved(name: str) -> bool:
    while name.startswith(LABEL_PREFIX):
        name = name.removeprefix(LABEL_PREFIX)
    return name in OWN_COLUMNS or name in ROW_COLUMNS


def signature_problem(source_img: str, reference_img: str, removed: str) -> str:
    """
    Return the clause that rejects a row of such a file whose links are still those without their signatures.

    :param removed: the row's value of the column :data:`SIGNATURE_REMOVED`
    """
    links = zip(_LINKS, (source_img, reference_img), strict=True)
    missing = [name for name, link in links if name in removed.split() and unsigned_link(link) == link]
    return "; ".join(f"{name} {NOT_SIGNED}" for name in missing)


class UnsignedLinks(NamedTuple):
    """
    The links of a row without their signatures.

    :param removed: names of the columns whose links had one
    """

    source_img: str
    reference_img: str
    removed: str

    @classmethod
    def of(cls, row: ManifestRow) -> UnsignedLinks:
        """Return the links of a row."""
        signed = row.source_img, row.reference_img
        source_img, reference_img = map(unsigned_link, signed)
        changed = zip(_LINKS, signed, (source_img, reference_img), strict=True)
        removed = " ".join(name for name, before, after in changed if before != after)
        return cls(source_img, reference_img, removed)


class RowsFile:
    """
    Rows that are written to a CSV file which can be read as a manifest, in bounded memory.

    The links are without their signatures, because the file is kept where the pictures are.

    :param columns: names of the values that come before those of the row
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = [*columns, SIGNATURE_REMOVED, *ROW_COLUMNS]
        self._labels: dict[str, None] = {}
        # The header names the labels of all rows, so the rows wait here.
        self._rows = new_file()
        #: Rows added.
        self.count = 0

    def add(self, row: ManifestRow, values: Sequence[object], unsigned: UnsignedLinks | None = None) -> None:
        """
        Add a row.

        :param values: one for each of the file's columns
        :param unsigned: its links, if they are known already
        """
        links = unsigned or UnsignedLinks.of(row)
        others = [
            row.pair_id,
            label_value(row.consent_ref or ""),
            row.source_key or "",
            row.reference_key or "",
            expiry_text(row.consent_expires),
        ]
        labels = {_column_of(name): value for name, value in read_labels(row.labels).items()}
        for name in labels:
            if len(self._labels) < MAX_LABEL_COLUMNS:
                self._labels.setdefault(name)
        written = json.dumps(
            [[*values, links.removed, links.source_img, links.reference_img, *others], labels]
        )
        self._rows.write(written.encode() + b"\n")
        self.count += 1

    def finish(self) -> IO[bytes]:
        """Return the file, in UTF-8 and at its beginning; it is deleted once it is closed."""
        file: IO[bytes] = new_file()
        names = list(self._labels)
        file.write(_line([" ".join(name.split()) for name in (*self._columns, *names)]))
        self._rows.seek(0)
        for row in self._rows:
            values, labels = json.loads(row)
            file.write(_sound_line([*values, *(labels.get(name, "") for name in names)]))
        self._rows.close()
        file.flush()
        file.seek(0)
        return file


def _sound_line(values: Sequence[object]) -> bytes:
    """Return a record that is read back as it is: one whose line breaks look like rows is written without them."""
    line = _line(values)
    if line.count(b"\n") > 1 and find_fault(line.decode(), 1, len(values)):
        line = _line([" ".join(value.split()) if isinstance(value, str) else value for value in values])
    return line


def _line(values: Sequence[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(
        [
            value.replace("\r\n", "\n").replace("\r", "\n") if isinstance(value, str) else value
            for value in values
        ]
    )
    return text.getvalue().encode("utf-8", "replace")
