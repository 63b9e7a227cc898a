# SPDX-License-Identifier: Apache-2.0
"""A person approves or rejects pictures, on SQLite and on Postgres."""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging

import pytest

from airflow_provider_goenhance.execution.review import ReviewError, review_pictures
from airflow_provider_goenhance.results.ledger import Ledger, Outcome, RunKey
from airflow_provider_goenhance.results.reuse import reusing
from airflow_provider_goenhance.results.row_version import version_of
from airflow_provider_goenhance.results.run_rows import RunRows
from airflow_provider_goenhance.results.run_summary import summarize
from airflow_provider_goenhance.results.states import Review, Status
from airflow_provider_goenhance.results.swap import Swap
from airflow_provider_goenhance.results.transitions import Accepted, Claim, ClaimOwner
from tests.integration.results.databases import TestDatabase
from tests.swaps import planned

KEY = RunKey("dag", "run")
OWNER = ClaimOwner("swap[0] try 1 a", "account", 1)


@pytest.fixture
def ledger(database: TestDatabase) -> Ledger:
    """Three rows: the first two have a picture, the third was not sent."""
    ledger = Ledger(database)
    ledger.plan(KEY, [planned(number) for number in range(3)], task_id="swap")
    rows = ledger.of_run(KEY)[:2]
    database.take(OWNER, [Claim.of(row) for row in rows])
    database.take(OWNER, [Accepted(row.swap_id, f"job-{row.pair_id}") for row in rows])
    ledger.record_outcomes(
        [
            Outcome(
                row.swap_id, f"job-{row.pair_id}", Status.SUCCEEDED, result_uri=f"file:///{row.pair_id}.jpg"
            )
            for row in rows
        ]
    )
    return ledger


def row(ledger: Ledger, number: int = 0) -> Swap:
    return ledger.of_run(KEY)[number]


def reject(ledger: Ledger, *numbers: int, note: str | None = "wrong person") -> list[Swap]:
    ids = [row(ledger, number).swap_id for number in numbers or (0,)]
    return review_pictures(ledger, ids, "rejected", by="anna", note=note)


def reused_by(ledger: Ledger, run_id: str, earlier: Swap) -> Swap:
    """A row of another run that reuses the picture of an earlier row."""
    new = reusing(planned(0, run_id=run_id), earlier)
    ledger.plan(RunKey("dag", run_id), [new])
    return new


@pytest.mark.parametrize("review", list(Review))
def test_who_reviewed_a_picture_and_when_and_why_is_on_its_row_which_is_otherwise_unchanged(
    ledger: Ledger, review: Review
) -> None:
    before, start = row(ledger), dt.datetime.now(dt.UTC).replace(microsecond=0)
    (returned,) = review_pictures(ledger, [before.swap_id], review, by=" anna ", note="seen twice")

    now = row(ledger)
    assert now == returned
    assert (now.review, now.reviewed_by, now.review_note) == (review, "anna", "seen twice")
    assert now.reviewed_at is not None
    assert start <= now.reviewed_at <= dt.datetime.now(dt.UTC)
    unreviewed = dataclasses.replace(now, review=None, reviewed_by=None, reviewed_at=None, review_note=None)
    assert unreviewed == before


def test_an_undone_review_leaves_nothing_on_the_row(ledger: Ledger) -> None:
    before = row(ledger)
    reject(ledger)
    review_pictures(ledger, [before.swap_id], None, by="anna")
    assert row(ledger) == before


