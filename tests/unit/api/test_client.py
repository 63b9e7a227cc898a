# SPDX-License-Identifier: Apache-2.0
"""The client against a server that answers, refuses, hangs up, hangs or is not there."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest

from airflow_provider_goenhance.api.account import DEFAULT_SUBMIT_ATTEMPTS, Account
from airflow_provider_goenhance.api.client import CONNECT_TIMEOUT, open_client
from airflow_provider_goenhance.api.models import JobState
from airflow_provider_goenhance.exceptions import (
    AuthenticationError,
    BadRequestError,
    ConnectionLostError,
    GoEnhanceError,
    OutOfCreditsError,
    ServerError,
    UnexpectedResponseError,
    UnreachableError,
)
from tests.unit.api.certificate import self_signed
from tests.unit.api.conftest import PAIR, TOKEN, Waits, submit_error
from tests.unit.api.goenhance_server import (
    ACCEPTED,
    RUNNING,
    GoEnhanceServer,
    Step,
    answer,
    cut,
    hang_up,
    raw,
)
from tests.unit.clock import Clock, until

AccountAt = Callable[..., Account]
HTML = "<html>502 Bad Gateway</html>"


@contextmanager
def closed_port() -> Iterator[int]:
    """Bind a port without listening, so that no other process can listen on it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


async def test_a_submit_is_the_request_of_the_vendors_document(
    server: GoEnhanceServer, account_at: AccountAt
) -> None:
    async with open_client(account_at(server.url, headers={"X-Team": "faces"})) as client:
        assert (await client.submit(*PAIR)).img_uuid == "job-1"
    request = server.requests[0]
    assert (request.method, request.path) == ("POST", "/api/v1/imagefaceswap/generate")
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert request.headers["X-Team"] == "faces"
    assert json.loads(server.bodies[0]) == {
        "args": {"source_img": PAIR[0], "reference_img": PAIR[1]},
        "type": "mx-image-face-swap",
    }


async def test_a_host_with_a_path_keeps_it(server: GoEnhanceServer, account_at: AccountAt) -> None:
    server.plays(answer({"code": 0, "msg": "success", "data": {"count": 9}}))
    async with open_client(account_at(f"{server.url}/gateway/")) as client:
        assert (await client.get_credits()).count == 9
    assert server.requests[0].path == "/gateway/api/v1/user/tokens"


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (answer({"code": 500, "msg": ""}, 500), ServerError),
        (answer({"code": 500, "msg": ""}), ServerError),
        (answer(HTML, 502), UnexpectedResponseError),
        (answer(HTML), UnexpectedResponseError),
        (raw(b'{"code":0,"msg":"Succ'), UnexpectedResponseError),
        (answer({"code": 0, "msg": "Success", "data": {}}), UnexpectedResponseError),
        (raw(bytes(3 * 1024 * 1024)), UnexpectedResponseError),
        (raw(b"not brotli", "application/json; charset=hex"), UnexpectedResponseError),
        (answer(HTML, 200, Content_Encoding="gzip"), UnexpectedResponseError),
        (hang_up(), ConnectionLostError),
        (cut(ACCEPTED), ConnectionLostError),
    ],
)
async def test_a_submit_that_may_have_been_accepted_is_sent_once(
    server: GoEnhanceServer,
    account_at: AccountAt,
    waits: Waits,
    step: Step,
    error: type[GoEnhanceError],
) -> None:
    server.plays(step)
    raised = await submit_error(account_at(server.url), waits)
    assert type(raised) is error
    assert raised.maybe_accepted
    assert (len(server.requests), waits) == (1, [])


