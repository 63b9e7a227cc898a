# SPDX-License-Identifier: Apache-2.0
"""A round prepares its private pictures before it claims their rows: what fails there costs nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_goenhance.api.models import Submission
from airflow_provider_goenhance.exceptions import (
    BadRequestError,
    ConnectionLostError,
    ErrorCode,
    InputError,
    InputStoreUnavailableError,
    InputUnavailableError,
    TaskEndedError,
)
from airflow_provider_goenhance.execution import inputs_ahead
from airflow_provider_goenhance.execution.limits import TaskLimits
from airflow_provider_goenhance.execution.submit import submit_swaps
from airflow_provider_goenhance.execution.submit_report import SubmitReport
from airflow_provider_goenhance.execution.task_loop import TaskLoop
from airflow_provider_goenhance.inputs.prepare import PreparedInputs
from airflow_provider_goenhance.results.database import ResultsDatabase
from airflow_provider_goenhance.results.group_commit import GroupCommit
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.recovery import Policies, retry_can_help
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap, pair_fingerprint
from airflow_provider_goenhance.results.transitions import Claim, ClaimOwner
from tests.swaps import planned

KEY = RunKey("dag", "run")
WHO = ClaimOwner("swap[0] try 1", "account", 1)
CLEARED = ClaimOwner("swap[0] try 2", "account", 2)
Prepare = Callable[[Swap], Awaitable[PreparedInputs]]


def private(number: int) -> Swap:
    row = planned(number, source_img=f"s3://bucket/{number}.jpg", source_version="v1")
    return replace(
        row, pair_fingerprint=pair_fingerprint(row.source_img, row.reference_img, source_version="v1")
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    database = ResultsDatabase(f"sqlite:///{tmp_path / 'results.db'}", name="the test's database")
    ledger = Ledger(database)
    ledger.plan(
        KEY, [private(number) if number % 2 else planned(number) for number in range(20)], task_id="swap"
    )
    yield ledger
    database.close()


class Preparer:
    """Prepares the rows with private pictures as the test says."""

    def __init__(self, prepare: Prepare) -> None:
        self.prepare = prepare

    def needs(self, swap: Swap) -> bool:
        return swap.source_img.startswith("s3://")


def signed(swap: Swap, version: str = "v1", **values: Any) -> PreparedInputs:
    return PreparedInputs(
        f"https://bucket.example/{swap.pair_id}?X-Amz-Signature=5ec2e75ec2e75ec2e7",
        swap.reference_img,
        version,
        **values,
    )


async def sign(swap: Swap) -> PreparedInputs:
    await asyncio.sleep(0)
    return signed(swap)


def submit(
    ledger: Ledger,
    prepare: Prepare,
    post: Any = None,
    *,
    swaps: list[Swap] | None = None,
    owner: ClaimOwner = WHO,
    limits: TaskLimits | None = None,
    until: float | None = None,
) -> SubmitReport:
    async def accept(_source: str, _reference: str) -> Submission:
        await asyncio.sleep(0)
        return Submission(f"job-{len(sent)}-{sent.append(_source)}")  # type: ignore[func-returns-value]

    sent: list[str] = []
    rows = ledger.of_run(KEY) if swaps is None else swaps
    preparer: Any = Preparer(prepare)
    with GroupCommit(ledger.database, owner) as writer:
        return asyncio.run(
            submit_swaps(
                post or accept, writer, rows, concurrency=4, preparer=preparer, limits=limits, until=until
            )
        )


def test_the_links_are_in_the_posts_and_nowhere_else(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    sent: list[str] = []

    async def post(source: str, _reference: str) -> Submission:
        sent.append(source)
        return Submission(f"job-{len(sent)}")

    with caplog.at_level(logging.DEBUG):
        report = submit(ledger, sign, post)
    assert len(report.submitted) == 20
    assert sum("X-Amz-Signature" in link for link in sent) == 10
    assert "5ec2e7" not in caplog.text
    assert "5ec2e7" not in str(ledger.of_run(KEY))
    assert "5ec2e7" not in str(report)


def test_a_picture_that_cannot_be_sent_fails_its_row_alone_and_costs_nothing(ledger: Ledger) -> None:
    async def prepare(swap: Swap) -> PreparedInputs:
        if swap.pair_id == "p7":
            raise InputError("s3://bucket/7.jpg is not there.", error_code=ErrorCode.INPUT_NOT_FOUND)
        return signed(swap)

    report = submit(ledger, prepare)
    assert (len(report.submitted), report.declined) == (19, 1)
    (row,) = [row for row in ledger.of_run(KEY) if row.pair_id == "p7"]
    assert (row.status, row.attempts, row.error_code) == (Status.FAILED, 0, "input_not_found")
    assert row.error_message == "s3://bucket/7.jpg is not there. Nothing was sent or paid."
    assert row.max_tries == 1  # so that a clear tries it again


def test_a_store_that_cannot_be_reached_ends_the_round_and_leaves_its_rows_planned(ledger: Ledger) -> None:
    async def prepare(_swap: Swap) -> PreparedInputs:
        raise InputStoreUnavailableError("S3 does not answer.")

    report = submit(ledger, prepare)
    assert isinstance(report.stopped_by, InputStoreUnavailableError)
    rows = ledger.of_run(KEY)
    assert {row.status for row in rows if row.source_img.startswith("s3://")} == {Status.PLANNED}
    assert {row.attempts for row in rows if row.status is Status.PLANNED} == {0}


def test_an_unexpected_error_reaches_the_task(ledger: Ledger) -> None:
    async def prepare(_swap: Swap) -> PreparedInputs:
        raise KeyError("a defect")

    with pytest.raises(KeyError):
        submit(ledger, prepare)
    assert {row.status for row in ledger.of_run(KEY) if row.source_img.startswith("s3://")} == {
        Status.PLANNED
    }


def test_an_overwritten_picture_makes_its_row_another_pair_that_is_looked_at_again(ledger: Ledger) -> None:
    async def prepare(swap: Swap) -> PreparedInputs:
        return signed(swap, "v2" if swap.pair_id == "p3" else "v1")

    report = submit(ledger, prepare)
    assert (len(report.submitted), report.changed) == (19, 1)
    (row,) = [row for row in ledger.of_run(KEY) if row.pair_id == "p3"]
    assert (row.status, row.source_version) == (Status.PLANNED, "v2")
    assert row.pair_fingerprint == pair_fingerprint(row.source_img, row.reference_img, source_version="v2")
    assert len(submit(ledger, prepare, swaps=[row]).submitted) == 1


def test_a_row_that_was_sent_before_is_not_sent_again_with_another_picture(ledger: Ledger) -> None:
    async def lost(_source: str, _reference: str) -> Submission:
        raise ConnectionLostError("lost")

    (row,) = [row for row in ledger.of_run(KEY) if row.pair_id == "p3"]
    submit(ledger, sign, lost, swaps=[row])
    (row,) = ledger.by_ids([row.swap_id])
    assert row.status is Status.UNKNOWN

    async def prepare(swap: Swap) -> PreparedInputs:
        return signed(swap, "v2")

    report = submit(ledger, prepare, swaps=[row])
    assert report.left == [row]
    assert ledger.by_ids([row.swap_id]) == [row]


def test_the_copies_of_a_row_are_on_record_before_it_is_sent(ledger: Ledger) -> None:
    async def prepare(swap: Swap) -> PreparedInputs:
        return signed(swap, staged_uris=(f"file:///staging/{swap.pair_id}.jpg",))

    async def post(source: str, _reference: str) -> Submission:
        if "bucket.example" in source:
            (row,) = [row for row in ledger.of_run(KEY) if f"/{row.pair_id}?" in source]
            assert row.staged_uris == (f"file:///staging/{row.pair_id}.jpg",)
        return Submission(source.partition("?")[0])

    assert len(submit(ledger, prepare, post).submitted) == 20


@pytest.mark.parametrize("error", [BadRequestError, ConnectionLostError])
def test_an_answer_that_quotes_the_link_is_recorded_without_it(
    ledger: Ledger, error: type[BadRequestError], caplog: pytest.LogCaptureFixture
) -> None:
    async def post(source: str, _reference: str) -> Submission:
        refused = error(f"could not fetch {source.partition('?')[2]}", msg=source)
        refused.answer_text = source
        raise refused

    with caplog.at_level(logging.DEBUG):
        submit(ledger, sign, post)
    assert "5ec2e7" not in caplog.text
    assert "5ec2e7" not in str(ledger.of_run(KEY))


def test_few_pictures_are_prepared_ahead_of_the_posts(ledger: Ledger) -> None:
    prepared: list[str] = []
    most = 0

    async def prepare(swap: Swap) -> PreparedInputs:
        prepared.append(swap.pair_id)
        return signed(swap)

    posted: list[str] = []

    async def post(source: str, _reference: str) -> Submission:
        nonlocal most
        posted.append(source)
        most = max(most, len(prepared) - sum("Signature" in link for link in posted))
        await asyncio.sleep(0.001)
        return Submission(f"job-{len(posted)}")

    submit(ledger, prepare, post)
    # Four are ready and four are being prepared, at most, and the slots have taken a few.
    assert most <= 14
    assert len(prepared) == 10


# -- rows that were declined, and whose task was cleared ---------------------------------------------------------------


def declined(ledger: Ledger, pair_id: str = "p3") -> Swap:
    """Return a row that GoEnhance has declined: nothing was paid."""

    async def refuse(_source: str, _reference: str) -> Submission:
        raise BadRequestError("The picture is too dark.")

    (row,) = [row for row in ledger.of_run(KEY) if row.pair_id == pair_id]
    submit(ledger, sign, refuse, swaps=[row])
    (row,) = ledger.by_ids([row.swap_id])
    assert (row.status, row.attempts, row.error_code) == (Status.FAILED, 0, "bad_request")
    return row


def test_a_declined_row_whose_picture_was_replaced_becomes_the_pair_that_it_is_now(ledger: Ledger) -> None:
    row = declined(ledger)

    async def prepare(swap: Swap) -> PreparedInputs:
        return signed(swap, "v2")

    assert submit(ledger, prepare, swaps=[row]).changed == 1
    (row,) = ledger.by_ids([row.swap_id])
    assert row.source_version == "v2"
    assert len(submit(ledger, prepare, swaps=[row]).submitted) == 1


def test_a_row_that_fails_for_another_reason_after_a_clear_says_the_new_one(ledger: Ledger) -> None:
    row = declined(ledger)

    async def missing(_swap: Swap) -> PreparedInputs:
        raise InputError("s3://bucket/3.jpg is not there.", error_code=ErrorCode.INPUT_NOT_FOUND)

    submit(ledger, missing, swaps=[row], owner=CLEARED)
    (row,) = ledger.by_ids([row.swap_id])
    assert (row.status, row.error_code) == (Status.FAILED, "input_not_found")
    # A retry of the cleared task leaves it: the picture is as missing as before.
    assert not retry_can_help(row, Policies(), CLEARED.max_tries)


def test_a_change_that_another_attempt_was_faster_to_note_is_not_looked_at_for_ever(ledger: Ledger) -> None:
    (row,) = [row for row in ledger.of_run(KEY) if row.pair_id == "p3"]

    async def prepare(swap: Swap) -> PreparedInputs:
        # Another attempt claims the row while this one looks at its picture.
        with GroupCommit(ledger.database, replace(WHO, name="swap[0] try 2")) as writer:
            assert writer.write_all([[Claim.of(swap)]]).result() == [[True]]
        return signed(swap, "v2")

    report = submit(ledger, prepare, swaps=[row])
    assert (report.changed, report.taken_elsewhere) == (0, 1)


def test_a_row_that_may_have_been_paid_for_once_is_not_sent_as_another_pair(ledger: Ledger) -> None:
    """Two submits of it were unknown, and one of them was settled as not billed."""
    (row,) = [row for row in ledger.of_run(KEY) if row.pair_id == "p3"]
    ledger.database.run(
        lambda connection: connection.execute(
            ledger.swaps.update().where(ledger.swaps.c.swap_id == row.swap_id).values(attempts=1)
        )
    )
    (row,) = ledger.by_ids([row.swap_id])

    async def prepare(swap: Swap) -> PreparedInputs:
        return signed(swap, "v2")

    report = submit(ledger, prepare, swaps=[row])
    assert (report.submitted, report.changed) == ({}, 0)
    (row,) = ledger.by_ids([row.swap_id])
    assert (row.status, row.error_code, row.source_version) == (Status.FAILED, "input_changed", "v1")


# -- rows that are being prepared when a round ends --------------------------------------------------------------------


def test_rows_that_are_being_prepared_when_the_time_is_over_are_left_for_another_round(
    ledger: Ledger,
) -> None:
    async def slow(swap: Swap) -> PreparedInputs:
        await asyncio.sleep(0.2)
        return signed(swap)

    rows = [row for row in ledger.of_run(KEY) if row.source_img.startswith("s3://")]
    report = submit(ledger, slow, swaps=rows, until=time.monotonic() + 0.1)
    assert not report.submitted
    assert {row.swap_id for row in report.left_out} == {row.swap_id for row in rows}


def test_rows_that_are_being_prepared_when_the_budget_is_reached_are_held_like_the_others(
    ledger: Ledger,
) -> None:
    refused: set[str] = set()
    budget: Any = SimpleNamespace(price=None, refused=refused)

    async def prepare(swap: Swap) -> PreparedInputs:
        if swap.pair_id not in {"p1", "p3", "p5", "p7", "p9"}:  # one for each slot
            await asyncio.Event().wait()
        return signed(swap)

    class RefusingWriter:
        """Refuses every claim, as a budget without room does."""

        def __init__(self, writer: GroupCommit) -> None:
            self.writer = writer

        def write_all(self, requests: Any) -> Any:
            claims = {step.swap_id for request in requests for step in request if isinstance(step, Claim)}
            refused.update(claims)
            done: Future[Any] = Future()
            done.set_result([[not isinstance(step, Claim) for step in request] for request in requests])
            return done

    rows = [row for row in ledger.of_run(KEY) if row.source_img.startswith("s3://")]

    async def never(_source: str, _reference: str) -> Submission:
        raise AssertionError("nothing may be sent")

    preparer: Any = Preparer(prepare)
    with GroupCommit(ledger.database, WHO) as writer:
        refusing: Any = RefusingWriter(writer)
        report = asyncio.run(
            submit_swaps(
                never,
                refusing,
                rows,
                concurrency=4,
                preparer=preparer,
                spending=budget,
            )
        )
    assert sorted(row.pair_id for row in report.over_budget) == sorted(row.pair_id for row in rows)


# -- what was prepared too long ago ------------------------------------------------------------------------------------


def test_a_row_that_has_waited_long_for_its_turn_is_prepared_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account was paused, or other tasks had all its slots: the link grows old, and the picture may be another."""
    monkeypatch.setattr(inputs_ahead, "FRESH_SECONDS", 0.05)
    prepared: Counter[str] = Counter()

    async def prepare(swap: Swap) -> PreparedInputs:
        prepared[swap.pair_id] += 1
        # The ninth link of a row would be as good as the second: one look is enough once it is the row's turn.
        return signed(swap, "v2" if swap.pair_id == "p5" and prepared["p5"] > 1 else "v1")

    class Busy(TaskLimits):
        """Admits nothing for a while, as in a pause."""

        async def admit(self) -> bool:
            await asyncio.sleep(0.1)
            return True

        def admit_now(self) -> bool:
            return False

    rows = [row for row in ledger.of_run(KEY) if row.pair_id in {"p3", "p5"}]
    report = submit(ledger, prepare, swaps=rows, limits=Busy())
    assert prepared == {"p3": 2, "p5": 2}
    assert (len(report.submitted), report.changed) == (1, 1)
    (row,) = [row for row in ledger.of_run(KEY) if row.pair_id == "p5"]
    assert (row.status, row.source_version) == (Status.PLANNED, "v2")


