# SPDX-License-Identifier: Apache-2.0
"""The two shipped Dags: what a person finds in the UI, and what the trigger form takes and refuses."""

from __future__ import annotations

import ast
import copy
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ParamValidationError
from airflow.sdk import DAG

from airflow_provider_goenhance.retry_policy import DEFAULT_RETRY_POLICY
from tests.airflow_versions import VERSION, DagBag, dag_bag, through_serialization

FOLDER = Path(__file__).resolve().parents[2] / "dags"
DAG_IDS = ["goenhance_face_swap_batch", "goenhance_face_swap_single"]


@pytest.fixture(scope="module")
def bag() -> DagBag:
    return dag_bag(FOLDER)


@pytest.fixture(params=DAG_IDS)
def dag(bag: DagBag, request: pytest.FixtureRequest) -> DAG:
    return bag.dags[request.param]


def test_every_dag_file_parses(bag: DagBag) -> None:
    assert bag.import_errors == {}
    assert sorted(bag.dags) == DAG_IDS


def test_every_dag_has_tags_owner_retries_and_docs(dag: DAG) -> None:
    assert {"goenhance", "face-swap"} <= set(dag.tags)
    assert dag.description
    assert "###" in (dag.doc_md or "")
    for task in dag.tasks:
        assert task.owner == "goenhance"
        assert task.retries == 2
        assert task.retry_delay.total_seconds() == 60


def test_every_task_knows_which_faults_a_retry_cannot_mend_mapped_or_not(dag: DAG) -> None:
    assert all(getattr(task, "retry_policy", None) is DEFAULT_RETRY_POLICY for task in dag.tasks)


def test_every_dag_survives_serialization(dag: DAG) -> None:
    again = through_serialization(dag)

    assert again.task_ids == dag.task_ids
    if VERSION >= (3, 3):
        assert all(task.has_retry_policy for task in again.tasks)


def test_nothing_runs_by_itself_but_the_nightly_batch_and_no_missed_night_is_caught_up(bag: DagBag) -> None:
    batch, single = (bag.dags[dag_id] for dag_id in DAG_IDS)

    assert batch.schedule == "0 2 * * *"
    assert not batch.catchup
    assert batch.max_active_runs == 1
    assert single.schedule is None


def test_mapped_swaps_are_named_and_bounded(bag: DagBag) -> None:
    swap = bag.dags["goenhance_face_swap_batch"].get_task("swap")

    assert swap.map_index_template == "{{ task.label }}"
    assert swap.max_active_tis_per_dagrun == 16


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_a_dag_file_is_thin(file: Path) -> None:
    """Parameters and wiring: no function, no class, no loop, no condition."""
    logic = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.For, ast.While, ast.If, ast.Lambda)

    assert [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, logic)] == []


GOOD = {
    "goenhance_face_swap_batch": [
        {},
        {"manifest": "s3://bucket/pairs.csv", "limit": 10, "wait": False},
        {"max_pairs": 100, "max_cost": 300, "approve_above": 200, "on_budget_reached": "fail"},
        {"allowed_failure_share": 1, "reuse": "never", "on_unknown_submit": "resubmit"},
        {
            "manifest": "run:goenhance_face_swap_batch/manual__2026-11-27T02:00:00+00:00",
            "statuses": ["failed", "rejected_by_reviewer"],
        },
        {"pairs_per_task": 5},
        {"statuses": []},
        {"statuses": None},
    ],
    "goenhance_face_swap_single": [
        {
            "source_img": "https://h/s.jpg",
            "reference_img": "http://127.0.0.1:8765/r.jpg?x=1",
            "pair_id": "anna",
        },
    ],
}
BAD = {
    "goenhance_face_swap_batch": [
        {"limit": -1},
        {"limit": 0},
        {"limit": "ten"},
        {"pairs_per_task": 1.5},
        {"pairs_per_task": 0},
        {"max_pairs": 0},
        {"max_cost": "much"},
        {"approve_above": -1},
        {"on_budget_reached": "pay"},
        {"allowed_failure_share": 1.1},
        {"allowed_failure_share": 7},
        {"allowed_failure_share": -0.1},
        {"reuse": "sometimes"},
        {"on_unknown_submit": "retry"},
        {"wait": "yes"},
        {"dry_run": 1},
        {"manifest": 5},
        {"statuses": ["lost"]},
        {"statuses": "failed"},
    ],
    "goenhance_face_swap_single": [
        {},
        {"source_img": "https://h/s.jpg"},
        {"source_img": "", "reference_img": "https://h/r.jpg"},
        {"source_img": "https://h/s.jpg", "reference_img": "https://h/r.jpg", "pair_id": 7},
    ],
}


def test_no_number_of_the_form_is_corrected_to_one_that_spends_or_hides_more(bag: DagBag) -> None:
    """The form corrects a number below `minimum` or above `maximum` without a word, and sends the run off."""
    params = bag.dags["goenhance_face_swap_batch"].params

    for name in ("limit", "pairs_per_task", "max_pairs", "max_cost", "approve_above"):
        assert params.get_param(name).schema["minimum"] == 1  # the lowest number means no more than itself
        assert params[name] is None  # a blank means all, or no limit
    assert {"minimum", "maximum"}.isdisjoint(params.get_param("allowed_failure_share").schema)


def test_the_schedule_is_a_setting_so_that_a_stack_without_schedules_shows_no_next_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW__GOENHANCE__BATCH_SCHEDULE", "")
    assert dag_bag(FOLDER).dags["goenhance_face_swap_batch"].schedule is None


def cases(table: dict[str, list[dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    return [(dag_id, values) for dag_id, rows in table.items() for values in rows]


@pytest.mark.parametrize(("dag_id", "values"), cases(GOOD))
def test_the_form_takes_what_makes_sense(bag: DagBag, dag_id: str, values: dict[str, Any]) -> None:
    assert _filled(bag.dags[dag_id], values).validate().items() >= values.items()


@pytest.mark.parametrize(("dag_id", "values"), cases(BAD))
def test_the_form_refuses_what_makes_no_sense(bag: DagBag, dag_id: str, values: dict[str, Any]) -> None:
    with pytest.raises(ParamValidationError):
        _filled(bag.dags[dag_id], values).validate()


def _filled(dag: DAG, values: dict[str, Any]) -> Any:
    params = copy.deepcopy(dag.params)
    params.update(values)
    return params


def test_every_field_of_a_form_has_a_title_and_says_what_it_does(dag: DAG) -> None:
    for name in dag.params:
        schema = dag.params.get_param(name).schema
        assert schema.get("title"), name
        assert dag.params.get_param(name).description or schema.get("description_md"), name
