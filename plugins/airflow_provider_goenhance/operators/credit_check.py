# SPDX-License-Identifier: Apache-2.0
"""The credit balance at both ends of a run: stored by the plan, compared with the submits by the report."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..hooks.account import AccountClient
    from ..results.ledger import Ledger, RunKey

log = logging.getLogger(__name__)


def store_planned_balance(hook: AccountClient, ledger: Ledger, key: RunKey, balance: int) -> None:
    """Store the balance that a run starts with."""
    from ..execution.reconcile import record_balance

    record_balance(ledger, hook.account().fingerprint, key, "plan", balance)


def settle_before_planning(hook: AccountClient, ledger: Ledger, job_seconds: float) -> None:
    """Return unknown submits of earlier runs to ``planned`` where the balance shows that none was accepted."""
    from ..execution.messages import pluralize
    from ..execution.reconcile import record_balance, settle_earlier_runs
    from ..results.balances import Balances

    account = hook.account()
    if not Balances(ledger.database, account.fingerprint).runs_with_unknown():
        return
    now = record_balance(ledger, account.fingerprint, None, "reconcile", hook.get_credits().count)
    settled = settle_earlier_runs(
        ledger, account.fingerprint, now, job_seconds=job_seconds, named_price=account.credits_per_swap
    )
    if settled:
        log.warning(
            "%s not billed, as the balance shows, and may be sent again: %s.",
            pluralize(len(settled), "unknown submit was", "unknown submits were"),
            ", ".join(f"{swap.label} of run {swap.run_id}" for swap in settled[:10]),
        )


def compare_with_balance(
    hook: AccountClient, ledger: Ledger, key: RunKey, *, job_seconds: float, settle: bool
) -> None:
    """
    Log what the balance says about the submits of a run. It never fails the run.

    :param job_seconds: how long a job may run
    :param settle: return unknown submits to ``planned`` if the balance shows that none was accepted
    """
    from ..execution.reconcile import compare_run, has_balance, record_balance, settle_by_credits
    from ..execution.settle import ResolutionError

    try:
        account = hook.account()
        if not has_balance(ledger, account.fingerprint, key):
            return
        now = record_balance(ledger, account.fingerprint, key, "report", hook.get_credits().count)
        comparison = compare_run(
            ledger,
            account.fingerprint,
            key,
            now,
            job_seconds=job_seconds,
            named_price=account.credits_per_swap,
        )
        if comparison is None:
            return
        log.log(logging.WARNING if comparison.unknown else logging.INFO, "Credits: %s", comparison.line)
        if settle:
            settled = settle_by_credits(ledger, account.fingerprint, comparison)
            if settled:
                log.warning("Not billed, and planned again: %s.", ", ".join(swap.label for swap in settled))
    except ResolutionError as error:
        log.warning("%s", error)
    except Exception as error:  # noqa: BLE001  figures for people must not fail swaps that were paid for
        log.warning("The credits could not be compared with the submits: %s", error)
