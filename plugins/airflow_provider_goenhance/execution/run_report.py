# SPDX-License-Identifier: Apache-2.0
"""The report of a run as other programs and people receive it: plain values, without secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..results.states import Status
from .messages import pluralize

if TYPE_CHECKING:
    from ..results.ledger import RunKey
    from ..results.run_summary import RunSummary

#: Statuses that the text names after the pictures.
_NAMED = (Status.FAILED, Status.UNKNOWN, Status.HELD, Status.REJECTED, Status.PLANNED, Status.SUBMITTED)


def run_report(
    key: RunKey,
    summary: RunSummary,
    *,
    page: str,
    failures_csv: str | None = None,
    contact_sheet: str | None = None,
    error: str | None = None,
) -> dict[str, Any]:
    """
    Return the report of a run.

    :param page: address of the page that shows its rows
    :param failures_csv: where the failures are, if there are any
    :param contact_sheet: where the contact sheet is, if there is one
    :param error: why the run fails, ``None`` if it does not
    """
    counts = {str(status): summary.counts[status] for status in Status}
    pictures = counts["succeeded"] + counts["reused"]
    return {
        "dag_id": key.dag_id,
        "run_id": key.run_id,
        "state": "failed" if error else "succeeded",
        "pairs": summary.rows,
        "pictures": pictures,
        "counts": counts,
        "credits": summary.cost,
        "submits": summary.attempts,
        "over_budget": summary.over_budget,
        "gone": summary.gone,
        "suspicious": summary.suspicious,
        "median_seconds": summary.median_seconds,
        "slowest_seconds": summary.slowest_seconds,
        "page": page,
        "failures_csv": failures_csv,
        "contact_sheet": contact_sheet,
        "error": error,
        "text": _text(key, summary, pictures, failed=error is not None),
    }


def _text(key: RunKey, summary: RunSummary, pictures: int, *, failed: bool) -> str:
    """Return the report in one line."""
    others = [f"{summary.counts[status]} {status}" for status in _NAMED if summary.counts[status]]
    money = "nothing was paid"
    if summary.cost is not None:
        money = f"{pluralize(summary.cost, 'credit')} spent"
    elif summary.attempts:
        money = f"{pluralize(summary.attempts, 'submit')} that may have been paid for"
    verdict = "failed" if failed else "finished"
    return (
        f"{key.dag_id} {key.run_id} {verdict}: {pictures} of {pluralize(summary.rows, 'picture')}"
        f"{', ' + ', '.join(others) if others else ''}; {money}."
    )