def test_a_row_whose_second_look_is_interrupted_by_the_end_of_the_round_is_not_sent(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs_ahead, "FRESH_SECONDS", 0.0)
    limits = TaskLimits()
    looks: Counter[str] = Counter()

    async def prepare(swap: Swap) -> PreparedInputs:
        looks[swap.pair_id] += 1
        if looks[swap.pair_id] > 1:
            limits.stop(TaskEndedError("The task was told to end."))
        return signed(swap)

    async def never(_source: str, _reference: str) -> Submission:
        raise AssertionError("nothing may be sent")

    rows = [row for row in ledger.of_run(KEY) if row.pair_id == "p3"]
    report = submit(ledger, prepare, never, swaps=rows, limits=limits)
    assert isinstance(report.stopped_by, TaskEndedError)
    (row,) = ledger.by_ids([rows[0].swap_id])
    assert (row.status, row.attempts) == (Status.PLANNED, 0)


def test_a_store_that_hangs_does_not_hold_the_round_for_ever(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The jobs that were paid for before must still be collected, before their pictures expire."""
    monkeypatch.setattr(inputs_ahead, "LONGEST_SECONDS", 0.05)

    async def hang(swap: Swap) -> PreparedInputs:
        await asyncio.Event().wait()
        return signed(swap)

    report = submit(ledger, hang)
    assert isinstance(report.stopped_by, InputStoreUnavailableError)
    assert report.stopped_by.retryable
    assert {row.status for row in ledger.of_run(KEY) if row.source_img.startswith("s3://")} == {
        Status.PLANNED
    }


def test_a_task_that_is_told_to_end_waits_for_no_picture_and_sends_nothing_more(ledger: Ledger) -> None:
    loop = TaskLoop()
    sent: list[str] = []

    async def hang(swap: Swap) -> PreparedInputs:
        loop.end()
        await asyncio.Event().wait()
        return signed(swap)

    async def post(source: str, _reference: str) -> Submission:
        sent.append(source)
        return Submission(f"job-{len(sent)}")

    preparer: Any = Preparer(hang)
    with GroupCommit(ledger.database, WHO) as writer:
        report = loop.run(
            lambda: submit_swaps(
                post, writer, ledger.of_run(KEY), concurrency=4, loop=loop, preparer=preparer
            )
        )
    assert isinstance(report.stopped_by, TaskEndedError)
    assert not [link for link in sent if "Signature" in link]
    rows = ledger.of_run(KEY)
    assert {row.status for row in rows if row.source_img.startswith("s3://")} == {Status.PLANNED}
    assert {row.status for row in rows} <= {Status.PLANNED, Status.SUBMITTED}


# -- trouble that passes, of one picture -------------------------------------------------------------------------------


def test_a_picture_that_cannot_be_fetched_now_leaves_its_row_for_a_retry_and_stops_no_other(
    ledger: Ledger,
) -> None:
    async def prepare(swap: Swap) -> PreparedInputs:
        if swap.pair_id == "p3":
            raise InputUnavailableError("The picture could not be fetched.")
        return signed(swap)

    report = submit(ledger, prepare)
    assert len(report.submitted) == 19
    assert report.stopped_by is not None
    assert report.stopped_by.retryable
    (row,) = [row for row in ledger.of_run(KEY) if row.pair_id == "p3"]
    assert (row.status, row.attempts) == (Status.PLANNED, 0)


# -- copies ------------------------------------------------------------------------------------------------------------


def test_the_copy_of_one_picture_is_on_record_although_the_other_one_cannot_be_sent(ledger: Ledger) -> None:
    """Nobody would remove it otherwise, and it shows a person."""

    async def prepare(swap: Swap) -> PreparedInputs:
        if swap.pair_id != "p3":
            return signed(swap)
        error = InputError("s3://bucket/3.jpg is not there.", error_code=ErrorCode.INPUT_NOT_FOUND)
        error.staged_uris = ("file:///staging/3.jpg",)
        raise error

    submit(ledger, prepare)
    (row,) = [row for row in ledger.of_run(KEY) if row.pair_id == "p3"]
    assert (row.status, row.staged_uris) == (Status.FAILED, ("file:///staging/3.jpg",))


def test_the_copy_of_an_earlier_submit_stays_on_record_beside_a_new_one(ledger: Ledger) -> None:
    rows = [replace(row, staged_uris=("file:///staging/old.jpg",)) for row in ledger.of_run(KEY)]

    async def prepare(swap: Swap) -> PreparedInputs:
        return signed(swap, staged_uris=("file:///staging/new.jpg",))

    (row,) = [row for row in rows if row.pair_id == "p3"]
    submit(ledger, prepare, swaps=[row])
    (row,) = ledger.by_ids([row.swap_id])
    assert row.staged_uris == ("file:///staging/old.jpg", "file:///staging/new.jpg")
