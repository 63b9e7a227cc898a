# SPDX-License-Identifier: Apache-2.0
"""How long a client waits where GoEnhance says that it is too fast."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import time_machine

from airflow_provider_goenhance.api.account import DEFAULT_SUBMIT_ATTEMPTS, Account
from airflow_provider_goenhance.api.client import open_client
from airflow_provider_goenhance.exceptions import RateLimitedError
from tests.unit.api.conftest import PAIR, Waits, submit_error
from tests.unit.api.goenhance_server import ACCEPTED, GoEnhanceServer, answer

AccountAt = Callable[..., Account]


@pytest.mark.parametrize("header", ["7", "Sun, 22 Nov 2026 10:00:07 GMT"])
@time_machine.travel("2026-11-22T10:00:00Z", tick=False)
async def test_a_rate_limited_submit_waits_as_long_as_it_was_told(
    server: GoEnhanceServer, account_at: AccountAt, waits: Waits, header: str
) -> None:
    server.plays(answer({"code": 429, "msg": "slow down"}, 429, Retry_After=header), answer(ACCEPTED))
    async with open_client(account_at(server.url), sleep=waits) as client:
        client.limiter.pause = lambda _: None  # type: ignore[method-assign]  its clock runs on
        assert (await client.submit(*PAIR)).img_uuid == "job-1"
    assert len(server.requests) == 2
    (waited,) = waits
    assert 7.0 < waited <= 7.5


@pytest.mark.parametrize(
    "asked", ["0", "-5", "nan", "soon", "Thu, 01 Jan 1970 00:00:00 GMT", "Sun, 22 Nov 2026 09:59:59 GMT"]
)
@time_machine.travel("2026-11-22T10:00:00Z", tick=False)
async def test_a_rate_limit_that_asks_for_no_time_is_met_with_the_same_longer_and_longer_waits(
    server: GoEnhanceServer, account_at: AccountAt, waits: Waits, asked: str
) -> None:
    server.plays(answer({"code": 429, "msg": "slow down"}, 429, Retry_After=asked))
    async with open_client(account_at(server.url), sleep=waits) as client:
        client.limiter.pause = lambda _: None  # type: ignore[method-assign]
        with pytest.raises(RateLimitedError):
            await client.submit(*PAIR)
    assert len(server.requests) == DEFAULT_SUBMIT_ATTEMPTS
    for wait, least in zip(waits, [0.5, 1.0, 2.0, 4.0, 8.0], strict=True):
        assert wait >= least


@pytest.mark.parametrize("ours", ["2026-11-22T09:00:00Z", "2026-11-22T11:00:00Z"])
async def test_a_wrong_clock_of_ours_does_not_change_how_long_a_date_asks_to_wait(
    server: GoEnhanceServer, account_at: AccountAt, waits: Waits, ours: str
) -> None:
    moments = {"Date": "Sun, 22 Nov 2026 10:00:00 GMT", "Retry_After": "Sun, 22 Nov 2026 10:00:07 GMT"}
    server.plays(answer({"code": 429, "msg": "slow down"}, 429, **moments), answer(ACCEPTED))
    with time_machine.travel(ours, tick=False):
        async with open_client(account_at(server.url), sleep=waits) as client:
            client.limiter.pause = lambda _: None  # type: ignore[method-assign]
            await client.submit(*PAIR)
    (waited,) = waits
    assert 7.0 < waited <= 7.5


async def test_a_rate_limit_without_a_time_is_met_with_longer_and_longer_waits(
    server: GoEnhanceServer, account_at: AccountAt, waits: Waits
) -> None:
    server.plays(answer({"code": 429, "msg": "slow down"}, 429))
    async with open_client(account_at(server.url), sleep=waits) as client:
        client.limiter.pause = lambda _: None  # type: ignore[method-assign]
        with pytest.raises(RateLimitedError) as raised:
            await client.submit(*PAIR)
    assert not raised.value.maybe_accepted
    assert len(server.requests) == DEFAULT_SUBMIT_ATTEMPTS
    assert len(waits) == DEFAULT_SUBMIT_ATTEMPTS - 1
    for wait, least in zip(waits, [0.5, 1.0, 2.0, 4.0, 8.0], strict=True):
        assert least <= wait <= 1.5 * least


async def test_a_rate_limit_for_an_hour_is_not_waited_out(
    server: GoEnhanceServer, account_at: AccountAt, waits: Waits
) -> None:
    server.plays(answer({"code": 429, "msg": ""}, 429, Retry_After="3000"))
    raised = await submit_error(account_at(server.url), waits)
    assert isinstance(raised, RateLimitedError)
    assert raised.retry_after == 3000.0
    assert (len(server.requests), waits) == (1, [])
