# SPDX-License-Identifier: Apache-2.0
"""What a person reads about money: before a run starts, and while it goes on."""

from __future__ import annotations

import pytest

from airflow_provider_goenhance.execution.price import Estimate
from airflow_provider_goenhance.execution.progress import duration, submit_line, wait_line
from airflow_provider_goenhance.results.spending import Amount, Caps


def test_an_estimate_has_price_balance_and_time() -> None:
    estimate = Estimate(120, 3, balance=4207, per_second=20)
    assert estimate.question == "Pay 360 credits for 120 face swaps?"
    assert str(estimate) == (
        "To be paid for: 120 pairs x 3 credits = 360 credits. Balance: 4207 credits now, 3847 afterwards. "
        "The submits take about 6 s at 20 per second."
    )


def test_an_estimate_keeps_to_the_budget() -> None:
    estimate = Estimate(5, 3, room=2, budget="run a", balance=10)
    assert (estimate.paid, estimate.cost) == (2, 6)
    assert str(estimate) == (
        "To be paid for: 2 pairs x 3 credits = 6 credits. The budget of run a does not cover 3 further pairs, "
        "which will be held. Balance: 10 credits now, 4 afterwards."
    )


def test_an_estimate_says_by_how_much_the_balance_is_too_low() -> None:
    assert str(Estimate(2, 3, balance=5)).endswith("Balance: 5 credits now, which is 1 too few.")


def test_an_estimate_without_a_price_does_not_guess() -> None:
    estimate = Estimate(2, balance=5)
    assert estimate.cost is None
    assert "at a price that is not known" in str(estimate)
    assert str(estimate).endswith("Balance: 5 credits.")


def test_nothing_to_pay_costs_nothing_whatever_the_price() -> None:
    assert Estimate(0).cost == 0
    assert str(Estimate(0, 3)) == "To be paid for: nothing."


@pytest.mark.parametrize(
    ("caps", "used", "price", "room"),
    [
        (Caps(), Amount(5, 5), None, 2**62),
        (Caps(max_pairs=4), Amount(1, 0), None, 3),
        (Caps(max_pairs=4), Amount(9, 0), None, 0),
        (Caps(max_cost=10), Amount(0, 4), 3, 2),
        (Caps(max_cost=10), Amount(0, 11), 3, 0),
        (Caps(max_cost=10), Amount(0, 4), None, 0),
        (Caps(max_pairs=1, max_cost=10), Amount(0, 4), 3, 1),
    ],
)
def test_the_tighter_limit_of_a_budget_counts(caps: Caps, used: Amount, price: int | None, room: int) -> None:
    assert caps.room(used, price) == room


def test_the_line_about_submits_has_money_rate_and_time_left() -> None:
    assert submit_line(40, 100, paid=39, cost=117, price=3, seconds=4) == (
        "40 of 100 pairs submitted: 39 pairs paid for (117 credits), 297 credits projected; 10.0 per second, 6 s left."
    )


def test_the_line_about_submits_leaves_out_what_is_not_known() -> None:
    assert submit_line(0, 1, paid=0, cost=None, price=None, seconds=0.1) == (
        "0 of 1 pair submitted: 0 pairs paid for; rate not known yet."
    )


def test_the_line_about_a_wait_says_that_all_is_paid_for() -> None:
    assert wait_line(3, 12, failed=1, cost=24, seconds=180) == (
        "3 of 12 jobs finished (1 failed); all paid for, 24 credits; 1.0 per minute, 9 min left."
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (7200, "2 h"), (7500, "2 h 5 min")],
)
def test_a_duration_as_a_person_says_it(seconds: float, words: str) -> None:
    assert duration(seconds) == words
