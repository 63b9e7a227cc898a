# SPDX-License-Identifier: Apache-2.0
"""Each step of a submit, on SQLite and on Postgres."""

from __future__ import annotations

import datetime as dt
import threading
from typing import Any

import pytest

from airflow_provider_goenhance.exceptions import ResultsTableError
from airflow_provider_goenhance.results.group_commit import GroupCommit
from airflow_provider_goenhance.results.ledger import Ledger, Outcome, RunKey
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap
from airflow_provider_goenhance.results.transitions import (
    Accepted,
    Claim,
    ClaimOwner,
    Declined,
    NotSent,
    OutcomeUnknown,
)
from tests.integration.results.conftest import MakeDatabase
from tests.integration.results.databases import TestDatabase
from tests.swaps import planned

KEY = RunKey("dag", "run")
FIRST = ClaimOwner("swap[0] try 1 a", "account", 1)
SECOND = ClaimOwner("swap[0] try 2 b", "account", 1)


@pytest.fixture
def ledger(database: TestDatabase) -> Ledger:
    ledger = Ledger(database)
    ledger.plan(KEY, [planned(number) for number in range(3)], task_id="swap")
    return ledger


def row(ledger: Ledger, number: int = 0) -> Swap:
    return ledger.of_run(KEY)[number]


def test_a_claim_is_committed_with_its_owner_and_counts_as_an_attempt(
    database: TestDatabase, ledger: Ledger
) -> None:
    assert database.take(FIRST, [Claim.of(row(ledger))]) == [True]
    claimed = row(ledger)
    assert (claimed.status, claimed.claimed_by, claimed.attempts) == (Status.SUBMITTING, FIRST.name, 1)
    assert (claimed.account, claimed.max_tries) == ("account", 1)


def test_of_two_claim_owners_exactly_one_is_granted(database: TestDatabase, ledger: Ledger) -> None:
    seen = row(ledger)
    assert database.take(FIRST, [Claim.of(seen)]) == [True]
    assert database.take(SECOND, [Claim.of(seen)]) == [False]
    assert row(ledger).claimed_by == FIRST.name


def test_of_many_claim_owners_at_the_same_moment_exactly_one_is_granted(
    make_database: MakeDatabase, ledger: Ledger
) -> None:
    seen, start, granted = ledger.of_run(KEY), threading.Barrier(6), []

    def claim(number: int) -> None:
        database = make_database()
        _ = database.engine
        start.wait()
        granted.append(database.take(ClaimOwner(f"other {number}"), [Claim.of(swap) for swap in seen]))

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [sum(column) for column in zip(*granted, strict=True)] == [1, 1, 1]


def test_of_two_claims_of_one_row_in_one_group_only_the_first_is_granted(
    database: TestDatabase, ledger: Ledger
) -> None:
    claim = Claim.of(row(ledger))
    assert database.take(FIRST, [claim, claim]) == [True, False]
    assert row(ledger).attempts == 1


def test_a_row_that_failed_again_meanwhile_is_not_claimed_as_it_was_read(
    database: TestDatabase, ledger: Ledger
) -> None:
    """It is `failed` again, as it was seen, but the one resubmit that the user allowed is used up."""

    def submit_and_fail(owner: ClaimOwner, job: str) -> Swap:
        seen = row(ledger)
        assert database.take(owner, [Claim.of(seen)]) == [True]
        database.take(owner, [Accepted(seen.swap_id, job)])
        ledger.record_outcomes([Outcome(seen.swap_id, job, Status.FAILED, error_code="job_failed")])
        return row(ledger)

    seen = submit_and_fail(FIRST, "job-1")
    submit_and_fail(SECOND, "job-2")
    assert database.take(ClaimOwner("a third"), [Claim.of(seen)]) == [False]
    assert row(ledger).attempts == 2


def test_a_row_that_another_attempt_of_the_same_clear_has_sent_meanwhile_is_not_claimed_as_it_was_read(
    database: TestDatabase, ledger: Ledger
) -> None:
    """It is unknown again, after as many submits as before: only the clear that it was sent for tells them apart."""
    cleared, late = ClaimOwner("swap[0] try 3 c", "account", 2), ClaimOwner("swap[0] try 4 d", "account", 2)
    swap_id = row(ledger).swap_id
    database.take(FIRST, [Claim.of(row(ledger))])
    ledger.mark_abandoned(ledger.of_run(KEY, statuses=[Status.SUBMITTING]))
    seen = row(ledger)
    database.take(FIRST, [NotSent(swap_id, "unreachable", "Connection refused.")])
    database.take(cleared, [Claim.of(row(ledger))])
    database.take(cleared, [OutcomeUnknown(swap_id, "submit_outcome_unknown", "No answer in time.")])
    now = row(ledger)
    assert (seen.status, seen.attempts) == (now.status, now.attempts) == (Status.UNKNOWN, 1)

    assert database.take(late, [Claim.of(seen)]) == [False]
    assert row(ledger) == now


