# SPDX-License-Identifier: Apache-2.0
"""Submit now, collect later: in another task, another run, another Dag, and whatever the picture server does."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import sqlalchemy as sa
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_goenhance.exceptions import AuthenticationError, CollectError, WaitFailedError
from airflow_provider_goenhance.operators.collect import GoEnhanceCollectOperator
from airflow_provider_goenhance.pictures import collector
from airflow_provider_goenhance.pictures.collector import StorageOptions
from airflow_provider_goenhance.retry_policy import is_final

from .light_runner import LightTask, LightTaskInstance, event_of_trigger

Submit = Callable[..., LightTask]


@pytest.fixture
def submitted(task: Callable[..., LightTask], monkeypatch: pytest.MonkeyPatch) -> Submit:
    """Submit a batch that does not wait, and let its jobs end. Downloads are retried at once."""
    monkeypatch.setattr(collector, "StorageOptions", partial(StorageOptions, retry_pause=0.01))

    def submit(*, jobs_end: bool = True, run_id: str = "run-1", **options: Any) -> LightTask:
        batch = task(kind="batch", wait_for_completion=False, **options)
        batch.ti.run_id = run_id
        assert batch.attempt().error is None
        if jobs_end:
            for entry in batch.sandbox.submissions():
                batch.sandbox.wait_for(entry["img_uuid"])
        return batch

    return submit


def collect(batch: LightTask, **arguments: Any) -> dict[str, int]:
    """Run the operator in a Dag of its own, waits in the triggerer included."""
    context: Any = {"ti": LightTaskInstance("collect", dag_id="another_dag", run_id="another_run")}
    arguments = {
        "storage": str(batch.folder / "kept"),
        "poll_interval": 0.05,
        "timeout": 120,
        **arguments,
    }
    method, event = "execute", {}
    while True:
        operator = GoEnhanceCollectOperator(task_id="collect", **arguments)
        try:
            return dict(getattr(operator, method)(context, **event))
        except TaskDeferred as deferral:
            method, event = deferral.method_name, {"event": event_of_trigger(deferral)}


def count_downloads(batch: LightTask) -> Callable[[], int]:
    """Have the sandbox count the results it serves."""
    batch.sandbox.put_faults(result={"kind": "slow", "seconds": 0})
    return lambda: int(batch.sandbox.faults()["result"][0]["fired"])


URIS = ("result_uri", "thumbnail_uri", "source_thumbnail_uri", "reference_thumbnail_uri")


def path_of(row: dict[str, Any]) -> Path:
    return Path(unquote(urlsplit(row["result_uri"]).path))


def set_column(batch: LightTask, named: str, **values: Any) -> None:
    engine = sa.create_engine(f"sqlite:///{batch.folder / 'results.db'}")
    with engine.begin() as connection:
        for name, value in values.items():
            query = sa.text(f"UPDATE goenhance_swaps SET {name} = :value WHERE pair_id = :named")
            connection.execute(query, {"value": value, "named": named})
    engine.dispose()


# -- which rows --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{}, {"deferrable": True, "wait_for_completion": "True"}])
def test_another_dag_finishes_the_rows_that_a_batch_left_submitted(
    submitted: Submit, how: dict[str, Any]
) -> None:
    batch = submitted(jobs_end=not how)
    assert {row["status"] for row in batch.rows().values()} == {"submitted"}

    assert collect(batch, **how) == {"succeeded": 3}

    assert {row["status"] for row in batch.rows().values()} == {"succeeded"}
    assert {path_of(row).parent for row in batch.rows().values()} == {batch.folder / "kept" / "run-1"}
    assert all(path_of(row).is_file() for row in batch.rows().values())
    assert batch.accepted() == 3


def test_what_is_kept_is_not_fetched_again(submitted: Submit) -> None:
    batch = submitted()
    downloads = count_downloads(batch)

    collect(batch)
    assert downloads() == 3
    before = batch.rows()

    assert collect(batch) == {}
    assert downloads() == 3
    assert batch.rows() == before


def test_a_second_run_after_a_failure_fetches_only_what_is_not_kept(
    submitted: Submit, connect: Callable[..., None]
) -> None:
    batch = submitted()
    # One after the other, so that the fault hits only one of them.
    connect(batch.sandbox, max_downloads=1)
    batch.sandbox.put_faults(result=[{"kind": "html", "count": 1}])
    with pytest.raises(CollectError, match="1 of 3 paid jobs could not be downloaded or stored") as caught:
        collect(batch)
    assert not is_final(caught.value)
    assert "A retry collects them again and pays nothing." in str(caught.value)

    downloads = count_downloads(batch)

    assert collect(batch) == {"succeeded": 1}
    assert downloads() == 1
    assert {row["status"] for row in batch.rows().values()} == {"succeeded"}


def test_only_the_named_run_is_collected_into_its_own_folder(submitted: Submit) -> None:
    submitted(pairs=1)
    batch = submitted(pairs=2, run_id="run-2", reuse="never")

    assert collect(batch, run_id="run-2", dag_id="light") == {"succeeded": 2}

    engine = sa.create_engine(f"sqlite:///{batch.folder / 'results.db'}")
    with engine.connect() as connection:
        query = "SELECT run_id, status, count(*) FROM goenhance_swaps GROUP BY 1, 2 ORDER BY 1"
        assert connection.execute(sa.text(query)).all() == [
            ("run-1", "submitted", 1),
            ("run-2", "succeeded", 2),
        ]
    engine.dispose()
    assert [folder.name for folder in (batch.folder / "kept").iterdir()] == ["run-2"]


def test_a_run_that_the_results_table_does_not_know_is_an_error_and_no_success(submitted: Submit) -> None:
    batch = submitted(pairs=1)

    with pytest.raises(
        ValueError, match=r"no rows of run 'run-1' of Dag 'another_dag'. Pass the Dag"
    ) as caught:
        collect(batch, run_id="run-1")

    assert is_final(caught.value)
    assert collect(batch, run_id="run-1", dag_id="light") == {"succeeded": 1}
    assert collect(batch, run_id="run-1", dag_id="light") == {}


def test_a_dag_alone_takes_all_its_runs_and_no_other_dags(submitted: Submit) -> None:
    batch = submitted()
    set_column(batch, "pair-2", dag_id="other")

    assert collect(batch, dag_id="light") == {"succeeded": 2}
    assert batch.row(2)["status"] == "submitted"


def test_rows_can_be_chosen_by_their_age_on_either_side(submitted: Submit) -> None:
    batch = submitted()
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    set_column(batch, "pair-1", submitted_at=str(now - dt.timedelta(hours=3)))
    set_column(batch, "pair-2", submitted_at=str(now - dt.timedelta(days=9)))

    assert collect(batch, older_than="3600", newer_than=7 * 86400) == {"succeeded": 1}

    assert [batch.row(n)["status"] for n in (1, 2, 3)] == ["succeeded", "submitted", "submitted"]


def test_jobs_of_another_account_are_left_alone_and_said_to_be(
    submitted: Submit, connect: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    batch = submitted()
    account = batch.row()["account"]
    connect(batch.sandbox, account_name="studio-b")

    assert collect(batch) == {}

    assert f"3 more rows wait that another account paid for ({account})" in capfd.readouterr().out
    assert {row["status"] for row in batch.rows().values()} == {"submitted"}


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ({"older_than": "soon"}, "older_than must be a non-negative number of seconds"),
        ({"newer_than": -1}, "newer_than must be a non-negative number of seconds"),
        ({"wait_for_completion": "maybe"}, "wait_for_completion must be True or False"),
        ({"timeout": "x", "wait_for_completion": True}, "timeout must be a non-negative number of seconds"),
    ],
)
def test_an_argument_that_makes_no_sense_is_named(
    submitted: Submit, argument: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        collect(submitted(pairs=1), **argument)


def test_a_refused_token_names_the_connection_and_leaves_the_rows_as_they_are(
    submitted: Submit, task: Callable[..., LightTask], connect: Any
) -> None:
    connect(task().sandbox, account_name="studio")
    batch = submitted(pairs=1)
    connect(batch.sandbox, token="sk-wrong-token", account_name="studio")

    with pytest.raises(AuthenticationError, match="connection 'goenhance_default'"):
        collect(batch)

    assert batch.row()["status"] == "submitted"


# -- jobs that are not done --------------------------------------------------------------------------------------------


def test_without_waiting_what_still_runs_stays_submitted_and_is_counted(submitted: Submit) -> None:
    batch = submitted(pairs=2)
    batch.sandbox.put_faults(job_seconds=3600)
    batch = submitted(pairs=3, run_id="run-2", reuse="never", jobs_end=False)

    assert collect(batch) == {"succeeded": 2, "submitted": 3}


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_wait_that_is_over_fails_the_row_and_a_later_collect_finishes_it(
    submitted: Submit, task: Callable[..., LightTask], deferrable: bool
) -> None:
    # Another's job holds the only place, so ours is not done however long the machine takes.
    sandbox = task().sandbox
    sandbox.put_faults(job={"kind": "stuck", "count": 1}, queue_limit=1)
    sandbox.submit(sandbox.image("a.jpg"), sandbox.image("b.jpg"))
    batch = submitted(pairs=1, jobs_end=False)

    with pytest.raises(CollectError, match=batch.row()["img_uuid"]) as caught:
        collect(batch, wait_for_completion=True, deferrable=deferrable, timeout=0.1)

    assert caught.value.error_code == "job_timed_out"
    assert (batch.row()["status"], batch.row()["error_code"]) == ("failed", "job_timed_out")

    sandbox.put_faults(queue_limit=2)
    assert collect(batch, wait_for_completion=True, deferrable=deferrable) == {"succeeded": 1}
    assert batch.accepted() == 1 + 1


def test_a_row_submitted_during_the_wait_is_left_as_it_is(
    submitted: Submit, task: Callable[..., LightTask]
) -> None:
    batch = submitted(pairs=1)
    operator = GoEnhanceCollectOperator(
        task_id="collect",
        storage=str(batch.folder / "kept"),
        wait_for_completion=True,
        deferrable=True,
        poll_interval=0.05,
    )
    context: Any = {"ti": LightTaskInstance("collect")}
    with pytest.raises(TaskDeferred) as deferral:
        operator.execute(context)
    event = event_of_trigger(deferral.value)
    batch.sandbox.put_faults(job_seconds=3600)
    submitted(pairs=2, run_id="run-2", reuse="never", jobs_end=False)

    assert operator.execute_complete(context, event) == {"succeeded": 1, "submitted": 2}


@pytest.mark.parametrize("event", [None, {}, {"status": "finished"}, {"status": "surprise"}])
def test_an_event_that_makes_no_sense_is_never_a_success(submitted: Submit, event: Any) -> None:
    batch = submitted(pairs=1)
    operator = GoEnhanceCollectOperator(task_id="collect", wait_for_completion=True, deferrable=True)

    with pytest.raises(WaitFailedError, match="a retry re-attaches"):
        operator.execute_complete({"ti": LightTaskInstance("collect")}, event)  # type: ignore[typeddict-item]

    assert batch.row()["status"] == "submitted"


def test_a_job_that_goenhance_failed_is_written_down_and_no_reason_to_fail(
    submitted: Submit, task: Callable[..., LightTask]
) -> None:
    task().sandbox.put_faults(job={"kind": "failed", "error": "no face found", "count": 1})
    batch = submitted(pairs=2)

    assert collect(batch) == {"failed": 1, "succeeded": 1}

    assert batch.row(1)["error_code"] == "job_failed"
    assert "no face found" in batch.row(1)["error_message"]
    assert collect(batch) == {}


# -- links that have expired -------------------------------------------------------------------------------------------


def test_a_picture_whose_link_has_expired_is_collected_through_a_fresh_one(
    submitted: Submit, task: Callable[..., LightTask]
) -> None:
    task().sandbox.put_faults(link_seconds=0, link_signed="at_completion")
    batch = submitted()
    # The first link has expired by now; this sandbox signs a new one at each call, though not at once.
    batch.sandbox.put_faults(
        link_signed="at_each_call", link_seconds=3600, result={"kind": "expired_link", "count": 1}
    )

    assert collect(batch) == {"succeeded": 3}
    assert batch.accepted() == 3


def test_a_link_that_is_never_signed_again_fails_the_row_and_a_later_attempt_is_free(
    submitted: Submit, task: Callable[..., LightTask]
) -> None:
    task().sandbox.put_faults(link_seconds=0, link_signed="at_completion")
    batch = submitted(pairs=1)
    img_uuid = batch.row()["img_uuid"]

    with pytest.raises(CollectError, match=img_uuid):
        collect(batch)

    row = batch.row()
    assert (row["status"], row["error_code"], row["img_uuid"]) == ("failed", "link_expired", img_uuid)
    assert row["error_message"].startswith("The job succeeded at GoEnhance and was paid for")
    assert "issued a new link to the picture, which was refused as well" in row["error_message"]
    assert "q-signature" not in row["error_message"]
    assert row["result_uri"] is None

    with pytest.raises(CollectError, match=img_uuid):
        collect(batch)
    batch.sandbox.put_faults(link_signed="at_each_call", link_seconds=3600)

    assert collect(batch) == {"succeeded": 1}
    assert batch.row()["error_message"] is None
    assert batch.accepted() == 1


# -- hostile answers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        ({"kind": "html", "count": 1}, "not_an_image", "it is an HTML page"),
        ({"kind": "zeros", "count": 1}, "too_large", "larger than the 30 MB allowed"),
        ({"kind": "zeros", "count": 1, "bytes": 4096}, "not_an_image", "4096 bytes of zeros"),
        ({"kind": "redirect_loop", "count": 6}, "redirect_loop", "redirected more than 5 times"),
        ({"kind": "truncated", "count": 3}, "download_failed", "ended before the picture did"),
        ({"kind": "expired_link", "count": 6}, "link_expired", "refused (HTTP 403)"),
    ],
)
def test_a_hostile_answer_fails_its_own_row_with_a_reason_and_no_other(
    submitted: Submit, connect: Callable[..., None], fault: dict[str, Any], code: str, said: str
) -> None:
    batch = submitted()
    connect(batch.sandbox, max_downloads=1)
    batch.sandbox.put_faults(result=fault)

    with pytest.raises(CollectError, match="1 of 3 paid jobs"):
        collect(batch)

    rows = sorted(batch.rows().values(), key=lambda row: row["status"])
    assert [row["status"] for row in rows] == ["failed", "succeeded", "succeeded"]
    assert rows[0]["error_code"] == code
    assert said in rows[0]["error_message"]
    # No half file: what is there is what the rows name.
    kept = {path for path in (batch.folder / "kept").rglob("*") if path.is_file()}
    assert kept == {Path(unquote(urlsplit(row[name]).path)) for row in rows[1:] for name in URIS if row[name]}


@pytest.mark.parametrize("pair_id", ["../../escaped", "/etc/passwd", "..\\..\\x", "a/../../b", "..", "."])
def test_a_pair_id_that_looks_like_a_path_stays_inside_the_storage(submitted: Submit, pair_id: str) -> None:
    batch = submitted(pairs=1)
    set_column(batch, "pair-1", pair_id=pair_id)

    assert collect(batch) == {"succeeded": 1}

    [row] = batch.rows().values()
    assert path_of(row).resolve().parent == (batch.folder / "kept" / "run-1").resolve()
    assert [path for path in batch.folder.rglob("*.png") if path.is_file()] == [path_of(row)]
