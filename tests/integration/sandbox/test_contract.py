# SPDX-License-Identifier: Apache-2.0
"""The three GoEnhance endpoints answer as the vendor documents."""

from __future__ import annotations

import asyncio
import re
import socket
import sqlite3
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import time_machine

from include.sandbox.app import create_app
from include.sandbox.connections import Connections
from include.sandbox.fault_middleware import FaultMiddleware
from include.sandbox.ledger import LEDGER_FILE
from include.sandbox.settings import Settings
from tests.unit.clock import Clock

from .conftest import BODY, DETAIL, PAIR, SUBMIT, TOKENS

TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")


@asynccontextmanager
async def in_process(application: FaultMiddleware, token: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application that runs in the event loop of the test."""
    async with (
        application.app.router.lifespan_context(application.app),
        httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://sandbox") as client,
    ):
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


def test_a_submit_is_answered_in_the_documented_bytes(client):
    answer = client.post(SUBMIT, json=BODY)
    assert answer.status_code == 200
    img_uuid = answer.json()["data"]["img_uuid"]
    assert str(uuid.UUID(img_uuid)) == img_uuid
    assert answer.content == b'{"code":0,"msg":"Success","data":{"img_uuid":"%s"}}' % img_uuid.encode()


@pytest.mark.parametrize(("method", "path"), [("POST", SUBMIT), ("GET", DETAIL), ("GET", TOKENS)])
@pytest.mark.parametrize("header", ["", "Bearer wrong", "sk-sandbox-token"])
def test_a_wrong_token_is_refused_in_the_documented_bytes(client, sandbox, method, path, header):
    answer = client.request(method, path, json=BODY, headers={"Authorization": header})
    assert (answer.status_code, answer.content) == (401, b'{"code":401,"msg":"Token Error"}')
    assert sandbox.submissions() == []


def test_a_running_job_shows_the_documented_fields_and_no_result(client, sandbox):
    sandbox.put_faults(job_seconds=86_400)
    img_uuid = client.post(SUBMIT, json=BODY).json()["data"]["img_uuid"]
    answer = client.get(DETAIL, params={"img_uuid": img_uuid}).json()
    assert (answer["code"], answer["msg"]) == (0, "Success")
    data = answer["data"]
    data.pop("sandbox")
    assert TIME.match(data.pop("start_time"))
    assert data == {
        "img_uuid": img_uuid,
        "status": "pending",
        "type": "mx-image-face-swap",
        "model_id": "-1",
        "json": None,
        "job_type": "mx-image-face-swap",
    }


async def test_a_job_goes_from_pending_over_processing_to_success(tmp_path):
    settings = Settings(state_dir=tmp_path, engine="none", switches={"job_seconds": 100.0})
    application, clock = create_app(settings, Connections()), Clock()
    with time_machine.travel("2026-11-22T10:00:00Z", tick=False) as date:
        async with in_process(application, settings.token) as client:
            img_uuid = (await client.post(SUBMIT, json=BODY)).json()["data"]["img_uuid"]

            async def after(seconds: float) -> str:
                date.shift(seconds)
                clock.forward(seconds)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                answer = await client.get(DETAIL, params={"img_uuid": img_uuid})
                return answer.json()["data"]["status"]

            words = [await after(seconds) for seconds in (0, 19, 2, 70, 10)]
    assert words == ["pending", "pending", "processing", "processing", "success"]


def test_a_finished_job_shows_end_time_and_one_image(sandbox):
    data = sandbox.wait_for(sandbox.submit(**PAIR))
    assert TIME.match(data["end_time"])
    assert data["end_time"] > data["start_time"]
    (item,) = data["json"]
    assert item["type"] == "image"
    assert re.match(
        rf"{sandbox.url}/results/user/\d{{4}}/\d\d/\d\d/[0-9a-f-]{{36}}_0\.png\?q-sign", item["value"]
    )
    assert data["img_uuid"] not in item["value"]


def test_each_submit_costs_credits_and_tokens_tells_the_balance(client, sandbox):
    sandbox.put_faults(credits=10, cost=3)
    sandbox.submit(**PAIR)
    assert client.get(TOKENS).content == b'{"code":0,"msg":"success","data":{"count":7}}'


def test_repeating_a_submit_is_a_second_paid_job(sandbox):
    assert sandbox.submit(**PAIR) != sandbox.submit(**PAIR)
    assert len(sandbox.submissions()) == 2


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"no json", "body"),
        (b'{"type":"mx-v2v","args":{}}', "type"),
        (b'{"type":"mx-image-face-swap"}', "args"),
        (b'{"type":"mx-image-face-swap","args":{"source_img":"http://a/b"}}', "args.reference_img"),
    ],
)
def test_a_bad_body_gets_the_envelope_and_costs_nothing(client, sandbox, body, named):
    answer = client.post(SUBMIT, content=body)
    assert (answer.status_code, answer.json()["code"], answer.json()["data"]) == (200, 400, {"img_uuid": ""})
    assert answer.json()["msg"].startswith(f"{named}:")
    assert sandbox.submissions() == []


@pytest.mark.parametrize(
    ("kind", "status", "body"),
    [
        ("http_400", 400, {"code": 400, "msg": "body: not JSON"}),
        ("http_500", 500, {"code": 500, "msg": ""}),
        ("code_at_200", 200, {"code": 400, "msg": "body: not JSON", "data": {"img_uuid": ""}}),
    ],
)
def test_a_bad_body_is_answered_as_the_switch_says(client, sandbox, kind, status, body):
    sandbox.put_faults(bad_request=kind)
    answer = client.post(SUBMIT, content=b"no json")
    assert (answer.status_code, answer.json()) == (status, body)


@pytest.mark.parametrize(
    "url",
    ["HTTP://a/b.jpg", "HttpS://a:8080", "http://a?b", "http://[::1]/b.jpg", "http://bücher.invalid/b c.jpg"],
)
def test_a_url_with_a_host_is_accepted_in_any_case(sandbox, url):
    sandbox.submit(url, PAIR["reference_img"])
    assert [entry["source_img"] for entry in sandbox.submissions()] == [url]


@pytest.mark.parametrize(
    "url",
    ["http://", "http:// /", "https:///b.jpg", "http://a b/c", "http://:80/", "ftp://a/b", "http://a\n"],
)
def test_a_url_without_a_host_is_refused_before_it_is_billed(client, sandbox, url):
    answer = client.post(SUBMIT, json={"type": BODY["type"], "args": {**PAIR, "reference_img": url}})
    assert answer.json() == {
        "code": 400,
        "msg": "args.reference_img: must be an http or https URL with a host",
        "data": {"img_uuid": ""},
    }
    assert sandbox.submissions() == []


@pytest.mark.parametrize("path", [f"{SUBMIT}/", f"{DETAIL}/", f"{TOKENS}/", "/api/v1/videofaceswap/generate"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_any_other_path_is_404_in_the_envelope_and_no_redirect(client, method, path):
    answer = client.request(method, path)
    assert (answer.status_code, answer.json()) == (404, {"code": 404, "msg": "Not Found"})


def test_the_ledger_lists_every_accepted_submit_in_order(sandbox):
    pairs = [{"source_img": f"http://a/{n}", "reference_img": f"http://b/{n}"} for n in range(3)]
    uuids = [sandbox.submit(**pair) for pair in pairs]
    ledger = sandbox.submissions()
    assert [entry["img_uuid"] for entry in ledger] == uuids
    assert [{name: entry[name] for name in PAIR} for entry in ledger] == pairs
    assert all(TIME.match(entry["accepted_at"]) for entry in ledger)


def test_the_ledger_can_be_read_on_from_a_place(client, sandbox):
    for _ in range(4):
        sandbox.submit(**PAIR)
    part = client.get("/sandbox/submissions", params={"after": 1, "limit": 2}).json()
    assert [entry["sequence"] for entry in part] == [2, 3]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("GET", SUBMIT, 405), ("GET", "/sandbox/submissions?after=x", 400)],
)
def test_errors_outside_the_contract_have_the_envelope_too(client, method, path, status):
    answer = client.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, status)


def test_a_client_that_leaves_in_the_middle_of_its_body_submits_nothing(client, sandbox):
    head = f"POST {SUBMIT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {sandbox.token}\r\n"
    with socket.create_connection(("127.0.0.1", sandbox.port)) as connection:
        connection.sendall(f'{head}Content-Length: 500\r\n\r\n{{"type":'.encode())
    sandbox.submit(**PAIR)
    assert len(sandbox.submissions()) == 1


def test_a_refused_method_tells_all_methods_of_the_path(client):
    assert client.post("/sandbox/faults").headers["Allow"] == "GET, PUT"


async def test_a_submit_that_cannot_be_recorded_is_not_accepted(tmp_path):
    settings = Settings(state_dir=tmp_path, engine="none", credits=9)
    async with in_process(create_app(settings, Connections()), settings.token) as client:
        ledger = sqlite3.connect(tmp_path / LEDGER_FILE)
        ledger.execute("DROP TABLE jobs")
        ledger.close()
        answer = await client.post(SUBMIT, json=BODY)
        assert (answer.status_code, answer.content) == (500, b'{"code":500,"msg":""}')
        assert (await client.get(TOKENS)).json()["data"]["count"] == 9
        assert (await client.get("/sandbox/submissions")).json() == []