@pytest.mark.parametrize("fate", ["cut_before", "cut_after"])
def test_a_claim_whose_commit_was_cut_is_granted_once_and_counted_once(
    database: TestDatabase, ledger: Ledger, fate: str
) -> None:
    seen = row(ledger)
    assert database.take(FIRST, [Claim.of(seen)], fate) == [True]  # type: ignore[arg-type]
    assert row(ledger).attempts == 1
    assert database.take(SECOND, [Claim.of(seen)]) == [False]


@pytest.mark.parametrize("fate", ["cut_before", "cut_after"])
def test_every_outcome_survives_a_cut_commit_unchanged(
    database: TestDatabase, ledger: Ledger, fate: str
) -> None:
    a, b, c = ledger.of_run(KEY)
    database.take(FIRST, [Claim.of(a), Claim.of(b), Claim.of(c)])
    steps = [
        Accepted(a.swap_id, "job-a", 7),
        NotSent(b.swap_id, "unreachable", "Refused."),
        OutcomeUnknown(c.swap_id, "submit_outcome_unknown", "Lost."),
    ]
    assert database.take(FIRST, steps, fate) == [True, True, True]  # type: ignore[arg-type]
    a, b, c = ledger.of_run(KEY)
    assert (a.status, a.img_uuid, a.cost, a.attempts) == (Status.SUBMITTED, "job-a", 7, 1)
    assert (b.status, b.attempts, b.error_code) == (Status.PLANNED, 0, "unreachable")
    assert (c.status, c.attempts) == (Status.UNKNOWN, 1)


def test_a_declined_pair_fails_alone_and_is_not_counted_as_paid(
    database: TestDatabase, ledger: Ledger
) -> None:
    a, b, _ = ledger.of_run(KEY)
    database.take(FIRST, [Claim.of(a), Claim.of(b)])
    database.take(FIRST, [Declined(a.swap_id, "bad_request", "Too large."), Accepted(b.swap_id, "job-b")])
    a, b, _ = ledger.of_run(KEY)
    assert (a.status, a.attempts, a.error_message) == (Status.FAILED, 0, "Too large.")
    assert b.status is Status.SUBMITTED


def test_a_late_answer_still_reaches_an_abandoned_row(database: TestDatabase, ledger: Ledger) -> None:
    swap = row(ledger)
    database.take(FIRST, [Claim.of(swap)])
    ledger.mark_abandoned(ledger.of_run(KEY))
    assert row(ledger).status is Status.UNKNOWN
    assert database.take(FIRST, [Accepted(swap.swap_id, "job-late")]) == [True]
    late = row(ledger)
    assert (late.status, late.img_uuid, late.finished_at, late.error_code) == (
        Status.SUBMITTED,
        "job-late",
        None,
        None,
    )


def test_a_row_that_another_has_claimed_since_it_was_read_is_not_abandoned(
    database: TestDatabase, ledger: Ledger
) -> None:
    database.take(FIRST, [Claim.of(row(ledger))])
    seen = ledger.of_run(KEY)
    database.take(FIRST, [NotSent(seen[0].swap_id, "unreachable", "Refused.")])
    database.take(SECOND, [Claim.of(row(ledger))])
    ledger.mark_abandoned(seen)
    assert (row(ledger).status, row(ledger).claimed_by) == (Status.SUBMITTING, SECOND.name)


@pytest.mark.parametrize("fate", ["ok", "cut_after"])
def test_a_late_answer_on_a_row_that_was_sent_again_is_kept_as_a_former_job(
    database: TestDatabase, ledger: Ledger, caplog: pytest.LogCaptureFixture, fate: str
) -> None:
    swap = row(ledger)
    database.take(FIRST, [Claim.of(swap)])
    ledger.mark_abandoned(ledger.of_run(KEY))
    database.take(SECOND, [Claim.of(row(ledger))])
    database.take(SECOND, [Accepted(swap.swap_id, "job-2")])
    assert database.take(FIRST, [Accepted(swap.swap_id, "job-1")], fate) == [False]  # type: ignore[arg-type]
    kept = row(ledger)
    assert (kept.img_uuid, kept.former_uuids, kept.attempts) == ("job-2", "job-1", 2)
    assert "job-1" in caplog.text


