# SPDX-License-Identifier: Apache-2.0
"""A person settles a submit whose outcome is unknown, on SQLite and on Postgres."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from airflow_provider_goenhance.execution.settle import (
    ResolutionError,
    Selection,
    resolve_unknown,
    unknown_submits,
)
from airflow_provider_goenhance.results.ledger import Ledger, Outcome, RunKey
from airflow_provider_goenhance.results.resolution import Resolution
from airflow_provider_goenhance.results.row_version import version_of
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap
from airflow_provider_goenhance.results.transitions import Accepted, Claim, ClaimOwner, OutcomeUnknown
from tests.integration.results.databases import TestDatabase
from tests.swaps import planned

KEY = RunKey("dag", "run")
OWNER = ClaimOwner("swap[0] try 1 a", "account", 1)
RESOLUTIONS = list(Resolution)


@pytest.fixture
def ledger(database: TestDatabase) -> Ledger:
    """Three rows: the first two are unknown, the third has a job."""
    ledger = Ledger(database)
    ledger.plan(KEY, [planned(number) for number in range(3)], task_id="swap")
    rows = ledger.of_run(KEY)
    database.take(OWNER, [Claim.of(row) for row in rows])
    lost = [
        OutcomeUnknown(row.swap_id, "submit_outcome_unknown", "The connection broke.") for row in rows[:2]
    ]
    database.take(OWNER, [*lost, Accepted(rows[2].swap_id, "job-2", cost=4)])
    return ledger


def row(ledger: Ledger, number: int = 0) -> Swap:
    return ledger.of_run(KEY)[number]


def pick(*pair_ids: str) -> Selection:
    return Selection(key=KEY, pair_ids=pair_ids)


def settle(ledger: Ledger, resolution: str, selection: Selection | None = None) -> list[Swap]:
    img_uuid = "job-0" if resolution == "billed" else None
    return resolve_unknown(
        ledger, selection or pick("p0"), resolution, by="anna", img_uuid=img_uuid, note="ticket 7"
    )


def test_a_submit_that_was_not_billed_may_be_sent_again(database: TestDatabase, ledger: Ledger) -> None:
    settle(ledger, "not_billed")

    settled = row(ledger)
    assert (settled.status, settled.attempts, settled.img_uuid) == (Status.PLANNED, 0, None)
    assert database.take(OWNER, [Claim.of(settled)]) == [True]


def test_a_submit_that_was_billed_has_its_job_and_can_be_collected(ledger: Ledger) -> None:
    claimed_at = row(ledger).claimed_at
    settle(ledger, "billed")

    settled = row(ledger)
    assert (settled.status, settled.img_uuid, settled.attempts) == (Status.SUBMITTED, "job-0", 1)
    assert settled.submitted_at == claimed_at  # the links of the job live from then
    assert (settled.error_code, settled.error_message, settled.finished_at) == (None, None, None)
    assert settled.swap_id in {swap.swap_id for swap in ledger.waiting()}
    ledger.record_outcomes([Outcome(settled.swap_id, "job-0", Status.SUCCEEDED, result_uri="file:///p.jpg")])
    assert row(ledger).status is Status.SUCCEEDED


def test_a_submit_that_is_written_off_has_failed_and_may_have_been_paid_for(ledger: Ledger) -> None:
    settle(ledger, "written_off")

    settled = row(ledger)
    assert (settled.status, settled.error_code, settled.attempts) == (Status.FAILED, "written_off", 1)
    assert settled.finished_at is not None
    assert ledger.earlier([settled.pair_fingerprint], "account") == []  # a new run sends the pair


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_a_submit_that_was_sent_after_somebody_looked_is_not_settled(
    database: TestDatabase, ledger: Ledger, resolution: str
) -> None:
    seen = {row(ledger).swap_id: version_of(row(ledger))}
    # As many attempts as before: only the time of the claim tells the two submits apart.
    settle(ledger, "not_billed")
    database.take(OWNER, [Claim.of(row(ledger))])
    database.take(OWNER, [OutcomeUnknown(row(ledger).swap_id, "submit_outcome_unknown", "Lost again.")])
    before = row(ledger)
    assert (before.status, before.attempts) == (Status.UNKNOWN, 1)

    given = {"img_uuid": "job-0"} if resolution == "billed" else {}
    with pytest.raises(ResolutionError, match=r"pair 'p0' \(row 1\) was sent again since you looked at it"):
        resolve_unknown(ledger, pick("p0"), resolution, by="anna", seen=seen, **given)
    with pytest.raises(ResolutionError, match=r"pair 'p1' \(row 2\) was not shown to you"):
        resolve_unknown(ledger, pick("p1"), "not_billed", by="anna", seen=seen)
    assert row(ledger) == before
    now = {before.swap_id: version_of(before)}
    assert resolve_unknown(ledger, pick("p0"), resolution, by="anna", seen=now, **given)


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_who_settled_it_and_when_and_why_stays_on_the_row(
    database: TestDatabase, ledger: Ledger, resolution: str
) -> None:
    before = dt.datetime.now(dt.UTC).replace(microsecond=0)
    (returned,) = settle(ledger, resolution)

    settled = row(ledger)
    assert settled == returned
    assert (settled.resolution, settled.resolved_by, settled.resolution_note) == (
        resolution,
        "anna",
        "ticket 7",
    )
    assert settled.resolved_at is not None
    assert before <= settled.resolved_at <= dt.datetime.now(dt.UTC)
    if resolution != "billed":
        assert "anna said at" in str(settled.error_message)
        assert "ticket 7" in str(settled.error_message)
        assert "The connection broke." in str(settled.error_message)  # what was known before
    if resolution == "not_billed":
        database.take(OWNER, [Claim.of(settled)])
        assert row(ledger).resolved_by == "anna"  # the audit outlives the next submit


@pytest.mark.parametrize("fate", ["cut_before", "cut_after"])
@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_a_settlement_whose_commit_was_cut_is_made_once(
    database: TestDatabase, ledger: Ledger, resolution: str, fate: str
) -> None:
    database.fate = fate  # type: ignore[assignment]
    (settled,) = settle(ledger, resolution)
    assert settled == row(ledger)
    assert settled.attempts == (0 if resolution == "not_billed" else 1)


@pytest.mark.parametrize("resolution", ["not_billed", "written_off"])
def test_all_unknown_submits_of_a_run_can_be_settled_at_once(ledger: Ledger, resolution: str) -> None:
    assert {swap.pair_id for swap in settle(ledger, resolution, pick())} == {"p0", "p1"}
    assert row(ledger, 2).status is Status.SUBMITTED
    assert list(unknown_submits(ledger)) == []


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_a_row_that_is_not_unknown_is_refused_and_nothing_changes(ledger: Ledger, resolution: str) -> None:
    ids = [swap.swap_id for swap in ledger.of_run(KEY)]
    with pytest.raises(ResolutionError, match=r"pair 'p2' \(row 3\) of run 'run' of Dag 'dag' is submitted"):
        settle(ledger, resolution, Selection(swap_ids=[ids[2]] if resolution == "billed" else ids))
    assert [swap.status for swap in ledger.of_run(KEY)] == ["unknown", "unknown", "submitted"]


def test_a_settlement_is_made_once(ledger: Ledger) -> None:
    settle(ledger, "not_billed")
    with pytest.raises(ResolutionError, match="is planned: only a submit whose outcome is unknown"):
        settle(ledger, "written_off")


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (Selection(swap_ids=["no-such-row"]), "has no row no-such-row"),
        (pick("p7"), "no pair 'p7' in run 'run' of Dag 'dag'"),
        (Selection(key=RunKey("dag", "other")), "has no rows of run 'other' of Dag 'dag'"),
        (Selection(), "No row is selected"),
    ],
)
def test_what_is_not_found_is_named(ledger: Ledger, selection: Selection, message: str) -> None:
    with pytest.raises(ResolutionError, match=message):
        settle(ledger, "not_billed", selection)


def test_a_pair_of_two_tasks_of_the_run_must_be_named_by_its_row(
    database: TestDatabase, ledger: Ledger
) -> None:
    other = planned(0, task_id="other", swap_id="other-row")
    ledger.plan(KEY, [other], task_id="other")
    settle_twin = ClaimOwner("other[0] try 1", "another account", 1)
    database.take(settle_twin, [Claim.of(other)])
    database.take(settle_twin, [OutcomeUnknown("other-row", "submit_outcome_unknown", "Lost.")])

    with pytest.raises(
        ResolutionError,
        match=r"has 2 rows in run 'run'.*other-row \(task other, unknown\).*Select one by its swap_id",
    ):
        settle(ledger, "not_billed")
    assert [swap.swap_id for swap in settle(ledger, "not_billed", Selection(swap_ids=["other-row"]))] == [
        "other-row"
    ]


@pytest.mark.parametrize("given", ["job-2", "job-1"])
def test_the_job_of_another_row_is_refused(database: TestDatabase, ledger: Ledger, given: str) -> None:
    job = row(ledger, 2)
    ledger.record_outcomes([Outcome(job.swap_id, "job-2", Status.FAILED, error_code="job_failed")])
    database.take(OWNER, [Claim.of(row(ledger, 2))])  # job-2 is a former job now
    database.take(OWNER, [Accepted(job.swap_id, "job-1")])
    with pytest.raises(
        ResolutionError, match=rf"{given} is already that of pair 'p2' \(row 3\) of run 'run'"
    ):
        resolve_unknown(ledger, pick("p0"), "billed", by="anna", img_uuid=given)
    assert row(ledger).status is Status.UNKNOWN


@pytest.mark.parametrize("part", ["job", "job-", "ob-2"])
def test_a_uuid_that_is_part_of_another_is_another_job(ledger: Ledger, part: str) -> None:
    resolve_unknown(ledger, pick("p0"), "billed", by="anna", img_uuid=part)
    assert row(ledger).img_uuid == part


@pytest.mark.parametrize(
    ("resolution", "img_uuid", "message"),
    [
        ("billed", None, "needs the img_uuid of its job"),
        ("billed", "two words", "img_uuid must be one UUID"),
        ("not_billed", "job-9", "got it with not_billed"),
        ("paid", None, "resolution must be one of 'not_billed', 'billed', 'written_off'; got 'paid'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(
    ledger: Ledger, resolution: str, img_uuid: str | None, message: str
) -> None:
    with pytest.raises(ResolutionError, match=message):
        resolve_unknown(ledger, pick("p0"), resolution, by="anna", img_uuid=img_uuid)
    with pytest.raises(ResolutionError, match="by must name who settles"):
        resolve_unknown(ledger, pick("p0"), "not_billed", by=" ")
    assert row(ledger).status is Status.UNKNOWN


def test_one_job_cannot_be_that_of_two_rows(ledger: Ledger) -> None:
    with pytest.raises(ResolutionError, match="job-0 is one job, and 2 rows are selected"):
        settle(ledger, "billed", pick())


def test_a_row_that_was_sent_again_meanwhile_is_not_settled_as_it_was_read(
    database: TestDatabase, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is unknown again, but the answer of the person was about the submit before."""
    seen = ledger.of_run

    def of_run(key: RunKey, **options: Any) -> list[Swap]:
        rows = seen(key, **options)
        database.take(OWNER, [Claim.of(rows[0])])
        database.take(OWNER, [OutcomeUnknown(rows[0].swap_id, "submit_outcome_unknown", "Lost again.")])
        return rows

    monkeypatch.setattr(ledger, "of_run", of_run)
    with pytest.raises(ResolutionError, match=r"changed at the same moment\. Nothing was settled"):
        settle(ledger, "not_billed", pick())
    assert [swap.status for swap in seen(KEY)[:2]] == ["unknown", "unknown"]
    assert seen(KEY)[0].attempts == 2


