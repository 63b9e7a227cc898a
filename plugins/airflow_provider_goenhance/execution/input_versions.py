# SPDX-License-Identifier: Apache-2.0
"""Plan rows with private pictures: each is the pair of what its objects are now, and rejected where one is missing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..exceptions import InputError
from ..results.states import Status
from ..results.swap import Swap, pair_fingerprint, swap_id_for

if TYPE_CHECKING:
    from ..inputs.stores import Found
    from ..inputs.versions import LookUp
    from ..results.ledger import Ledger


def with_versions(rows: Sequence[Swap], look_up: LookUp, ledger: Ledger | None) -> list[Swap]:
    """
    Return planned rows with the versions of their private pictures.

    The id of a row stays the one of its addresses: planned again after a picture was overwritten, it is still one row.
    A row that the run has already is left as it is, whatever became of its pictures: it may have been paid for.

    :param look_up: says what is there
    :param ledger: the results table with the rows that the run has, ``None`` if there is none
    :raises InputStoreError: when a store cannot be used
    """
    found = look_up(url for row in rows for url in (row.source_img, row.reference_img))
    if not found:
        return list(rows)
    missing = [row.swap_id for row in rows if _problem(row, found) is not None]
    known = ledger.existing(missing) if ledger is not None and missing else frozenset()
    return [_with_version(row, found, is_known=row.swap_id in known) for row in rows]


def _problem(row: Swap, found: Mapping[str, Found | InputError]) -> InputError | None:
    for url in (row.source_img, row.reference_img):
        if isinstance(error := found.get(url), InputError):
            return error
    return None


def _with_version(row: Swap, found: Mapping[str, Found | InputError], *, is_known: bool) -> Swap:
    error = _problem(row, found)
    if error is not None:
        return row if is_known else _rejected(row, error)
    source, reference = (
        there.version if (there := found.get(url)) is not None and not isinstance(there, InputError) else None
        for url in (row.source_img, row.reference_img)
    )
    if source is None and reference is None:
        return row
    return row.changed(
        source_version=source,
        reference_version=reference,
        pair_fingerprint=pair_fingerprint(
            row.source_img,
            row.reference_img,
            source_key=row.source_key,
            reference_key=row.reference_key,
            source_version=source,
            reference_version=reference,
        ),
    )


def _rejected(row: Swap, error: InputError) -> Swap:
    # Another id, as for every rejected row: once the picture is there, a plan of the same run adds the row itself.
    scope = f"{row.task_id}#rejected-{row.row_number}-{error.error_code}"
    return row.changed(
        swap_id=swap_id_for(row.dag_id, row.run_id, scope, row.pair_id, row.pair_fingerprint),
        status=Status.REJECTED,
        error_code=error.error_code,
        error_message=f"{error} Never sent.",
        finished_at=dt.datetime.now(dt.UTC),
    )
