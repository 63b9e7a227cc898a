# SPDX-License-Identifier: Apache-2.0
"""A run above a limit asks a person: it is parked without a worker, and sends nothing until somebody says yes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from include.sandbox.process import SandboxProcess
from tests.system.real_airflow import RealAirflow, wait_until

PRICE = 3


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    with SandboxProcess(engine="none", job_seconds=0.1) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, sandbox: SandboxProcess) -> Iterator[RealAirflow]:
    folder = tmp_path_factory.mktemp("approval")
    settings = {
        "AIRFLOW__GOENHANCE__STORAGE": str(folder / "swaps"),
        "AIRFLOW_CONN_GOENHANCE_RESULTS": json.dumps(
            {"conn_type": "sqlite", "host": str(folder / "results.db")}
        ),
        "AIRFLOW_CONN_GOENHANCE_DEFAULT": json.dumps(
            {
                "conn_type": "goenhance",
                "host": sandbox.url,
                "password": sandbox.token,
                "extra": {"credits_per_swap": PRICE},
            }
        ),
    }
    with RealAirflow(folder / "airflow", Path(__file__).parent / "dags", settings) as airflow:
        for dag_id in ("approved_swaps", "unanswered_swaps"):
            wait_until(
                lambda dag_id=dag_id: airflow.api.dag(dag_id) is not None,  # type: ignore[misc]
                seconds=90,
                what=f"the Dag {dag_id}",
            )
        yield airflow


class Run:
    """One run of a Dag, with pairs of its own."""

    def __init__(self, airflow: RealAirflow, dag_id: str, run_id: str, *, pairs: int) -> None:
        self.airflow, self.dag_id, self.run_id = airflow, dag_id, run_id
        self.path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        airflow.api.unpause(dag_id)
        lines = ["pair_id,source_img,reference_img"]
        lines += [f"p{n},https://h/{run_id}.jpg?{n},https://h/scene.jpg?{n}" for n in range(pairs)]
        manifest = airflow.paths.metadata.parent / f"{run_id}.csv"
        manifest.write_text("\n".join(lines) + "\n")
        airflow.api.trigger(dag_id, run_id, {"manifest": str(manifest)})

    def plan_state(self) -> str | None:
        state: str | None = self.airflow.api._request("GET", f"{self.path}/plan").json()["state"]
        return state

    def wait_for_the_question(self) -> dict[str, Any]:
        wait_until(lambda: self.plan_state() == "awaiting_input", seconds=120, what="the question")
        # Airflow takes an answer that comes before its scheduler has noticed the parking for a crash, and retries.
        wait_until(self._parking_was_noticed, seconds=60, what="the scheduler's notice")
        question: dict[str, Any] = self.airflow.api._request("GET", self._question).json()
        return question

    def _parking_was_noticed(self) -> bool:
        logs = self.airflow.paths.component_logs.glob("scheduler-*.log")
        lines = [line for log in logs for line in log.read_text().splitlines()]
        return any("Received executor event" in line and f"run_id='{self.run_id}'" in line for line in lines)

    def answer(self, option: str) -> None:
        self.airflow.api._request("PATCH", self._question, json={"chosen_options": [option]})

    def end(self) -> str:
        def ended() -> bool:
            return self.airflow.api.run_state(self.dag_id, self.run_id) not in {"queued", "running"}

        wait_until(ended, seconds=120, what=f"the end of {self.run_id}")
        return self.airflow.api.run_state(self.dag_id, self.run_id)

    def plan_error(self) -> str:
        (plan,) = [
            task
            for task in self.airflow.api.failed_tasks(self.dag_id, self.run_id)
            if task["task_id"] == "plan"
        ]
        assert plan["try_number"] == 1, "a retry would ask again"
        return self.airflow.api.task_error(self.dag_id, self.run_id, plan) or ""

    @property
    def _question(self) -> str:
        return f"{self.path}/plan/-1/hitlDetails"


def test_a_run_below_the_limit_asks_nobody(airflow: RealAirflow, sandbox: SandboxProcess) -> None:
    before = len(sandbox.submissions())
    run = Run(airflow, "approved_swaps", "below", pairs=2)

    assert run.end() == "success"
    assert len(sandbox.submissions()) - before == 2


def test_an_approved_run_pays_for_its_pairs(airflow: RealAirflow, sandbox: SandboxProcess) -> None:
    before = len(sandbox.submissions())
    run = Run(airflow, "approved_swaps", "approved", pairs=4)

    question = run.wait_for_the_question()
    assert question["subject"] == "Pay 12 credits for 4 face swaps?"
    assert "4 pairs x 3 credits = 12 credits." in question["body"]
    assert "Balance: " in question["body"]
    assert question["options"] == ["Approve", "Reject"]
    assert len(sandbox.submissions()) == before

    run.answer("Approve")
    assert run.end() == "success"
    assert len(sandbox.submissions()) - before == 4


def test_a_refused_run_sends_nothing_and_is_not_asked_about_again(
    airflow: RealAirflow, sandbox: SandboxProcess
) -> None:
    before = len(sandbox.submissions())
    run = Run(airflow, "approved_swaps", "refused", pairs=4)
    run.wait_for_the_question()

    run.answer("Reject")

    assert run.end() == "failed"
    assert "refused what this run would cost. Nothing was sent or paid" in run.plan_error()
    assert len(sandbox.submissions()) == before


def test_an_unanswered_question_is_a_no_and_does_not_stay_open(
    airflow: RealAirflow, sandbox: SandboxProcess
) -> None:
    before = len(sandbox.submissions())
    run = Run(airflow, "unanswered_swaps", "unanswered", pairs=4)

    assert run.end() == "failed"
    assert "No one approved within 3 s what this run would cost." in run.plan_error()
    assert len(sandbox.submissions()) == before
