# SPDX-License-Identifier: Apache-2.0
"""How the keys of pairs are taken on MySQL and MariaDB, which neither read JSON rows nor return what they wrote."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.dialects import mysql

from airflow_provider_goenhance.results import pair_keys
from airflow_provider_goenhance.results.pair_keys import claim_pairs
from airflow_provider_goenhance.results.schema import swaps_table
from airflow_provider_goenhance.results.transitions import Accepted, Claim, ClaimOwner
from tests.swaps import planned

OWNER = ClaimOwner("swap[0] of run 1", "account")
CLAIMS = [Claim.of(planned(number)) for number in range(5)]


class Wire:
    """A connection to MySQL up to what is sent: it notes each statement, and answers who has which key."""

    dialect = mysql.dialect()

    def __init__(self, holders: dict[str | None, str]) -> None:
        self.holders = holders
        self.said: list[str] = []
        self.sent: list[Any] = []

    def execute(self, statement: Any, values: Any = None) -> list[tuple[str, str]]:
        compiled = statement.compile(dialect=self.dialect)
        self.said.append(str(compiled))
        self.sent.append(values)
        asked = [value for value in compiled.params.values() if isinstance(value, list)]
        return [(pair, self.holders[pair]) for pairs in asked for pair in pairs if pair in self.holders]


def claim(wire: Any, *steps: Any) -> list[bool]:
    return claim_pairs(wire, swaps_table(), OWNER, steps)


def test_the_swap_is_set_before_the_count_that_its_condition_reads() -> None:
    """MySQL sets columns from left to right, and reads one that it has set with its new value."""
    wire = Wire({})
    claim(wire, replace(CLAIMS[0], claims_seen=3))
    _, _, update = wire.said[0].partition("ON DUPLICATE KEY UPDATE ")

    swap, _, claims = update.partition(", claims = ")
    assert swap == (
        "swap_id = if(goenhance_swaps_pairs.swap_id = VALUES(swap_id) OR "
        "goenhance_swaps_pairs.claims = VALUES(claims) - 1, VALUES(swap_id), goenhance_swaps_pairs.swap_id)"
    )
    # Counted up only for the swap that has the key now: the one above, or the one that had it already.
    assert claims == (
        "if(goenhance_swaps_pairs.swap_id = VALUES(swap_id), goenhance_swaps_pairs.claims + 1, "
        "goenhance_swaps_pairs.claims)"
    )
    [[sent]] = wire.sent[:1]
    assert (sent["account"], sent["swap_id"], sent["claims"]) == ("account", CLAIMS[0].swap_id, 4)


@pytest.mark.parametrize("names_in_a_query", [2, 100])
def test_a_claim_is_granted_if_its_swap_has_the_key_afterwards(
    monkeypatch: pytest.MonkeyPatch, names_in_a_query: int
) -> None:
    monkeypatch.setattr(pair_keys, "IN_LIST", names_in_a_query)
    mine = {CLAIMS[number].pair_fingerprint: CLAIMS[number].swap_id for number in (0, 2, 3)}
    wire = Wire(mine | {CLAIMS[1].pair_fingerprint: "another swap"})

    assert claim(wire, *CLAIMS) == [True, False, True, True, False]

    # A plain read could return a key as it was when the transaction began.
    looks = wire.said[1:]
    assert len(looks) == (3 if names_in_a_query == 2 else 1)
    assert all(look.endswith("FOR UPDATE") for look in looks)


def test_of_two_swaps_of_one_pair_the_second_one_is_refused_and_other_steps_need_no_key() -> None:
    first = CLAIMS[0]
    second = replace(first, swap_id="another row of the pair")
    wire = Wire({first.pair_fingerprint: first.swap_id})

    assert claim(wire, first, second, Accepted("a row", "a-job")) == [True, False, True]
    assert [len(values) for values in wire.sent[:1]] == [1]


def test_without_a_pair_to_claim_nothing_is_sent() -> None:
    wire = Wire({})
    assert claim(wire, Accepted("a row", "a-job")) == [True]
    assert wire.said == []