def test_unknown_submits_are_listed_by_dag_run_and_account(ledger: Ledger) -> None:
    assert [swap.pair_id for swap in unknown_submits(ledger)] == ["p0", "p1"]
    assert [swap.pair_id for swap in unknown_submits(ledger, dag_id="dag", run_id="run")] == ["p0", "p1"]
    assert list(unknown_submits(ledger, dag_id="other")) == []
    assert list(unknown_submits(ledger, account="other")) == []


# -- an answer that comes after the settlement -------------------------------------------------------------------------


@pytest.mark.parametrize("fate", ["ok", "cut_after"])
@pytest.mark.parametrize("resolution", ["not_billed", "written_off"])
def test_an_answer_that_comes_after_a_settlement_gives_the_row_its_job_and_the_pair_is_not_sent_again(
    database: TestDatabase, ledger: Ledger, resolution: str, fate: Any
) -> None:
    settle(ledger, resolution)
    assert database.take(OWNER, [Accepted(row(ledger).swap_id, "job-0", cost=4)], fate) == [True]
    late = row(ledger)
    assert (late.status, late.img_uuid, late.cost, late.attempts) == ("submitted", "job-0", 4, 1)
    assert (late.error_code, late.resolution, late.former_uuids) == (None, resolution, None)


def test_an_answer_that_comes_after_the_pair_was_sent_again_is_kept_beside_the_new_job(
    database: TestDatabase, ledger: Ledger
) -> None:
    settle(ledger, "not_billed")
    again = ClaimOwner("swap[0] try 2 b", "account", 1)
    database.take(again, [Claim.of(row(ledger))])
    assert database.take(OWNER, [Accepted(row(ledger).swap_id, "job-0")]) == [False]
    late = row(ledger)
    assert (late.status, late.claimed_by, late.former_uuids) == ("submitting", again.name, "job-0")


def test_what_a_person_says_of_one_submit_is_not_recorded_for_the_next_one(
    database: TestDatabase, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two persons: one settles it as not billed, the row is sent again and is unknown again, the other one is late."""
    seen = ledger.of_run

    def of_run(key: RunKey, **options: Any) -> list[Swap]:
        rows = seen(key, **options)
        monkeypatch.setattr(ledger, "of_run", seen)
        settle(ledger, "not_billed", Selection(swap_ids=[rows[0].swap_id]))
        database.take(OWNER, [Claim.of(seen(KEY)[0])])
        database.take(OWNER, [OutcomeUnknown(rows[0].swap_id, "submit_outcome_unknown", "Lost again.")])
        return rows

    monkeypatch.setattr(ledger, "of_run", of_run)
    with pytest.raises(ResolutionError, match=r"changed at the same moment\. Nothing was settled"):
        settle(ledger, "written_off", Selection(key=KEY))
    assert (row(ledger).status, row(ledger).attempts) == ("unknown", 1)
