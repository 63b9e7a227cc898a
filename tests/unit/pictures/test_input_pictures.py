# SPDX-License-Identifier: Apache-2.0
"""Inputs that are fetched once more: from any host, and without waiting for those that do not answer."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from airflow_provider_goenhance.exceptions import CollectError
from airflow_provider_goenhance.pictures.input_pictures import InputPictures, NotAskedError
from tests.unit.pictures.picture_server import PictureServer


@pytest.fixture
def silent_resolver(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A resolver that answers for 127.0.0.1 only; the names it was asked for."""
    asked: list[str] = []

    async def look_up(_self: object, host: str, port: int = 0, **_: object) -> list[Any]:
        asked.append(host)
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr("aiohttp.resolver.DefaultResolver.resolve", look_up)
    return asked


async def test_names_that_are_not_found_cost_the_patience_once_however_many_there_are(
    session: aiohttp.ClientSession, server: PictureServer, silent_resolver: list[str]
) -> None:
    inputs = InputPictures(session, patience=0.3)
    assert await inputs.fetch(server.link("/user/s.jpg"))
    started = time.monotonic()
    slots = asyncio.Semaphore(4)

    async def fetch(number: int) -> object:
        async with slots:
            try:
                return await inputs.fetch(f"http://host-{number}.example/s.jpg")
            except Exception as error:  # noqa: BLE001
                return error

    found = await asyncio.gather(*(fetch(number) for number in range(40)))

    assert {type(error) for error in found} == {CollectError, NotAskedError}
    assert len(silent_resolver) <= 8
    assert time.monotonic() - started < 30
    assert await inputs.fetch(server.link("/user/s.jpg")), "a host that answers is still asked"


async def test_a_host_that_fails_more_often_in_a_row_than_allowed_is_asked_no_more(
    session: aiohttp.ClientSession, unused_tcp_port: int
) -> None:
    inputs = InputPictures(session, patience=60, first_silences=2)
    uri = f"http://127.0.0.1:{unused_tcp_port}/s.jpg"
    for expected in (CollectError, CollectError, NotAskedError):
        with pytest.raises(expected):
            await inputs.fetch(uri)


async def test_an_answer_that_is_an_error_is_an_answer(
    session: aiohttp.ClientSession, server: PictureServer
) -> None:
    inputs = InputPictures(session)
    for _ in range(5):
        with pytest.raises(CollectError):
            await inputs.fetch(server.link("/status/404"))
    assert await inputs.fetch(server.link("/user/s.jpg"))


async def test_an_input_that_is_not_on_the_web_is_read_from_its_storage(
    session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    path = tmp_path / "s.jpg"
    path.write_bytes(b"12345")
    assert await InputPictures(session).fetch(path.as_uri()) == b"12345"
    with pytest.raises(CollectError, match="larger than"):
        await InputPictures(session, max_bytes=4).fetch(path.as_uri())
    with pytest.raises(CollectError, match="no such file"):
        await InputPictures(session).fetch((tmp_path / "gone.jpg").as_uri())
