# SPDX-License-Identifier: Apache-2.0
"""Mark copies of reused pictures that an earlier run kept without the mark."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ..results.states import Status

if TYPE_CHECKING:
    from ..results.swap import Swap

log = logging.getLogger(__name__)

#: Pictures that are read and marked at the same time.
MARKING_THREADS = 8


def with_marked_pictures(rows: Sequence[Swap], conn_id: str | None = None) -> list[Swap]:
    """
    Return the rows; those that reuse an unmarked picture refer to a marked copy of it.

    The copy is stored beside the earlier picture, once for all later runs, and that picture stays as it is. A picture
    that cannot carry the mark gets the sidecar that it lacks. One that cannot be read or written is reused unmarked,
    with a warning: it must neither be paid for again nor end the run. Only pictures of which the row does not say that
    they disclose their origin are read: those of releases that did not record it, and those kept without the mark.

    :param conn_id: Airflow connection of the storage
    """
    places = [
        place
        for place, row in enumerate(rows)
        if row.status is Status.REUSED and row.result_uri and not row.result_mark
    ]
    found = list(rows)
    if places:
        with ThreadPoolExecutor(MARKING_THREADS) as pool:
            marked = pool.map(lambda place: _marked(rows[place], conn_id), places)
            for place, row in zip(places, marked, strict=True):
                found[place] = row
    return found


def _marked(row: Swap, conn_id: str | None) -> Swap:
    from ..pictures.kept_marks import mark_kept_picture
    from ..pictures.sidecar import SwapFacts

    facts = SwapFacts(
        img_uuid=row.img_uuid,
        source_img=row.source_img,
        reference_img=row.reference_img,
        consent_ref=row.consent_ref,
    )
    try:
        first, *others = [
            mark_kept_picture(uri, facts=facts, run_id=row.run_id, pair_id=row.pair_id, conn_id=conn_id)
            for uri in (str(row.result_uri), *row.additional_result_uris)
        ]
    except Exception as error:  # noqa: BLE001  see with_marked_pictures
        log.warning("%s: the reused picture could not be marked: %s", row.label, error)
        return row
    return row.changed(
        result_uri=first.uri,
        result_sha256=first.sha256,
        result_mark=first.mark,
        additional_result_uris=tuple(picture.uri for picture in others),
    )
