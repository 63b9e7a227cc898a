# SPDX-License-Identifier: Apache-2.0
"""A server of pictures, and a session to look at them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from airflow_provider_goenhance.pictures.session import open_session
from tests.unit.inputs.file_server import FileServer


@pytest.fixture
def files() -> Iterator[FileServer]:
    with FileServer() as server:
        yield server


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session(trust_env=False) as opened:
        yield opened
