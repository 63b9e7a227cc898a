# SPDX-License-Identifier: Apache-2.0
"""Which fault strikes which request."""

from __future__ import annotations

from include.sandbox.faults import FaultPlan
from include.sandbox.switches import Switches, merge


def plan(**switches: object) -> FaultPlan:
    return FaultPlan(merge(Switches(), switches))


def kinds(fault_plan: FaultPlan, endpoint: str, times: int) -> list[str | None]:
    effects = [fault_plan.for_request(endpoint) for _ in range(times)]
    return [each.fault.kind if each.fault else None for each in effects]


def test_without_switches_nothing_strikes():
    assert kinds(plan(), "submit", 3) == [None] * 3
    assert plan().for_job() is None


def test_a_fault_without_scope_strikes_always():
    assert kinds(plan(submit="hang"), "submit", 3) == ["hang"] * 3


def test_a_count_strikes_the_next_requests_and_then_never():
    assert (
        kinds(plan(detail={"kind": "http_error", "count": 2}), "detail", 4) == ["http_error"] * 2 + [None] * 2
    )


def test_a_share_strikes_about_that_often_and_the_same_way_for_the_same_seed():
    first = kinds(plan(seed=7, submit={"kind": "hang", "share": 0.3}), "submit", 1000)
    again = kinds(plan(seed=7, submit={"kind": "hang", "share": 0.3}), "submit", 1000)
    other = kinds(plan(seed=8, submit={"kind": "hang", "share": 0.3}), "submit", 1000)
    assert first == again != other
    assert 250 < first.count("hang") < 350


def test_what_strikes_one_endpoint_does_not_depend_on_calls_of_another():
    quiet = plan(submit={"kind": "hang", "share": 0.5}, detail={"kind": "html", "share": 0.5})
    busy = plan(submit={"kind": "hang", "share": 0.5}, detail={"kind": "html", "share": 0.5})
    kinds(busy, "detail", 50)
    assert kinds(quiet, "submit", 50) == kinds(busy, "submit", 50)


def test_sending_the_seed_restarts_the_draws():
    fault_plan = plan(seed=3, submit={"kind": "hang", "share": 0.5})
    first = kinds(fault_plan, "submit", 30)
    fault_plan.change(fault_plan.switches, reseed=True)
    assert kinds(fault_plan, "submit", 30) == first


def test_the_first_rule_that_strikes_wins_and_a_spent_one_makes_way():
    fault_plan = plan(submit=[{"kind": "hang", "count": 1}, {"kind": "html"}])
    assert kinds(fault_plan, "submit", 3) == ["hang", "html", "html"]


def test_slow_adds_to_latency_and_lets_the_next_rule_strike():
    effects = plan(
        latency=0.1,
        submit=[{"kind": "slow", "seconds": 0.2}, {"kind": "slow", "when": "after", "seconds": 3}, "hang"],
    ).for_request("submit")
    assert (round(effects.wait_before, 3), effects.wait_after) == (0.3, 3)
    assert effects.fault.kind == "hang"


def test_latency_is_for_the_goenhance_endpoints_only():
    assert plan(latency=0.1).for_request("result").wait_before == 0.0


def test_job_seconds_are_fixed_or_drawn_from_a_range():
    assert {plan(job_seconds=3.0).job_seconds() for _ in range(5)} == {3.0}
    ranged = plan(job_seconds=1.0, job_seconds_max=2.0)
    drawn = [ranged.job_seconds() for _ in range(50)]
    assert all(1.0 <= seconds <= 2.0 for seconds in drawn)
    assert len(set(drawn)) > 40
