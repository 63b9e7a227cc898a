# SPDX-License-Identifier: Apache-2.0
"""A limit is shared max-min fair: between runs first, then between the tasks of a run."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_goenhance.results.allotment import Demand, allot, fill


def demands(**wanted: tuple[str, int]) -> list[Demand]:
    return [
        Demand(owner, run, number, float(place))
        for place, (owner, (run, number)) in enumerate(wanted.items())
    ]


def test_one_task_alone_gets_the_whole_limit() -> None:
    assert allot(32, demands(a=("r1", 500))) == {"a": 32}


def test_a_task_gets_no_more_than_it_can_use() -> None:
    assert allot(32, demands(a=("r1", 3))) == {"a": 3}


def test_what_one_task_cannot_use_goes_to_the_others() -> None:
    assert allot(10, demands(a=("r1", 1), b=("r2", 50), c=("r3", 50))) == {"a": 1, "b": 5, "c": 4}


def test_a_run_with_many_tasks_gets_no_more_than_a_run_with_one() -> None:
    many = {f"m{number}": ("big", 100) for number in range(9)}
    shares = allot(10, demands(**many, one=("small", 100)))
    assert shares["one"] == 5
    assert sum(shares.values()) == 10


def test_where_the_limit_does_not_suffice_for_all_those_who_waited_longest_are_served() -> None:
    shares = allot(
        2, [Demand("late", "c", 9, 3.0), Demand("early", "a", 9, 1.0), Demand("next", "b", 9, 2.0)]
    )
    assert shares == {"early": 1, "next": 1, "late": 0}


RUNS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 40), st.floats(0, 100, allow_nan=False)), max_size=30
)


@given(limit=st.integers(0, 100), rows=RUNS)
def test_nothing_is_wasted_and_nothing_is_given_twice(limit: int, rows: list[tuple[int, int, float]]) -> None:
    asked = [Demand(str(number), run, wanted, since) for number, (run, wanted, since) in enumerate(rows)]
    shares = allot(limit, asked)
    assert set(shares) == {demand.owner for demand in asked}
    assert all(0 <= shares[demand.owner] <= demand.wanted for demand in asked)
    assert sum(shares.values()) == min(limit, sum(demand.wanted for demand in asked))


@given(limit=st.integers(0, 100), rows=RUNS)
def test_nobody_who_wants_more_has_less_than_another_by_more_than_one(
    limit: int, rows: list[tuple[int, int, float]]
) -> None:
    asked = [Demand(str(number), run, wanted, since) for number, (run, wanted, since) in enumerate(rows)]
    shares = allot(limit, asked)
    got: dict[object, int] = defaultdict(int)
    wanted: dict[object, int] = defaultdict(int)
    for demand in asked:
        got[demand.run] += shares[demand.owner]
        wanted[demand.run] += demand.wanted
    for run in got:
        if got[run] < wanted[run]:
            assert got[run] >= max(got.values()) - 1
    for demand in asked:
        of_run = [shares[other.owner] for other in asked if other.run == demand.run]
        if shares[demand.owner] < demand.wanted:
            assert shares[demand.owner] >= max(of_run) - 1


@given(limit=st.integers(-5, 50), wanted=st.lists(st.integers(0, 20), max_size=10))
def test_filling_is_even(limit: int, wanted: list[int]) -> None:
    parts = fill(limit, wanted)
    assert sum(parts) == min(max(0, limit), sum(wanted))
