# SPDX-License-Identifier: Apache-2.0
"""A consent that has ended: nothing is sent, whether it ended before the plan or between the plan and the submit."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_goenhance.exceptions import GoEnhanceError
from airflow_provider_goenhance.execution.messages import next_steps
from airflow_provider_goenhance.hooks.results import open_ledger
from airflow_provider_goenhance.operators.face_swap import GoEnhanceFaceSwapOperator
from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator
from airflow_provider_goenhance.results.ledger import RunKey
from airflow_provider_goenhance.results.recovery import Policies
from airflow_provider_goenhance.results.swap import Swap
from include.sandbox.process import SandboxProcess

from .light_runner import LightTaskInstance

HOUR = dt.timedelta(hours=1)


@pytest.fixture
def sandbox(goenhance_sandbox_shared: SandboxProcess, connect: Callable[..., None]) -> SandboxProcess:
    connect(goenhance_sandbox_shared)
    goenhance_sandbox_shared.put_faults(job_seconds=0.0)
    return goenhance_sandbox_shared


def rows() -> dict[str, Swap]:
    with open_ledger() as ledger:
        return {row.pair_id: row for row in ledger.of_run(RunKey("light", "run-1"))}


def pair(sandbox: SandboxProcess, name: str, expires: object) -> dict[str, Any]:
    return {
        "pair_id": name,
        "source_img": sandbox.image(f"{name}.jpg"),
        "reference_img": sandbox.image("scene.jpg"),
        "consent_expires": str(expires),
    }


def swap(tmp_path: Path, **arguments: Any) -> None:
    operator = GoEnhanceFaceSwapBatchOperator(
        task_id="swap",
        storage=str(tmp_path / "kept"),
        poll_interval=0.05,
        deferrable=False,
        allowed_failure_share=1.0,
        **arguments,
    )
    # The last try: a retry would look at the rows again.
    ti = LightTaskInstance("swap", map_index=0 if "batch" in arguments else -1, try_number=3)
    operator.execute({"ti": ti})  # type: ignore[typeddict-item]


def test_a_consent_that_ends_between_plan_and_submit_is_noticed_before_anything_is_paid(
    sandbox: SandboxProcess, tmp_path: Path
) -> None:
    now = dt.datetime.now(dt.UTC)
    manifest = tmp_path / "pairs.csv"
    pairs = [
        pair(sandbox, "ended", now + HOUR),
        pair(sandbox, "holds", now + 2 * HOUR),
        pair(sandbox, "past", now - HOUR),
    ]
    lines = [",".join(pairs[0]), *(",".join(one.values()) for one in pairs)]
    manifest.write_text("\n".join(lines))
    plan = GoEnhancePlanOperator(
        task_id="plan", manifest=str(manifest), storage=str(tmp_path / "kept"), pairs_per_task=2
    )
    plan.execute({"ti": LightTaskInstance("plan")})  # type: ignore[typeddict-item]
    assert {name: str(row.status) for name, row in rows().items()} == {
        "ended": "planned", "holds": "planned", "past": "rejected",
    }  # fmt: skip
    with open_ledger() as ledger:  # An hour passes.
        c = ledger.swaps.c
        later = sa.update(ledger.swaps).where(c.pair_id == "ended").values(consent_expires=now - HOUR)
        ledger.database.run(lambda connection: connection.execute(later))

    swap(tmp_path, batch=0)

    found = rows()
    assert (found["ended"].status, found["ended"].error_code, found["ended"].attempts) == (
        "failed", "consent_expired", 0,
    )  # fmt: skip
    assert "Nothing was paid for this pair." in str(found["ended"].error_message)
    assert next_steps(found["ended"], Policies()) == (
        "A retry or clear leaves it as it is and pays nothing; a new run rejects the pair unless the manifest has a "
        "later consent_expires."
    )
    assert found["holds"].status == "succeeded"
    assert [job["source_img"] for job in sandbox.submissions()] == [found["holds"].source_img]


def test_pairs_of_another_task_whose_consent_has_ended_are_not_sent(
    sandbox: SandboxProcess, tmp_path: Path
) -> None:
    swap(tmp_path, pairs=[pair(sandbox, "ended", "2020-01-01"), pair(sandbox, "holds", "2099-01-01")])
    assert {name: row.error_code for name, row in rows().items()} == {
        "ended": "consent_expired",
        "holds": None,
    }
    assert len(sandbox.submissions()) == 1


def test_a_single_swap_whose_consent_has_ended_is_not_sent(sandbox: SandboxProcess, tmp_path: Path) -> None:
    operator = GoEnhanceFaceSwapOperator(
        task_id="swap", storage=str(tmp_path), deferrable=False, **pair(sandbox, "ended", "2020-01-01")
    )
    with pytest.raises(GoEnhanceError, match=r"The consent of pair 'ended'.* expired on 2020-01-01"):
        operator.execute({"ti": LightTaskInstance("swap")})  # type: ignore[typeddict-item]
    assert sandbox.submissions() == []
