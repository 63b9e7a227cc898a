# SPDX-License-Identifier: Apache-2.0
"""A budget stops a task before it pays, holds over retries, clears and tasks, and fails it only if asked to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_goenhance.exceptions import BatchFailedError, BudgetReachedError
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator
from airflow_provider_goenhance.operators.report import GoEnhanceReportOperator
from airflow_provider_goenhance.retry_policy import is_final
from include.sandbox.process import SandboxProcess

from .light_runner import LightTask, LightTaskInstance

MakeTask = Callable[..., LightTask]


def statuses(task: LightTask) -> dict[str, int]:
    return dict(Counter(row["status"] for row in task.rows().values()))


def report(**arguments: Any) -> dict[str, int]:
    operator = GoEnhanceReportOperator(task_id="report", contact_sheet=False, **arguments)
    ti = LightTaskInstance("report")
    ti.get_task_states = lambda **_: {}  # type: ignore[attr-defined]
    found: dict[str, int] = operator.execute({"ti": ti, "outlet_events": {}})
    return found


def test_a_run_pays_for_no_more_pairs_than_its_budget_and_does_not_fail(task: MakeTask) -> None:
    batch = task(kind="batch", pairs=5, max_pairs="2")

    ending = batch.attempt()

    assert ending.error is None
    assert batch.accepted() == 2
    assert statuses(batch) == {"succeeded": 2, "held": 3}
    held = [row for row in batch.rows().values() if row["status"] == "held"]
    assert {row["error_code"] for row in held} == {"budget_reached"}
    assert "the budget of run run-1 of Dag light is reached: 2 of 2 pairs." in held[0]["error_message"]
    assert Counter(entry["status"] for entry in ending.value) == {"succeeded": 2, "held": 3}


def test_a_clear_looks_again_and_pays_only_when_the_budget_was_raised(task: MakeTask) -> None:
    batch = task(kind="batch", pairs=5, max_pairs=2)
    batch.attempt()

    batch.clear()
    batch.attempt()
    assert batch.accepted() == 2

    batch.arguments["max_pairs"] = 4
    batch.clear()
    assert batch.attempt().error is None
    assert batch.accepted() == 4
    assert statuses(batch) == {"succeeded": 4, "held": 1}


def test_tasks_of_one_run_share_its_budget(task: MakeTask) -> None:
    first, second = (task(kind="batch", pairs=5, max_pairs=3) for _ in range(2))
    second.ti = LightTaskInstance("swap", map_index=1)
    first.pairs, second.pairs = first.pairs[:2], second.pairs[2:]

    assert first.attempt().error is None
    assert second.attempt().error is None

    assert first.accepted() == 3
    assert statuses(first) == {"succeeded": 3, "held": 2}


def test_on_budget_reached_fail_fails_the_task_once_the_others_are_done_and_is_not_retried(
    task: MakeTask,
) -> None:
    batch = task(kind="batch", pairs=3, max_pairs=1, on_budget_reached="fail")

    error = batch.attempt().error

    assert isinstance(error, BudgetReachedError)
    assert is_final(error)
    assert "2 pairs of 3 held" in str(error)
    assert statuses(batch) == {"succeeded": 1, "held": 2}


def test_the_task_of_a_single_pair_is_skipped(task: MakeTask, connect: Callable[..., None]) -> None:
    batch = task(kind="batch", pairs=2, max_pairs=2)
    batch.attempt()
    single = task(max_pairs=2)
    single.pairs = [{**single.pairs[0], "source_img": single.sandbox.image("another.jpg")}]

    with pytest.raises(AirflowSkipException, match="the budget of run run-1 of Dag light is reached"):
        single.operator().execute({"ti": LightTaskInstance("single"), "task_state_store": None})
    assert single.accepted() == 2


def test_a_budget_in_credits_uses_the_price_of_the_connection_until_goenhance_reports_one(
    goenhance_sandbox_shared: SandboxProcess, connect: Callable[..., None], tmp_path: Path
) -> None:
    goenhance_sandbox_shared.put_faults(show_cost=True, cost=4)
    connect(goenhance_sandbox_shared, credits_per_swap=1)
    batch = LightTask(goenhance_sandbox_shared, tmp_path, kind="batch", pairs=5, max_cost=10)

    batch.attempt()

    # 1 credit was reserved for the first pair; it cost 4, and so will the others.
    assert batch.accepted() == 2
    assert "8 of 10 credits are spent or reserved, and one pair costs 4" in batch.row(3)["error_message"]


def test_the_budget_of_the_connection_holds_over_all_runs_of_a_day(
    goenhance_sandbox_shared: SandboxProcess, connect: Callable[..., None], tmp_path: Path
) -> None:
    connect(goenhance_sandbox_shared, max_pairs_per_day=3)
    first = LightTask(goenhance_sandbox_shared, tmp_path, kind="batch", pairs=2)
    second = LightTask(goenhance_sandbox_shared, tmp_path, kind="batch", pairs=5)
    second.ti = LightTaskInstance("swap", run_id="run-2")
    first.attempt()

    assert second.attempt().error is None

    assert second.accepted() == 3
    assert statuses(second) == {"reused": 2, "succeeded": 1, "held": 2}
    assert "(UTC) of account" in second.row(5)["error_message"]


def test_a_budget_in_credits_without_a_price_is_refused_before_anything_is_sent(task: MakeTask) -> None:
    batch = task(kind="batch", max_cost=10)

    error = batch.attempt().error

    assert isinstance(error, ValueError)
    assert "Set credits_per_swap (credits for one swap) on the connection" in str(error)
    assert batch.accepted() == 0


@pytest.mark.parametrize("value", ["0", -1, "ten", 1.5])
def test_a_budget_that_is_no_number_is_refused(task: MakeTask, value: Any) -> None:
    error = task(kind="batch", max_pairs=value).attempt().error
    assert isinstance(error, ValueError)
    assert "max_pairs must be" in str(error)


def test_a_budget_without_a_results_table_is_refused(task: MakeTask) -> None:
    single = task(results_conn_id=None, max_pairs=1)

    error = single.attempt().error

    assert isinstance(error, ValueError)
    assert "no results table to count in" in str(error)
    assert single.accepted() == 0


def test_a_failed_pair_is_judged_among_the_pairs_that_were_sent(task: MakeTask) -> None:
    batch = task(kind="batch", pairs=5, max_pairs=2, allowed_failure_share=0.4)
    batch.sandbox.put_faults(job={"kind": "failed", "count": 1})

    error = batch.attempt().error

    assert isinstance(error, BatchFailedError)
    assert "1 of 2 pairs did not succeed" in str(error)


def test_the_report_of_a_run_that_reached_its_budget_is_no_failure_unless_it_is_to_be_one(
    task: MakeTask, capfd: pytest.CaptureFixture[str]
) -> None:
    batch = task(kind="batch", pairs=3, max_pairs=1)
    batch.attempt()

    assert report()["held"] == 2
    assert "held=2" in capfd.readouterr().out
    with pytest.raises(BudgetReachedError, match="2 rows are held for a budget"):
        report(on_budget_reached="fail")


# -- the price before the start ----------------------------------------------------------------------------------------


def plan(folder: Path, pairs: int, **arguments: Any) -> Any:
    path = folder / "pairs.csv"
    lines = ["pair_id,source_img,reference_img"]
    lines += [f"p{n},http://h/s{n}.jpg,http://h/r{n}.jpg" for n in range(1, pairs + 1)]
    path.write_text("\n".join(lines) + "\n")
    operator = GoEnhancePlanOperator(task_id="plan", manifest=str(path), **arguments)
    return operator.execute({"ti": LightTaskInstance("plan")})


@pytest.mark.parametrize("check_only", [False, True])
def test_the_plan_says_what_the_run_costs_and_how_long_its_submits_take(
    goenhance_sandbox_shared: SandboxProcess,
    connect: Callable[..., None],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    check_only: bool,
) -> None:
    connect(goenhance_sandbox_shared, credits_per_swap=3, requests_per_second=2)
    goenhance_sandbox_shared.put_faults(credits=100)

    plan(tmp_path, 8, check_only=check_only, max_pairs=6)

    said = capfd.readouterr().out
    assert "To be paid for: 6 pairs x 3 credits = 18 credits." in said
    assert "The budget of run run-1 of Dag light does not cover 2 further pairs, which will be held." in said
    assert "Balance: 100 credits now, 82 afterwards." in said
    assert "The submits take about 3 s at 2 per second." in said


def test_a_run_below_the_limit_needs_no_approval(
    goenhance_sandbox_shared: SandboxProcess, connect: Callable[..., None], tmp_path: Path
) -> None:
    connect(goenhance_sandbox_shared, credits_per_swap=3)

    assert len(plan(tmp_path, 3, approve_above="9")) == 3


def test_a_limit_for_approval_without_a_price_is_refused(
    goenhance_sandbox_shared: SandboxProcess, connect: Callable[..., None], tmp_path: Path
) -> None:
    connect(goenhance_sandbox_shared)

    with pytest.raises(ValueError, match="approve_above=9 is set, but the price of a swap is not known"):
        plan(tmp_path, 3, approve_above="9")
