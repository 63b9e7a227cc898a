# SPDX-License-Identifier: Apache-2.0
"""Each fault of a submit x single, batch x deferrable, not, and the sync hook: the row, what was paid, what follows."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from airflow_provider_goenhance.api.client import GoEnhanceClient
from airflow_provider_goenhance.api.models import Submission
from airflow_provider_goenhance.api.polling import NOT_FOUND_LIMIT
from airflow_provider_goenhance.exceptions import (
    BadRequestError,
    BatchFailedError,
    GoEnhanceError,
    RateLimitedError,
    ServiceBusyError,
    SubmitOutcomeUnknownError,
    UnexpectedResponseError,
)
from airflow_provider_goenhance.hooks.goenhance import GoEnhanceHook
from airflow_provider_goenhance.retry_policy import is_final
from tests.unit.clock import Clock, until

from .light_runner import LightTask

#: Seconds, far more than any healthy response takes. Where none ever comes, the clock is advanced by this much.
REQUEST_TIMEOUT = 60.0


@dataclass(frozen=True)
class Fault:
    """
    What strikes the first submit, and what it must come to.

    :param switch: the sandbox's ``submit`` switch
    :param status: the struck row after the first attempt
    :param in_a_batch: the same where the pairs behind it are accepted: the round after them may send it again
    :param accepted: how many of its POSTs the sandbox accepted in the first attempt
    :param attempts: the row's own count of POSTs that may have been accepted
    :param error: what the single operator raises, ``None`` for success
    :param after_retry: the row after a second attempt, the fault gone
    :param ends_the_batch: whether the pairs after it are left for a later attempt
    :param pauses: whether nothing is sent for the account until the time is over that the answer asks for
    :param beside: other switches of the sandbox, which apply to all of its answers
    """

    switch: dict[str, Any]
    status: str
    accepted: int
    attempts: int
    error: type[GoEnhanceError] | None = None
    after_retry: str = ""
    ends_the_batch: bool = False
    in_a_batch: str = ""
    pauses: bool = False
    beside: dict[str, Any] = field(default_factory=dict)

    @property
    def expected_after_retry(self) -> str:
        return self.after_retry or self.status


UNKNOWN = SubmitOutcomeUnknownError
REFUSED_NOW: dict[str, Any] = {
    "status": "planned",
    "accepted": 0,
    "attempts": 0,
    "error": ServiceBusyError,
    "after_retry": "succeeded",
    "in_a_batch": "succeeded",
}
NO_FAULT = {"kind": "slow", "seconds": 0}
#: More answers than it takes to believe that a job is lost, if they said so.
MAINTENANCE = {
    "kind": "business_error",
    "code": 1001,
    "msg": "system maintenance, try again later",
    "count": 2 * NOT_FOUND_LIMIT,
}
FAULTS = {
    "connection lost before accepting": Fault(
        {"kind": "disconnect", "when": "before"}, "unknown", 0, 1, UNKNOWN
    ),
    "connection lost after accepting": Fault(
        {"kind": "disconnect", "when": "after"}, "unknown", 1, 1, UNKNOWN
    ),
    "accepted, then hangs": Fault({"kind": "hang", "when": "after"}, "unknown", 1, 1, UNKNOWN),
    "reset after accepting": Fault(
        {"kind": "disconnect", "when": "after", "reset": True}, "unknown", 1, 1, UNKNOWN
    ),
    "500 after accepting": Fault({"kind": "http_error", "when": "after"}, "unknown", 1, 1, UNKNOWN),
    "429 with Retry-After": Fault({"kind": "rate_limited", "retry_after": 1}, "succeeded", 1, 1),
    "429 without Retry-After": Fault({"kind": "rate_limited"}, "succeeded", 1, 1),
    "429 that asks for ten minutes": Fault(
        {"kind": "rate_limited", "retry_after": 600},
        "planned",
        0,
        0,
        RateLimitedError,
        "succeeded",
        ends_the_batch=True,
        pauses=True,
    ),
    "429 that asks for no time at all": Fault({"kind": "rate_limited", "retry_after": 0}, "succeeded", 1, 1),
    "429 with a date that has passed": Fault(
        {"kind": "rate_limited", "retry_after": "Thu, 01 Jan 1970 00:00:00 GMT"}, "succeeded", 1, 1
    ),
    "302 after accepting": Fault({"kind": "redirect", "when": "after"}, "unknown", 1, 1, UNKNOWN),
    "303 after accepting": Fault(
        {"kind": "redirect", "status": 303, "when": "after"}, "unknown", 1, 1, UNKNOWN
    ),
    "308 before accepting": Fault({"kind": "redirect", "status": 308}, "unknown", 0, 1, UNKNOWN),
    "an answer after 102 and 103": Fault({"kind": "early_hints"}, "succeeded", 1, 1),
    "an answer with a header of 20 kB": Fault({"kind": "long_header"}, "succeeded", 1, 1),
    "an answer that claims to be gzip": Fault({"kind": "false_encoding"}, "succeeded", 1, 1),
    "an answer without its last chunk": Fault({"kind": "unfinished_chunks"}, "succeeded", 1, 1),
    "an answer shorter than its length": Fault({"kind": "short_body"}, "succeeded", 1, 1),
    "accepted without a UUID": Fault({"kind": "missing_img_uuid"}, "unknown", 1, 1, UNKNOWN),
    "slow": Fault({"kind": "slow", "seconds": 0.2, "when": "after"}, "succeeded", 1, 1),
    "proxy page at 200": Fault({"kind": "html", "status": 200}, "unknown", 0, 1, UNKNOWN),
    "proxy page at 502 after accepting": Fault(
        {"kind": "html", "status": 502, "when": "after"}, "unknown", 1, 1, UNKNOWN
    ),
    "proxy page at 403": Fault(
        {"kind": "html", "status": 403}, "planned", 0, 0, UnexpectedResponseError, "succeeded", True
    ),
    "code != 0 at 200": Fault(
        {"kind": "business_error", "msg": "unsupported"}, "failed", 0, 0, BadRequestError
    ),
    "code -1 that says time-out": Fault(
        {"kind": "business_error", "code": -1, "msg": "timeout", "when": "after"}, "unknown", 1, 1, UNKNOWN
    ),
    "408 after accepting": Fault(
        {"kind": "http_error", "status": 408, "when": "after"}, "unknown", 1, 1, UNKNOWN
    ),
    "system busy": Fault(
        {"kind": "business_error", "code": 10001, "msg": "system busy, please try again later"}, **REFUSED_NOW
    ),
    "system maintenance": Fault(
        {"kind": "business_error", "code": 1001, "msg": "system maintenance, try again later"}, **REFUSED_NOW
    ),
    "425 that comes too early": Fault({"kind": "http_error", "status": 425}, **REFUSED_NOW),
    "404 of a path that moved": Fault({"kind": "http_error", "status": 404}, **REFUSED_NOW),
    "data that is a text": Fault({"kind": "edited", "as_text": True}, "succeeded", 1, 1),
    "a cost beyond 32 bits": Fault({"kind": "edited", "data": {"cost": 3_000_000_000}}, "succeeded", 1, 1),
    "a cost in words": Fault({"kind": "edited", "data": {"cost": "4 credits"}}, "succeeded", 1, 1),
    "a UUID that is a number": Fault(NO_FAULT, "succeeded", 1, 1, beside={"img_uuid": "number"}),
    "jobs that ended in the year 1": Fault(
        NO_FAULT,
        "succeeded",
        1,
        1,
        beside={"detail": {"kind": "edited", "data": {"end_time": "0001-01-01T00:00:00Z"}}},
    ),
    "status calls under maintenance": Fault(NO_FAULT, "succeeded", 1, 1, beside={"detail": MAINTENANCE}),
    "status calls that find no job": Fault(
        NO_FAULT,
        "succeeded",
        1,
        1,
        beside={"detail": {"kind": "business_error", "code": 404, "msg": "Job not found", "count": 3}},
    ),
}
FINAL = (UNKNOWN, BadRequestError)


@pytest.fixture(params=FAULTS.values(), ids=FAULTS)
def fault(request: pytest.FixtureRequest) -> Fault:
    return request.param


#: `make test` waits in one way for each kind of task, `make test-system` in both.
WHOLE_MATRIX = bool(os.environ.get("GOENHANCE_WHOLE_FAULT_MATRIX"))
WAITS_HERE = pytest.param(False, id="waits here")
DEFERRABLE = pytest.param(True, id="deferrable")


@pytest.fixture
def struck(
    task: Callable[..., LightTask],
    connect: Any,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
    deferrable: bool,
) -> Callable[..., LightTask]:
    """Make a task whose first submit the fault strikes."""

    def make(kind: str) -> LightTask:
        made = task(kind=kind, deferrable=deferrable)
        # One try for each status call: the wait itself must bear an answer that is not about the job.
        connect(made.sandbox, request_timeout=REQUEST_TIMEOUT, get_attempts=1)
        made.sandbox.put_faults(submit={"count": 1, **fault.switch}, **fault.beside)
        if fault.switch["kind"] == "hang":
            _let_the_time_of_the_first_submit_run_out(made, monkeypatch)
        return made

    return make


def _let_the_time_of_the_first_submit_run_out(task: LightTask, monkeypatch: pytest.MonkeyPatch) -> None:
    real = GoEnhanceClient.submit
    struck: list[str] = []

    async def submit(client: GoEnhanceClient, source_img: str, reference_img: str) -> Submission:
        # A round looks the method up once, so all of its pairs pass here.
        if struck:
            return await real(client, source_img, reference_img)
        struck.append(source_img)
        clock = Clock()
        sending = asyncio.create_task(real(client, source_img, reference_img))
        await until(lambda: task.accepted() == 1)
        clock.forward(REQUEST_TIMEOUT + 1)
        await asyncio.wait({sending}, timeout=60)
        if not sending.done():
            pytest.fail("a submit without an answer goes on after its time is over")
        return await sending

    monkeypatch.setattr(GoEnhanceClient, "submit", submit)


@pytest.mark.parametrize("deferrable", [WAITS_HERE, DEFERRABLE] if WHOLE_MATRIX else [WAITS_HERE])
def test_a_single_swap_is_never_paid_twice(struck: Callable[..., LightTask], fault: Fault) -> None:
    swap = struck("single")

    first = swap.attempt()

    row = swap.row()
    assert (row["status"], row["attempts"], swap.accepted()) == (fault.status, fault.attempts, fault.accepted)
    assert type(first.error) is (fault.error or type(None))
    if fault.error is None:
        assert first.value == row["img_uuid"] == swap.sandbox.submissions()[0]["img_uuid"]
    else:
        assert is_final(first.error) is issubclass(fault.error, FINAL)
        assert "air 'pair-1'" in first.message
        assert fault.status in first.message
        assert ("Nothing was paid" in first.message) is (fault.attempts == 0)
        assert ("1 submit may have been paid for" in first.message) is (fault.attempts == 1)

    if fault.pauses:
        assert type(swap.attempt().error) is fault.error
        swap.let_the_pause_end()
    second = swap.attempt()

    assert swap.row()["status"] == fault.expected_after_retry
    posts = fault.accepted + (fault.expected_after_retry != fault.status)
    assert swap.accepted() == posts
    assert (second.error is None) is (fault.expected_after_retry == "succeeded")


@pytest.mark.parametrize("deferrable", [WAITS_HERE, DEFERRABLE] if WHOLE_MATRIX else [DEFERRABLE])
def test_in_a_batch_one_struck_pair_costs_no_other_pair_anything(
    struck: Callable[..., LightTask], fault: Fault
) -> None:
    batch = struck("batch")
    if fault.in_a_batch == "succeeded":
        fault = replace(fault, status="succeeded", accepted=1, attempts=1, error=None)

    first = batch.attempt()

    rows = batch.rows()
    others = "planned" if fault.ends_the_batch else "succeeded"
    assert {pair: row["status"] for pair, row in rows.items()} == {
        "pair-1": fault.status,
        "pair-2": others,
        "pair-3": others,
    }
    sent = 0 if fault.ends_the_batch else 2
    assert rows["pair-1"]["attempts"] == fault.attempts
    assert batch.accepted() == fault.accepted + sent
    known = {row["img_uuid"] for row in rows.values()}
    orphans = [entry for entry in batch.sandbox.submissions() if entry["img_uuid"] not in known]
    assert len(orphans) == (fault.accepted if fault.status == "unknown" else 0)
    if fault.error is None:
        assert first.error is None
        assert {value["img_uuid"] for value in first.value} == set(first.xcoms["img_uuids"].values())
    else:
        assert type(first.error) is (fault.error if fault.ends_the_batch else BatchFailedError)
        assert "pair 'pair-1'" in first.message

    if fault.pauses:
        assert type(batch.attempt().error) is fault.error
        batch.let_the_pause_end()
    second = batch.attempt()

    statuses = {pair: row["status"] for pair, row in batch.rows().items()}
    assert statuses == {"pair-1": fault.expected_after_retry, "pair-2": "succeeded", "pair-3": "succeeded"}
    assert batch.accepted() == fault.accepted + 2 + (fault.expected_after_retry != fault.status)
    assert (second.error is None) is (fault.expected_after_retry == "succeeded")


@pytest.mark.parametrize("deferrable", [False])
def test_a_task_of_the_sync_hook_that_its_policy_retries_is_never_paid_twice(
    struck: Callable[..., LightTask], fault: Fault
) -> None:
    sandbox = struck("single").sandbox
    pair = sandbox.image("face.jpg"), sandbox.image("scene.jpg")
    received = []

    for _ in range(3):
        try:
            received.append(GoEnhanceHook().submit_face_swap(*pair).img_uuid)
        except GoEnhanceError as error:
            if is_final(error):
                break
        else:
            break

    accepted = [entry["img_uuid"] for entry in sandbox.submissions()]
    assert len(accepted) <= 1
    # All but an unknown outcome, which a person settles, and a pair that was declined.
    assert received == ([] if fault.status in {"unknown", "failed"} else accepted)
    assert len(received) == (fault.status not in {"unknown", "failed"})