async def test_a_submit_that_is_not_answered_in_time_may_have_been_accepted_and_is_sent_once(
    server: GoEnhanceServer, account_at: AccountAt
) -> None:
    server.plays(server.hang())
    clock = Clock()
    submitting = asyncio.create_task(submit_error(account_at(server.url, request_timeout=60.0), Waits()))
    await until(lambda: server.under_way)
    clock.forward(61.0)
    raised = await asyncio.wait_for(submitting, 30.0)
    assert isinstance(raised, ConnectionLostError)
    assert raised.maybe_accepted
    assert "no answer within 60 s" in str(raised)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (answer({"code": 401, "msg": "Token Error"}, 401), AuthenticationError),
        (answer({"code": 400, "msg": "bad"}, 400), BadRequestError),
        (answer({"code": 1, "msg": "bad"}), BadRequestError),
        (answer({"code": 402, "msg": "no"}, 402), OutOfCreditsError),
    ],
)
async def test_a_submit_that_was_refused_is_not_repeated(
    server: GoEnhanceServer,
    account_at: AccountAt,
    waits: Waits,
    step: Step,
    error: type[GoEnhanceError],
) -> None:
    server.plays(step)
    raised = await submit_error(account_at(server.url), waits)
    assert type(raised) is error
    assert not raised.maybe_accepted
    assert (len(server.requests), waits) == (1, [])


async def test_where_nobody_listens_nothing_was_sent_and_it_is_tried_again(
    server: GoEnhanceServer, account_at: AccountAt, waits: Waits
) -> None:
    with closed_port() as port:
        raised = await submit_error(account_at(f"http://127.0.0.1:{port}"), waits)
    assert isinstance(raised, UnreachableError)
    assert not raised.maybe_accepted
    assert "goenhance_test" in str(raised)
    assert len(waits) == DEFAULT_SUBMIT_ATTEMPTS - 1


async def test_a_host_that_has_no_address_was_not_reached(account_at: AccountAt, waits: Waits) -> None:
    raised = await submit_error(account_at("https://goenhance.invalid"), waits)
    assert isinstance(raised, UnreachableError)
    assert "goenhance.invalid" in str(raised)


async def test_a_host_that_takes_the_connection_but_never_shakes_hands_was_not_reached(
    account_at: AccountAt, waits: Waits
) -> None:
    clock, greeted = Clock(), 0

    async def keep_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal greeted
        greeted += bool(await reader.read(1))
        clock.forward(CONNECT_TIMEOUT + 1.0)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(keep_silent, "127.0.0.1", 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        async with asyncio.timeout(DEFAULT_SUBMIT_ATTEMPTS * (CONNECT_TIMEOUT + 1.0) + 30.0):
            raised = await submit_error(account_at(f"https://127.0.0.1:{port}"), waits)
    assert isinstance(raised, UnreachableError)
    assert greeted == len(waits) + 1 == DEFAULT_SUBMIT_ATTEMPTS


async def test_a_certificate_that_nobody_vouches_for_stops_the_submit_before_it_is_sent(
    account_at: AccountAt, waits: Waits, tmp_path: Path
) -> None:
    certificate, key = self_signed(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    async with GoEnhanceServer(context) as server:
        raised = await submit_error(account_at(server.url), waits)
        assert isinstance(raised, UnreachableError)
        assert "certificate" in str(raised).lower()
        assert server.requests == []
        async with open_client(account_at(server.url, request_options={"ssl": False}), sleep=waits) as client:
            assert (await client.submit(*PAIR)).img_uuid == "job-1"


async def test_tls_spoken_to_a_plain_server_is_never_a_submit(
    server: GoEnhanceServer, account_at: AccountAt, waits: Waits
) -> None:
    raised = await submit_error(account_at(f"https://127.0.0.1:{server.port}"), waits)
    assert isinstance(raised, UnreachableError)
    assert server.requests == []


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 502 No\r\n\r\n"]
)
async def test_a_proxy_that_will_not_connect_us_was_the_end_of_it(
    account_at: AccountAt, waits: Waits, said: bytes
) -> None:
    heard: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(said)
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as proxy:
        address = f"http://user:secret@127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
        raised = await submit_error(
            account_at("https://api.goenhance.invalid", request_options={"proxy": address}), waits
        )
    assert isinstance(raised, UnreachableError)
    assert "secret" not in str(raised)
    assert len(heard) == DEFAULT_SUBMIT_ATTEMPTS
    for request in heard:
        assert request.startswith(b"CONNECT api.goenhance.invalid:443")
        assert TOKEN.encode() not in request


async def test_the_proxy_of_the_environment_is_used_and_netrc_is_not(
    server: GoEnhanceServer, account_at: AccountAt, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine goenhance.invalid login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    account = account_at("http://goenhance.invalid")
    monkeypatch.setenv("http_proxy", server.url)
    async with open_client(account) as client:
        assert (await client.submit(*PAIR)).img_uuid == "job-1"
    assert server.requests[0].headers["Authorization"] == f"Bearer {TOKEN}"
    monkeypatch.setenv("no_proxy", "goenhance.invalid")
    assert account.proxy is None


@pytest.mark.parametrize(
    "fault",
    [
        answer({"code": 500, "msg": ""}, 500),
        answer(HTML, 502),
        answer({"code": 429, "msg": ""}, 429),
        cut(RUNNING),
        raw(b"{"),
    ],
)
async def test_a_status_call_is_repeated_after_any_fault_that_passes(
    server: GoEnhanceServer, account_at: AccountAt, waits: Waits, fault: Step
) -> None:
    server.plays(fault, fault, answer(RUNNING))
    async with open_client(account_at(server.url), sleep=waits) as client:
        client.limiter.pause = lambda _: None  # type: ignore[method-assign]
        job = await client.get_job("job-1")
    assert job.state is JobState.RUNNING
    assert server.requests[-1].query == {"img_uuid": "job-1"}
    assert (len(server.requests), len(waits)) == (3, 2)


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (answer({"code": 401, "msg": "Token Error"}, 401), AuthenticationError),
        (answer({"code": 404, "msg": "Job not found"}), BadRequestError),
    ],
)
async def test_a_status_call_that_was_refused_is_not_repeated(
    server: GoEnhanceServer, account_at: AccountAt, step: Step, error: type[GoEnhanceError]
) -> None:
    server.plays(step)
    async with open_client(account_at(server.url)) as client:
        with pytest.raises(error) as raised:
            await client.get_job("job-1")
    assert raised.value.img_uuid == "job-1"
    assert len(server.requests) == 1


