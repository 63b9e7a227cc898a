# SPDX-License-Identifier: Apache-2.0
"""What other rows have done with a pair: who claimed it last, and what earlier runs have paid for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .pair_keys import PairKey, read_keys
from .reuse import by_pair

if TYPE_CHECKING:
    from .ledger import Ledger
    from .swap import Swap


@dataclass(frozen=True, slots=True)
class PairHistory:
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
