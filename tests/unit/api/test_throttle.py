# SPDX-License-Identifier: Apache-2.0
"""How fast requests may start."""

from __future__ import annotations

import asyncio

import pytest

from airflow_provider_goenhance.api.throttle import Throttle


async def starts(throttle: Throttle, count: int, *, paced: bool = True) -> list[float]:
    loop = asyncio.get_running_loop()
    began, started = loop.time(), []

    async def one() -> None:
        async with throttle.slot(paced=paced):
            started.append(loop.time() - began)

    await asyncio.gather(*(one() for _ in range(count)))
    return started


async def test_paced_requests_start_no_faster_than_allowed() -> None:
    started = await starts(Throttle(8, per_second=50), 6)
    for place, moment in enumerate(started):
        assert moment >= place / 50 - 0.001


async def test_requests_that_are_not_paced_do_not_wait_for_a_turn() -> None:
    assert (await starts(Throttle(8, per_second=0.1), 8, paced=False))[-1] < 5.0


@pytest.mark.parametrize("paced", [True, False])
async def test_a_pause_holds_every_request_back(paced: bool) -> None:
    throttle = Throttle(8)
    throttle.pause(0.15)
    throttle.pause(0.05)
    assert min(await starts(throttle, 3, paced=paced)) >= 0.149


async def test_the_end_of_a_pause_is_not_a_burst() -> None:
    throttle = Throttle(8, per_second=50)
    waiting = asyncio.create_task(starts(throttle, 5))
    await asyncio.sleep(0.01)
    throttle.pause(0.1)
    started = await waiting
    assert len(started) == 5
    for place, moment in enumerate(started[1:]):
        assert moment >= 0.11 + place / 50 - 0.001
