# SPDX-License-Identifier: Apache-2.0
"""Erase what is kept of a person, a pair or a run: what goes, what stays for a bill, and what holds later runs."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_goenhance.exceptions import ErrorCode
from airflow_provider_goenhance.execution.batches import is_work
from airflow_provider_goenhance.execution.erase import Erasure, ErasureError
from airflow_provider_goenhance.execution.planning import plan_rows
from airflow_provider_goenhance.inputs.checked import CheckedPictures, key_of_address, key_of_content
from airflow_provider_goenhance.inputs.look import Look
from airflow_provider_goenhance.manifest.model import Manifest, Pair
from airflow_provider_goenhance.pictures.storage import keep_bytes
from airflow_provider_goenhance.results.erasure_transitions import EMPTIED, HASHED
from airflow_provider_goenhance.results.erasures import Kind, Selector, salted_hash
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.pair_transitions import step_to
from airflow_provider_goenhance.results.run_rows import RunRows
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap, pair_fingerprint, swap_id_for
from tests.integration.results.databases import TestDatabase

ANNA = "https://pictures.example/people/anna-smith.jpg"
SIGNED = f"{ANNA}?X-Amz-Signature=s3cret&X-Amz-Credential=c&X-Amz-Date=20260101T000000Z"
BEN = "https://pictures.example/people/ben.jpg"
SCENE = "https://pictures.example/scene.jpg"
PARK = "https://pictures.example/park.jpg"
SUBMITTED = dt.datetime(2026, 5, 1, 1, 2, 3, tzinfo=dt.UTC)

#: Columns of the results table that an erasure leaves as they are: none of them names a person.
KEPT = {
    "swap_id", "dag_id", "run_id", "task_id", "map_index", "batch", "manifest", "row_number", "pair_fingerprint",
    "manifest_sha256", "img_uuid", "former_uuids", "attempts", "cost", "account", "result_mark", "reused_from",
    "claimed_by", "max_tries", "planned_at", "claimed_at", "claim_expires_at", "submitted_at", "finished_at",
    "superseded_at", "quality", "quality_score", "reserved_cost", "reserved_day", "resolution", "resolved_by",
    "resolved_at", "review", "reviewed_by", "reviewed_at",
}  # fmt: skip
WRITTEN = {"status", "error_code", "error_message", "picture_deleted_at", "erased_at"}


class Kept:
    """Two nights of two people in two scenes, with their files in a local storage."""

    def __init__(self, database: TestDatabase, folder: Path) -> None:
        self.database = database
        self.ledger = Ledger(database)
        self.storage = str(folder / "swaps")

    def row(self, pair_id: str, source: str, reference: str, run_id: str = "night-1", **values: Any) -> Swap:
        fingerprint = pair_fingerprint(source, reference)
        fields: dict[str, Any] = {
            "status": Status.SUCCEEDED,
            "img_uuid": f"job-{len(self.rows())}",
            "attempts": 1,
            "cost": 3,
            "account": "account",
            "submitted_at": SUBMITTED,
            "labels": '{"name": "Anna Smith"}',
            "consent_ref": f"consent-{pair_id}",
            **values,
        }
        if fields["status"] is Status.SUCCEEDED and "result_uri" not in fields:
            name = f"{run_id}/{pair_id}.jpg"
            fields["result_uri"] = keep_bytes(f"picture of {pair_id}".encode(), self.storage, name)
            keep_bytes(f'{{"pair_id": "{pair_id}"}}'.encode(), self.storage, f"{name}.json")
        row = Swap(
            swap_id=swap_id_for("dag", run_id, "swap", pair_id, fingerprint),
            dag_id="dag",
            run_id=run_id,
            task_id="swap",
            row_number=2,
            pair_id=pair_id,
            source_img=source,
            reference_img=reference,
            pair_fingerprint=fingerprint,
            **fields,
        )
        self.ledger.plan(RunKey("dag", run_id), [row])
        return row

    def reused(self, earlier: Swap, run_id: str = "night-2", **values: Any) -> Swap:
        return self.row(
            values.pop("pair_id", earlier.pair_id),
            earlier.source_img,
            earlier.reference_img,
            run_id,
            status=Status.REUSED,
            attempts=0,
            result_uri=earlier.result_uri,
            reused_from=earlier.swap_id,
            **values,
        )

    def erase(self, kind: Kind, value: str, **selection: Any) -> Erasure:
        erasure = Erasure(self.ledger, Selector(kind, value, **selection), storages=[self.storage])
        self.done = list(erasure.erase(by="privacy@example.com"))
        return erasure

    def rows(self) -> dict[str, Swap]:
        nights = [RunRows(self.database, RunKey("dag", night)) for night in ("night-1", "night-2")]
        return {row.swap_id: row for night in nights for row in night}

    def audit(self) -> list[dict[str, Any]]:
        return self.database.read(sa.select(self.database.shared.erasures))

    def texts(self) -> Iterator[str]:
        """Every value of every table of the database, and the name and content of every file."""
        for table in self.database.swaps.metadata.tables.values():
            for row in self.database.read(sa.select(table)):
                yield from map(str, row.values())
        for path in Path(self.storage).rglob("*"):
            yield str(path)
            if path.is_file():
                yield path.read_bytes().decode("latin-1")

    def places_with(self, text: str) -> list[str]:
        return [place for place in self.texts() if text in place]


@pytest.fixture
def kept(database: TestDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    # Pages of two, so that a few rows are several pages.
    monkeypatch.setattr("airflow_provider_goenhance.results.erasures.PAGE_ROWS", 2)
    return Kept(database, tmp_path)


def eraser(kept: Kept) -> subprocess.Popen[str]:
    """Start a process that erases one of the two people."""
    return subprocess.Popen(
        [
            sys.executable,
            Path(__file__).with_name("eraser.py"),
            kept.database.url.render_as_string(hide_password=False),
            ANNA,
            kept.storage,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def plan_again(
    kept: Kept, source: str, reference: str, *, reuse: bool = True, account: str = "account"
) -> Swap:
    pair = Pair("tomorrow", source, reference, 2)
    manifest = Manifest("pairs.csv", [pair], [])
    key = RunKey("dag", "night-3")
    (row,) = plan_rows(manifest, key, "swap", known_in=kept.ledger, account=account, reuse=reuse)
    return row


def test_nothing_in_database_or_storage_names_a_person_who_was_erased(kept: Kept) -> None:
    anna = kept.row("anna-1", SIGNED, SCENE, resolution_note="Anna called")
    kept.reused(anna, pair_id="anna-again")
    kept.row("anna-failed", ANNA, PARK, status=Status.FAILED, error_message=f"cannot fetch {ANNA}")
    kept.row("scene-of-anna", BEN, ANNA)
    ben = kept.row("ben-1", BEN, SCENE, labels='{"name": "Ben"}')
    assert kept.places_with("anna")
    assert kept.places_with("Anna")

    erasure = kept.erase(Kind.SOURCE, ANNA)

    assert (erasure.rows, erasure.left_over) == (4, 0)
    for text in ("anna", "Anna", "s3cret", "consent-anna", "picture of anna"):
        assert kept.places_with(text) == []
    assert kept.rows()[ben.swap_id] == dataclasses.replace(
        ben, planned_at=kept.rows()[ben.swap_id].planned_at
    )
    assert kept.places_with("picture of ben-1")


def test_what_a_bill_needs_stays(kept: Kept) -> None:
    anna = kept.row("anna-1", ANNA, SCENE)
    kept.erase(Kind.SOURCE, ANNA)
    row = kept.rows()[anna.swap_id]
    assert row.erased_at is not None
    assert (row.status, row.img_uuid, row.cost, row.attempts, row.submitted_at, row.account) == (
        Status.SUCCEEDED, anna.img_uuid, 3, 1, SUBMITTED, "account",
    )  # fmt: skip
    assert row.pair_fingerprint == anna.pair_fingerprint


def test_every_column_is_erased_or_names_nobody(database: TestDatabase) -> None:
    assert {column.name for column in database.swaps.columns} == KEPT | WRITTEN | {*EMPTIED, *HASHED}


def test_the_audit_row_says_who_when_and_how_much_and_confirms_a_name_only_to_who_knows_it(
    kept: Kept,
) -> None:
    kept.row("anna-1", ANNA, SCENE)
    kept.erase(Kind.SOURCE, SIGNED)
    (audit,) = kept.audit()
    assert (audit["kind"], audit["requested_by"]) == ("source", "privacy@example.com")
    assert (audit["erased_rows"], audit["erased_files"], audit["left_over"]) == (1, 2, 0)
    assert audit["finished_at"] >= audit["started_at"]
    assert audit["selector_hash"] == salted_hash(audit["salt"], ANNA)
    (row,) = kept.rows().values()
    assert row.source_img == f"erased:{salted_hash(audit['salt'], ANNA)}"


def test_what_a_check_of_the_pictures_saw_is_forgotten(kept: Kept) -> None:
    kept.row("anna-1", ANNA, SCENE)
    checked = CheckedPictures(kept.database)
    look = Look("jpeg", 100_000, 640, 480, "validator", 1, 120.0)
    keys = [key_of_address(ANNA), key_of_content(b"picture of anna-1")]
    checked.write(dict.fromkeys(keys, look))
    assert set(checked.read(keys)) == set(keys)

    kept.erase(Kind.SOURCE, ANNA)

    assert checked.read(keys) == {}


def test_a_pair_is_erased_with_every_row_of_its_two_pictures(kept: Kept) -> None:
    kept.row("p1", ANNA, SCENE)
    kept.row("other-name", SIGNED, SCENE, "night-2")
    other = kept.row("p2", ANNA, PARK)
    assert kept.erase(Kind.PAIR, "p1").rows == 2
    assert [row.swap_id for row in kept.rows().values() if row.erased_at is None] == [other.swap_id]


@pytest.mark.parametrize(
    "named", ["s3://bucket/people/anna.jpg", "s3a://conn@bucket/people/anna.jpg", "the-face-of-anna"]
)
def test_a_private_picture_is_meant_by_any_of_its_addresses_and_by_its_key(kept: Kept, named: str) -> None:
    staged = keep_bytes(b"staged anna", kept.storage, "staging/0f.jpg")
    picture = "s3://other_conn@bucket/people/anna.jpg"
    kept.row("p1", picture, SCENE, source_key="the-face-of-anna", source_version="v1", staged_uris=(staged,))
    assert kept.erase(Kind.SOURCE, named).rows == 1
    assert kept.places_with("anna") == []


@pytest.mark.parametrize("named", ["/faces/my anna.jpg", "file:///faces/my%20anna.jpg"])
def test_a_local_picture_is_meant_by_its_path_and_by_its_url(kept: Kept, named: str) -> None:
    kept.row("p1", "/faces/my anna.jpg", SCENE)
    kept.row("p2", "file:///faces/my%20anna.jpg", PARK)
    assert kept.erase(Kind.SOURCE, named).rows == 2


def test_a_pair_of_one_dag_leaves_the_same_pair_id_of_another_dag_alone(kept: Kept) -> None:
    kept.row("p1", ANNA, SCENE)
    assert kept.erase(Kind.PAIR, "p1", dag_id="another").rows == 0
    assert kept.erase(Kind.PAIR, "p1", dag_id="dag").rows == 1


def test_a_consent_that_is_withdrawn_erases_what_rests_on_it(kept: Kept) -> None:
    kept.row("p1", ANNA, SCENE, consent_ref="C-17")
    kept.row("p2", ANNA, PARK, consent_ref="C-17")
    kept.row("p3", BEN, PARK, consent_ref="C-18")
    assert kept.erase(Kind.CONSENT_REF, "C-17").rows == 2
    assert kept.places_with("C-17") == []


def test_a_run_is_erased_with_the_rows_of_other_runs_that_use_its_pictures(kept: Kept) -> None:
    first = kept.row("p1", ANNA, SCENE)
    later = kept.reused(first)
    own = kept.row("p2", BEN, PARK, "night-2")
    assert kept.erase(Kind.RUN, "dag/night-1").rows == 2
    rows = kept.rows()
    assert rows[first.swap_id].erased_at
    assert rows[later.swap_id].erased_at
    assert rows[own.swap_id].erased_at is None
    assert kept.places_with("picture of p2")
    assert not kept.places_with("picture of p1")


def test_a_dry_run_lists_everything_and_changes_nothing(kept: Kept) -> None:
    anna = kept.row("anna-1", ANNA, SCENE)
    kept.reused(anna)
    before = sorted(kept.texts())
    erasure = Erasure(kept.ledger, Selector(Kind.SOURCE, ANNA), storages=[kept.storage])
    found = [(item.kind, item.run.run_id) for item in erasure.find()]
    assert sorted(found) == [
        ("picture", "night-1"), ("picture", "night-2"), ("row", "night-1"), ("row", "night-2"), ("sidecar", "night-1"),
        ("sidecar", "night-2"),
    ]  # fmt: skip
    assert (erasure.rows, erasure.files) == (2, 2)
    assert sorted(kept.texts()) == before


def test_the_files_of_a_run_lose_the_rows_that_were_erased_and_keep_the_others(kept: Kept) -> None:
    kept.row("anna-1", ANNA, SCENE, status=Status.FAILED)
    kept.row("ben-1", BEN, SCENE)
    header = "manifest,status,signature_removed,source_img,reference_img,pair_id,consent_ref,source_key,reference_key"
    lines = [header, f"m,failed,,{ANNA},{SCENE},anna-1,,,", f"m,failed,,{BEN},{PARK},ben-2,,,"]
    for name in ("dag.report/failures.csv", "dag.plan/rejected.csv"):
        keep_bytes("\n".join(lines).encode(), kept.storage, f"night-1/{name}")
    keep_bytes(b"<td>anna-1<td>ben-1", kept.storage, "night-1/contact-sheet-dag.report.html")
    keep_bytes(b"<td>ben-1", kept.storage, "night-1/contact-sheet-dag.second.html")

    erasure = kept.erase(Kind.SOURCE, ANNA)

    assert erasure.left_over == 0
    folder = Path(kept.storage, "night-1")
    for name in ("dag.report/failures.csv", "dag.plan/rejected.csv"):
        assert (folder / name).read_text() == f"{header}\nm,failed,,{BEN},{PARK},ben-2,,,\n"
    assert not (folder / "contact-sheet-dag.report.html").exists()
    assert (folder / "contact-sheet-dag.second.html").exists()


@pytest.mark.parametrize("status", ["submitting", "submitted", "unknown"])
def test_nothing_is_erased_while_a_picture_may_still_come(kept: Kept, status: str) -> None:
    kept.row("anna-1", ANNA, SCENE)
    kept.row("anna-2", ANNA, PARK, status=Status(status), result_uri=None)
    before = sorted(kept.texts())
    with pytest.raises(ErasureError, match=rf"1 of the rows may still get a picture.* \({status}\)"):
        kept.erase(Kind.SOURCE, ANNA)
    assert sorted(kept.texts()) == before


def test_a_row_that_was_not_sent_is_never_sent(kept: Kept) -> None:
    planned = kept.row("anna-1", ANNA, SCENE, status=Status.PLANNED, attempts=0, img_uuid=None)
    kept.erase(Kind.SOURCE, ANNA)
    row = kept.rows()[planned.swap_id]
    assert (row.status, row.error_code) == (Status.REJECTED, ErrorCode.ERASED)


def test_an_erasure_that_was_killed_goes_on_with_its_own_record(kept: Kept) -> None:
    for number in range(3):
        kept.row(f"anna-{number}", ANNA, f"https://pictures.example/{number}.jpg")
    going = Erasure(kept.ledger, Selector(Kind.SOURCE, ANNA), storages=[kept.storage]).erase(by="first")
    next(going)
    going.close()  # As a SIGKILL leaves it: no record of an end.
    (begun,) = kept.audit()
    assert begun["finished_at"] is None

    assert kept.erase(Kind.SOURCE, ANNA).left_over == 0
    (audit,) = kept.audit()
    assert audit["finished_at"] is not None
    assert (audit["erased_rows"], audit["requested_by"]) == (3, "first")
    assert kept.places_with("anna") == []


def test_wherever_an_erasure_is_killed_repeating_it_erases_the_rest(kept: Kept) -> None:
    for number in range(4):
        kept.row(f"anna-{number}", ANNA, f"https://pictures.example/{number}.jpg", f"night-{number % 2 + 1}")
        keep_bytes(
            f"<td>anna-{number}".encode(), kept.storage, f"night-{number % 2 + 1}/contact-sheet-dag.r.html"
        )
    for steps in range(1, 15):
        going = Erasure(kept.ledger, Selector(Kind.SOURCE, ANNA), storages=[kept.storage]).erase(by="dpo")
        list(itertools.islice(going, steps))
        going.close()
    assert kept.erase(Kind.SOURCE, ANNA).left_over == 0
    assert kept.places_with("anna") == []
    (audit,) = [audit for audit in kept.audit() if audit["erased_rows"]]
    assert audit["erased_rows"] == 4


@pytest.mark.parametrize("kills", [[1], [2, 5], [4, 5]])
def test_an_erasure_whose_process_is_killed_is_whole_once_it_is_repeated(
    kept: Kept, kills: list[int]
) -> None:
    for number in range(6):
        night = f"night-{number % 2 + 1}"
        kept.row(f"anna-{number}", ANNA, f"https://pictures.example/{number}.jpg", night)
        keep_bytes(f"<td>anna-{number}".encode(), kept.storage, f"{night}/contact-sheet-dag.r.html")
    ben = kept.row("ben-1", BEN, SCENE, labels=None)

    for items in kills:
        with eraser(kept) as process:
            for _ in range(items):
                assert process.stdout.readline()
                process.stdin.write("\n")
                process.stdin.flush()
            process.kill()  # SIGKILL, in the middle of whatever it is doing.
            assert process.wait(60) == -signal.SIGKILL
        (begun,) = kept.audit()
        assert begun["finished_at"] is None
        assert kept.places_with("anna"), "not everything is erased yet"
    with eraser(kept) as process:
        output, _ = process.communicate("\n" * 100, timeout=60)
    assert output.splitlines()[-1] == "left over 0"

    assert kept.places_with("anna") == kept.places_with("Anna") == []
    (audit,) = kept.audit()
    assert audit["finished_at"] is not None
    assert (audit["erased_rows"], audit["left_over"], audit["requested_by"]) == (6, 0, "dpo@example.com")
    assert sum(row.erased_at is not None for row in kept.rows().values()) == 6
    assert kept.rows()[ben.swap_id].result_uri == ben.result_uri
    assert Path(str(ben.result_uri).removeprefix("file://")).exists()


def test_an_erasure_that_died_between_file_and_row_is_completed(kept: Kept) -> None:
    anna = kept.row("anna-1", ANNA, SCENE)
    Path(kept.storage, "night-1/anna-1.jpg").unlink()
    assert kept.erase(Kind.SOURCE, ANNA).rows == 1
    assert kept.rows()[anna.swap_id].result_uri is None


def test_repeated_it_finds_nothing_more(kept: Kept) -> None:
    kept.row("anna-1", ANNA, SCENE)
    kept.erase(Kind.SOURCE, ANNA)
    again = kept.erase(Kind.SOURCE, ANNA)
    assert (again.rows, again.files) == (0, 0)


@pytest.mark.parametrize("reuse", [True, False])
@pytest.mark.parametrize("account", ["account", "another"])
def test_an_erased_pair_is_held_in_later_runs_whatever_pays(kept: Kept, reuse: bool, account: str) -> None:
    kept.row("anna-1", ANNA, SCENE)
    kept.erase(Kind.SOURCE, ANNA)
    row = plan_again(kept, SIGNED, SCENE, reuse=reuse, account=account)
    assert (row.status, row.error_code) == (Status.HELD, ErrorCode.ERASED)
    assert "the pair was erased" in str(row.error_message)
    assert plan_again(kept, BEN, SCENE).status is Status.PLANNED


def test_a_row_of_an_erased_pair_is_named_as_the_erased_one_and_not_by_its_manifest(kept: Kept) -> None:
    anna = kept.row("anna-1", ANNA, SCENE)
    kept.erase(Kind.SOURCE, ANNA)
    erased = kept.rows()[anna.swap_id]

    row = plan_again(kept, SIGNED, SCENE)

    assert (row.pair_id, row.source_img, row.reference_img) == (
        erased.pair_id,
        erased.source_img,
        erased.reference_img,
    )
    assert (row.row_number, row.erased_at, row.labels, row.consent_ref) == (2, erased.erased_at, None, None)
    assert not is_work(row), "no task ever looks at it, even if the erased row is deleted one day"


def test_a_row_that_was_planned_while_its_pair_was_erased_forgets_it_when_it_is_looked_at(kept: Kept) -> None:
    kept.row("anna-1", ANNA, SCENE)
    kept.erase(Kind.SOURCE, ANNA)
    late = kept.row("anna-late", ANNA, SCENE, "night-2", status=Status.PLANNED, img_uuid=None, attempts=0)
    held = plan_again(kept, ANNA, SCENE)

    kept.ledger.take([step_to(late, held)])

    row = kept.rows()[late.swap_id]
    assert (row.status, row.error_code) == (Status.HELD, ErrorCode.ERASED)
    assert row.erased_at is not None
    assert kept.places_with("anna") == []


def test_planning_the_same_run_again_does_not_bring_an_erased_link_back(kept: Kept) -> None:
    anna = kept.row("anna-1", ANNA, SCENE)
    kept.erase(Kind.SOURCE, ANNA)
    kept.ledger.plan(RunKey("dag", "night-1"), [anna])
    assert kept.rows()[anna.swap_id].source_img.startswith("erased:")
