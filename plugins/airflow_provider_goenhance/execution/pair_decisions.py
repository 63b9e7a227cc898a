# SPDX-License-Identifier: Apache-2.0
"""Decide for many rows at once what becomes of them, given what other rows have done with their pairs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from ..results.pair_history import PairHistory, read_histories
from ..results.reuse import Decision, NextStep, adopting, holding, next_step, picture_of, reusing, task_of
from ..results.states import OnUnknownSubmit, Status
from .kept_pictures import KeptPictures

if TYPE_CHECKING:
    from ..results.ledger import Ledger
    from ..results.pair_keys import PairKey
    from ..results.swap import Swap


def decide_pairs(
    rows: Sequence[Swap],
    ledger: Ledger,
    account: str,
    *,
    reuse: bool,
    on_unknown_submit: OnUnknownSubmit,
    storage_conn_id: str | None,
    planning: bool = False,
    pay_again: Collection[str] = (),
    kept: KeptPictures | None = None,
) -> dict[str, Decision]:
    """
    Return, by ``swap_id``, what becomes of rows that are due to be submitted.

    :param rows: the rows
    :param ledger: where the results table is
    :param account: fingerprint of the account that would pay
    :param reuse: whether pictures and jobs of other tasks and runs serve
    :param on_unknown_submit: what happens to a pair whose latest submit may have been accepted
    :param storage_conn_id: Airflow connection of the storage
    :param planning: whether the rows are new; for rows that were planned before nothing has changed as long as their
        pair was never claimed
    :param pay_again: ids of rows for which a person asked for another job, whatever others have paid for
    :param kept: looks for the pictures, and logs later what it did not find; default: one that logs at once
    """
    as_planned = {row.pair_fingerprint for row in rows if row.status is Status.PLANNED}

    def whole(pair: str, key: PairKey | None) -> bool:
        return planning or pair not in as_planned or key is not None

    ids = {row.swap_id for row in rows}
    histories = read_histories(
        ledger,
        (row.pair_fingerprint for row in rows),
        account,
        known=ids,
        whole=whole,
        planning=planning,
    )
    tasks = None if reuse else {task_of(row) for row in rows}
    look = kept or KeptPictures(storage_conn_id)
    pictures = look.still_there(_pictures(histories, tasks))
    if kept is None:
        look.log_missing()

    def decision(row: Swap) -> Decision:
        history = histories[row.pair_fingerprint]
        found = next_step(
            row,
            history.earlier,
            holder=history.holder,
            picture=pictures.get(row.pair_fingerprint),
            reuse=reuse,
            on_unknown_submit=on_unknown_submit,
            pay_again=row.swap_id in pay_again,
        )
        if history.key is None:
            return found
        return Decision(found.step, found.other, history.key.claims, found.code)

    return {row.swap_id: decision(row) for row in rows}


def decided(row: Swap, decision: Decision) -> Swap:
    """Return a row as it is decided to be; one that is to be submitted, or waits, is returned as it is."""
    other = decision.other
    match decision.step:
        case NextStep.REUSE if other is not None:
            return reusing(row, other)
        case NextStep.ADOPT if other is not None:
            return adopting(row, other)
        case NextStep.HOLD:
            return holding(row, decision)
        case _:
            return row


def _pictures(
    histories: Mapping[str, PairHistory], tasks: Collection[tuple[str, str, str | None]] | None
) -> list[Swap]:
    """Return the rows with the latest kept pictures; with ``tasks`` only of these tasks."""
    found = []
    for history in histories.values():
        rows = (*history.earlier, history.holder) if history.holder else history.earlier
        picture = picture_of([row for row in rows if tasks is None or task_of(row) in tasks])
        if picture is not None:
            found.append(picture)
    return found
