# SPDX-License-Identifier: Apache-2.0
"""A scripted server, a clock that does not make tests wait, and an account."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from airflow_provider_goenhance.api.account import Account
from airflow_provider_goenhance.api.client import open_client
from airflow_provider_goenhance.exceptions import GoEnhanceError
from tests.unit.api.goenhance_server import GoEnhanceServer

TOKEN = "sk-unit-test-0123456789"
PAIR = ("https://example.com/face.jpg?sig=1", "https://example.com/scene.jpg")


@pytest_asyncio.fixture
async def server() -> AsyncIterator[GoEnhanceServer]:
    async with GoEnhanceServer() as running:
        yield running


@pytest.fixture
def account_at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Account]:
    """Make accounts; the proxies of the shell that runs the tests do not count."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)

    def account(base_url: str, **fields: Any) -> Account:
        return Account("goenhance_test", TOKEN, base_url, **{"request_timeout": 60.0, **fields})

    return account


class Waits(list[float]):
    """Collects the waits between attempts instead of waiting."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def waits() -> Waits:
    """Return what a client gets as its ``sleep``."""
    return Waits()


async def submit_error(account: Account, waits: Waits) -> GoEnhanceError:
    async with open_client(account, sleep=waits) as client:
        with pytest.raises(GoEnhanceError) as raised:
            await client.submit(*PAIR)
    assert TOKEN not in f"{raised.value} {raised.value!r}"
    return raised.value
