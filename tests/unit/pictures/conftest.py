# SPDX-License-Identifier: Apache-2.0
"""The picture server and a client session for the tests of package pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest_asyncio

from tests.unit.pictures.picture_server import PictureServer
from tests.unit.pictures.pictures import encoded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest_asyncio.fixture
async def server() -> AsyncIterator[PictureServer]:
    async with PictureServer(encoded("jpeg")) as running:
        yield running


@pytest_asyncio.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened
