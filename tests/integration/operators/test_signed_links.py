# SPDX-License-Identifier: Apache-2.0
"""Links that are signed again every night name the same pictures: each pair is paid for once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator

from .light_runner import LightTask, LightTaskInstance

KINDS = ["single", "batch"]
AWS = "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date={night}&X-Amz-Expires=60&X-Amz-Signature={night}"
AZURE = "?sv=2024-11-04&se={night}&sr=b&sp=r&sig={night}"
UNKNOWN = "?k={night}"


def sign(swap: LightTask, night: str, signature: str = AWS) -> None:
    """Sign the links of the pairs, each with other values than in any other night."""
    for pair in swap.pairs:
        for name in ("source_img", "reference_img"):
            pair[name] = pair[name].partition("?")[0] + signature.format(night=f"{night}{name}")


def next_night(swap: LightTask, number: int, signature: str = AWS) -> Any:
    sign(swap, f"night-{number}", signature)
    swap.ti = LightTaskInstance("swap", run_id=f"run-{number}")
    return swap.attempt()


@pytest.mark.parametrize("signature", [AWS, AZURE], ids=["AWS", "Azure"])
@pytest.mark.parametrize("kind", KINDS)
def test_three_nights_of_links_signed_again_are_one_payment(
    task: Callable[..., LightTask], kind: str, signature: str
) -> None:
    swap = task(kind=kind)
    for number in (1, 2, 3):
        assert next_night(swap, number, signature).error is None
    assert swap.accepted() == len(swap.pairs)
    assert {row["status"] for row in swap.rows().values()} == {"reused"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_clear_with_links_signed_again_keeps_its_rows_and_pays_nothing(
    task: Callable[..., LightTask], kind: str
) -> None:
    swap = task(kind=kind, reuse="never")
    sign(swap, "monday")
    assert swap.attempt().error is None
    before = {row["swap_id"] for row in swap.rows().values()}

    sign(swap, "tuesday")
    swap.clear()

    assert swap.attempt().error is None
    assert {row["swap_id"] for row in swap.rows().values()} == before
    assert swap.accepted() == len(swap.pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_that_waits_to_be_sent_is_sent_with_the_links_of_tonight(
    task: Callable[..., LightTask], connect: Any, kind: str
) -> None:
    swap = task(kind=kind)
    connect(swap.sandbox, port=9)  # nothing listens there: nothing is sent
    sign(swap, "monday")
    swap.attempt()
    connect(swap.sandbox)

    sign(swap, "tuesday")

    assert swap.attempt().error is None
    sent = [submission["source_img"] for submission in swap.sandbox.submissions()]
    assert sorted(sent) == sorted(pair["source_img"] for pair in swap.pairs)
    assert len(sent) == len(swap.pairs)


def test_without_a_results_table_a_clear_with_links_signed_again_pays_nothing(
    task: Callable[..., LightTask],
) -> None:
    swap = task(results_conn_id=None)
    sign(swap, "monday")
    assert swap.attempt().error is None
    sign(swap, "tuesday")
    swap.clear()
    assert swap.attempt().error is None
    assert swap.accepted() == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_makes_links_of_any_kind_one_picture(task: Callable[..., LightTask], kind: str) -> None:
    swap = task(kind=kind)
    for pair in swap.pairs:
        pair.update({"source_key": f"{pair['pair_id']}'s face", "reference_key": "scene-1"})
    for number in (1, 2, 3):
        assert next_night(swap, number, UNKNOWN).error is None
    assert swap.accepted() == len(swap.pairs)
    assert swap.row()["reference_key"] == "scene-1"


@pytest.mark.parametrize("kind", KINDS)
def test_links_that_differ_in_an_unknown_parameter_are_paid_for_again_and_that_is_said(
    task: Callable[..., LightTask], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    swap = task(kind=kind)
    with caplog.at_level(logging.WARNING):
        next_night(swap, 1, UNKNOWN)
    assert "is planned as other pictures" not in caplog.text
    with caplog.at_level(logging.WARNING):
        next_night(swap, 2, UNKNOWN)
    assert swap.accepted() == 2 * len(swap.pairs)
    assert "pair 'pair-1'" in caplog.text
    assert "is planned as other pictures than in run run-1" in caplog.text
    assert "the parameters k." in caplog.text
    assert "source_key or reference_key" in caplog.text
    assert (
        "adding one to a pair that was paid for makes it a new pair, which is paid for once more"
        in caplog.text
    )
    assert "night-" not in "".join(line for line in caplog.text.splitlines() if "other pictures" in line)


def test_a_plan_that_is_cleared_with_a_manifest_signed_again_keeps_its_batches(
    task: Callable[..., LightTask], tmp_path: Path
) -> None:
    swap = task(kind="batch")
    manifest = tmp_path / "pairs.csv"

    def plan(night: str) -> Any:
        sign(swap, night)
        rows = [",".join(pair[name] for name in ("source_img", "reference_img")) for pair in swap.pairs]
        manifest.write_text("\n".join(["source_img,reference_img", *rows]) + "\n")
        operator = GoEnhancePlanOperator(task_id="plan", manifest=str(manifest), pairs_per_task=3)
        return operator.execute({"ti": LightTaskInstance("plan")})

    def swap_batch() -> list[dict[str, Any]]:
        batch = GoEnhanceFaceSwapBatchOperator(task_id="swap", batch=0, **swap.arguments)
        found: list[dict[str, Any]] = batch.execute({"ti": LightTaskInstance("swap", map_index=0)})
        return found

    first = plan("monday")
    assert first == plan("tuesday")
    assert {row["status"] for row in swap_batch()} == {"succeeded"}
    sent = {submission["source_img"] for submission in swap.sandbox.submissions()}
    assert sent == {pair["source_img"] for pair in swap.pairs}

    assert [batch["batch"] for batch in plan("wednesday")] == [0]
    assert {row["status"] for row in swap_batch()} == {"succeeded"}
    assert swap.accepted() == len(swap.pairs)