async def test_an_old_idle_connection_is_not_used_for_a_paid_call(
    server: GoEnhanceServer, account_at: AccountAt
) -> None:
    async with open_client(account_at(server.url), keepalive_seconds=0.0) as client:
        await client.submit(*PAIR)
        await client.submit(*PAIR)
    assert len(server.connections) == 2


async def test_a_debugging_page_that_shows_our_token_does_not_bring_it_into_a_message(
    server: GoEnhanceServer, account_at: AccountAt, caplog: pytest.LogCaptureFixture, waits: Waits
) -> None:
    caplog.set_level(logging.DEBUG)
    server.plays(answer(f"Traceback: Authorization: Bearer {TOKEN}", 503))
    raised = await submit_error(account_at(server.url), waits)
    assert "Bearer ***" in str(raised)
    async with open_client(account_at(server.url), sleep=waits) as client:
        assert TOKEN not in f"{client.account!r} {client.account}"
        with pytest.raises(UnexpectedResponseError):
            await client.get_job("job-1")
    assert "Trying again" in caplog.text
    assert TOKEN not in caplog.text


async def test_no_more_requests_are_under_way_than_the_connection_allows(
    server: GoEnhanceServer, account_at: AccountAt
) -> None:
    async with open_client(account_at(server.url, max_concurrency=3)) as client:
        await asyncio.gather(*(client.submit(*PAIR) for _ in range(20)))
    assert len(server.requests) == 20
    assert server.most_under_way <= 3
    assert len(server.connections) <= 3


async def test_closing_the_client_closes_its_connections(
    server: GoEnhanceServer, account_at: AccountAt
) -> None:
    async with open_client(account_at(server.url)) as client:
        await client.submit(*PAIR)
        session = client.session
    assert session.closed
    assert isinstance(session, aiohttp.ClientSession)
