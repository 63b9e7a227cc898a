# SPDX-License-Identifier: Apache-2.0
"""What a run could not do: kept as failures.csv, fed back as a manifest, or read from the run itself."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest

from airflow_provider_goenhance.exceptions import BatchFailedError, ManifestError
from airflow_provider_goenhance.execution.review import review_pictures
from airflow_provider_goenhance.hooks.results import open_results
from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator
from airflow_provider_goenhance.operators.report import GoEnhanceReportOperator
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.swap import Swap
from airflow_provider_goenhance.retry_policy import is_final
from include.sandbox.process import SandboxProcess

from .airflow_environment import AirflowEnvironment
from .light_runner import LightTaskInstance

SIGNATURE = "X-Amz-Signature=s3cret&X-Amz-Credential=c&X-Amz-Date=20260101T000000Z"


class Nights:
    """Runs of one Dag of a plan, its swaps and a report."""

    def __init__(self, sandbox: SandboxProcess, folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.storage = str(folder / "kept #1")

    def write(self, rows: Sequence[dict[str, str]]) -> str:
        path = self.folder / "pairs.csv"
        names = list(dict.fromkeys(name for row in rows for name in row))
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)
        return str(path)

    def pair(self, name: str, **columns: str) -> dict[str, str]:
        image = self.sandbox.image
        return {
            "pair_id": name,
            "source_img": image(f"{name}.jpg"),
            "reference_img": image("scene.jpg"),
            **columns,
        }

    def plan(self, run_id: str, manifest: Any, **arguments: Any) -> list[dict[str, Any]]:
        ti = LightTaskInstance("plan", run_id=run_id)
        operator = GoEnhancePlanOperator(
            task_id="plan", manifest=manifest, storage=self.storage, check_account=False, **arguments
        )
        batches: list[dict[str, Any]] = operator.execute({"ti": ti})  # type: ignore[typeddict-item]
        return batches

    def swap(self, run_id: str, batches: Sequence[dict[str, Any]], **arguments: Any) -> None:
        for batch in batches:
            # The last try: a retry would look at the rows again.
            ti = LightTaskInstance("swap", run_id=run_id, map_index=batch["batch"], try_number=3)
            operator = GoEnhanceFaceSwapBatchOperator(
                task_id="swap",
                batch=batch["batch"],
                storage=self.storage,
                poll_interval=0.05,
                allowed_failure_share=1.0,
                deferrable=False,
                **arguments,
            )
            operator.execute({"ti": ti})  # type: ignore[typeddict-item]

    def report(self, run_id: str) -> list[dict[str, str]] | None:
        """Return the rows of failures.csv."""
        self.ti = LightTaskInstance("report", run_id=run_id)
        operator = GoEnhanceReportOperator(
            task_id="report",
            storage=self.storage,
            contact_sheet=False,
            check_account=False,
            allowed_failure_share=1.0,
        )
        with contextlib.suppress(BatchFailedError):
            operator.execute({"ti": self.ti, "outlet_events": {}})  # type: ignore[typeddict-item]
        uri = self.ti.xcoms.get("failures_csv")
        return list(csv.DictReader(path_of(uri).open())) if uri else None

    def run(self, run_id: str, manifest: Any, **arguments: Any) -> list[dict[str, str]] | None:
        self.swap(run_id, self.plan(run_id, manifest, **arguments))
        return self.report(run_id)

    def review(self, run_id: str, pair_id: str, review: str | None) -> None:
        ledger = Ledger(open_results())
        review_pictures(ledger, [self.rows(run_id)[pair_id].swap_id], review, by="anna")

    def rows(self, run_id: str) -> dict[str, Swap]:
        rows = Ledger(open_results()).of_run(RunKey("light", run_id))
        return {row.pair_id: row for row in rows}

    def statuses(self, run_id: str) -> dict[str, str]:
        return {name: str(row.status) for name, row in self.rows(run_id).items()}

    def paid(self) -> int:
        return len(self.sandbox.submissions())

    def mixed(self) -> str:
        """A run in which pairs succeed, fail at GoEnhance, are declined, unknown, rejected and never sent."""
        manifest = self.write(
            [
                *(
                    self.pair(name, shoot=f"of {name}", consent_ref="c/1")
                    for name in ("a", "b", "c", "d", "e")
                ),
                self.pair("bad", source_img="ftp://x", shoot="of bad"),
            ]
        )
        batches = self.plan("run-1", manifest, pairs_per_task=1)
        for batch, faults in zip(
            batches,
            (
                {},
                {"job": {"kind": "failed", "error": "no face", "count": 1}},
                {"submit": {"kind": "business_error", "count": 1}},
                {"submit": {"kind": "disconnect", "when": "after", "count": 1}},
            ),
            strict=False,
        ):
            self.sandbox.put_faults(**faults)
            self.swap("run-1", [batch])
        self.sandbox.put_faults()
        assert self.statuses("run-1") == {
            "a": "succeeded",
            "b": "failed",
            "c": "failed",
            "d": "unknown",
            "e": "planned",
            "bad": "rejected",
        }
        return manifest


def path_of(uri: str) -> Path:
    return Path(unquote(urlsplit(uri).path))


@pytest.fixture
def nights(goenhance_sandbox_shared: SandboxProcess, connect: Callable[..., None], tmp_path: Path) -> Nights:
    connect(goenhance_sandbox_shared)
    return Nights(goenhance_sandbox_shared, tmp_path)


# -- failures.csv ------------------------------------------------------------------------------------------------------


def test_each_row_without_a_picture_is_kept_with_its_reason_and_what_was_paid(nights: Nights) -> None:
    nights.mixed()

    rows = nights.report("run-1")

    assert rows is not None
    found = {row["pair_id"]: row for row in rows}
    assert {name: row["status"] for name, row in found.items()} == {
        "b": "failed",
        "c": "failed",
        "d": "unknown",
        "e": "planned",
        "bad": "rejected",
    }
    assert path_of(nights.ti.xcoms["failures_csv"]).parts[-3:] == ("run-1", "light.report", "failures.csv")
    b = found["b"]
    assert (b["shoot"], b["consent_ref"], b["row_number"], b["error_code"]) == (
        "of b",
        "c/1",
        "3",
        "job_failed",
    )
    assert b["source_img"] == nights.sandbox.image("b.jpg")
    assert "no face" in b["reason"]
    assert b["paid"] == f"Job {b['img_uuid']} was paid for."
    assert b["new_run"] == "A new run submits the pair and pays for it again."
    assert (found["c"]["attempts"], found["c"]["paid"]) == ("0", "Nothing was paid.")
    assert found["d"]["paid"] == "1 submit may have been paid for."
    assert found["d"]["new_run"] == "A new run holds the pair until that submit is settled."
    assert (found["e"]["reason"], found["e"]["paid"]) == ("Not sent.", "Nothing was paid.")
    assert found["bad"]["new_run"] == "A new run rejects it unless it is corrected."


def test_the_file_is_fed_back_unchanged_and_only_what_failed_is_paid_for(nights: Nights) -> None:
    nights.mixed()
    nights.report("run-1")
    paid = nights.paid()

    left = nights.run("run-2", nights.ti.xcoms["failures_csv"])

    assert nights.statuses("run-2") == {
        "b": "succeeded",
        "c": "succeeded",
        "d": "held",
        "e": "succeeded",
        "bad": "rejected",
    }
    assert nights.paid() == paid + 3
    assert json.loads(nights.rows("run-2")["b"].labels or "") == {"shoot": "of b"}
    assert nights.rows("run-2")["b"].consent_ref == "c/1"
    assert left is not None
    assert {row["pair_id"]: row["shoot"] for row in left} == {"d": "of d", "bad": "of bad"}


def test_a_signature_is_not_in_the_file_and_the_row_is_not_sent_without_it(nights: Nights) -> None:
    nights.sandbox.put_faults(job={"kind": "failed", "error": "no face", "count": 2})
    link = f"{nights.sandbox.image('a.jpg')}?{SIGNATURE}"
    manifest = nights.write([nights.pair("a", source_img=link, source_key="anna"), nights.pair("b")])
    rows = nights.run("run-1", manifest)

    assert rows is not None
    signed, plain = rows
    assert (signed["source_img"], signed["source_key"]) == (nights.sandbox.image("a.jpg"), "anna")
    assert (signed["signature_removed"], plain["signature_removed"]) == ("source_img", "")
    assert signed["new_run"].endswith(
        "It needs a signed link in source_img for that; manifest='run:light/run-1' reads the row with the link that it "
        "had."
    )
    path = path_of(nights.ti.xcoms["failures_csv"])
    assert "s3cret" not in path.read_text()

    nights.run("run-2", str(path))

    assert nights.statuses("run-2") == {"a": "rejected", "b": "succeeded"}
    assert "is without its signature" not in str(nights.rows("run-2")["a"].error_message)
    assert "source_img was signed" in str(nights.rows("run-2")["a"].error_message)
    assert nights.paid() == 3


def test_a_report_without_failures_keeps_no_file_and_removes_that_of_an_earlier_attempt(
    nights: Nights,
) -> None:
    batches = nights.plan("run-1", nights.write([nights.pair("a")]))
    assert nights.report("run-1")
    path = path_of(nights.ti.xcoms["failures_csv"])

    nights.swap("run-1", batches)

    assert nights.report("run-1") is None
    assert not path.exists()


def test_a_storage_that_cannot_be_written_never_changes_the_verdict(nights: Nights) -> None:
    nights.plan("run-1", nights.write([nights.pair("a")]))
    nights.storage = "/proc/no-such-folder"
    assert nights.report("run-1") is None


def test_a_run_without_rows_keeps_nothing_and_needs_no_storage(
    nights: Nights, capfd: pytest.CaptureFixture[str]
) -> None:
    nights.storage = "/proc/no-such-folder"
    assert nights.report("run-1") is None
    assert "failures.csv" not in capfd.readouterr().out


# -- run:<dag_id>/<run_id> ---------------------------------------------------------------------------------------------


def test_only_the_failures_of_a_run_are_looked_at_again_and_nothing_is_paid_twice(nights: Nights) -> None:
    nights.mixed()
    paid = nights.paid()

    left = nights.run("run-2", "run:light/run-1")

    assert nights.statuses("run-2") == {"b": "succeeded", "c": "succeeded", "d": "held", "e": "succeeded"}
    assert nights.paid() == paid + 3
    b = nights.rows("run-2")["b"]
    assert (b.manifest, b.row_number, json.loads(b.labels or "")) == ("run:light/run-1", 1, {"shoot": "of b"})
    assert b.pair_fingerprint == nights.rows("run-1")["b"].pair_fingerprint
    assert [row["pair_id"] for row in left or []] == ["d"]
    # A third run has one row left, and the first run's manifest has nothing to pay for any more.
    nights.run("run-3", "run:light/run-2")
    assert nights.statuses("run-3") == {"d": "held"}
    nights.run("run-4", str(nights.folder / "pairs.csv"))
    assert nights.paid() == paid + 3


def test_a_picture_that_was_paid_for_and_not_kept_is_only_collected(nights: Nights) -> None:
    nights.storage = "/proc/no-such-folder"
    nights.swap("run-1", nights.plan("run-1", nights.write([nights.pair("a")])))
    assert nights.statuses("run-1") == {"a": "failed"}
    nights.storage = str(nights.folder / "kept #1")

    nights.run("run-2", "run:light/run-1")

    assert nights.statuses("run-2") == {"a": "succeeded"}
    assert nights.paid() == 1


def test_a_retry_of_the_plan_plans_the_same_rows_again(nights: Nights) -> None:
    nights.mixed()
    first = nights.plan("run-2", "run:light/run-1")
    before = nights.rows("run-2")
    assert nights.plan("run-2", "run:light/run-1") == first
    assert nights.rows("run-2") == before


def test_the_links_are_those_of_the_run_signatures_included(nights: Nights) -> None:
    link = f"{nights.sandbox.image('a.jpg')}?{SIGNATURE}"
    nights.plan("run-1", nights.write([nights.pair("a", source_img=link, source_key="anna")]))
    nights.plan("run-2", "run:light/run-1")
    row = nights.rows("run-2")["a"]
    assert (row.source_img, row.source_key) == (link, "anna")


@pytest.mark.parametrize(
    "statuses", ["rejected, succeeded", '["rejected", "succeeded"]', ["rejected", "succeeded"]]
)
def test_the_statuses_choose_the_rows(nights: Nights, statuses: Any) -> None:
    nights.mixed()
    nights.plan("run-2", "run:light/run-1", statuses=statuses)
    assert nights.statuses("run-2") == {"a": "reused", "bad": "rejected"}


# -- pictures that a reviewer rejected ---------------------------------------------------------------------------------


@pytest.fixture
def reviewed(nights: Nights) -> Nights:
    """A run of two pairs that both succeeded; a reviewer rejected the picture of the first."""
    nights.run("run-1", nights.write([nights.pair("a"), nights.pair("b")]))
    nights.review("run-1", "a", "rejected")
    return nights


def test_a_rejected_picture_is_kept_and_its_pair_is_neither_reused_nor_paid_for_unasked(
    reviewed: Nights,
) -> None:
    left = reviewed.run("run-2", str(reviewed.folder / "pairs.csv"))

    assert reviewed.statuses("run-2") == {"a": "held", "b": "reused"}
    assert reviewed.rows("run-2")["a"].error_code == "picture_rejected"
    assert reviewed.paid() == 2
    assert path_of(reviewed.rows("run-1")["a"].result_uri).is_file()
    assert [row["pair_id"] for row in left or []] == ["a"]
    # A clear of the task looks again, and holds it still.
    reviewed.swap("run-2", [{"batch": 0}])
    assert reviewed.statuses("run-2")["a"] == "held"
    assert reviewed.paid() == 2


def test_a_clear_reuses_the_picture_once_its_rejection_is_undone(reviewed: Nights) -> None:
    reviewed.run("run-2", str(reviewed.folder / "pairs.csv"))
    reviewed.review("run-1", "a", None)

    reviewed.swap("run-2", [{"batch": 0}])

    assert reviewed.statuses("run-2") == {"a": "reused", "b": "reused"}
    assert reviewed.paid() == 2


def test_a_new_picture_is_paid_for_once_it_is_asked_for_by_name_and_serves_from_then_on(
    reviewed: Nights,
) -> None:
    batches = reviewed.plan("run-2", "run:light/run-1", statuses="rejected_by_reviewer", reuse="never")
    reviewed.swap("run-2", batches, reuse="never")

    assert reviewed.statuses("run-2") == {"a": "succeeded"}
    assert reviewed.paid() == 3
    reviewed.run("run-3", str(reviewed.folder / "pairs.csv"))
    third = reviewed.rows("run-3")["a"]
    assert (str(third.status), third.img_uuid) == ("reused", reviewed.rows("run-2")["a"].img_uuid)


def test_failures_csv_has_the_rejected_pictures_and_who_rejected_them(reviewed: Nights) -> None:
    (left,) = reviewed.report("run-1") or []

    assert (left["pair_id"], left["status"]) == ("a", "rejected_by_reviewer")
    assert "was rejected by anna" in left["reason"]
    assert "holds the pair, because its picture was rejected" in left["new_run"]


def test_a_run_without_rejected_pictures_says_so(nights: Nights) -> None:
    nights.run("run-1", nights.write([nights.pair("a")]))
    with pytest.raises(
        ManifestError, match=r"has no row that is rejected_by_reviewer: the run has 1 succeeded"
    ):
        nights.plan("run-2", "run:light/run-1", statuses="rejected_by_reviewer")


def test_a_run_and_a_file_can_be_planned_together(nights: Nights) -> None:
    path = nights.mixed()
    nights.plan("run-2", ["run:light/run-1", path])
    assert nights.statuses("run-2")["a"] == "reused"
    assert len(Ledger(open_results()).of_run(RunKey("light", "run-2"))) == 4 + 6


@pytest.mark.parametrize(
    "spell", [str, lambda run_id: quote(run_id, safe="")], ids=["as it is", "URL-encoded"]
)
def test_the_id_of_a_run_is_named_as_airflow_spells_it_or_as_a_url_does(
    nights: Nights, spell: Callable[[str], str]
) -> None:
    run_id = "manual__2026-11-27T02:00:00.123+00:00/again"
    nights.plan(run_id, nights.write([nights.pair("a")]))
    nights.plan("run-2", f" run:light/{spell(run_id)} ")
    assert nights.rows("run-2")["a"].manifest == f"run:light/{run_id}"


@pytest.mark.parametrize(
    ("manifest", "arguments", "said"),
    [
        ("run:light", {}, r"names no run: it must be run:<dag_id>/<run_id>"),
        ("run:/run-1", {}, "names no run"),
        ("run:light/run-9", {}, r"no row of that run; the latest runs with rows are run-1\. Check"),
        ("run:other/run-1", {}, "that Dag has no runs with rows"),
        ("run:light/run-2", {}, "is the run that reads it"),
        (
            "run:light/run-1",
            {"statuses": "failed"},
            r"no row that is failed: the run has 1 planned\. Nothing",
        ),
    ],
)
def test_a_run_that_cannot_be_read_is_named(
    nights: Nights, manifest: str, arguments: dict[str, Any], said: str
) -> None:
    nights.plan("run-1", nights.write([nights.pair("a")]))
    if manifest == "run:light/run-2":
        nights.plan("run-2", nights.write([nights.pair("b")]))
    with pytest.raises(ManifestError, match=said) as caught:
        nights.plan("run-2", manifest, **arguments)
    assert is_final(caught.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"statuses": "failed, lost"}, "statuses must be some of planned, .*; got 'lost'"),
        ({"statuses": 7}, "statuses must be a list of statuses; got 7"),
        ({"mode": "matrix"}, "has pairs: read it with mode='pairs'"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(
    nights: Nights, arguments: dict[str, Any], said: str
) -> None:
    nights.plan("run-1", nights.write([nights.pair("a")]))
    with pytest.raises(ValueError, match=said):
        nights.plan("run-2", "run:light/run-1", **arguments)


# -- the shipped Dag ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_batch_dag_swaps_the_failures_of_a_run_again(airflow: AirflowEnvironment) -> None:
    image = airflow.sandbox.image
    path = airflow.folder / "pairs.csv"
    path.write_text(
        "source_img,reference_img,pair_id\n"
        f"{image('hopper.jpg')},{image('crew.jpg')},a\n{image('collins.jpg')},{image('crew.jpg')},b\nftp://x,,bad\n"
    )
    airflow.sandbox.put_faults(submit={"kind": "business_error", "count": 1})
    first = airflow.run("goenhance_face_swap_batch", manifest=str(path))
    assert first.state == "failed"
    [kept] = first.values("report", "failures_csv")
    rows = list(csv.DictReader(path_of(kept).open()))
    assert sorted(row["status"] for row in rows) == ["failed", "rejected"]

    second = airflow.run(
        "goenhance_face_swap_batch", manifest=f"run:goenhance_face_swap_batch/{first.run_id}"
    )

    assert second.state == "success", second.text
    [report] = second.values("report")
    assert (report["pairs"], report["succeeded"]) == (1, 1)
    assert second.values("report", "failures_csv") == []
    assert len(airflow.sandbox.submissions()) == 2

    third = airflow.run(
        "goenhance_face_swap_batch",
        manifest=f"run:goenhance_face_swap_batch/{first.run_id}",
        statuses=["failed", "succeeded"],
    )

    [report] = third.values("report")
    assert (report["pairs"], report["reused"]) == (2, 2)
    assert len(airflow.sandbox.submissions()) == 2
