# SPDX-License-Identifier: Apache-2.0
"""A round prepares its private pictures before it claims their rows: what fails there costs nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_goenhance.api.models import Submission
from airflow_provider_goenhance.exceptions import (
    BadRequestError,
    ConnectionLostError,
    ErrorCode,
    InputError,
    InputStoreUnavailableError,
)
from airflow_provider_goenhance.execution.submit import SubmitReport, submit_swaps
from airflow_provider_goenhance.inputs.prepare import PreparedInputs
from airflow_provider_goenhance.results.database import ResultsDatabase
from airflow_provider_goenhance.results.group_commit import GroupCommit
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap, pair_fingerprint
from airflow_provider_goenhance.results.transitions import ClaimOwner
from tests.swaps import planned

KEY = RunKey("dag", "run")
WHO = ClaimOwner("swap[0] try 1", "account", 1)
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
    ledger: Ledger, prepare: Prepare, post: Any = None, *, swaps: list[Swap] | None = None
) -> SubmitReport:
    async def accept(_source: str, _reference: str) -> Submission:
        await asyncio.sleep(0)
        return Submission(f"job-{len(sent)}-{sent.append(_source)}")  # type: ignore[func-returns-value]

    sent: list[str] = []
    rows = ledger.of_run(KEY) if swaps is None else swaps
    preparer: Any = Preparer(prepare)
    with GroupCommit(ledger.database, WHO) as writer:
        return asyncio.run(submit_swaps(post or accept, writer, rows, concurrency=4, preparer=preparer))


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
