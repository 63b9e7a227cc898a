# SPDX-License-Identifier: Apache-2.0
"""Compare the balance of an account with its submits: for the report, the plan and the command line."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..results.balances import Balances, earliest_after
from ..results.prices import learned_price, store_price
from ..results.resolution import Resolution
from ..results.row_version import version_of
from ..results.states import Status
from .credit_math import Finding, Round, compare, credit_line, obstacles, price_shown_by, round_of
from .messages import pluralize
from .settle import ResolutionError, Selection, resolve_unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..results.balances import Moment, Reading
    from ..results.ledger import Ledger, RunKey
    from ..results.swap import Swap

log = logging.getLogger(__name__)

#: The name in ``resolved_by`` of rows that the balance settled.
BY_CREDITS = "credits"
#: How long a job may run unless a task says otherwise, seconds: the default ``timeout`` of the swap operators.
JOB_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """
    What the balance says about one run.

    :param unknown: the rows that it is about
    :param after: the second of the two balances
    :param quiet_from: from then on, no job of an unknown submit can run any more
    :param job_seconds: how long a job may run
    """

    key: RunKey
    round: Round
    finding: Finding
    unknown: Sequence[Swap]
    after: Reading
    quiet_from: dt.datetime | None
    job_seconds: float

    @property
    def line(self) -> str:
        """Return it in one line."""
        waiting = self.quiet_from is not None and self.after.read_at <= self.quiet_from
        return credit_line(self.round, self.finding, settled_at=self.quiet_from if waiting else None)


def record_balance(ledger: Ledger, account: str, key: RunKey | None, moment: Moment, balance: int) -> Reading:
    """Store a balance that was read just now."""
    return Balances(ledger.database, account).record(key, moment, balance)


def has_balance(ledger: Ledger, account: str, key: RunKey) -> bool:
    """Return whether a balance was read when the run was planned: without it there is nothing to compare with."""
    return bool(Balances(ledger.database, account).readings(key=key, moment="plan"))


def compare_run(
    ledger: Ledger,
    account: str,
    key: RunKey,
    now: Reading,
    *,
    job_seconds: float = JOB_SECONDS,
    named_price: int | None = None,
) -> Comparison | None:
    """
    Compare the balance with the submits of a run.

    The second balance is the first one that was read once no job of an unknown submit could run any more, if there is
    one: less else has happened by then. Otherwise it is the one of this moment.

    :param account: fingerprint of the account
    :param now: the balance as it was read just now
    :param job_seconds: how long a job may run: it may be charged for when it ends
    :param named_price: credits for one swap as the connection names them, until they are known better
    :return: ``None`` if no balance was read before the run's submits
    """
    balances = Balances(ledger.database, account)
    # Few, however large the run: a task stops after some unknown submits in a row.
    unknown = [row for row in ledger.of_run(key, statuses=[Status.UNKNOWN]) if row.account == account]
    before = _before(balances.readings(key=key, moment="plan"), unknown)
    if before is None:
        return None
    unknown = [row for row in unknown if row.claimed_at and row.claimed_at >= before.read_at]
    quiet_from = _quiet_from(unknown, job_seconds)
    after = (earliest_after(balances.readings(), quiet_from) if quiet_from else None) or now
    charges = balances.charges(key, before.read_at, after.read_at, job_seconds)
    known = learned_price(ledger.database, account)
    round_ = round_of(before.balance, after.balance, charges, named_price if known is None else known)
    shown = price_shown_by(round_)
    if shown is not None and shown != known:
        store_price(ledger.database, account, shown)
        log.info("A swap costs %s, as the balance of this run shows.", pluralize(shown, "credit"))
        round_ = round_of(before.balance, after.balance, charges, shown)
    return Comparison(key, round_, compare(round_), unknown, after, quiet_from, job_seconds)


def settle_by_credits(
    ledger: Ledger, account: str, comparison: Comparison, *, asked_by: str | None = None
) -> list[Swap]:
    """
    Return the unknown submits of a run to ``planned``, if the balance shows that none of them was accepted.

    :param asked_by: the person who asked for it, for the row
    :return: the rows; an empty list if the run has no unknown submits
    :raises ResolutionError: when the balance does not settle them; nothing is changed
    """
    if not comparison.unknown or comparison.quiet_from is None:
        return []
    found = obstacles(
        comparison.round,
        comparison.finding,
        in_flight=Balances(ledger.database, account).in_flight(comparison.job_seconds),
        read_at=comparison.after.read_at,
        quiet_from=comparison.quiet_from,
    )
    if found:
        raise ResolutionError(f"The balance settles nothing: {'; '.join(found)}.")
    note = comparison.line + (f" Asked for by {asked_by}." if asked_by else "")
    return resolve_unknown(
        ledger,
        Selection(swap_ids=[row.swap_id for row in comparison.unknown]),
        Resolution.NOT_BILLED,
        by=BY_CREDITS,
        note=note,
        # The balance says nothing of a submit that was sent since it was read.
        seen={row.swap_id: version_of(row) for row in comparison.unknown},
    )


def settle_earlier_runs(
    ledger: Ledger,
    account: str,
    now: Reading,
    *,
    job_seconds: float = JOB_SECONDS,
    named_price: int | None = None,
) -> list[Swap]:
    """Return unknown submits of any run to ``planned`` where the balance shows that none was accepted, and log each."""
    settled: list[Swap] = []
    for key in Balances(ledger.database, account).runs_with_unknown():
        comparison = compare_run(ledger, account, key, now, job_seconds=job_seconds, named_price=named_price)
        if comparison is None:
            log.info("Run %s has unknown submits, and no balance was read before them.", key.run_id)
            continue
        log.info("Run %s: %s", key.run_id, comparison.line)
        try:
            settled += settle_by_credits(ledger, account, comparison)
        except ResolutionError as error:
            log.info("Run %s: %s", key.run_id, error)
    return settled


def _before(readings: Sequence[Reading], unknown: Sequence[Swap]) -> Reading | None:
    """Return the last balance before the first unknown submit; without unknown submits the last one of all."""
    first = min((row.claimed_at for row in unknown if row.claimed_at), default=None)
    return next(
        (reading for reading in reversed(readings) if first is None or reading.read_at <= first), None
    )


def _quiet_from(unknown: Sequence[Swap], job_seconds: float) -> dt.datetime | None:
    last = max((row.finished_at or row.claimed_at for row in unknown if row.claimed_at), default=None)
    return last + dt.timedelta(seconds=job_seconds) if last else None
