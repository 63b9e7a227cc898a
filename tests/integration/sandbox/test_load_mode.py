# SPDX-License-Identifier: Apache-2.0
"""Load mode and concurrency: the ledger is exact, and every answer says that nothing was swapped."""

from __future__ import annotations

import asyncio
import io
from itertools import chain
from urllib.request import urlopen

import aiohttp
from PIL import Image

from include.sandbox.jobs import LOAD_MODE_NOTE
from include.sandbox.process import SandboxProcess

from .conftest import BODY, PAIR, SUBMIT

SUBMITS = 500


def test_each_result_and_each_detail_says_that_nothing_was_swapped(client, sandbox):
    data = sandbox.wait_for(sandbox.submit(**PAIR))
    assert data["sandbox"] == LOAD_MODE_NOTE
    picture = Image.open(io.BytesIO(client.get(data["json"][0]["value"]).content))
    assert "no face was swapped" in picture.info["Comment"]
    assert data["img_uuid"] in picture.info["Comment"]
    assert "no face was swapped" in client.get("/health").json()["note"]


def session_of(sandbox) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(sandbox.url, headers={"Authorization": f"Bearer {sandbox.token}"})


async def submit_at_once(sandbox) -> list[str | None]:
    """Submit numbered pairs 50 at a time; None where the connection was lost."""
    numbers = iter(range(SUBMITS))

    async def slot(session: aiohttp.ClientSession) -> list[str | None]:
        given = []
        for number in numbers:
            args = {"source_img": f"http://s.invalid/{number}", "reference_img": "http://r.invalid/1"}
            try:
                async with session.post(SUBMIT, json=BODY | {"args": args}) as answer:
                    given.append((await answer.json())["data"]["img_uuid"])
            except aiohttp.ServerDisconnectedError:
                given.append(None)
        return given

    async with session_of(sandbox) as session:
        return list(chain.from_iterable(await asyncio.gather(*(slot(session) for _ in range(50)))))


async def test_many_submits_at_once_are_each_in_the_ledger_once(sandbox):
    given = await submit_at_once(sandbox)
    ledger = await asyncio.to_thread(sandbox.submissions)
    assert sorted(entry["img_uuid"] for entry in ledger) == sorted(given)
    assert {entry["source_img"] for entry in ledger} == {f"http://s.invalid/{n}" for n in range(SUBMITS)}
    assert [entry["sequence"] for entry in ledger] == list(range(1, SUBMITS + 1))
    assert (await asyncio.to_thread(sandbox.faults))["credits"] == 1_000_000 - SUBMITS


async def test_lost_answers_are_exactly_the_entries_nobody_was_given(sandbox):
    await asyncio.to_thread(sandbox.put_faults, submit={"kind": "disconnect", "when": "after", "share": 0.2})
    given = await submit_at_once(sandbox)
    ledger = {entry["img_uuid"] for entry in await asyncio.to_thread(sandbox.submissions)}
    assert len(ledger) == SUBMITS
    assert len(ledger - set(given)) == given.count(None)
    assert 50 < given.count(None) < 150


async def test_credits_never_go_below_zero(sandbox):
    await asyncio.to_thread(sandbox.put_faults, credits=50, out_of_credits="http_402")

    async def submit(session: aiohttp.ClientSession) -> int:
        async with session.post(SUBMIT, json=BODY) as answer:
            return answer.status

    async with session_of(sandbox) as session:
        statuses = await asyncio.gather(*(submit(session) for _ in range(80)))
    assert sorted(statuses) == [200] * 50 + [402] * 30
    assert len(await asyncio.to_thread(sandbox.submissions)) == 50


def test_a_given_picture_is_served_for_every_job_with_the_jobs_own_comment(tmp_path):
    given = tmp_path / "result.jpg"
    Image.new("RGB", (64, 48), "navy").save(given)
    with SandboxProcess(engine="none", load_picture=given, job_seconds=0.0) as sandbox:
        pictures = {}
        for number in range(2):
            data = sandbox.wait_for(sandbox.submit("http://s.invalid/1", f"http://r.invalid/{number}"))
            pictures[data["img_uuid"]] = urlopen(data["json"][0]["value"]).read()
    assert len(set(pictures.values())) == 2
    for img_uuid, picture in pictures.items():
        image = Image.open(io.BytesIO(picture))
        assert image.size == (64, 48)
        assert img_uuid in image.info["comment"].decode()
        assert "no face was swapped" in image.info["comment"].decode()
