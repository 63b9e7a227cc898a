# SPDX-License-Identifier: Apache-2.0
"""The operators and the shipped Dags in a real Airflow: mapping, templates, deferral, retries, verdicts."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.airflow_versions import VERSION, needs_3_3

from .airflow_environment import AirflowEnvironment

WRONG_TOKEN = "sk-wrong-token"


def manifest(
    airflow: AirflowEnvironment, pairs: int = 3, *, name: str = "pairs.csv", bad: bool = False
) -> str:
    path = airflow.folder / name
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["pair_id", "source_img", "reference_img"])
        for number in range(1, pairs + 1):
            urls = [airflow.sandbox.image(f"{part}{number}.jpg") for part in ("s", "r")]
            writer.writerow([f"p{number} {{{{ 6 * 7 }}}}", *urls])
        if bad:
            writer.writerow(["bad", "", airflow.sandbox.image("r.jpg")])
    return str(path)


def img_uuids(airflow: AirflowEnvironment) -> set[str]:
    return {entry["img_uuid"] for entry in airflow.sandbox.submissions()}


# -- mapping and templates ---------------------------------------------------------------------------------------------


def test_the_single_operator_maps_over_dicts_from_another_task(airflow: AirflowEnvironment) -> None:
    run = airflow.run("expand_kwargs_single", base=airflow.sandbox.url)

    assert run.states("swap") == ["success", "success"]
    assert set(run.values("swap")) == img_uuids(airflow)
    # Named by its pair, though the Dag sets no map_index_template.
    assert run.names("swap") == ["pair-1", "pair-2"]
    assert [row["pair_id"] for row in airflow.rows()] == run.names("swap")
    assert [row["map_index"] for row in airflow.rows()] == [0, 1]


def test_the_single_operator_maps_over_one_argument_without_a_results_table(
    airflow: AirflowEnvironment,
) -> None:
    run = airflow.run("expand_single", base=airflow.sandbox.url)

    assert run.states("swap") == ["success", "success"]
    assert set(run.values("swap")) == set(run.values("swap", "img_uuid")) == img_uuids(airflow)
    links = run.values("swap", "_link_SwappedPicturesLink")
    assert [link.rpartition("map_index=")[2] for link in links] == ["0", "1"]
    assert all("/goenhance/swaps?dag_id=expand_single&run_id=" in link for link in links)


def test_the_batch_operator_maps_over_lists_of_pairs(airflow: AirflowEnvironment) -> None:
    run = airflow.run("expand_batch", base=airflow.sandbox.url)

    assert run.states("swap") == ["success", "success"]
    assert run.names("swap") == ["2 pairs", "2 pairs"]
    pushed = {img_uuid for batch in run.values("swap", "img_uuids") for img_uuid in batch.values()}
    assert (
        pushed == img_uuids(airflow) == {entry["img_uuid"] for batch in run.values("swap") for entry in batch}
    )


@pytest.mark.parametrize("dag_id", ["xcomarg_batch", "native_batch"])
def test_pairs_may_come_as_an_xcomarg_or_out_of_a_native_template(
    airflow: AirflowEnvironment, dag_id: str
) -> None:
    run = airflow.run(dag_id, base=airflow.sandbox.url)

    assert run.states("swap") == ["success"]
    assert {entry["pair_id"] for entry in run.values("swap")[0]} == {
        "pair-1 {{ 6 * 7 }}",
        "pair-2 {{ 6 * 7 }}",
    }
    assert len(img_uuids(airflow)) == 2


@pytest.mark.slow
def test_an_id_stays_the_text_it_was_in_a_dag_that_renders_natively(airflow: AirflowEnvironment) -> None:
    run = airflow.run("native_ids", base=airflow.sandbox.url)

    ids = ["4711", "1e5", "0x1F", "[1, 2]", "None", "True", "true", "007"]
    names = [
        "pair 4711", "pair 1e5", "pair 0x1F", "pair [1, 2]", "pair None", "pair True", "true", "007"
    ]  # fmt: skip
    for task_id in ("swap", "from_a_task"):
        assert run.states(task_id) == ["success"] * len(ids)
        assert run.names(task_id) == names
    assert [entry["pair_id"] for entry in run.values("batch")[0]] == [*ids, "2e5"]
    assert run.states("batch") == ["success"]
    rows = [row for row in airflow.rows() if row["task_id"] == "from_a_template"]
    assert [(row["pair_id"], row["consent_ref"]) for row in rows] == [("3e5", "4e5")]


def test_a_batch_that_nobody_planned_is_an_error_and_no_success(airflow: AirflowEnvironment) -> None:
    run = airflow.run("wrong_batch")

    assert (run.states("swap"), run.tries("swap")) == (["failed"], [1])
    assert "has no rows of batch 7 for task 'swap' in this run" in run.text


def test_a_mapped_task_is_not_retried_when_the_token_is_refused(airflow: AirflowEnvironment) -> None:
    airflow.connect(token=WRONG_TOKEN)

    run = airflow.run("expand_kwargs_single", base=airflow.sandbox.url)

    assert run.states("swap") == ["failed", "failed"]
    assert run.tries("swap") == [1, 1]
    assert "connection 'goenhance_default'" in run.text
    assert WRONG_TOKEN not in run.text


@needs_3_3
def test_the_task_state_store_carries_a_job_over_a_retry(airflow: AirflowEnvironment) -> None:
    airflow.sandbox.put_faults(result={"kind": "html", "count": 1})

    run = airflow.run("state_store_single", base=airflow.sandbox.url)

    assert (run.states("swap"), run.tries("swap")) == (["success"], [2])
    assert run.values("swap") == run.values("swap", "img_uuid") == list(img_uuids(airflow))


@pytest.mark.skipif(VERSION >= (3, 3), reason="since Airflow 3.3 the task state store knows of the submit")
def test_without_a_task_state_store_a_retry_is_refused_and_pays_nothing(airflow: AirflowEnvironment) -> None:
    airflow.sandbox.put_faults(result={"kind": "html", "count": 1})

    run = airflow.run("state_store_single", base=airflow.sandbox.url)

    assert (run.states("swap"), run.tries("swap")) == (["failed"], [2])
    assert len(airflow.sandbox.submissions()) == 1


# -- the shipped Dags --------------------------------------------------------------------------------------------------


def test_the_batch_dag_swaps_a_manifest_and_names_each_pair(airflow: AirflowEnvironment) -> None:
    run = airflow.run("goenhance_face_swap_batch", manifest=manifest(airflow))

    assert run.state == "success"
    # What stands in a manifest is data: Airflow must not take it for a template.
    assert run.names("swap") == ["p1 {{ 6 * 7 }}", "p2 {{ 6 * 7 }}", "p3 {{ 6 * 7 }}"]
    from_xcom = {entry["img_uuid"] for batch in run.values("swap") for entry in batch}
    assert from_xcom == {row["img_uuid"] for row in airflow.rows()} == img_uuids(airflow)
    assert all(Path(row["result_uri"].removeprefix("file://")).is_file() for row in airflow.rows())
    assert f"run {run.run_id}: pairs=3 succeeded=3 reused=0 failed=0 rejected=0 held=0 unknown=0" in run.text

    again = airflow.run(
        "goenhance_face_swap_batch", manifest=manifest(airflow, bad=True), allowed_failure_share=0.2
    )

    # What succeeded is not paid for again, and the one bad row of four is more than the share allows.
    assert again.values("plan") == [[]]
    assert {row["status"] for row in airflow.rows() if row["run_id"] == again.run_id} == {
        "reused",
        "rejected",
    }
    assert len(img_uuids(airflow)) == 3
    assert (again.state, again.tries("report")) == ("failed", [1])
    assert "1 of 4 pairs did not succeed (1 rejected), more than the allowed share" in again.text


def test_only_submitting_leaves_the_rows_submitted_and_the_run_succeeds(airflow: AirflowEnvironment) -> None:
    airflow.sandbox.put_faults(job_seconds=3600)

    run = airflow.run("goenhance_face_swap_batch", manifest=manifest(airflow), wait=False)

    assert run.state == "success"
    assert {row["status"] for row in airflow.rows()} == {"submitted"}
    assert {row["img_uuid"] for row in airflow.rows()} == img_uuids(airflow)


def test_a_wrong_token_fails_the_run_at_once_with_one_clear_message(airflow: AirflowEnvironment) -> None:
    airflow.connect(token=WRONG_TOKEN)

    run = airflow.run("goenhance_face_swap_batch", manifest=manifest(airflow))

    assert run.state == "failed"
    assert (run.states("plan"), run.tries("plan")) == (["failed"], [1])
    assert "GoEnhance refused the API token of connection 'goenhance_default'" in run.text
    assert "3 rows of this run stay planned, and nothing was paid for" in run.text
    assert {row["status"] for row in airflow.rows()} == {"planned"}
    assert WRONG_TOKEN not in run.text


def test_a_dry_run_of_a_broken_manifest_fails_too(airflow: AirflowEnvironment) -> None:
    run = airflow.run("goenhance_face_swap_batch", manifest="/no/such.csv", dry_run=True)

    assert run.state == "failed"
    assert "swap never started, because an upstream task failed" in run.text


def test_the_single_dag_swaps_the_pair_of_its_form(airflow: AirflowEnvironment) -> None:
    run = airflow.run(
        "goenhance_face_swap_single",
        source_img=airflow.sandbox.image("a.jpg"),
        reference_img=airflow.sandbox.image("b.jpg"),
    )

    assert run.state == "success"
    assert run.values("swap") == list(img_uuids(airflow))
    assert airflow.rows()[0]["status"] == "succeeded"


def test_a_submit_with_unknown_outcome_is_neither_retried_nor_hidden(airflow: AirflowEnvironment) -> None:
    airflow.sandbox.put_faults(submit={"kind": "disconnect", "when": "after", "count": 1})

    run = airflow.run(
        "goenhance_face_swap_single",
        source_img=airflow.sandbox.image("a.jpg"),
        reference_img=airflow.sandbox.image("b.jpg"),
    )

    assert (run.states("swap"), run.tries("swap")) == (["failed"], [1])
    assert "1 submit may have been paid for." in run.text
    assert [row["status"] for row in airflow.rows()] == ["unknown"]
    assert len(img_uuids(airflow)) == 1
