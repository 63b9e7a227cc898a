# SPDX-License-Identifier: Apache-2.0
"""What two balances say about the submits between them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_goenhance.execution.credit_math import (
    Finding,
    Maybe,
    Price,
    Round,
    compare,
    credit_line,
    obstacles,
    price_shown_by,
    round_of,
)
from airflow_provider_goenhance.results.balances import Charges
from airflow_provider_goenhance.results.states import Status

NOW = dt.datetime(2026, 1, 2, 3, 0, tzinfo=dt.UTC)


def round_(spent: int, **values: Any) -> Round:
    """A round at one credit for a swap: 10 jobs, 3 unknown submits."""
    fields = {"jobs": 10, "unpriced": 10, "unknown": 3, "price": Price(1, 1), **values}
    return Round(before=1000, after=1000 - spent, **fields)


@pytest.mark.parametrize(
    ("given_", "low", "high"),
    [
        (round_(10), 0, 0),
        (round_(12), 2, 2),
        (round_(13), 3, 3),
        # A price of 4: 40 for the jobs.
        (round_(48, price=Price(4, 4)), 2, 2),
        # The costs that GoEnhance reported, whatever the price was before.
        (round_(48, price=Price(4, 4), cost=40, unpriced=0), 2, 2),
        # Other runs may have spent up to two of it.
        (round_(12, maybe=Maybe(others=2), maybe_unpriced=2), 0, 2),
        (round_(13, maybe=Maybe(others=2), maybe_unpriced=2), 1, 3),
        (round_(15, maybe=Maybe(others=2), maybe_unpriced=2), 3, 3),
        # A job that has not ended may be charged for later.
        (round_(12, maybe=Maybe(running=1), maybe_unpriced=1), 1, 2),
        # A failed job may have been refunded.
        (round_(11, maybe=Maybe(failed=1), maybe_cost=1), 0, 1),
        # The price of the jobs without a known cost lies between 1 and 2.
        (round_(16, price=Price(1, 2), cost=10, unpriced=0), 3, 3),
        (round_(14, price=Price(1, 2), cost=10, unpriced=0), 2, 3),
        # A price that is not known says nothing.
        (round_(13, price=None), 0, 3),
    ],
)
def test_the_balance_shows_how_many_unknown_submits_were_accepted(given_: Round, low: int, high: int) -> None:
    finding = compare(given_)
    assert (finding.low, finding.high) == (low, high)
    assert (finding.foreign, finding.returned) == (0, 0)
    assert finding.exact == (low == high and given_.price is not None)


@pytest.mark.parametrize(
    ("given_", "finding"),
    [
        # Four more than everything that we can have spent.
        (round_(17), Finding(0, 3, foreign=4)),
        (round_(15, unknown=0), Finding(0, 0, foreign=5)),
        (round_(17, maybe=Maybe(others=3), maybe_unpriced=3), Finding(0, 3, foreign=1)),
        # Not a multiple of the price: somebody else's, or at most one of the unknown submits.
        (round_(23, price=Price(2, 2)), Finding(0, 1, foreign=1)),
        # Less than the jobs cost.
        (round_(8), Finding(0, 3, returned=2)),
        (round_(-90), Finding(0, 3, returned=100)),
        # Free swaps cannot be told apart.
        (round_(0, price=Price(0, 0)), Finding(0, 3)),
    ],
)
def test_what_no_submit_of_ours_explains_is_shown_as_what_it_is(given_: Round, finding: Finding) -> None:
    assert compare(given_) == finding
    assert not compare(given_).exact


@given(
    price=st.integers(1, 9),
    jobs=st.integers(0, 20),
    unknown=st.integers(0, 6),
    accepted=st.integers(0, 6),
    others=st.lists(st.booleans(), max_size=5),
    failed=st.lists(st.booleans(), max_size=3),
    foreign=st.integers(0, 30),
    reported=st.booleans(),
)
def test_the_truth_is_always_within_the_range_unless_others_spend_unseen(
    price: int,
    jobs: int,
    unknown: int,
    accepted: int,
    others: list[bool],
    failed: list[bool],
    foreign: int,
    reported: bool,
) -> None:
    accepted = min(accepted, unknown)
    spent = price * (jobs + accepted + sum(others) + sum(failed))
    maybe = Maybe(others=len(others), failed=len(failed))
    priced = {"cost": price * jobs, "unpriced": 0} if reported else {"unpriced": jobs}
    fields: dict[str, Any] = {
        "price": Price(price, price),
        "jobs": jobs,
        "unknown": unknown,
        "maybe": maybe,
        "maybe_unpriced": len(others) + len(failed),
        **priced,
    }

    alone = compare(round_(spent, **fields))
    assert alone.low <= accepted <= alone.high
    assert (alone.foreign, alone.returned) == (0, 0)
    if not maybe:
        assert alone.exact

    # Whatever others spend, nothing that was accepted is ruled out from above; and their part is not exaggerated.
    shared = compare(round_(spent + foreign, **fields))
    assert accepted <= shared.high
    assert shared.foreign <= foreign
    assert shared.returned == 0
    # A zero is certain: only a refund could hide an accepted submit.
    if shared.exact and shared.high == 0:
        assert accepted == 0


@given(spent=st.integers(-50, 50), low=st.integers(0, 5), more=st.integers(0, 5), unknown=st.integers(0, 5))
def test_any_numbers_make_a_range_and_a_line(spent: int, low: int, more: int, unknown: int) -> None:
    given_ = round_(spent, price=Price(low, low + more), unknown=unknown)
    finding = compare(given_)
    assert 0 <= finding.low <= finding.high <= unknown
    assert "\n" not in credit_line(given_, finding, settled_at=NOW)


# -- the rows ----------------------------------------------------------------------------------------------------------


def rows(count: int, status: Status = Status.SUCCEEDED, **values: Any) -> Charges:
    fields: dict[str, Any] = {
        "own": True,
        "early": False,
        "ended": True,
        "has_job": status is not Status.UNKNOWN,
        "error_code": None,
        "cost": None,
        "attempts": 1,
        **values,
    }
    return Charges(status=status, rows=count, **fields)


@pytest.mark.parametrize(
    ("group", "maybe"),
    [
        (rows(2, Status.SUBMITTED), Maybe(running=2)),
        (rows(2, ended=False), Maybe(running=2)),
        (rows(2, Status.SUBMITTING, has_job=False), Maybe(running=2)),
        (rows(2, Status.FAILED, error_code="job_timed_out"), Maybe(running=2)),
        (rows(2, Status.FAILED, error_code="job_not_found"), Maybe(running=2)),
        (rows(2, Status.FAILED, error_code="job_failed"), Maybe(failed=2)),
        (rows(2, Status.FAILED, has_job=False, error_code="written_off"), Maybe(earlier=2)),
        (rows(2, Status.PLANNED, has_job=False), Maybe(earlier=2)),
        (rows(2, early=True), Maybe(earlier=2)),
        (rows(2, own=False), Maybe(others=2)),
        (rows(2, Status.UNKNOWN, own=False, attempts=2), Maybe(others=4)),
    ],
)
def test_what_may_have_been_charged_or_not_widens_the_range(group: Charges, maybe: Maybe) -> None:
    found = round_of(100, 92, [rows(7), rows(1, Status.UNKNOWN), group], 1)
    assert found.maybe == maybe
    assert (found.jobs, found.unknown, found.maybe_unpriced) == (7, 1, maybe.others or 2)
    assert (compare(found).low, compare(found).high) == (0, 1)


def test_a_job_whose_picture_was_not_kept_was_charged_for() -> None:
    found = round_of(100, 90, [rows(2, Status.FAILED, error_code="download_failed")], 1)
    assert (found.jobs, found.maybe) == (2, Maybe())


def test_a_row_that_was_sent_again_has_an_earlier_submit_that_may_have_been_accepted() -> None:
    found = round_of(100, 90, [rows(1, attempts=3), rows(1, Status.UNKNOWN, attempts=2)], 1)
    assert (found.jobs, found.unknown, found.maybe, found.maybe_unpriced) == (1, 1, Maybe(earlier=3), 3)


def test_the_price_is_what_goenhance_reported_for_this_run_else_what_was_learned() -> None:
    reported = round_of(100, 90, [rows(2, cost=4), rows(1, cost=5), rows(3, own=False, cost=9)], 1)
    assert (reported.price, reported.cost, reported.unpriced) == (Price(4, 5), 13, 0)
    assert round_of(100, 90, [rows(2)], 3).price == Price(3, 3)
    assert round_of(100, 90, [rows(2)], None).price is None


def test_a_price_is_learned_from_a_round_in_which_everything_is_certain() -> None:
    assert price_shown_by(round_of(100, 60, [rows(10)], None)) == 4
    assert price_shown_by(round_of(100, 61, [rows(10)], None)) is None  # somebody else spent, too
    assert price_shown_by(round_of(100, 100, [rows(10)], None)) is None  # nothing is charged yet
    assert price_shown_by(round_of(100, 96, [rows(1)], None)) is None  # anything is a multiple of one
    assert price_shown_by(round_of(100, 60, [rows(10, cost=1)], None)) is None  # GoEnhance reports it itself
    for uncertain in (rows(1, Status.UNKNOWN), rows(1, own=False), rows(1, Status.SUBMITTED)):
        assert price_shown_by(round_of(100, 60, [rows(10), uncertain], None)) is None


# -- the line ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_", "line"),
    [
        (
            round_(12),
            "3 unknown submits; the balance shows that 2 were accepted. The balance fell by 12 credits, from 1000 to "
            "988. 10 jobs cost 10 credits, at 1 per swap.",
        ),
        (round_(10), "3 unknown submits; the balance shows that none was accepted."),
        (round_(13), "3 unknown submits; the balance shows that all 3 were accepted."),
        (round_(11, unknown=1), "1 unknown submit; the balance shows that 1 was accepted."),
        (
            round_(13, maybe=Maybe(others=2), maybe_unpriced=2),
            "3 unknown submits; the balance shows that 1 to 3 were accepted. The balance fell by 13 credits, from 1000 "
            "to 987. 10 jobs cost 10 credits, at 1 per swap. May or may not have been charged in between: 2 submits of "
            "other runs.",
        ),
        (
            round_(17),
            "3 unknown submits; the balance does not show how many were accepted (0 to 3). The balance fell by 17 "
            "credits, from 1000 to 983. 10 jobs cost 10 credits, at 1 per swap. At least 4 credits were spent by "
            "other users of the account.",
        ),
        (
            round_(8, unknown=0, maybe=Maybe(failed=2), maybe_unpriced=2),
            "The balance fell by 8 credits, from 1000 to 992. 10 jobs cost 10 credits, at 1 per swap. May or may "
            "not have been charged in between: 2 failed jobs, which may be refunded. At least 2 credits were added: a "
            "refund or a top-up.",
        ),
        (
            round_(40, unknown=0, price=None),
            "The balance fell by 40 credits, from 1000 to 960. 10 jobs ended; the price of a swap is not known yet.",
        ),
        (
            round_(-100, unknown=0, jobs=0, unpriced=0),
            "The balance rose by 100 credits, from 1000 to 1100. No job of this run was certainly "
            "charged. At least 100 credits were added: a refund or a top-up.",
        ),
    ],
)
def test_the_line_says_what_the_balance_shows(given_: Round, line: str) -> None:
    assert credit_line(given_, compare(given_)).startswith(line)


def test_while_a_job_may_still_run_the_line_says_when_to_compare_again() -> None:
    line = credit_line(round_(12), compare(round_(12)), settled_at=NOW)
    assert line.endswith("compare again with `airflow goenhance reconcile` after 2026-01-02 03:00 UTC.")
    all_accepted = credit_line(round_(13), compare(round_(13)), settled_at=NOW)
    assert "compare again" not in all_accepted  # more than all cannot follow


# -- what settles ------------------------------------------------------------------------------------------------------


def reasons(given_: Round, *, in_flight: int = 0, late: float = 1) -> list[str]:
    return obstacles(
        given_,
        compare(given_),
        in_flight=in_flight,
        read_at=NOW + dt.timedelta(seconds=late),
        quiet_from=NOW,
    )


def test_a_quiet_account_whose_jobs_explain_the_whole_balance_settles() -> None:
    assert reasons(round_(10)) == []
    assert reasons(round_(1, jobs=1, unpriced=1)) == []


@pytest.mark.parametrize(
    ("given_", "options", "reason"),
    [
        (round_(10), {"in_flight": 1}, "1 swap of the account has not ended"),
        (round_(10), {"late": 0}, "a job may run, and be charged for, until 2026-01-02 03:00 UTC"),
        (round_(0, jobs=0, unpriced=0), {}, "no accepted job of the run is visible in the balance"),
        (round_(0), {}, "no accepted job of the run is visible in the balance"),
        (round_(12), {}, "2 of 3 submits were accepted, and the balance does not say which"),
        (round_(13), {}, "3 of 3 submits were accepted, and the balance does not say which"),
        (round_(17), {}, "the balance leaves more than one answer"),
        (round_(10, price=None), {}, "the balance leaves more than one answer"),
        # Even where the figures leave one answer: what may have been charged is not certain.
        (
            round_(10, maybe=Maybe(failed=1), maybe_unpriced=1),
            {},
            "the balance leaves more than one answer",
        ),
    ],
)
def test_anything_less_settles_nothing(given_: Round, options: dict[str, Any], reason: str) -> None:
    assert reason in reasons(given_, **options)
