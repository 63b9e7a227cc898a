# SPDX-License-Identifier: Apache-2.0
"""What a person can do about a run that did not go well: only what fits its rows, one fact a line."""

from __future__ import annotations

from collections.abc import Mapping

from ..results.states import Status

#: What to do about the rows in a state, in the order in which it should be done.
_ADVICE = {
    Status.UNKNOWN: "Settle the unknown submits first, on the results page or with `airflow goenhance resolve`: until "
    "then no run sends their pairs.",
    Status.HELD: "The lines above say what each held pair waits for. Clear their tasks once that is settled: "
    "each is checked again.",
    Status.FAILED: "Clear the tasks of the failed pairs, which the results page can select: that collects pictures "
    "that were paid for and not stored, and sends declined pairs again. A new run adopts the jobs that are paid for, "
    "and pays for the other pairs.",
    Status.REJECTED: "Correct the rejected rows in the manifest, or in failures.csv, and start a new run: it pays "
    "nothing for pictures that are there. A clear never sends a rejected row.",
}


def advice(counts: Mapping[Status, int]) -> list[str]:
    """
    Return what to do about a run, one sentence or two for each state that has rows.

    :param counts: rows in each state, without those that need nobody
    """
    return [sentence for status, sentence in _ADVICE.items() if counts.get(status)]


def trouble(counts: Mapping[Status, int]) -> str:
    """Return how many rows went wrong, by state: ``2 failed, 1 unknown``; empty if none did."""
    return ", ".join(f"{counts[status]} {status}" for status in _TROUBLE if counts.get(status))


_TROUBLE = (Status.FAILED, Status.UNKNOWN, Status.HELD, Status.REJECTED, Status.PLANNED, Status.SUBMITTING)
