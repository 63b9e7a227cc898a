# SPDX-License-Identifier: Apache-2.0
"""A semaphore that changes its size: nobody is forgotten, and no more get through than its size."""

from __future__ import annotations

import asyncio

from airflow_provider_goenhance.api.capacity import Capacity


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_it_lets_through_as_many_as_its_size() -> None:
    capacity = Capacity(2)
    assert [capacity.enter_now() for _ in range(3)] == [True, True, False]
    capacity.leave()
    assert capacity.enter_now()


def test_those_who_wait_get_through_in_order_when_it_grows() -> None:
    async def main() -> list[int]:
        capacity, through = Capacity(0), []

        async def one(number: int) -> None:
            await capacity.enter()
            through.append(number)

        tasks = [asyncio.create_task(one(number)) for number in range(4)]
        await settle()
        capacity.resize(2)
        await settle()
        assert through == [0, 1]
        capacity.resize(4)
        await asyncio.gather(*tasks)
        return through

    assert asyncio.run(main()) == [0, 1, 2, 3]


def test_a_smaller_size_lets_nobody_through_until_enough_have_left() -> None:
    async def main() -> None:
        capacity = Capacity(3)
        assert all([await capacity.enter() for _ in range(3)])
        capacity.resize(1)
        waiting = asyncio.create_task(capacity.enter())
        for _ in range(2):
            capacity.leave()
            await settle()
            assert not waiting.done()
        capacity.leave()
        assert await waiting
        assert capacity.used == 1

    asyncio.run(main())


def test_those_who_wait_can_be_told_to_give_up() -> None:
    async def main() -> None:
        capacity = Capacity(0)
        waiting = asyncio.create_task(capacity.enter())
        await settle()
        capacity.give_up()
        assert await waiting is False
        assert capacity.used == 0

    asyncio.run(main())


def test_one_that_is_cancelled_leaves_its_place_to_the_next() -> None:
    async def main() -> None:
        capacity = Capacity(0)
        first, second = (asyncio.create_task(capacity.enter()) for _ in range(2))
        await settle()
        capacity.resize(1)  # the first one is through, but has not run yet
        first.cancel()
        await asyncio.wait([first])
        assert await second
        assert capacity.used == 1

    asyncio.run(main())
