# SPDX-License-Identifier: Apache-2.0
"""
What two balances say about the submits between them, as pure functions.

The credits that were spent are compared with what the known jobs cost; the rest is what unknown submits can have cost.
Whatever is not certain widens the result to a range: what may have been charged or not (other runs, jobs that have not
ended, failed jobs that may be refunded), and a price that is not one number. Credits that no submit of ours explains
are shown as such.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..exceptions import ErrorCode
from ..results.states import Status
from .messages import pluralize

if TYPE_CHECKING:
    from ..results.balances import Charges

#: Fewer jobs than this could be what somebody else's spending happens to be a multiple of.
LEARN_FROM = 5
#: Failures whose job was certainly charged for: it succeeded, and its picture was not kept.
_NOT_ENDED = frozenset({ErrorCode.JOB_TIMED_OUT, ErrorCode.JOB_NOT_FOUND, ErrorCode.WAIT_FAILED})


@dataclass(frozen=True, slots=True)
class Price:
    """Credits for one swap: one number, or the lowest and the highest that were seen."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.low}" if self.low == self.high else f"{self.low} to {self.high}"


@dataclass(frozen=True, slots=True)
class Maybe:
    """
    Submits that may have been charged for between the two balances, or not.

    :param others: of other runs of the account
    :param earlier: of this run, from before the first balance, or sent again
    :param running: whose job has not ended
    :param failed: whose job failed, and may have been refunded
    """

    others: int = 0
    earlier: int = 0
    running: int = 0
    failed: int = 0

    def __bool__(self) -> bool:
        return any((self.others, self.earlier, self.running, self.failed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """
    Two balances, and what was submitted between them.

    :param price: of one swap; ``None`` if it is not known
    :param jobs: jobs of the run that have ended, and were certainly charged for
    :param cost: what GoEnhance reported for those that it reported a cost for
    :param unpriced: those of them that it reported none for
    :param maybe: further submits that may have been charged for
    :param maybe_cost: the same for those
    :param maybe_unpriced: the same for those
    :param unknown: submits of the run whose outcome is not known
    """

    before: int
    after: int
    price: Price | None
    jobs: int = 0
    cost: int = 0
    unpriced: int = 0
    maybe: Maybe = field(default_factory=Maybe)
    maybe_cost: int = 0
    maybe_unpriced: int = 0
    unknown: int = 0

    @property
    def spent(self) -> int:
        """Return the credits by which the balance fell; negative where it rose."""
        return self.before - self.after


@dataclass(frozen=True, slots=True)
class Finding:
    """
    What the balance shows.

    :param low: at least this number of the unknown submits was accepted
    :param high: at most this number was
    :param foreign: at least this number of credits was spent by somebody else
    :param returned: at least this number of credits came back: refunds, or a top-up
    :param priced: whether the price was known
    """

    low: int
    high: int
    foreign: int = 0
    returned: int = 0
    priced: bool = True

    @property
    def exact(self) -> bool:
        """Return whether the balance leaves one answer."""
        return self.priced and self.low == self.high and not self.foreign and not self.returned


def compare(round_: Round) -> Finding:
    """Return what the balance shows."""
    price = round_.price
    if price is None:
        return Finding(0, round_.unknown, priced=False)
    # What the unknown submits, and others than us, can have spent.
    most = round_.spent - round_.cost - round_.unpriced * price.low
    least = (
        round_.spent
        - (round_.cost + round_.maybe_cost)
        - (round_.unpriced + round_.maybe_unpriced) * price.high
    )
    if most < 0:
        return Finding(0, round_.unknown, returned=-most)
    high = min(round_.unknown, most // price.low) if price.low else round_.unknown
    foreign = max(0, least - high * price.high)
    low = 0 if foreign or not price.high else max(0, -(-least // price.high))
    return Finding(low, high, foreign=foreign)


def price_shown_by(round_: Round) -> int | None:
    """Return the price of a swap that a round without anything uncertain shows, ``None`` if it shows none."""
    if round_.unknown or round_.maybe or round_.cost or round_.unpriced < LEARN_FROM:
        return None
    price, rest = divmod(round_.spent, round_.unpriced)
    return price if price > 0 and not rest else None


def round_of(before: int, after: int, charges: Iterable[Charges], known_price: int | None) -> Round:
    """
    Return the round that some rows make.

    :param known_price: the price that was learned before; costs that GoEnhance reported for these rows count more
    """
    charges = list(charges)
    jobs = cost = unpriced = unknown = maybe_cost = maybe_unpriced = 0
    maybe = dict.fromkeys(("others", "earlier", "running", "failed"), 0)
    for group in charges:
        kind = _kind(group)
        posts = group.attempts * group.rows
        if kind in {"job", "unknown"}:
            # Only the last submit of a row is known to be in this round.
            maybe["earlier"] += posts - group.rows
            maybe_unpriced += posts - group.rows
            if kind == "unknown":
                unknown += group.rows
                continue
            jobs += group.rows
            cost += (group.cost or 0) * group.rows
            unpriced += group.rows if group.cost is None else 0
            continue
        maybe[kind] += posts
        priced = group.rows if group.cost is not None and group.has_job else 0
        maybe_cost += (group.cost or 0) * priced
        maybe_unpriced += posts - priced
    return Round(
        before=before,
        after=after,
        price=_price(charges, known_price),
        jobs=jobs,
        cost=cost,
        unpriced=unpriced,
        maybe=Maybe(**maybe),
        maybe_cost=maybe_cost,
        maybe_unpriced=maybe_unpriced,
        unknown=unknown,
    )


def _price(charges: Sequence[Charges], known: int | None) -> Price | None:
    """Return what GoEnhance reported for the run's jobs, or else what was known before."""
    costs = [group.cost for group in charges if group.own and group.has_job and group.cost is not None]
    if costs:
        return Price(min(costs), max(costs))
    return None if known is None else Price(known, known)


def _kind(group: Charges) -> str:
    """Return what some rows say: a charged job, an unknown submit, or why neither is certain."""
    if not group.own:
        return "others"
    if group.early:
        return "earlier"
    if group.status is Status.UNKNOWN:
        return "unknown"
    if not group.has_job:
        return "running" if group.status is Status.SUBMITTING else "earlier"
    if group.status is Status.SUBMITTED or not group.ended or group.error_code in _NOT_ENDED:
        return "running"
    return "failed" if group.error_code == ErrorCode.JOB_FAILED else "job"


def credit_line(round_: Round, finding: Finding, *, settled_at: dt.datetime | None = None) -> str:
    """
    Return what the balance shows, in one line.

    :param settled_at: until then a job may still run, and be charged for when it ends; ``None`` if that time is over
    """
    parts = [
        _verdict(round_, finding) if round_.unknown else "",
        _balance(round_),
        _known(round_),
        *_doubts(round_, finding),
    ]
    if settled_at is not None and finding.high < round_.unknown:
        parts.append(
            "GoEnhance may charge for a job only when it ends: compare again with `airflow goenhance reconcile` after "
            f"{settled_at:%Y-%m-%d %H:%M} UTC."
        )
    return " ".join(filter(None, parts))


def _verdict(round_: Round, finding: Finding) -> str:
    submits = pluralize(round_.unknown, "unknown submit")
    low, high, total = finding.low, finding.high, round_.unknown
    if low == high:
        shown = (
            "none was"
            if not low
            else f"{'all ' if low == total > 1 else ''}{low} {'was' if low == 1 else 'were'}"
        )
        return f"{submits}; the balance shows that {shown} accepted."
    if (low, high) == (0, total):
        return f"{submits}; the balance does not show how many were accepted (0 to {total})."
    return f"{submits}; the balance shows that {low} to {high} were accepted."


def _balance(round_: Round) -> str:
    if not round_.spent:
        return f"The balance is {round_.after} credits, as before."
    way = "fell" if round_.spent > 0 else "rose"
    amount = pluralize(abs(round_.spent), "credit")
    return f"The balance {way} by {amount}, from {round_.before} to {round_.after}."


def _known(round_: Round) -> str:
    jobs = pluralize(round_.jobs, "job")
    if not round_.jobs:
        return "No job of this run was certainly charged."
    if round_.price is None:
        return f"{jobs} ended; the price of a swap is not known yet."
    if not round_.unpriced:
        return f"{jobs} cost {pluralize(round_.cost, 'credit')}, as GoEnhance reported."
    low, high = (round_.cost + round_.unpriced * price for price in (round_.price.low, round_.price.high))
    total = pluralize(low, "credit") if low == high else f"{low} to {high} credits"
    return f"{jobs} cost {total}, at {round_.price} per swap."


def _doubts(round_: Round, finding: Finding) -> Sequence[str]:
    maybe = round_.maybe
    uncertain = [
        f"{pluralize(maybe.others, 'submit')} of other runs" if maybe.others else "",
        f"{pluralize(maybe.earlier, 'earlier submit')} of this run" if maybe.earlier else "",
        f"{pluralize(maybe.running, 'job')} that {'has' if maybe.running == 1 else 'have'} not ended"
        if maybe.running
        else "",
        f"{pluralize(maybe.failed, 'failed job')}, which may be refunded" if maybe.failed else "",
    ]
    named = list(filter(None, uncertain))
    doubts = [f"May or may not have been charged in between: {', '.join(named)}."] if named else []
    if finding.foreign:
        doubts.append(
            f"At least {pluralize(finding.foreign, 'credit')} were spent by other users of the account."
        )
    if finding.returned:
        doubts.append(f"At least {pluralize(finding.returned, 'credit')} were added: a refund or a top-up.")
    return doubts


def obstacles(
    round_: Round, finding: Finding, *, in_flight: int, read_at: dt.datetime, quiet_from: dt.datetime
) -> list[str]:
    """
    Return why the balance may not settle the unknown submits as not billed; an empty list if it may.

    :param in_flight: rows of the account that are being submitted, or wait for their job
    :param read_at: when the second balance was read
    :param quiet_from: from then on, no job of an unknown submit can run any more
    """
    running = max(in_flight, round_.maybe.running)
    found = []
    if running:
        found.append(
            f"{pluralize(running, 'swap')} of the account {'has' if running == 1 else 'have'} not ended"
        )
    if read_at <= quiet_from:
        found.append(f"a job may run, and be charged for, until {quiet_from:%Y-%m-%d %H:%M} UTC")
    if not round_.jobs or round_.spent <= 0:
        found.append("no accepted job of the run is visible in the balance")
    if not finding.exact or round_.maybe:
        found.append("the balance leaves more than one answer")
    elif finding.high:
        were = "was" if finding.high == 1 else "were"
        found.append(
            f"{finding.high} of {pluralize(round_.unknown, 'submit')} {were} accepted, and the balance does not say "
            "which"
        )
    return found
