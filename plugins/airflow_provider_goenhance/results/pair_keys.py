# SPDX-License-Identifier: Apache-2.0
"""
One submit in flight for each pair of an account, over all runs: the keys that a claim needs.

A key says which swap claimed the pair last, and how often the pair was claimed. What that means for the pair is the
state of that swap's row, see :func:`.reuse.next_step`; nothing ever gives a key back. A claim names the number of
claims that its decision was based on, and is refused if there have been more since: a compare-and-set, in the
transaction that claims the row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

from . import bulk_update
from .account_tables import account_tables
from .database import IN_LIST
from .key_lists import among, read_in_one_process
from .transitions import Claim

if TYPE_CHECKING:
    from .transitions import ClaimOwner, Transition


class PairKey(NamedTuple):
    """
    The key of a pair.

    :param swap_id: the swap that claimed the pair last
    :param claims: how often the pair was claimed
    """

    swap_id: str
    claims: int


def claim_pairs(
    connection: sa.Connection, swaps: sa.Table, owner: ClaimOwner, steps: Sequence[Transition]
) -> list[bool]:
    """
    Take the keys of the pairs that a claim owner is about to submit.

    A swap that has the key already is granted it again, so the transaction may run twice.

    :return: for each step whether it may be taken; only a claim may not
    """
    first: dict[str, Claim] = {}
    for step in steps:
        if isinstance(step, Claim) and step.pair_fingerprint is not None:
            # Of two swaps of one pair the second one is refused: PostgreSQL touches no row twice in one statement.
            first.setdefault(step.pair_fingerprint, step)
    if not first or owner.account is None:
        return [True] * len(steps)
    # Sorted, so that no two transactions wait for each other.
    granted = _take(connection, swaps, owner.account, [first[pair] for pair in sorted(first)])
    return [
        not isinstance(step, Claim)
        or step.pair_fingerprint is None
        or (step.pair_fingerprint in granted and first[step.pair_fingerprint].swap_id == step.swap_id)
        for step in steps
    ]


def read_keys(
    connection: sa.Connection, swaps: sa.Table, account: str, pairs: Iterable[str]
) -> dict[str, PairKey]:
    """Return the keys of some pairs of an account, by the pairs' fingerprints; a pair never claimed has none."""
    c = _pairs_of(swaps).c
    found: dict[str, PairKey] = {}
    read_in_one_process(connection)
    for condition in among(connection.dialect.name, c.pair_fingerprint, pairs):
        query = sa.select(c.pair_fingerprint, c.swap_id, c.claims).where(c.account == account, condition)
        found |= {row[0]: PairKey(row[1], row[2]) for row in connection.execute(query).fetchall()}
    return found


def _take(connection: sa.Connection, swaps: sa.Table, account: str, claims: Sequence[Claim]) -> set[str]:
    """Return the pairs, of claims in order, whose keys are now those of the claims."""
    pairs, dialect = _pairs_of(swaps), connection.dialect
    if bulk_update.reads_json(dialect.name):
        rows = [(claim.pair_fingerprint, claim.swap_id, claim.claims_seen + 1) for claim in claims]
        taken = _upsert_json(pairs, dialect).execute(connection, rows, {"account": account})
        return {pair for (pair,) in taken.fetchall()}
    values = [
        {
            "account": account,
            "pair_fingerprint": claim.pair_fingerprint,
            "swap_id": claim.swap_id,
            "claims": claim.claims_seen + 1,
        }
        for claim in claims
    ]
    connection.execute(_upsert_mysql(pairs), values)
    wanted = {str(claim.pair_fingerprint): claim.swap_id for claim in claims}
    return _held(connection, pairs, account, wanted)


def _held(connection: sa.Connection, pairs: sa.Table, account: str, wanted: dict[str, str]) -> set[str]:
    """Return the pairs whose key is with the swap that wants it."""
    names = list(wanted)
    held: set[str] = set()
    for start in range(0, len(names), IN_LIST):
        query = sa.select(pairs.c.pair_fingerprint, pairs.c.swap_id).where(
            pairs.c.account == account, pairs.c.pair_fingerprint.in_(names[start : start + IN_LIST])
        )
        # FOR UPDATE: a plain read could return the key as it was when the transaction began.
        found = connection.execute(query.with_for_update())
        held |= {pair for pair, swap_id in found if wanted[pair] == swap_id}
    return held


@lru_cache(maxsize=16)
def _upsert_json(pairs: sa.Table, dialect: sa.Dialect) -> bulk_update.JsonStatement:
    """Return the statement that takes all keys in a JSON text, and returns the pairs whose keys it took."""
    columns = {name: pairs.c[name] for name in ("pair_fingerprint", "swap_id", "claims")}
    cells = bulk_update.json_cells(dialect.name, columns)
    rows = sa.select(sa.bindparam("account", type_=pairs.c.account.type), *cells.values()).where(
        sa.true()  # without a WHERE, SQLite takes ON CONFLICT for the condition of a join
    )
    insert: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[dialect.name]
    statement = insert(pairs).from_select(["account", *cells], rows)
    new = statement.excluded
    upsert = statement.on_conflict_do_update(
        index_elements=[pairs.c.account, pairs.c.pair_fingerprint],
        # Counted up, not set: what another has read of this key no longer holds, also if it is taken again.
        set_={"swap_id": new.swap_id, "claims": pairs.c.claims + sa.literal_column("1")},
        where=sa.or_(pairs.c.swap_id == new.swap_id, pairs.c.claims == new.claims - sa.literal_column("1")),
    ).returning(pairs.c.pair_fingerprint)
    return bulk_update.JsonStatement(upsert, dialect)


@lru_cache(maxsize=4)
def _upsert_mysql(pairs: sa.Table) -> Any:
    """Return the statement that takes one key, if it may."""
    statement = mysql.insert(pairs)
    new = statement.inserted
    mine = pairs.c.swap_id == new.swap_id
    unchanged = pairs.c.claims == new.claims - sa.literal_column("1")
    # In this order: MySQL reads a column that the statement has set before with its new value.
    return statement.on_duplicate_key_update(
        [
            ("swap_id", sa.func.if_(sa.or_(mine, unchanged), new.swap_id, pairs.c.swap_id)),
            ("claims", sa.func.if_(mine, pairs.c.claims + sa.literal_column("1"), pairs.c.claims)),
        ]
    )


def _pairs_of(swaps: sa.Table) -> sa.Table:
    return account_tables(swaps.name, swaps.schema).pairs