def test_a_late_answer_does_not_take_the_row_from_the_attempt_that_is_submitting_it(
    database: TestDatabase, ledger: Ledger
) -> None:
    swap = row(ledger)
    database.take(FIRST, [Claim.of(swap)])
    ledger.mark_abandoned(ledger.of_run(KEY))
    database.take(SECOND, [Claim.of(row(ledger))])
    assert database.take(FIRST, [Accepted(swap.swap_id, "job-1")]) == [False]
    held = row(ledger)
    assert (held.status, held.claimed_by, held.former_uuids) == (Status.SUBMITTING, SECOND.name, "job-1")


def test_a_row_that_is_submitted_again_remembers_every_job_it_had(
    database: TestDatabase, ledger: Ledger
) -> None:
    for number in range(3):
        swap = row(ledger)
        database.take(FIRST, [Claim.of(swap)])
        database.take(FIRST, [Accepted(swap.swap_id, f"job-{number}")])
    assert (row(ledger).former_uuids, row(ledger).img_uuid) == ("job-0 job-1", "job-2")


def test_two_jobs_that_are_reported_at_once_for_one_row_are_both_on_record(
    database: TestDatabase, ledger: Ledger
) -> None:
    swap = row(ledger)
    database.take(FIRST, [Claim.of(swap)])
    taken = database.take(FIRST, [Accepted(swap.swap_id, "job-a"), Accepted(swap.swap_id, "job-b")])
    assert sorted(taken) == [False, True]
    assert {row(ledger).img_uuid, row(ledger).former_uuids} == {"job-a", "job-b"}


def test_an_answer_in_anothers_name_moves_nothing(database: TestDatabase, ledger: Ledger) -> None:
    swap = row(ledger)
    database.take(FIRST, [Claim.of(swap)])
    steps = [NotSent(swap.swap_id, "x", "x"), Declined(swap.swap_id, "x", "x")]
    assert database.take(SECOND, steps) == [False, False]
    assert (row(ledger).status, row(ledger).attempts) == (Status.SUBMITTING, 1)


def test_a_kept_picture_is_not_forgotten_through_a_later_worse_report(
    database: TestDatabase, ledger: Ledger
) -> None:
    swap = row(ledger)
    database.take(FIRST, [Claim.of(swap)])
    database.take(FIRST, [Accepted(swap.swap_id, "job")])
    kept = Outcome(swap.swap_id, "job", Status.SUCCEEDED, result_uri="file:///kept.jpg")
    ledger.record_outcomes([kept])
    ledger.record_outcomes([Outcome(swap.swap_id, "job", Status.FAILED, error_code="job_timed_out")])
    assert (row(ledger).status, row(ledger).result_uri) == (Status.SUCCEEDED, "file:///kept.jpg")


def test_a_job_that_failed_does_not_become_one_that_timed_out(database: TestDatabase, ledger: Ledger) -> None:
    swap = row(ledger)
    database.take(FIRST, [Claim.of(swap)])
    database.take(FIRST, [Accepted(swap.swap_id, "job")])
    ledger.record_outcomes([Outcome(swap.swap_id, "job", Status.FAILED, error_code="job_failed")])
    ledger.record_outcomes([Outcome(swap.swap_id, "job", Status.FAILED, error_code="job_timed_out")])
    assert row(ledger).error_code == "job_failed"


def test_a_step_that_the_database_refuses_fails_alone(database: TestDatabase, ledger: Ledger) -> None:
    """Postgres stores no NUL and no endless name; other steps of the group must not fail with it."""
    a, b, _ = ledger.of_run(KEY)
    database.take(FIRST, [Claim.of(a), Claim.of(b)])
    with GroupCommit(database, FIRST) as writer:
        done = writer.write_all([[Accepted(a.swap_id, "\x00" * 200)], [Accepted(b.swap_id, "job-b")]])
    bad, good = done.result()
    assert good == [True]
    assert row(ledger, 1).img_uuid == "job-b"
    if database.url.get_backend_name() != "sqlite":
        assert isinstance(bad, Exception)
        assert row(ledger).status is Status.SUBMITTING


def test_a_message_is_stored_whatever_characters_it_holds(database: TestDatabase, ledger: Ledger) -> None:
    swap = row(ledger)
    database.take(FIRST, [Claim.of(swap)])
    message = "nul \x00 half \ud83d end" + "x" * 5000
    assert database.take(FIRST, [Declined(swap.swap_id, "bad_request", message)]) == [True]
    stored = row(ledger).error_message
    assert stored is not None
    assert stored.startswith("nul \ufffd half ? end")
    assert len(stored) == 2000


def test_a_manifest_row_with_unstorable_characters_does_not_keep_the_others_from_being_planned(
    database: TestDatabase,
) -> None:
    ledger = Ledger(database)
    odd = planned(0, status=Status.REJECTED, source_img="http://\x00\ud83d", error_code="bad_url")
    assert ledger.plan(KEY, [odd, planned(1)], task_id="swap").added == 2


