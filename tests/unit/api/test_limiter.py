# SPDX-License-Identifier: Apache-2.0
"""The limits on when requests start, in an event loop in which waiting takes no time and times are exact."""

from __future__ import annotations

import asyncio

import pytest

from airflow_provider_goenhance.api.limiter import Limiter

pytestmark = pytest.mark.looptime(start=0.0)


async def starts(limiter: Limiter, count: int, *, paced: bool = True) -> list[float]:
    """Request ``count`` slots at once, and return the time at which each was granted."""
    started = []

    async def one() -> None:
        async with limiter.slot(paced=paced):
            started.append(asyncio.get_running_loop().time())

    await asyncio.gather(*(one() for _ in range(count)))
    return started


async def test_paced_requests_start_no_faster_than_allowed() -> None:
    assert await starts(Limiter(8, per_second=50), 6) == pytest.approx([0.0, 0.02, 0.04, 0.06, 0.08, 0.10])


async def test_requests_that_are_not_paced_do_not_wait_for_a_turn() -> None:
    assert await starts(Limiter(8, per_second=0.1), 8, paced=False) == [0.0] * 8


@pytest.mark.parametrize("paced", [True, False])
async def test_a_pause_holds_every_request_back(paced: bool) -> None:
    limiter = Limiter(8)
    limiter.pause(15.0)
    limiter.pause(5.0)
    assert await starts(limiter, 3, paced=paced) == [15.0] * 3


async def test_a_pause_that_is_lengthened_while_it_is_waited_out_is_waited_out_whole() -> None:
    limiter = Limiter(8)
    limiter.pause(5.0)
    waiting = asyncio.create_task(starts(limiter, 3))
    await asyncio.sleep(3.0)
    limiter.pause(10.0)
    assert await waiting == [13.0] * 3


async def test_the_end_of_a_pause_is_not_a_burst() -> None:
    limiter = Limiter(8, per_second=50)
    waiting = asyncio.create_task(starts(limiter, 5))
    await asyncio.sleep(0.01)
    limiter.pause(0.1)
    # The first had its turn before the pause; the others begin one after the other when it is over.
    assert await waiting == pytest.approx([0.0, 0.11, 0.13, 0.15, 0.17])