def test_every_review_is_logged_with_who_did_it(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    reject(ledger)
    review_pictures(ledger, [row(ledger).swap_id], None, by="ben")
    said = [record.getMessage() for record in caplog.records if "picture" in record.getMessage()]
    assert said[0].startswith(f"anna rejected 1 picture: {row(ledger).swap_id}")
    assert said[1].startswith("ben undid the review of 1 picture")


def test_a_review_is_of_the_picture_and_holds_for_every_run_that_has_it(ledger: Ledger) -> None:
    tomorrow = reused_by(ledger, "tomorrow", row(ledger))
    (rejected,) = review_pictures(ledger, [tomorrow.swap_id], "rejected", by="anna")

    assert rejected.swap_id == tomorrow.swap_id
    assert row(ledger).rejected_by_reviewer
    assert not row(ledger, 1).rejected_by_reviewer
    review_pictures(ledger, [row(ledger).swap_id], None, by="anna")
    assert ledger.by_ids([tomorrow.swap_id])[0].review is None


def test_a_pair_is_looked_up_with_its_rejected_picture_beside_one_that_serves(ledger: Ledger) -> None:
    reject(ledger)
    found = ledger.earlier([row(ledger).pair_fingerprint], "account", whole=False)
    assert [(swap.review, swap.reviewed_by, swap.review_note) for swap in found] == [
        ("rejected", "anna", "wrong person")
    ]


def test_a_row_that_is_sent_again_has_another_picture_which_nobody_has_reviewed(
    database: TestDatabase, ledger: Ledger
) -> None:
    reject(ledger)
    assert database.take(OWNER, [Claim.of(row(ledger))]) == [True]
    now = row(ledger)
    assert (now.review, now.reviewed_by, now.reviewed_at, now.review_note) == (None, None, None, None)
    assert now.former_uuids == "job-p0"


def test_a_picture_that_changed_since_it_was_looked_at_is_not_reviewed(
    database: TestDatabase, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = row(ledger)
    database.take(OWNER, [Claim.of(seen)])
    database.take(OWNER, [Accepted(seen.swap_id, "another job")])
    stale = [[seen], ledger.by_ids([seen.swap_id])]
    monkeypatch.setattr(ledger, "by_ids", lambda ids: stale.pop(0))

    with pytest.raises(ReviewError, match="changed at the same moment"):
        review_pictures(ledger, [seen.swap_id], "rejected", by="anna")
    assert row(ledger).review is None


def test_of_two_people_who_review_a_picture_at_once_one_is_refused(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [row(ledger, number).swap_id for number in (0, 1)]
    read = ledger.by_ids

    def then_bert_rejects(wanted: list[str]) -> list[Swap]:
        found = read(wanted)
        monkeypatch.setattr(ledger, "by_ids", read)
        review_pictures(ledger, ids[:1], "rejected", by="bert")
        return found

    monkeypatch.setattr(ledger, "by_ids", then_bert_rejects)
    with pytest.raises(ReviewError, match=r"pair 'p0' \(row 1\) of run 'run' changed at the same moment"):
        review_pictures(ledger, ids, "approved", by="anna")
    assert [(row(ledger, number).review, row(ledger, number).reviewed_by) for number in (0, 1)] == [
        ("rejected", "bert"),
        (None, None),
    ]


def test_a_review_is_of_the_picture_that_was_seen(ledger: Ledger) -> None:
    seen = {row(ledger).swap_id: version_of(row(ledger))}
    reject(ledger)
    with pytest.raises(ReviewError, match="was rejected by anna since you looked at it"):
        review_pictures(ledger, list(seen), "approved", by="bert", seen=seen)
    assert row(ledger).reviewed_by == "anna"
    seen = {row(ledger).swap_id: version_of(row(ledger))}
    review_pictures(ledger, list(seen), None, by="bert")
    with pytest.raises(ReviewError, match="had a review when you looked at it, which was undone since"):
        review_pictures(ledger, list(seen), None, by="anna", seen=seen)


def test_a_selection_with_a_row_that_has_no_picture_changes_nothing(ledger: Ledger) -> None:
    with pytest.raises(ReviewError, match=r"pair 'p2' \(row 3\) of run 'run' has no picture to review"):
        reject(ledger, 0, 2)
    assert row(ledger).review is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"swap_ids": []}, "No picture is selected"),
        ({"swap_ids": ["no such row"]}, "has no row no such row"),
        ({"review": "good"}, "review must be 'approved', 'rejected', or null to undo; got 'good'"),
        ({"by": "  "}, "by must name who reviews the picture"),
        ({"note": "x" * 2001}, "note must have at most 2000 characters; got 2001"),
    ],
)
def test_what_cannot_be_meant_is_refused(ledger: Ledger, arguments: dict[str, str], said: str) -> None:
    given = {"swap_ids": [row(ledger).swap_id], "review": "approved", "by": "anna", **arguments}
    with pytest.raises(ReviewError, match=said):
        review_pictures(ledger, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("fate", ["cut_before", "cut_after"])
def test_a_review_whose_commit_was_cut_is_made(database: TestDatabase, ledger: Ledger, fate: str) -> None:
    swap_id = row(ledger).swap_id
    database.fate = fate  # type: ignore[assignment]
    review_pictures(ledger, [swap_id], "approved", by="anna")
    assert row(ledger).review == "approved"


def test_the_rows_of_rejected_pictures_are_counted_and_read_with_the_failures(ledger: Ledger) -> None:
    reject(ledger, 1)
    rows = RunRows(ledger.database, KEY, statuses=[Status.PLANNED], or_reviews=[Review.REJECTED])
    assert [swap.pair_id for swap in rows] == ["p1", "p2"]
    summary = summarize(RunRows(ledger.database, KEY))
    assert (summary.rejected_pictures, summary.counts[Status.SUCCEEDED]) == (1, 2)