def test_planning_again_adds_what_is_new_and_withdraws_what_was_not_sent(
    database: TestDatabase, ledger: Ledger
) -> None:
    rows = ledger.of_run(KEY)
    database.take(FIRST, [Claim.of(rows[0])])
    result = ledger.plan(KEY, [planned(1), planned(3)], task_id="swap")
    assert (result.added, result.known, result.withdrawn) == (1, 1, 1)
    states = [swap.status for swap in ledger.of_run(KEY)]
    assert states == [Status.SUBMITTING, Status.PLANNED, Status.REJECTED, Status.PLANNED]


def test_two_planners_at_once_plan_each_row_once(make_database: MakeDatabase) -> None:
    start, results = threading.Barrier(4), []
    rows = [planned(number) for number in range(50)]

    def plan() -> None:
        ledger = Ledger(make_database())
        start.wait()
        results.append(ledger.plan(KEY, rows, task_id="swap"))

    threads = [threading.Thread(target=plan) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(result.added for result in results) == 50
    assert len(Ledger(make_database()).of_run(KEY)) == 50


def test_what_an_earlier_run_paid_for_is_found_by_pair_and_account_in_the_order_it_was_planned(
    database: TestDatabase,
) -> None:
    ledger = Ledger(database)
    pair = {"pair_fingerprint": "f" * 64, "account": "account"}

    def row(number: int, hour: int, **fields: Any) -> Swap:
        planned_at = dt.datetime(2026, 11, 1, hour, tzinfo=dt.UTC)
        return planned(number, **{**pair, "img_uuid": f"job-{number}", "planned_at": planned_at, **fields})

    ledger.plan(
        KEY,
        [
            row(0, 9, status=Status.SUCCEEDED, result_uri="file:///a"),
            row(1, 8, status=Status.FAILED, error_code="job_timed_out"),
            row(2, 10, status=Status.UNKNOWN, img_uuid=None),
            row(3, 7, status=Status.SUCCEEDED, account="another"),
            row(4, 7, status=Status.SUCCEEDED, pair_fingerprint="e" * 64),
            row(5, 7, status=Status.REUSED),
            row(6, 7, status=Status.PLANNED, img_uuid=None),
        ],
    )
    found = ledger.earlier(["f" * 64, "d" * 64], "account")
    assert [swap.pair_id for swap in found] == [planned(number).pair_id for number in (1, 0, 2)]


def test_rows_that_wait_to_be_collected_are_those_paid_for_without_a_kept_picture(
    database: TestDatabase,
) -> None:
    ledger = Ledger(database)
    now = dt.datetime.now(dt.UTC)
    job = {"img_uuid": "job", "submitted_at": now}
    ledger.plan(
        KEY,
        [
            planned(0, status=Status.SUBMITTED, **job),
            planned(1, status=Status.FAILED, error_code="job_failed", **job),
            planned(2, status=Status.FAILED, error_code="job_timed_out", **job),
            planned(3, status=Status.SUCCEEDED, result_uri="file:///kept", **job),
            planned(4, status=Status.UNKNOWN),
        ],
    )
    assert [swap.pair_id for swap in ledger.waiting(key=KEY)] == ["p0", "p2"]
    assert ledger.waiting(older_than=now - dt.timedelta(hours=1)) == []


def test_a_table_that_cannot_be_written_says_so(database: TestDatabase, ledger: Ledger) -> None:
    database.run(database.swaps.drop)
    with pytest.raises(ResultsTableError, match="the test's database"):
        ledger.counts(KEY)


def test_an_execution_that_was_presumed_dead_takes_its_unknown_row_back_when_it_sent_nothing(
    database: TestDatabase, ledger: Ledger
) -> None:
    seen = row(ledger)
    database.take(FIRST, [Claim.of(seen)])
    ledger.mark_abandoned([row(ledger)])
    assert row(ledger).status is Status.UNKNOWN

    assert database.take(FIRST, [NotSent(seen.swap_id, "task_ended", "Never sent.")]) == [True]

    now = row(ledger)
    assert (now.status, now.attempts, now.finished_at) == (Status.PLANNED, 0, None)


def test_only_the_claim_owner_takes_an_unknown_row_back(database: TestDatabase, ledger: Ledger) -> None:
    seen = row(ledger)
    database.take(FIRST, [Claim.of(seen)])
    ledger.mark_abandoned([row(ledger)])
    assert database.take(SECOND, [NotSent(seen.swap_id, "task_ended", "Never sent.")]) == [False]
    database.take(SECOND, [Claim.of(row(ledger))])
    assert database.take(FIRST, [NotSent(seen.swap_id, "task_ended", "Never sent.")]) == [False]
    assert (row(ledger).status, row(ledger).attempts) == (Status.SUBMITTING, 2)
