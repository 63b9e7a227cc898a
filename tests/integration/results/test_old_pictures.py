# SPDX-License-Identifier: Apache-2.0
"""Pictures that are older than they may be kept are deleted, and their pairs are not paid for again."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_goenhance.exceptions import ErrorCode
from airflow_provider_goenhance.execution.planning import plan_rows
from airflow_provider_goenhance.execution.retention import delete_old_pictures
from airflow_provider_goenhance.manifest.model import Manifest, Pair
from airflow_provider_goenhance.pictures.storage import keep_bytes
from airflow_provider_goenhance.results.group_commit import GroupCommit
from airflow_provider_goenhance.results.ledger import Ledger, Outcome, RunKey
from airflow_provider_goenhance.results.recovery import Action, Policies, after_clear, after_retry
from airflow_provider_goenhance.results.resend_transitions import NotSentAgain
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap
from airflow_provider_goenhance.results.transitions import Accepted, Claim, ClaimOwner
from tests.integration.results.databases import TestDatabase
from tests.swaps import planned

NOW = dt.datetime.now(dt.UTC)
OLD, NEW = NOW - dt.timedelta(days=91), NOW - dt.timedelta(days=89)


class Storage:
    """Pictures of several nights."""

    def __init__(self, database: TestDatabase, folder: Path) -> None:
        self.ledger = Ledger(database)
        self.folder = folder / "swaps"

    def picture(self, number: int, finished_at: dt.datetime, run_id: str = "night-1", **values: Any) -> Swap:
        name = f"{run_id}/p{number}.jpg"
        uri = keep_bytes(f"picture {number}".encode(), str(self.folder), name)
        keep_bytes(b"{}", str(self.folder), f"{name}.json")
        values = {
            "status": Status.SUCCEEDED,
            "img_uuid": f"job-{number}",
            "attempts": 1,
            "result_uri": uri,
            **values,
        }
        return self.add(planned(number, run_id=run_id, account="account", finished_at=finished_at, **values))

    def add(self, row: Swap) -> Swap:
        self.ledger.plan(RunKey(row.dag_id, row.run_id), [row])
        return row

    def row(self, row: Swap) -> Swap:
        (found,) = self.ledger.by_ids([row.swap_id])
        return found

    def files(self) -> set[str]:
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()}

    def plan_again(self, row: Swap, **arguments: Any) -> Swap:
        pair = Pair(row.pair_id, row.source_img, row.reference_img, 2)
        key = RunKey("dag", "tomorrow")
        manifest = Manifest("pairs.csv", [pair], [])
        (again,) = plan_rows(manifest, key, "swap", known_in=self.ledger, account="account", **arguments)
        return again


@pytest.fixture
def storage(database: TestDatabase, tmp_path: Path) -> Storage:
    return Storage(database, tmp_path)


def test_only_old_pictures_are_deleted_with_their_sidecars_and_sheets(storage: Storage) -> None:
    old = storage.picture(1, OLD)
    new = storage.picture(2, NEW, "night-2")
    keep_bytes(b"<html>", str(storage.folder), "night-1/contact-sheet-dag.report.html")
    keep_bytes(b"<html>", str(storage.folder), "night-2/contact-sheet-dag.report.html")

    deleted = delete_old_pictures(storage.ledger, 90)

    assert (deleted.rows, deleted.files) == (1, 3)
    assert storage.files() == {
        "night-2/p2.jpg", "night-2/p2.jpg.json", "night-2/contact-sheet-dag.report.html",
    }  # fmt: skip
    row = storage.row(old)
    assert (row.status, row.result_uri, row.img_uuid) == (Status.SUCCEEDED, None, "job-1")
    assert row.picture_deleted_at is not None
    assert row.source_img == old.source_img
    assert storage.row(new).picture_deleted_at is None


def test_a_picture_that_is_reused_every_night_is_as_old_as_its_job(storage: Storage) -> None:
    old = storage.picture(1, OLD)
    reused = storage.add(
        planned(
            1,
            run_id="night-2",
            status=Status.REUSED,
            account="account",
            img_uuid="job-1",
            finished_at=NEW,
            result_uri=old.result_uri,
            reused_from=old.swap_id,
        )
    )
    assert delete_old_pictures(storage.ledger, 90).rows == 2
    assert storage.row(reused).result_uri is None
    assert storage.files() == set()


def test_a_pair_whose_picture_was_deleted_is_held_unless_it_is_paid_for_by_name(storage: Storage) -> None:
    old = storage.picture(1, OLD)
    delete_old_pictures(storage.ledger, 90)
    held = storage.plan_again(old)
    assert (held.status, held.error_code) == (Status.HELD, ErrorCode.PICTURE_DELETED)
    assert "reuse='never' pays for the pair again" in str(held.error_message)
    assert storage.plan_again(old, reuse=False).status is Status.PLANNED


def test_a_later_picture_of_the_pair_is_reused(storage: Storage) -> None:
    storage.picture(1, OLD)
    later = storage.picture(1, NEW, "night-2", img_uuid="job-later")
    delete_old_pictures(storage.ledger, 90)
    again = storage.plan_again(later)
    assert (again.status, again.img_uuid) == (Status.REUSED, "job-later")


def test_neither_a_clear_nor_the_collect_operator_fetches_a_deleted_picture_again(storage: Storage) -> None:
    old = storage.picture(1, OLD)
    delete_old_pictures(storage.ledger, 90)
    assert after_clear(storage.row(old), Policies()) is Action.LEAVE
    assert storage.ledger.waiting() == []


def test_a_retention_that_was_killed_goes_on(storage: Storage) -> None:
    old = storage.picture(1, OLD)
    Path(storage.folder, "night-1/p1.jpg").unlink()
    assert delete_old_pictures(storage.ledger, 90).rows == 1
    assert storage.row(old).result_uri is None
    assert delete_old_pictures(storage.ledger, 90).rows == 0


def test_a_number_of_days_that_would_delete_everything_is_refused(storage: Storage) -> None:
    with pytest.raises(ValueError, match="days must be a positive number"):
        delete_old_pictures(storage.ledger, 0)


# -- a pair that was paid for again after its picture was deleted ------------------------------------------------------

OWNER = ClaimOwner("swap[0] try 3", "account", 3)


def test_a_job_that_a_clear_paid_for_after_the_deletion_is_waited_for_and_collected(
    database: TestDatabase, storage: Storage
) -> None:
    old = storage.picture(1, OLD)
    delete_old_pictures(storage.ledger, 90)
    with GroupCommit(database, OWNER) as writer:
        writer.write_all([[Claim.of(storage.row(old))]]).result()
        writer.write_all([[Accepted(old.swap_id, "job-again")]]).result()
    storage.ledger.record_outcomes(
        [Outcome(old.swap_id, "job-again", Status.FAILED, "job_timed_out", "It still runs.")]
    )
    again = storage.row(old)
    assert (again.picture_deleted_at, again.former_uuids) == (None, "job-1")
    assert after_retry(again, Policies()) is Action.WAIT
    assert [row.img_uuid for row in storage.ledger.waiting()] == ["job-again"]
    assert storage.plan_again(old).img_uuid == "job-again"  # a new run adopts the job


def test_a_resubmit_that_was_refused_leaves_the_deletion_on_record(
    database: TestDatabase, storage: Storage
) -> None:
    old = storage.picture(1, OLD)
    delete_old_pictures(storage.ledger, 90)
    before = storage.row(old)
    with GroupCommit(database, OWNER) as writer:
        writer.write_all([[Claim.of(before)]]).result()
        writer.write_all([[NotSentAgain.of(before, "no credits")]]).result()
    assert storage.row(old).picture_deleted_at == before.picture_deleted_at


def test_a_job_that_another_run_paid_for_by_name_after_the_deletion_is_adopted(storage: Storage) -> None:
    old = storage.picture(1, OLD)
    delete_old_pictures(storage.ledger, 90)
    storage.add(
        planned(
            1,
            run_id="night-2",
            status=Status.FAILED,
            account="account",
            attempts=1,
            img_uuid="job-again",
            error_code="job_timed_out",
        )
    )
    again = storage.plan_again(old)
    assert (again.status, again.img_uuid) == (Status.SUBMITTED, "job-again")


def test_the_job_of_the_deleted_picture_is_not_adopted_through_another_row(storage: Storage) -> None:
    old = storage.picture(1, OLD)
    delete_old_pictures(storage.ledger, 90)
    storage.add(
        planned(1, run_id="night-2", status=Status.SUBMITTED, account="account", img_uuid=old.img_uuid)
    )
    assert storage.plan_again(old).error_code == ErrorCode.PICTURE_DELETED
