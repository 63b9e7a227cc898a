# SPDX-License-Identifier: Apache-2.0
"""Rows of the results table for people and spreadsheets: CSV without secrets or cells that a sheet executes."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..redaction import label_value, redact_urls, unsigned_link

if TYPE_CHECKING:
    from ..results.swap import Swap

#: The columns, in their order. Not among them is what only the product reads: claims, fingerprints, reservations.
COLUMNS = (
    "dag_id",
    "run_id",
    "task_id",
    "map_index",
    "batch",
    "manifest",
    "row_number",
    "pair_id",
    "source_img",
    "reference_img",
    "consent_ref",
    "labels",
    "status",
    "error_code",
    "error_message",
    "img_uuid",
    "former_uuids",
    "attempts",
    "cost",
    "result_uri",
    "result_sha256",
    "result_mark",
    "additional_result_uris",
    "reused_from",
    "planned_at",
    "submitted_at",
    "finished_at",
    "resolution",
    "resolved_by",
    "resolved_at",
    "resolution_note",
    "review",
    "reviewed_by",
    "reviewed_at",
    "review_note",
    "swap_id",
)
#: A spreadsheet takes a cell that begins with one of these for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
#: Rows of CSV that are yielded together.
_ROWS_AT_ONCE = 200


def exported(swap: Swap) -> dict[str, Any]:
    """Return the columns of a row that may leave, without what signs its links."""
    return {name: _exported(name, getattr(swap, name)) for name in COLUMNS}


def _exported(name: str, value: Any) -> Any:
    if value is None:
        return None
    match name:
        case "source_img" | "reference_img":
            return unsigned_link(value)
        case "consent_ref":
            return label_value(value)
        case "labels" | "error_message" | "review_note" | "resolution_note":
            return redact_urls(value)
        case "additional_result_uris":
            return " ".join(value) or None
        case _:
            return value.isoformat(timespec="seconds") if isinstance(value, dt.datetime) else value


def csv_chunks(rows: Iterable[Swap]) -> Iterator[bytes]:
    """Yield a CSV file of some rows in UTF-8, in bounded memory; it begins with a byte order mark, for Excel."""
    text = io.StringIO()
    writer = csv.writer(text)
    text.write("\ufeff")
    writer.writerow(COLUMNS)
    for number, swap in enumerate(rows, 1):
        writer.writerow([inert(value) for value in exported(swap).values()])
        if number % _ROWS_AT_ONCE == 0:
            yield _taken(text)
    yield _taken(text)


def inert(value: Any) -> Any:
    """Return a cell that no spreadsheet executes: a text that looks like a formula gets an apostrophe before it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _taken(text: io.StringIO) -> bytes:
    found = text.getvalue().encode("utf-8", "replace")
    text.seek(0)
    text.truncate()
    return found
