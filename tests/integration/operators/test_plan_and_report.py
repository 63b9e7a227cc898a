# SPDX-License-Identifier: Apache-2.0
"""Both ends of a run: what is planned and refused, and the verdict at the end."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_goenhance.exceptions import (
    AuthenticationError,
    BatchFailedError,
    ManifestError,
    ManifestUnavailableError,
    OutOfCreditsError,
    UnreachableError,
)
from airflow_provider_goenhance.hooks.results import open_results
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator
from airflow_provider_goenhance.operators.report import GoEnhanceReportOperator
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap
from airflow_provider_goenhance.retry_policy import is_final
from include.sandbox.process import SandboxProcess

from .light_runner import LightTaskInstance

RUN = RunKey("light", "run-1")


@pytest.fixture
def sandbox(goenhance_sandbox_shared: SandboxProcess, connect: Callable[..., None]) -> SandboxProcess:
    connect(goenhance_sandbox_shared)
    return goenhance_sandbox_shared


def manifest(folder: Path, pairs: int, *, bad: int = 0) -> str:
    path = folder / "pairs.csv"
    lines = ["pair_id,source_img,reference_img"]
    lines += [f"p{n},http://h/s{n}.jpg,http://h/r{n}.jpg" for n in range(1, pairs + 1)]
    lines += [f"bad{n},,http://h/r{n}.jpg" for n in range(1, bad + 1)]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def plan(location: str, run_id: str = "run-1", **arguments: Any) -> Any:
    operator = GoEnhancePlanOperator(task_id="plan", manifest=location, **arguments)
    return operator.execute({"ti": LightTaskInstance("plan", run_id=run_id)})


def statuses(run_id: str = "run-1") -> dict[str, str]:
    rows = Ledger(open_results()).of_run(RunKey("light", run_id))
    return {row.pair_id: row.status.value for row in rows}


# -- plan --------------------------------------------------------------------------------------------------------------


def test_a_few_pairs_get_a_task_each_named_by_their_pair(sandbox: SandboxProcess, tmp_path: Path) -> None:
    assert plan(manifest(tmp_path, 3)) == [
        {"batch": 0, "label": "p1"},
        {"batch": 1, "label": "p2"},
        {"batch": 2, "label": "p3"},
    ]


def test_limit_and_pairs_per_task_may_come_as_text(sandbox: SandboxProcess, tmp_path: Path) -> None:
    batches = plan(manifest(tmp_path, 6), limit="4", pairs_per_task="3")

    assert [batch["label"] for batch in batches] == ["0: rows 2-4 (3 pairs)", "p4"]
    assert len(statuses()) == 4


def test_planning_again_adds_only_what_is_new(sandbox: SandboxProcess, tmp_path: Path) -> None:
    first = plan(manifest(tmp_path, 2))
    second = plan(manifest(tmp_path, 3))

    assert second[:2] == first
    assert second[2:] == [{"batch": 2, "label": "p3"}]
    assert statuses() == {"p1": "planned", "p2": "planned", "p3": "planned"}


def test_a_row_that_left_the_manifest_before_it_was_sent_is_withdrawn(
    sandbox: SandboxProcess, tmp_path: Path
) -> None:
    plan(manifest(tmp_path, 3))
    plan(manifest(tmp_path, 2))

    assert statuses() == {"p1": "planned", "p2": "planned", "p3": "rejected"}


def test_a_row_that_came_back_to_the_manifest_is_planned_again_in_its_old_batch(
    sandbox: SandboxProcess, tmp_path: Path
) -> None:
    before = plan(manifest(tmp_path, 3))
    plan(manifest(tmp_path, 2))

    assert plan(manifest(tmp_path, 3)) == before
    assert statuses() == {"p1": "planned", "p2": "planned", "p3": "planned"}
    (row,) = [row for row in Ledger(open_results()).of_run(RUN) if row.pair_id == "p3"]
    assert (row.error_code, row.error_message, row.finished_at) == (None, None, None)


def test_a_dry_run_writes_nothing_and_says_what_the_run_would_pay_for(
    sandbox: SandboxProcess,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    batches = plan(manifest(tmp_path, 3, bad=1), check_only="True")
    said = capfd.readouterr().out + caplog.text

    assert batches == []
    assert statuses() == {}
    assert "would submit, and pay for, 3 pairs in 3 tasks of up to 1" in said
    assert "1 row is rejected" in said
    assert "To be paid for: 3 pairs" in said
    assert "Balance:" in said


def test_a_manifest_without_one_good_row_is_refused_and_its_rows_say_why(
    sandbox: SandboxProcess, tmp_path: Path
) -> None:
    with pytest.raises(BatchFailedError, match=r"None of the 1 row of .* can be swapped") as caught:
        plan(manifest(tmp_path, 0, bad=1))

    assert is_final(caught.value)
    assert statuses() == {"bad1": "rejected"}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "broken.csv"),
        (b"", "empty"),
        (b"source_img,pictures\na,b\n", "reference_img is missing"),
        (b"source_img,reference_img\n\xff\xfe,b\n", "UTF-8"),
    ],
    ids=["missing", "empty", "without a column", "not UTF-8"],
)
def test_a_manifest_that_cannot_be_used_is_final_and_named(
    sandbox: SandboxProcess, tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    path = tmp_path / "broken.csv"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ManifestError, match=complaint) as caught:
        plan(str(path))

    assert "broken.csv" in str(caught.value)
    assert is_final(caught.value)


def test_a_manifest_that_cannot_be_read_at_the_moment_is_retried(sandbox: SandboxProcess) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(ManifestUnavailableError, match="the connection was refused") as caught:
            plan(f"http://127.0.0.1:{closed.getsockname()[1]}/pairs.csv")

    assert not is_final(caught.value)


@pytest.mark.parametrize("location", ["", "None", " "])
def test_a_manifest_that_renders_to_nothing_is_said_to_be_none(
    sandbox: SandboxProcess, location: str
) -> None:
    with pytest.raises(ManifestError, match="manifest must be a path or URI"):
        plan(location)


def test_a_refused_token_is_noticed_before_anything_is_sent(
    sandbox: SandboxProcess, connect: Callable[..., None], tmp_path: Path
) -> None:
    connect(sandbox, token="sk-wrong")

    with pytest.raises(AuthenticationError) as caught:
        plan(manifest(tmp_path, 2))

    assert is_final(caught.value)
    assert "connection 'goenhance_default'" in str(caught.value)
    assert "2 rows of this run stay planned, and nothing was paid for." in str(caught.value)
    assert set(statuses().values()) == {"planned"}


def test_with_the_api_down_the_rows_stay_planned_and_a_retry_goes_on(
    sandbox: SandboxProcess, connect: Callable[..., None], tmp_path: Path
) -> None:
    connect(sandbox, port=9)

    with pytest.raises(UnreachableError, match="A retry or clear continues from there") as caught:
        plan(manifest(tmp_path, 1))

    assert not is_final(caught.value)
    assert "1 row of this run stays planned" in str(caught.value)

    connect(sandbox)
    assert len(plan(manifest(tmp_path, 1))) == 1


def test_an_empty_account_is_noticed_before_anything_is_sent(
    goenhance_sandbox_factory: Callable[..., SandboxProcess], connect: Callable[..., None], tmp_path: Path
) -> None:
    connect(goenhance_sandbox_factory(credits=0))

    with pytest.raises(OutOfCreditsError, match="has no credits left") as caught:
        plan(manifest(tmp_path, 2))

    assert is_final(caught.value)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"limit": "-1"}, "limit must be a non-negative number"),
        ({"pairs_per_task": "a few"}, "pairs_per_task must be a non-negative number"),
        ({"reuse": "yes"}, "reuse must be 'succeeded' or 'never'"),
        ({"check_only": "perhaps"}, "check_only must be True or False"),
    ],
)
def test_an_argument_that_makes_no_sense_is_named(
    sandbox: SandboxProcess, tmp_path: Path, arguments: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        plan(manifest(tmp_path, 1), **arguments)

    assert statuses() == {}


# -- report ------------------------------------------------------------------------------------------------------------


def rows_of(folder: Path, *states: Status) -> None:
    """Write a run whose rows are in these states."""
    ledger = Ledger(open_results())
    ledger.plan(
        RUN,
        [
            Swap(
                swap_id=f"id-{number}",
                dag_id=RUN.dag_id,
                run_id=RUN.run_id,
                task_id="swap",
                row_number=number + 1,
                pair_id=f"p{number}",
                source_img="http://h/s.jpg",
                reference_img="http://h/r.jpg",
                pair_fingerprint=f"{number}",
                status=state,
                claimed_by="swap[0] try 1 abc" if state is Status.SUBMITTING else None,
                attempts=int(state in {Status.UNKNOWN, Status.SUBMITTING}),
                error_message="it went wrong." if state in {Status.FAILED, Status.REJECTED} else None,
            )
            for number, state in enumerate(states, start=1)
        ],
    )


def report(**arguments: Any) -> dict[str, int]:
    operator = GoEnhanceReportOperator(task_id="report", **arguments)
    counts: dict[str, int] = operator.execute({"ti": LightTaskInstance("report")})
    return counts


def test_a_good_run_reports_its_counts(sandbox: SandboxProcess, tmp_path: Path) -> None:
    rows_of(tmp_path, Status.SUCCEEDED, Status.REUSED)

    counts = report()

    assert (counts["pairs"], counts["succeeded"], counts["reused"], counts["failed"]) == (2, 1, 1, 0)


@pytest.mark.parametrize(("failures", "share"), [(29, "0.29"), (1, 0.01), (0, "0"), (100, 1)])
def test_the_share_allowed_is_allowed_exactly(
    sandbox: SandboxProcess, tmp_path: Path, failures: int, share: float | str
) -> None:
    rows_of(tmp_path, *[Status.FAILED] * failures, *[Status.SUCCEEDED] * (100 - failures))

    assert report(allowed_failure_share=share)["failed"] == failures


@pytest.mark.parametrize("bad", [Status.FAILED, Status.UNKNOWN, Status.REJECTED])
def test_each_kind_of_failure_counts(sandbox: SandboxProcess, tmp_path: Path, bad: Status) -> None:
    rows_of(tmp_path, bad, Status.SUCCEEDED)

    with pytest.raises(BatchFailedError, match="1 of 2 pairs did not succeed") as caught:
        report(allowed_failure_share=0.4)

    assert is_final(caught.value)


def test_rows_that_were_never_sent_fail_the_run_whatever_the_share(
    sandbox: SandboxProcess, tmp_path: Path
) -> None:
    rows_of(tmp_path, Status.PLANNED, Status.SUCCEEDED)

    with pytest.raises(BatchFailedError, match="1 of 2 pairs was never sent"):
        report(allowed_failure_share=1)


def test_rows_under_way_fail_the_run_unless_it_only_submits(sandbox: SandboxProcess, tmp_path: Path) -> None:
    rows_of(tmp_path, Status.SUBMITTED, Status.SUBMITTED)

    with pytest.raises(BatchFailedError, match="2 of 2 pairs are paid for and still running"):
        report()
    assert report(expect_finished="False")["submitted"] == 2


def test_a_run_without_rows_fails_unless_none_were_expected(sandbox: SandboxProcess) -> None:
    with pytest.raises(BatchFailedError, match="no rows of task 'swap'"):
        report()
    assert report(expect_rows="False")["pairs"] == 0


def test_a_submit_that_nobody_will_report_on_any_more_ends_as_unknown(
    sandbox: SandboxProcess, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows_of(tmp_path, Status.SUBMITTING)

    assert report(allowed_failure_share=1)["unknown"] == 1
    said = capfd.readouterr().out

    assert "pair 'p1' (row 2) is unknown" in said
    assert "1 submit may have been paid for." in said
