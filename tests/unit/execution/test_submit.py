# SPDX-License-Identifier: Apache-2.0
"""A round of submits: what is committed when, what a fault does to its row, and what ends the round."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from aiohttp import web

from airflow_provider_goenhance.api.account import Account
from airflow_provider_goenhance.api.client import open_client
from airflow_provider_goenhance.api.models import Submission
from airflow_provider_goenhance.exceptions import (
    AuthenticationError,
    BadRequestError,
    ConnectionLostError,
    OutOfCreditsError,
    RateLimitedError,
    ResultsTableError,
    ServerError,
    ServiceBusyError,
    TaskEndedError,
    UnreachableError,
)
from airflow_provider_goenhance.execution.submit import SubmitReport, slots_for, submit_swaps
from airflow_provider_goenhance.execution.submit_outcomes import UNKNOWN_IN_A_ROW
from airflow_provider_goenhance.execution.task_loop import TaskLoop
from airflow_provider_goenhance.results.database import ResultsDatabase
from airflow_provider_goenhance.results.group_commit import GroupCommit
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.stores import Written
from airflow_provider_goenhance.results.swap import Swap
from airflow_provider_goenhance.results.transitions import Claim, ClaimOwner, Transition
from tests.swaps import planned
from tests.unit.api.goenhance_server import ACCEPTED, GoEnhanceServer, Step, answer

KEY = RunKey("dag", "run")
WHO = ClaimOwner("swap[0] try 1", "account", 1)
Post = Callable[[str, str], Awaitable[Submission]]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    database = ResultsDatabase(f"sqlite:///{tmp_path / 'results.db'}", name="the test's database")
    ledger = Ledger(database)
    ledger.plan(KEY, [planned(number) for number in range(20)], task_id="swap")
    yield ledger
    database.close()


def submit(
    ledger: Ledger, post: Post, *, concurrency: int = 4, swaps: list[Swap] | None = None
) -> SubmitReport:
    rows = ledger.of_run(KEY) if swaps is None else swaps
    with GroupCommit(ledger.database, WHO) as writer:
        return asyncio.run(submit_swaps(post, writer, rows, concurrency=concurrency))


def number_of(source_img: str) -> int:
    return int(Path(source_img).stem)


def statuses(ledger: Ledger) -> list[Status]:
    return [row.status for row in ledger.of_run(KEY)]


async def accept(source_img: str, _reference_img: str) -> Submission:
    await asyncio.sleep(0)
    return Submission(f"job-{number_of(source_img)}", 2)


def failing(error: Exception, *numbers: int) -> Post:
    async def post(source_img: str, reference_img: str) -> Submission:
        if not numbers or number_of(source_img) in numbers:
            raise error
        return await accept(source_img, reference_img)

    return post


def test_every_pair_is_submitted_and_its_job_stored(ledger: Ledger) -> None:
    report = submit(ledger, accept)
    assert len(report.submitted) == 20
    assert [row.img_uuid for row in ledger.of_run(KEY)] == [f"job-{number}" for number in range(20)]
    assert {row.cost for row in ledger.of_run(KEY)} == {2}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TimeoutError(), "The submit ended in an unexpected TimeoutError. "),
        (KeyError("data"), "The submit ended in an unexpected KeyError: 'data'. "),
    ],
)
def test_an_unexpected_error_leaves_a_sentence_on_the_row(
    ledger: Ledger, error: Exception, said: str
) -> None:
    submit(ledger, failing(error, 3))
    row = ledger.of_run(KEY)[3]
    assert row.status is Status.UNKNOWN
    assert str(row.error_message).startswith(said + "The submit may have been accepted")


def test_the_claim_is_in_the_database_before_the_post_leaves(ledger: Ledger) -> None:
    other = Ledger(ResultsDatabase(ledger.database.url, name="another process"))

    async def post(source_img: str, reference_img: str) -> Submission:
        row = other.of_run(KEY)[number_of(source_img)]
        assert (row.status, row.claimed_by, row.attempts) == (Status.SUBMITTING, WHO.name, 1)
        return await accept(source_img, reference_img)

    assert len(submit(ledger, post).submitted) == 20
    other.database.close()


def test_the_job_is_in_the_database_before_its_slot_takes_the_next_pair(ledger: Ledger) -> None:
    other = Ledger(ResultsDatabase(ledger.database.url, name="another process"))
    sent: list[int] = []

    async def post(source_img: str, reference_img: str) -> Submission:
        rows = other.of_run(KEY)
        assert all(rows[number].img_uuid == f"job-{number}" for number in sent)
        sent.append(number_of(source_img))
        return await accept(source_img, reference_img)

    assert len(submit(ledger, post, concurrency=1).submitted) == 20
    other.database.close()


def test_sixty_four_slots_share_few_commits(ledger: Ledger) -> None:
    ledger.plan(KEY, [planned(number) for number in range(640)])
    commits = 0

    def count(_connection: sa.Connection) -> None:
        nonlocal commits
        commits += 1

    sa.event.listen(ledger.database.engine, "commit", count)
    all_under_way: asyncio.Barrier | None = None

    async def post(source_img: str, reference_img: str) -> Submission:
        nonlocal all_under_way
        all_under_way = all_under_way or asyncio.Barrier(64)
        await all_under_way.wait()
        return await accept(source_img, reference_img)

    report = submit(ledger, post, concurrency=64)
    assert len(report.submitted) == 640
    assert commits < 640 / 4


def test_a_row_that_is_listed_twice_is_posted_once(ledger: Ledger) -> None:
    posts: list[str] = []

    async def post(source_img: str, reference_img: str) -> Submission:
        posts.append(source_img)
        return await accept(source_img, reference_img)

    submit(ledger, post, swaps=ledger.of_run(KEY)[:3] * 3)
    assert len(posts) == len(set(posts)) == 3


def test_nothing_is_claimed_after_the_time_for_which_jobs_were_counted(ledger: Ledger) -> None:
    until = time.monotonic() + 0.2

    async def post(source_img: str, reference_img: str) -> Submission:
        await asyncio.sleep(max(0.0, until - time.monotonic()))
        return await accept(source_img, reference_img)

    with GroupCommit(ledger.database, WHO) as writer:
        report = asyncio.run(submit_swaps(post, writer, ledger.of_run(KEY), concurrency=3, until=until))
    assert report.stopped_by is None
    assert 0 < len(report.submitted) <= slots_for(3)
    assert len(report.submitted) + len(report.left_out) == 20
    assert Counter(statuses(ledger))[Status.PLANNED] == len(report.left_out)


def test_a_row_that_another_attempt_took_is_left_to_it(ledger: Ledger) -> None:
    seen = ledger.of_run(KEY)
    submit(ledger, accept, swaps=seen[:5])
    report = submit(ledger, accept, swaps=seen)
    assert (len(report.submitted), report.taken_elsewhere) == (15, 5)
    assert {row.attempts for row in ledger.of_run(KEY)} == {1}


def test_a_bad_pair_fails_alone(ledger: Ledger) -> None:
    report = submit(ledger, failing(BadRequestError("Too large."), 3, 7))
    assert (report.declined, len(report.submitted), report.stopped_by) == (2, 18, None)
    row = ledger.of_run(KEY)[3]
    assert (row.status, row.attempts) == (Status.FAILED, 0)
    assert "Nothing was paid for this pair" in str(row.error_message)


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("401"),
        OutOfCreditsError("No credits."),
        RateLimitedError("429"),
        UnreachableError("Refused."),
    ],
)
def test_a_fault_of_account_or_service_ends_the_round_and_leaves_the_rest_planned(
    ledger: Ledger, error: Exception
) -> None:
    report = submit(ledger, failing(error), concurrency=4)
    assert report.stopped_by is error
    assert statuses(ledger) == [Status.PLANNED] * 20
    assert {row.attempts for row in ledger.of_run(KEY)} == {0}


def test_a_post_without_a_known_outcome_leaves_its_row_unknown_and_is_not_sent_again(ledger: Ledger) -> None:
    report = submit(ledger, failing(ConnectionLostError("Reset."), 4))
    assert (report.unknown, len(report.submitted)) == (1, 19)
    row = ledger.of_run(KEY)[4]
    assert (row.status, row.attempts, row.error_code) == (Status.UNKNOWN, 1, "submit_outcome_unknown")
    assert "`airflow goenhance resolve`" in str(row.error_message)


def test_a_run_of_unknown_outcomes_ends_the_round(ledger: Ledger) -> None:
    report = submit(ledger, failing(ConnectionLostError("Reset.")), concurrency=1)
    assert report.unknown == UNKNOWN_IN_A_ROW
    assert statuses(ledger).count(Status.PLANNED) == 20 - UNKNOWN_IN_A_ROW


def test_a_service_that_refuses_for_now_ends_the_round_and_leaves_every_row_planned(ledger: Ledger) -> None:
    error = ServiceBusyError("System busy.")
    report = submit(ledger, failing(error), concurrency=1)
    assert (report.stopped_by, report.declined, report.unknown) == (error, 0, 0)
    assert statuses(ledger) == [Status.PLANNED] * 20
    assert {row.attempts for row in ledger.of_run(KEY)} == {0}


def test_one_pair_refused_for_now_costs_no_other_and_makes_the_task_retry(ledger: Ledger) -> None:
    error = ServiceBusyError("System busy.")
    report = submit(ledger, failing(error, 3))
    assert (report.stopped_by, len(report.submitted)) == (error, 19)
    row = ledger.of_run(KEY)[3]
    assert (row.status, row.attempts, row.error_code) == (Status.PLANNED, 0, "service_busy")


def test_refusals_for_now_and_unknown_outcomes_count_together_and_the_retry_is_kept(ledger: Ledger) -> None:
    async def post(source_img: str, _reference_img: str) -> Submission:
        raise ServerError("500") if number_of(source_img) % 2 else ServiceBusyError("System busy.")

    report = submit(ledger, post, concurrency=1)
    assert isinstance(report.stopped_by, ServiceBusyError)
    assert report.stopped_by.retryable
    assert statuses(ledger).count(Status.UNKNOWN) == UNKNOWN_IN_A_ROW // 2


def test_the_answer_of_a_submit_without_an_id_is_on_its_row(ledger: Ledger) -> None:
    error = ServerError("No id.")
    error.answer_text = '{"job": "J-17"}'
    submit(ledger, failing(error, 4))
    assert str(ledger.of_run(KEY)[4].error_message).endswith('GoEnhance\'s answer: {"job": "J-17"}')


def test_an_error_that_nobody_foresaw_leaves_one_row_unknown_and_the_others_submitted(ledger: Ledger) -> None:
    report = submit(ledger, failing(KeyError("data"), 6))
    assert (report.unknown, len(report.submitted)) == (1, 19)
    assert statuses(ledger)[6] is Status.UNKNOWN


def test_a_round_that_is_cancelled_commits_every_answer_it_has(ledger: Ledger) -> None:
    """The task is killed: posts on their way end as `submitting`, answered ones keep their job."""
    sent: set[int] = set()
    answered: set[int] = set()
    all_sent, ten = asyncio.Event(), asyncio.Event()

    async def post(source_img: str, _reference_img: str) -> Submission:
        number = number_of(source_img)
        sent.add(number)
        if len(sent) == 20:
            all_sent.set()
        await (all_sent.wait() if number < 10 else asyncio.Event().wait())
        answered.add(number)
        if len(answered) == 10:
            ten.set()
        return Submission(f"job-{number}", 1)

    async def killed(writer: GroupCommit) -> None:
        round_ = asyncio.create_task(submit_swaps(post, writer, ledger.of_run(KEY), concurrency=20))
        await ten.wait()
        round_.cancel()
        await asyncio.wait([round_])

    with GroupCommit(ledger.database, WHO) as writer:
        asyncio.run(killed(writer))
    rows = ledger.of_run(KEY)
    assert len(answered) == 10
    assert [row.status for row in rows] == [Status.SUBMITTED] * 10 + [Status.SUBMITTING] * 10


# -- the task is told to end -----------------------------------------------------------------------------------------


def end_at_post(number: int, ledger: Ledger, server: GoEnhanceServer, account: Account) -> SubmitReport:
    """Submit all rows to a server, and announce the end while it answers the POST with this number."""
    loop = TaskLoop()
    answer_of = server.script[0]

    async def step(request: web.Request) -> web.StreamResponse:
        if len(server.requests) == number:
            loop.end()
            await asyncio.sleep(0)  # the announcement reaches the round before this answer does
        return await answer_of(request)

    async def round_() -> SubmitReport:
        server.plays(step)
        async with server, open_client(replace(account, base_url=server.url)) as client:
            return await submit_swaps(
                client.submit, writer, ledger.of_run(KEY), concurrency=account.max_concurrency, loop=loop
            )

    with GroupCommit(ledger.database, WHO) as writer:
        return loop.run(round_)


ACCOUNT = Account("goenhance_test", "sk-test", max_concurrency=4)
LIMITED = answer({"code": 429, "msg": "slow down"}, 429, Retry_After="60")
WAITS: dict[str, tuple[Account, Step]] = {
    "for the pace": (replace(ACCOUNT, requests_per_second=0.01), answer(ACCEPTED)),
    "for a pause": (ACCOUNT, LIMITED),
    "for a pause, paced": (replace(ACCOUNT, requests_per_second=0.01), LIMITED),
    "for a pause, one at a time": (replace(ACCOUNT, max_concurrency=1), LIMITED),
}


@pytest.mark.parametrize("wait", WAITS)
def test_rows_that_wait_when_the_task_ends_are_planned_and_never_sent(ledger: Ledger, wait: str) -> None:
    account, says = WAITS[wait]
    server = GoEnhanceServer()
    server.plays(says)

    report = end_at_post(1, ledger, server, account)

    assert isinstance(report.stopped_by, TaskEndedError)
    assert 1 <= len(server.requests) <= account.max_concurrency
    assert Counter(statuses(ledger)) == Counter(
        {Status.SUBMITTED: len(report.submitted), Status.PLANNED: 20 - len(report.submitted)}
    )
    assert {row.attempts for row in ledger.of_run(KEY) if row.status is Status.PLANNED} == {0}


def test_a_post_on_the_wire_when_the_task_ends_keeps_its_job(ledger: Ledger) -> None:
    server, jobs = GoEnhanceServer(), itertools.count(1)

    async def accept_each(request: web.Request) -> web.StreamResponse:
        data = {"img_uuid": f"job-{next(jobs)}"}
        return await answer({"code": 0, "msg": "Success", "data": data})(request)

    server.plays(accept_each)
    report = end_at_post(4, ledger, server, ACCOUNT)

    kept = sorted(row.img_uuid for row in ledger.of_run(KEY) if row.img_uuid)
    assert kept == sorted(report.submitted.values())
    assert len(kept) == len(server.requests) >= 4
    assert set(statuses(ledger)) == {Status.SUBMITTED, Status.PLANNED}


def test_nothing_is_sent_by_a_task_that_was_told_to_end_before(ledger: Ledger) -> None:
    server, loop = GoEnhanceServer(), TaskLoop()

    async def round_() -> SubmitReport:
        async with server, open_client(replace(ACCOUNT, base_url=server.url)) as client:
            return await submit_swaps(client.submit, writer, ledger.of_run(KEY), concurrency=4, loop=loop)

    loop.end()
    with GroupCommit(ledger.database, WHO) as writer, pytest.raises(TaskEndedError):
        loop.run(round_)
    assert server.requests == []
    assert set(statuses(ledger)) == {Status.PLANNED}


def test_the_event_loop_runs_on_while_the_database_is_locked(ledger: Ledger) -> None:
    """A POST under way must get its answer while another process holds the lock that every writer needs."""
    release = threading.Event()
    locked = threading.Event()

    def hold_the_lock() -> None:
        with sqlite3.connect(str(ledger.database.url.database), isolation_level=None) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            locked.set()
            release.wait(30)
            connection.execute("ROLLBACK")

    holder = threading.Thread(target=hold_the_lock)

    async def round_() -> tuple[int, SubmitReport]:
        holder.start()
        await asyncio.to_thread(locked.wait)
        submitting = asyncio.create_task(submit_swaps(accept, writer, rows, concurrency=4))
        turns = 0
        for _ in range(20):  # each one needs a free loop
            await asyncio.sleep(0.01)
            turns += not submitting.done()
        release.set()
        return turns, await submitting

    rows = ledger.of_run(KEY)
    with GroupCommit(ledger.database, WHO) as writer:
        turns, report = asyncio.run(asyncio.wait_for(round_(), 60))
    holder.join()
    assert turns == 20
    assert len(report.submitted) == 20


class BrokenWriter:
    """A results table that goes out of reach after some groups."""

    def __init__(self, good: int) -> None:
        self._good = good

    def write_all(self, requests: Sequence[Sequence[Transition]]) -> Future[list[Written]]:
        self._good -= 1
        error = ResultsTableError("out of reach")
        done: Future[list[Written]] = Future()
        done.set_result([[True] * len(steps) if self._good >= 0 else error for steps in requests])
        return done


def test_a_table_out_of_reach_stops_the_posts_and_names_the_jobs_it_could_not_store(
    caplog: pytest.LogCaptureFixture,
) -> None:
    posts: list[str] = []

    async def post(source_img: str, reference_img: str) -> Submission:
        posts.append(source_img)
        return await accept(source_img, reference_img)

    swaps = [planned(number) for number in range(20)]
    with pytest.raises(ResultsTableError):
        asyncio.run(submit_swaps(post, BrokenWriter(1), swaps, concurrency=4))
    assert len(posts) == slots_for(4)
    for number in range(slots_for(4)):
        assert f"job-{number}" in caplog.text


def test_a_writer_that_fails_at_once_does_not_leave_the_slots_waiting_forever() -> None:
    class NoWriter:
        def write_all(self, requests: object) -> Future[list[Written]]:
            raise RuntimeError("no writer")

    round_ = submit_swaps(accept, NoWriter(), [planned(0)], concurrency=1)
    with pytest.raises(RuntimeError, match="no writer"):
        asyncio.run(asyncio.wait_for(round_, 60))


def test_the_group_commit_serves_many_threads_in_order(ledger: Ledger) -> None:
    rows, granted = ledger.of_run(KEY), []
    with GroupCommit(ledger.database, WHO) as writer:
        threads = [
            threading.Thread(
                target=lambda row=row: granted.extend(writer.write_all([[Claim.of(row)]]).result())
            )
            for row in rows
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert granted == [[True]] * 20


def test_leaving_the_group_commit_commits_what_is_queued(ledger: Ledger) -> None:
    with GroupCommit(ledger.database, WHO) as writer:
        for row in ledger.of_run(KEY):
            writer.write_all([[Claim.of(row)]])
    assert set(statuses(ledger)) == {Status.SUBMITTING}
