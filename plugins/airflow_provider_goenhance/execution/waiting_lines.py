# SPDX-License-Identifier: Apache-2.0
"""Say in the log why a task has no place among the concurrent submits of its account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .messages import capitalize, pluralize

if TYPE_CHECKING:
    from ..api.account import Account
    from ..results.lease_rows import Lease


def paused(account: Account, seconds: float) -> str:
    """Say that an account is paused."""
    return f"{capitalize(str(account))} is paused for {seconds:.0f} s more, after a 429."


def not_renewed(account: Account) -> str:
    """Say that a lease has expired."""
    return f"The lease of this task in the limits of {account} could not be renewed."


def all_slots_used(account: Account, limit: int, pace: float) -> str:
    """
    Say that other tasks have all slots.

    :param limit: how many concurrent submits the account may have
    :param pace: which share of them it may have now, after a 429
    """
    slots = max(1, int(limit * pace))
    slower = f" ({limit} once it has recovered from a 429)" if slots < limit else ""
    used = f"all {slots} concurrent submits" if slots > 1 else "the only concurrent submit"
    return f"Other tasks use {used} of {account}{slower}."


def silent_tasks(lease: Lease) -> str:
    """Say that killed tasks still have slots; empty if there are none."""
    if not lease.silent_slots:
        return ""
    belong = pluralize(lease.silent_slots, "of them belongs", "of them belong")
    seconds = f"{lease.silent_seconds:.0f} s"
    return f" {belong} to tasks that no longer report, as after a kill, and will be free in {seconds}."
