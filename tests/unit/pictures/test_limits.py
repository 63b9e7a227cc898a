# SPDX-License-Identifier: Apache-2.0
"""How much is collected at the same time: downloads, and bytes in memory."""

from __future__ import annotations

import asyncio

import pytest

from airflow_provider_goenhance.exceptions import CollectError, ErrorCode, LinkExpiredError
from airflow_provider_goenhance.pictures.limits import COPIES, ByteBudget, DownloadLimit
from tests.unit.clock import until


def timed_out() -> CollectError:
    return CollectError("too slow", error_code=ErrorCode.DOWNLOAD_TIMED_OUT)


async def download(limit: DownloadLimit, error: CollectError | None = None) -> None:
    async with limit.slot():
        if error is not None:
            raise error


async def fail(limit: DownloadLimit, error: CollectError, times: int) -> None:
    for _ in range(times):
        with pytest.raises(type(error)):
            await download(limit, error)


async def at_once(limit: DownloadLimit, downloads: int) -> int:
    """Return how many of some downloads run at the same time."""
    running = most = 0

    async def one() -> None:
        nonlocal running, most
        async with limit.slot():
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1

    await asyncio.gather(*(one() for _ in range(downloads)))
    return most


async def test_no_more_downloads_run_at_once_than_allowed() -> None:
    assert await at_once(DownloadLimit(3), 20) == 3


async def test_downloads_that_time_out_halve_the_number() -> None:
    limit = DownloadLimit(16)
    await fail(limit, timed_out(), 2)
    assert limit.limit == 8
    assert await at_once(limit, 9) == 8


async def test_there_is_always_one_download() -> None:
    limit = DownloadLimit(4)
    await fail(limit, timed_out(), 20)
    assert limit.limit == 1
    await download(limit)


async def test_the_number_grows_again_by_one_a_round_up_to_where_it_began() -> None:
    limit = DownloadLimit(8)
    await fail(limit, timed_out(), 2)
    assert limit.limit == 4
    for _ in range(4):
        await download(limit)
    assert limit.limit == 5
    for _ in range(1000):
        await download(limit)
    assert limit.limit == 8


async def test_a_dead_link_among_many_does_not_slow_the_others() -> None:
    limit = DownloadLimit(32)
    for _ in range(20):
        for _ in range(31):
            await download(limit)
        await fail(limit, timed_out(), 1)
    assert limit.limit == 32


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (CollectError("no connection", error_code=ErrorCode.DOWNLOAD_FAILED), 4),
        (CollectError("429", error_code=ErrorCode.DOWNLOAD_FAILED, http_status=429), 4),
        (CollectError("503", error_code=ErrorCode.DOWNLOAD_FAILED, http_status=503), 4),
        (CollectError("400", error_code=ErrorCode.DOWNLOAD_FAILED, http_status=400), 8),
        (CollectError("not a picture", error_code=ErrorCode.NOT_AN_IMAGE), 8),
        (LinkExpiredError("expired", http_status=403), 8),
    ],
)
async def test_only_what_fewer_downloads_may_avoid_reduces_them(error: CollectError, expected: int) -> None:
    limit = DownloadLimit(8)
    await fail(limit, error, 2)
    assert limit.limit == expected


async def test_downloads_that_began_before_the_halving_do_not_halve_once_more() -> None:
    limit = DownloadLimit(8)
    fails = asyncio.Event()

    async def one() -> None:
        async with limit.slot():
            await fails.wait()
            raise timed_out()

    downloads = [asyncio.create_task(one()) for _ in range(8)]
    await asyncio.sleep(0)
    fails.set()
    await asyncio.gather(*downloads, return_exceptions=True)
    assert limit.limit == 4


async def test_a_download_that_is_cancelled_while_it_waits_leaves_its_turn_to_the_next() -> None:
    limit = DownloadLimit(1)
    async with limit.slot():
        first = asyncio.create_task(download(limit))
        second = asyncio.create_task(download(limit))
        await asyncio.sleep(0)
        first.cancel()
    async with asyncio.timeout(60):
        await second
    assert first.cancelled()


async def test_a_turn_that_was_granted_to_a_cancelled_download_goes_to_the_next() -> None:
    limit = DownloadLimit(1)
    async with limit.slot():
        first = asyncio.create_task(download(limit))
        second = asyncio.create_task(download(limit))
        await asyncio.sleep(0)
    first.cancel()  # after its turn was granted, before it could run
    async with asyncio.timeout(60):
        await second


async def test_pictures_wait_until_there_is_room_for_all_their_copies() -> None:
    budget = ByteBudget(COPIES * 100)
    with budget.room() as second:
        with budget.room() as first:
            await first.expect(60)
            waiting = asyncio.create_task(second.expect(50))
            await asyncio.sleep(0)
            assert not waiting.done()
        await waiting
        assert budget.free == COPIES * 50
    assert budget.free == COPIES * 100


async def test_a_picture_that_is_larger_than_the_budget_is_collected_alone() -> None:
    budget = ByteBudget(100)
    with budget.room() as small, budget.room() as large:
        await small.expect(1)
        waiting = asyncio.create_task(large.expect(5000))
        await asyncio.sleep(0)
        assert not waiting.done()
        budget._release(small)
        async with asyncio.timeout(60):
            await waiting
        assert budget.free == 0


async def test_a_large_picture_is_not_overtaken_by_small_ones() -> None:
    budget = ByteBudget(COPIES * 100)
    order: list[str] = []
    with budget.room() as first, budget.room() as large, budget.room() as small:
        await first.expect(90)

        async def expect(name: str, room: object, size: int) -> None:
            await room.expect(size)  # type: ignore[attr-defined]
            order.append(name)

        tasks = [
            asyncio.create_task(expect("large", large, 80)),
            asyncio.create_task(expect("small", small, 5)),
        ]
        await asyncio.sleep(0)
        assert order == []
        budget._release(first)
        await asyncio.gather(*tasks)
    assert order == ["large", "small"]


async def test_pictures_of_unknown_size_never_wait_for_each_other_for_ever() -> None:
    budget = ByteBudget(COPIES * 100)
    collected: list[int] = []

    async def collect(number: int) -> None:
        with budget.room() as room:
            await room.expect(None)
            for _ in range(10):
                await room.grow(20)
            collected.append(number)

    async with asyncio.timeout(60):
        await asyncio.gather(*(collect(number) for number in range(5)))
    assert sorted(collected) == [0, 1, 2, 3, 4]
    assert budget.free == budget.most


async def test_a_picture_that_is_cancelled_while_it_waits_holds_nothing() -> None:
    budget = ByteBudget(COPIES * 100)
    with budget.room() as first:
        await first.expect(100)

        async def wait() -> None:
            with budget.room() as room:
                await room.expect(100)

        waiting = asyncio.create_task(wait())
        await until(lambda: len(budget._line) == 1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        with budget.room() as second:
            budget._release(first)
            async with asyncio.timeout(60):
                await second.expect(100)
    assert budget.free == budget.most
