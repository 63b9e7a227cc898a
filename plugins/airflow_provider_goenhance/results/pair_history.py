# SPDX-License-Identifier: Apache-2.0
"""What other rows have done with a pair: who claimed it last, and what earlier runs have paid for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from .pair_keys import PairKey, read_keys
from .reuse import by_pair
from .states import Review, Status

if TYPE_CHECKING:
    from .database import ResultsDatabase
    from .ledger import Ledger
    from .plan import RunKey
    from .swap import Swap


class PairHistory(NamedTuple):
    """
    What other rows have done with a pair of an account.

    :param key: its key, ``None`` if it was never claimed
    :param holder: the row that claimed it last
    :param earlier: the rows with its latest picture, job and unknown submit, in the order they were planned
    """

    key: PairKey | None = None
    holder: Swap | None = None
    earlier: tuple[Swap, ...] = ()


def read_histories(
    ledger: Ledger,
    pairs: Iterable[str],
    account: str,
    *,
    known: Collection[str],
    whole: Callable[[str, PairKey | None], bool],
    planning: bool = False,
) -> dict[str, PairHistory]:
    """
    Return what other rows have done with some pairs.

    :param ledger: where the results table is
    :param pairs: their fingerprints
    :param account: fingerprint of the account that would pay
    :param known: ids of rows that the caller has, and that are not read as holders
    :param planning: whether the rows need only the columns that decide
    :param whole: for which pairs, given their keys, all earlier rows are read; the others get their key alone
    """
    wanted = list(dict.fromkeys(pairs))
    # Before the rows: a claim that comes after this read is noticed when the next one names the key.
    keys = ledger.database.run_read(lambda connection: read_keys(connection, ledger.swaps, account, wanted))
    some = [pair for pair in wanted if whole(pair, keys.get(pair))]
    rows = ledger.earlier(some, account, whole=not planning)
    earlier = by_pair(rows)
    read = {swap.swap_id: swap for swap in rows}
    # Most pairs were claimed last by the row that has the picture.
    held = [keys[pair].swap_id for pair in some if pair in keys and keys[pair].swap_id not in known]
    if others := [swap_id for swap_id in held if swap_id not in read]:
        read |= {swap.swap_id: swap for swap in ledger.by_ids(others)}
    holders = {read[swap_id].pair_fingerprint: read[swap_id] for swap_id in held if swap_id in read}
    return {
        pair: PairHistory(keys.get(pair), holders.get(pair), tuple(earlier.get(pair, ()))) for pair in wanted
    }


def rejected_and_sent_since(database: ResultsDatabase, key: RunKey) -> int:
    """Return how many rejected pictures of a run belong to pairs that were sent again since, and not rejected again."""
    old, new = database.swaps.c, database.swaps.alias("newer").c
    sent_again = sa.exists().where(
        new.pair_fingerprint == old.pair_fingerprint,
        new.account == old.account,
        new.claimed_at > sa.func.coalesce(old.claimed_at, old.planned_at),
        new.status.in_([Status.SUBMITTING, Status.SUBMITTED, Status.SUCCEEDED, Status.UNKNOWN]),
        sa.func.coalesce(new.review, "") != Review.REJECTED,
    )
    query = sa.select(sa.func.count().label("rows")).where(
        old.dag_id == key.dag_id,
        old.run_id == key.run_id,
        old.review == Review.REJECTED,
        old.superseded_at.is_(None),
        sent_again,
    )
    (found,) = database.read(query)
    return int(found["rows"])
