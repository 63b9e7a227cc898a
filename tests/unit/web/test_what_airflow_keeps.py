# SPDX-License-Identifier: Apache-2.0
"""What the page reads of a run's tasks in Airflow's own database: their budgets and policies."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from sqlalchemy.orm import Session

from airflow_provider_goenhance.execution.what_follows import TaskInstance
from airflow_provider_goenhance.results.plan import RunKey
from airflow_provider_goenhance.results.recovery import Policies
from airflow_provider_goenhance.results.spending import Caps
from airflow_provider_goenhance.web import budget_view
from airflow_provider_goenhance.web.actions import policies

RENDERED = RenderedTaskInstanceFields.__table__
KEY, NEXT = RunKey("mine", "run"), RunKey("mine", "next/run %2B")


@pytest.fixture
def keep(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Write rendered fields into the table of Airflow's metadata database."""
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    # Alone: the table that it refers to is not read.
    sa.Table(RENDERED.name, sa.MetaData(), *(sa.Column(c.name, c.type) for c in RENDERED.c)).create(engine)

    @contextlib.contextmanager
    def session() -> Iterator[Session]:
        with Session(engine) as opened:
            yield opened

    monkeypatch.setattr(budget_view, "create_session", session)
    monkeypatch.setattr("airflow.utils.session.create_session", session)

    def write(key: RunKey, fields: Any, *, task_id: str = "swap", map_index: int = 0) -> None:
        row = {"dag_id": key.dag_id, "run_id": key.run_id, "task_id": task_id, "map_index": map_index}
        with engine.begin() as connection:
            connection.execute(sa.insert(RENDERED).values(**row, rendered_fields=fields))

    yield write
    engine.dispose()


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A metadata database that does not answer."""

    def session() -> Session:
        raise sa.exc.OperationalError("SELECT", {}, Exception("the database does not answer"))

    monkeypatch.setattr(budget_view, "create_session", session)
    monkeypatch.setattr("airflow.utils.session.create_session", session)


def test_each_run_has_the_budget_of_its_own_swap_tasks(keep: Any) -> None:
    keep(KEY, {"max_pairs": 20, "max_cost": "300"})
    keep(KEY, {"max_pairs": 7}, map_index=3)  # all mapped instances have the budget of the first one
    keep(KEY, {"max_pairs": 9}, task_id="report", map_index=-1)
    keep(NEXT, {"max_cost": "80"}, map_index=-1)
    keep(RunKey("other", "run"), {"max_pairs": 1})

    tasks = {KEY: ["swap"], NEXT: ["swap"], RunKey("mine", "deleted"): ["swap"]}
    assert budget_view.caps_of_runs(tasks) == {KEY: Caps(20, 300), NEXT: Caps(None, 80)}


def test_a_task_of_another_run_lends_no_budget(keep: Any) -> None:
    keep(KEY, {"max_pairs": 20}, task_id="night")
    assert budget_view.caps_of_runs({KEY: ["swap"], NEXT: ["night"]}) == {}
    assert budget_view.caps_of_runs({}) == {}
    assert budget_view.caps_of_runs({KEY: []}) == {}


@pytest.mark.parametrize(
    ("fields", "caps"),
    [
        (None, None),
        ("a text that was cut off", None),
        ({}, None),
        ({"max_pairs": "none"}, None),
        ({"max_pairs": "-1", "max_cost": "9" * 16}, None),
        ({"max_pairs": "٣"}, None),
        ({"max_pairs": " 12 ", "max_cost": None}, Caps(12, None)),
    ],
)
def test_only_a_number_is_a_budget(fields: Any, caps: Caps | None) -> None:
    assert budget_view.caps_in(fields) == caps


def test_each_task_has_the_policies_that_it_ran_with(keep: Any) -> None:
    keep(KEY, {"on_clear": "resubmit"}, map_index=1)
    keep(KEY, {"on_unknown_submit": "resubmit", "failed_job_resubmits": 2, "reuse": "never"}, map_index=2)
    keep(NEXT, {"on_clear": "resubmit"}, map_index=3)

    of = policies.policies_of_run(KEY, [TaskInstance("swap", index) for index in (1, 2, 3)])
    assert of(TaskInstance("swap", 1)) == Policies(on_clear="resubmit")
    assert of(TaskInstance("swap", 2)) == Policies("resubmit", "reattach", 2, "never")
    assert of(TaskInstance("swap", 3)) == Policies()


@pytest.mark.usefixtures("broken")
def test_a_page_is_of_use_while_airflows_database_does_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    assert budget_view.caps_of_runs({KEY: ["swap"]}) == {}
    assert policies.policies_of_run(KEY, [TaskInstance("swap", 1)])(TaskInstance("swap", 1)) == Policies()
    assert "The budgets of the runs could not be read" in caplog.text
    assert "The rendered fields of run run of Dag mine could not be read" in caplog.text
