# SPDX-License-Identifier: Apache-2.0
"""A run whose manifest was corrected and planned again ends as the corrected manifest deserves."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_goenhance.exceptions import BatchFailedError
from airflow_provider_goenhance.hooks.results import open_results
from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator
from airflow_provider_goenhance.operators.report import GoEnhanceReportOperator
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.transition_sql import apply
from airflow_provider_goenhance.results.transitions import Claim, ClaimOwner
from include.sandbox.process import SandboxProcess

from .light_runner import LightTask, LightTaskInstance


class Run:
    """One run of a plan, its batches and its report."""

    def __init__(self, sandbox: SandboxProcess, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder

    def plan(self, *rows: str, **arguments: Any) -> list[dict[str, Any]]:
        """Plan a manifest of these pairs; one named `bad...` has no source picture."""
        lines = ["pair_id,source_img,reference_img"]
        for row in rows:
            source = "" if row.startswith("bad") else self.sandbox.image(f"{row}.jpg")
            lines.append(f"{row.removeprefix('bad-')},{source},{self.sandbox.image('scene.jpg')}")
        path = self.folder / "pairs.csv"
        path.write_text("\n".join(lines) + "\n")
        operator = GoEnhancePlanOperator(task_id="plan", manifest=str(path), pairs_per_task=1, **arguments)
        found: list[dict[str, Any]] = operator.execute({"ti": LightTaskInstance("plan")})
        return found

    def swap(self, batch: int) -> list[dict[str, Any]]:
        operator = GoEnhanceFaceSwapBatchOperator(
            task_id="swap",
            batch=batch,
            poll_interval=0.05,
            deferrable=False,
            storage=str(self.folder / "kept"),
        )
        found: list[dict[str, Any]] = operator.execute({"ti": LightTaskInstance("swap", map_index=batch)})
        return found

    def report(self) -> dict[str, int]:
        operator = GoEnhanceReportOperator(task_id="report", contact_sheet=False)
        counts: dict[str, int] = operator.execute({"ti": LightTaskInstance("report")})
        return counts


@pytest.fixture
def run(goenhance_sandbox_shared: SandboxProcess, connect: Callable[..., None], tmp_path: Path) -> Run:
    connect(goenhance_sandbox_shared)
    return Run(goenhance_sandbox_shared, tmp_path)


def test_a_rejected_row_that_was_corrected_counts_no_more(run: Run) -> None:
    run.plan("p1", "bad-p2")
    run.swap(0)
    with pytest.raises(BatchFailedError, match="1 of 2 pairs did not succeed"):
        run.report()

    assert [batch["batch"] for batch in run.plan("p1", "p2")] == [0, 1]
    run.swap(1)

    assert run.report() == {**dict.fromkeys(map(str, Status), 0), "pairs": 2, "succeeded": 2}


def test_a_rejected_row_that_was_deleted_counts_no_more(run: Run) -> None:
    run.plan("p1", "bad-p2")
    run.swap(0)
    run.plan("p1")
    assert (run.report()["pairs"], run.report()["rejected"]) == (1, 0)


def test_a_rejected_row_that_is_bad_again_counts_again(run: Run) -> None:
    run.plan("p1", "bad-p2")
    run.plan("p1", "p2")
    run.plan("p1", "bad-p2")
    run.swap(0)
    with pytest.raises(AirflowSkipException):
        run.swap(1)
    with pytest.raises(BatchFailedError, match="1 of 2 pairs did not succeed"):
        run.report()


def test_a_batch_that_left_the_manifest_keeps_its_map_index_and_is_skipped(run: Run) -> None:
    before = run.plan("p1", "p2", "p3")

    assert run.plan("p1", "p3") == before

    with pytest.raises(AirflowSkipException, match="no longer holds the pairs of batch 1"):
        run.swap(1)
    assert [row["pair_id"] for row in run.swap(0) + run.swap(2)] == ["p1", "p3"]
    counts = run.report()
    assert (counts["pairs"], counts["succeeded"], counts["rejected"]) == (2, 2, 0)
    assert len(run.sandbox.submissions()) == 2


def test_a_pair_that_was_paid_for_counts_although_it_left_the_manifest(run: Run) -> None:
    run.plan("p1", "p2")
    run.swap(0)
    run.plan("p2")
    run.swap(1)
    assert run.report()["pairs"] == 2


def test_pairs_that_were_corrected_count_no_more(task: Callable[..., LightTask], tmp_path: Path) -> None:
    swap = task(kind="batch", pairs=2)
    good = swap.pairs[1]["source_img"]
    swap.pairs[1]["source_img"] = ""
    assert swap.attempt().error is not None
    swap.pairs[1]["source_img"] = good
    swap.clear()

    assert swap.attempt().error is None

    counts = Run(swap.sandbox, tmp_path).report()
    assert (counts["pairs"], counts["succeeded"]) == (2, 2)


def test_the_next_plan_settles_a_submit_that_was_killed_in_the_night_before(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    run.plan("p1")
    ledger = Ledger(open_results())
    other = RunKey("light", "run-0")
    (row,) = ledger.of_run(RunKey("light", "run-1"))
    database = ledger.database
    killed = ClaimOwner("swap[0] try 3 a", "account", 2, claim_seconds=900.0)
    database.run(lambda connection: apply(connection, database.swaps, killed, [Claim.of(row)]))
    database.run(lambda connection: connection.execute(database.swaps.update().values(run_id=other.run_id)))

    run.plan("p2")
    assert ledger.of_run(other)[0].status is Status.SUBMITTING

    past = ledger.now() - dt.timedelta(seconds=1)
    database.run(lambda connection: connection.execute(database.swaps.update().values(claim_expires_at=past)))
    run.plan("p2", check_only=True)
    assert ledger.of_run(other)[0].status is Status.SUBMITTING
    run.plan("p2")
    assert ledger.of_run(other)[0].status is Status.UNKNOWN
    assert "pair 'p1' (row 2) of run run-0" in caplog.text
