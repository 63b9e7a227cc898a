# SPDX-License-Identifier: Apache-2.0
"""Share a limit of an account between the tasks that send at the same time: max-min fair, between runs first."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Demand:
    """
    What one task could use.

    :param owner: unique name of the task's execution
    :param run: the run that it belongs to
    :param wanted: how much of the limit it could use
    :param since: when it joined the queue; where the limit does not suffice for all, the earlier one is served first
    """

    owner: str
    run: Hashable
    wanted: int
    since: float = 0.0


def allot(limit: int, demands: Sequence[Demand]) -> dict[str, int]:
    """
    Return the share of each task. The shares add up to ``limit``, or to all that is wanted if that is less.

    A run with a hundred tasks gets no more than a run with one, unless the one cannot use its share.
    """
    runs: dict[Hashable, list[Demand]] = {}
    for demand in sorted(demands, key=lambda each: (each.since, each.owner)):
        runs.setdefault(demand.run, []).append(demand)
    totals = [sum(demand.wanted for demand in members) for members in runs.values()]
    shares: dict[str, int] = {}
    for members, share in zip(runs.values(), fill(limit, totals), strict=True):
        parts = fill(share, [demand.wanted for demand in members])
        shares.update(zip((demand.owner for demand in members), parts, strict=True))
    return shares


def fill(limit: int, wanted: Sequence[int]) -> list[int]:
    """Return what each gets when all are filled evenly; what cannot be divided goes to the first ones."""
    parts = [0] * len(wanted)
    left, open_places = max(0, limit), sorted(range(len(wanted)), key=lambda place: wanted[place])
    for done, place in enumerate(open_places):
        even, rest = divmod(left, len(wanted) - done)
        if wanted[place] > even:
            for number, other in enumerate(sorted(open_places[done:])):
                parts[other] = min(wanted[other], even + (number < rest))
            break
        parts[place] = max(0, wanted[place])
        left -= parts[place]
    return parts
