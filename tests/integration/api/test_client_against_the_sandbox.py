# SPDX-License-Identifier: Apache-2.0
"""The client against a vendor in another process, whose own ledger says what was accepted."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_goenhance.api.account import Account
from airflow_provider_goenhance.api.client import open_client
from airflow_provider_goenhance.api.models import JobState
from airflow_provider_goenhance.api.polling import wait_for_jobs
from airflow_provider_goenhance.exceptions import (
    AuthenticationError,
    BadRequestError,
    ConnectionLostError,
    GoEnhanceError,
    OutOfCreditsError,
    RateLimitedError,
    ServerError,
    UnexpectedResponseError,
    UnreachableError,
)
from tests.unit.clock import Clock, until

if TYPE_CHECKING:
    from include.sandbox.process import SandboxProcess

PAIR = ("https://example.com/face.jpg", "https://example.com/scene.jpg")


@pytest.fixture
def sandbox(goenhance_sandbox_shared: SandboxProcess) -> SandboxProcess:
    return goenhance_sandbox_shared


def account(sandbox: SandboxProcess, **fields: Any) -> Account:
    return Account(
        "goenhance_test",
        **{
            "token": sandbox.token,
            "base_url": sandbox.url,
            "trust_env": False,
            "request_timeout": 60.0,
            **fields,
        },
    )


async def test_a_swap_goes_from_submit_to_its_signed_link(sandbox: SandboxProcess) -> None:
    # Another's job holds the only place until there is a second one.
    sandbox.put_faults(job={"kind": "stuck", "count": 1}, queue_limit=1)
    others = sandbox.submit(*PAIR)
    sandbox.put_faults(show_cost=True, cost=4, show_queue_limit=True)
    async with open_client(account(sandbox)) as client:
        before = await client.get_credits()
        submission = await client.submit(*PAIR)
        running = await client.get_job(submission.img_uuid)
        sandbox.put_faults(queue_limit=7)
        sandbox.wait_for(submission.img_uuid)
        job = await client.get_job(submission.img_uuid)
        after = await client.get_credits()
    assert (running.state, running.links) == (JobState.RUNNING, ())
    assert (job.state, len(job.links)) == (JobState.SUCCEEDED, 1)
    assert job.links[0].startswith(f"{sandbox.url}/results/")
    assert job.ended_at is not None
    assert (submission.cost, before.count - after.count) == (4, 4)
    assert (before.queue_limit, after.queue_limit) == (1, 7)
    assert [row["img_uuid"] for row in sandbox.submissions()] == [others, submission.img_uuid]


@pytest.mark.parametrize(
    ("fault", "error", "accepted"),
    [
        ({"kind": "disconnect", "when": "before"}, ConnectionLostError, 0),
        ({"kind": "disconnect", "when": "after"}, ConnectionLostError, 1),
        ({"kind": "disconnect", "when": "after", "reset": True}, ConnectionLostError, 1),
        ({"kind": "hang", "when": "after"}, ConnectionLostError, 1),
        ({"kind": "http_error", "when": "after"}, ServerError, 1),
        ({"kind": "http_error", "status": 503}, ServerError, 0),
        ({"kind": "html", "when": "after"}, UnexpectedResponseError, 1),
        ({"kind": "bad_json", "when": "after"}, UnexpectedResponseError, 1),
        ({"kind": "missing_img_uuid"}, UnexpectedResponseError, 1),
    ],
)
async def test_a_submit_whose_fate_is_not_known_is_sent_once_and_says_so(
    sandbox: SandboxProcess, fault: dict[str, Any], error: type[GoEnhanceError], accepted: int
) -> None:
    sandbox.put_faults(submit=fault)
    clock = Clock()
    async with open_client(account(sandbox, request_timeout=60.0)) as client:
        submitting = asyncio.create_task(client.submit(*PAIR))
        if fault["kind"] == "hang":
            await until(lambda: len(sandbox.submissions()) == accepted)
            clock.forward(61.0)
        with pytest.raises(error) as raised:
            await asyncio.wait_for(submitting, 120.0)
    assert raised.value.maybe_accepted
    assert len(sandbox.submissions()) == accepted
    assert sandbox.faults()["submit"][0]["fired"] == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "business_error"}, BadRequestError),
        ({"kind": "http_error", "status": 422, "msg": "no"}, BadRequestError),
        ({"kind": "no_credits"}, OutOfCreditsError),
        ({"kind": "rate_limited", "retry_after": 600}, RateLimitedError),
    ],
)
async def test_a_submit_that_was_declined_cost_nothing(
    sandbox: SandboxProcess, fault: dict[str, Any], error: type[GoEnhanceError]
) -> None:
    sandbox.put_faults(submit=fault)
    async with open_client(account(sandbox)) as client:
        with pytest.raises(error) as raised:
            await client.submit(*PAIR)
    assert not raised.value.maybe_accepted
    assert sandbox.submissions() == []


@pytest.mark.parametrize("form", ["http_402", "code_at_200"])
async def test_an_account_without_credits_is_named_as_that(
    goenhance_sandbox_factory: Callable[..., SandboxProcess], form: str
) -> None:
    sandbox = goenhance_sandbox_factory(credits=0, out_of_credits=form)
    async with open_client(account(sandbox)) as client:
        with pytest.raises(OutOfCreditsError, match="out of credits"):
            await client.submit(*PAIR)


async def test_a_rate_limited_submit_is_sent_again_and_accepted_once(sandbox: SandboxProcess) -> None:
    sandbox.put_faults(submit={"kind": "rate_limited", "retry_after": 1, "count": 1})
    async with open_client(account(sandbox)) as client:
        submission = await client.submit(*PAIR)
    assert [row["img_uuid"] for row in sandbox.submissions()] == [submission.img_uuid]


async def test_a_wrong_token_is_refused_by_name_of_the_connection_and_shown_nowhere(
    sandbox: SandboxProcess, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with open_client(account(sandbox, token="sk-not-the-right-one")) as client:
        for call in (client.submit(*PAIR), client.get_job("job-1"), client.get_credits()):
            with pytest.raises(AuthenticationError, match="goenhance_test") as raised:
                await call
            assert "sk-not" not in f"{raised.value!r}"
    assert "sk-not" not in caplog.text


async def test_a_sandbox_that_comes_back_gets_the_submit_that_waited_for_it(
    goenhance_sandbox_factory: Callable[..., SandboxProcess],
) -> None:
    sandbox = goenhance_sandbox_factory()
    sandbox.kill()
    waited: list[float] = []

    async def meanwhile(seconds: float) -> None:
        waited.append(seconds)
        await asyncio.to_thread(sandbox.start)

    async with open_client(account(sandbox), sleep=meanwhile) as client:
        submission = await client.submit(*PAIR)
    assert len(waited) == 1
    assert [row["img_uuid"] for row in sandbox.submissions()] == [submission.img_uuid]


async def test_a_vendor_that_is_down_was_not_sent_anything(
    goenhance_sandbox_factory: Callable[..., SandboxProcess],
) -> None:
    sandbox = goenhance_sandbox_factory()
    sandbox.kill()
    async with open_client(account(sandbox, submit_attempts=1)) as client:
        with pytest.raises(UnreachableError, match="Nothing was sent by this submit"):
            await client.submit(*PAIR)


@pytest.mark.parametrize("form", ["code_at_200", "http_400"])
async def test_a_body_that_the_vendor_refuses_is_declined_with_its_reason(
    sandbox: SandboxProcess, form: str
) -> None:
    sandbox.put_faults(bad_request=form)
    async with open_client(account(sandbox)) as client:
        with pytest.raises(
            BadRequestError, match=r"args\.source_img: must be an http or https URL"
        ) as raised:
            await client.submit("http:// /face.jpg", PAIR[1])
    assert not raised.value.maybe_accepted
    assert sandbox.submissions() == []


@pytest.mark.parametrize("form", ["code_at_200", "null_at_200", "http_404"])
async def test_a_job_that_the_vendor_does_not_know_is_declined(sandbox: SandboxProcess, form: str) -> None:
    sandbox.put_faults(unknown_job=form)
    async with open_client(account(sandbox)) as client:
        with pytest.raises(BadRequestError) as raised:
            await client.get_job("00000000-0000-4000-8000-000000000000")
    assert raised.value.img_uuid == "00000000-0000-4000-8000-000000000000"


async def test_two_hundred_swaps_are_submitted_and_waited_for(
    sandbox: SandboxProcess,
) -> None:
    async with open_client(account(sandbox, max_concurrency=8)) as client:
        submitted = await asyncio.gather(*(client.submit(*PAIR) for _ in range(200)))
        img_uuids = [submission.img_uuid for submission in submitted]
        outcome = await wait_for_jobs(
            client.get_job, img_uuids, deadline=time.time() + 600, poll_interval=0.2
        )
    assert sorted(outcome.succeeded) == sorted(img_uuids)
    assert {row["img_uuid"] for row in sandbox.submissions()} == set(img_uuids)
    assert len(sandbox.submissions()) == 200
