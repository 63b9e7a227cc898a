# SPDX-License-Identifier: Apache-2.0
"""Both hooks on the wire: what they send, what they make of faults, and the form's test button."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.providers.http.hooks.http import HttpAsyncHook, HttpHook

from airflow_provider_goenhance.api.models import JobState
from airflow_provider_goenhance.exceptions import (
    AuthenticationError,
    ConnectionLostError,
    GoEnhanceError,
    RateLimitedError,
    ServerError,
    UnexpectedResponseError,
    UnreachableError,
)
from airflow_provider_goenhance.hooks.goenhance import GoEnhanceAsyncHook, GoEnhanceHook
from tests.unit.api.certificate import self_signed
from tests.unit.hooks.conftest import TOKEN, Answering

Define = Callable[..., str]
PAIR = ("https://example.com/face.jpg", "https://example.com/scene.jpg")


def test_the_hooks_are_those_of_the_http_provider() -> None:
    assert issubclass(GoEnhanceHook, HttpHook)
    assert issubclass(GoEnhanceAsyncHook, HttpAsyncHook)


def test_the_sync_hook_submits_and_reads(connection: Define, answering: Answering) -> None:
    hook = GoEnhanceHook(connection(host=answering.url, extra={"X-Number": 7, "max_concurrency": 3}))
    answering.body = b'{"code":0,"msg":"Success","data":{"img_uuid":"job-1","status":"SUCCESS"}}'
    assert hook.submit_face_swap(*PAIR).img_uuid == "job-1"
    assert hook.get_job("job-1").state is JobState.SUCCEEDED
    (method, path, headers, body), (_, detail, _, _) = answering.seen
    assert (method, path) == ("POST", "/api/v1/imagefaceswap/generate")
    assert json.loads(body)["args"] == {"source_img": PAIR[0], "reference_img": PAIR[1]}
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["X-Number"] == "7"
    assert "max_concurrency" not in headers
    assert detail == "/api/v1/jobs/detail?img_uuid=job-1"


def test_the_parents_run_asks_the_same_host_with_the_same_token(
    connection: Define, answering: Answering
) -> None:
    conn_id = connection(host=answering.url, login="somebody")
    assert GoEnhanceHook(conn_id, method="GET").run("/api/v1/user/tokens").json()["data"]["count"] == 4207

    async def run() -> int:
        response = await GoEnhanceAsyncHook(conn_id, method="GET").run(endpoint="/api/v1/user/tokens")
        return int((await response.json())["data"]["count"])

    assert asyncio.run(run()) == 4207
    assert [headers["Authorization"] for _, _, headers, _ in answering.seen] == [f"Bearer {TOKEN}"] * 2


def test_the_parents_run_returns_an_answer_that_can_be_read_though_its_body_came_late(
    connection: Define, answering: Answering
) -> None:
    answering.body_may_go.clear()
    hook = GoEnhanceAsyncHook(connection(host=answering.url), method="GET")

    async def run() -> int:
        asking = asyncio.create_task(hook.run(endpoint="/api/v1/user/tokens"))
        await asyncio.to_thread(answering.asked.wait, 60)
        asyncio.get_running_loop().call_later(0.1, answering.body_may_go.set)
        return int((await (await asking).json())["data"]["count"])

    assert asyncio.run(asyncio.wait_for(run(), 60)) == 4207


def test_the_session_settings_do_not_show_the_token(connection: Define) -> None:
    config = asyncio.run(GoEnhanceAsyncHook(connection()).config())
    assert config.headers == {"Authorization": f"Bearer {TOKEN}"}
    assert TOKEN not in f"{config} {config!r}"


def test_a_netrc_does_not_replace_the_token(
    connection: Define, answering: Answering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    GoEnhanceHook(connection(host=answering.url)).get_credits()
    assert answering.seen[0][2]["Authorization"] == f"Bearer {TOKEN}"


def test_the_sync_hook_goes_through_the_proxy_of_the_connection(
    connection: Define, answering: Answering
) -> None:
    hook = GoEnhanceHook(connection(host="http://goenhance.invalid", extra={"proxy": answering.url}))
    assert hook.get_credits().count == 4207
    assert answering.seen[0][1] == "http://goenhance.invalid/api/v1/user/tokens"


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_the_connections_verify_wins_over_the_environments_authorities(
    connection: Define, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate, key = self_signed(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server = Answering()
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        host = f"https://127.0.0.1:{server.port}"
        with pytest.raises(UnreachableError, match=r"Nothing was sent"):
            GoEnhanceHook(connection(host=host)).submit_face_swap(*PAIR)
        assert server.seen == []
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/hosts")
        for verify in (False, str(certificate)):
            hook = GoEnhanceHook(connection(host=host, extra={"verify": verify}))
            assert hook.get_credits().count == 4207
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("status", "headers", "body", "error"),
    [
        (401, {}, b'{"code":401,"msg":"Token Error"}', AuthenticationError),
        (429, {"Retry-After": "7"}, b'{"code":429,"msg":""}', RateLimitedError),
        (500, {}, b'{"code":500,"msg":""}', ServerError),
        (200, {}, b"<html>", UnexpectedResponseError),
        (302, {"Location": "/elsewhere"}, b"", UnexpectedResponseError),
        (200, {}, bytes(3 * 1024 * 1024), UnexpectedResponseError),
        (200, {"Content-Length": "500"}, b'{"code":0,', ConnectionLostError),
        (200, {"Content-Encoding": "gzip"}, b"not gzip", UnexpectedResponseError),
        (200, {}, None, ConnectionLostError),
    ],
)
def test_the_sync_hook_reads_faults_as_the_client_does_and_repeats_nothing(
    connection: Define,
    answering: Answering,
    status: int,
    headers: dict[str, str],
    body: bytes | None,
    error: type[GoEnhanceError],
) -> None:
    answering.status, answering.headers, answering.body = status, headers, body
    with pytest.raises(GoEnhanceError) as raised:
        GoEnhanceHook(connection(host=answering.url, extra={"request_timeout": 60})).submit_face_swap(*PAIR)
    assert type(raised.value) is error
    assert len(answering.seen) == 1
    assert TOKEN not in str(raised.value)
    assert getattr(raised.value, "retry_after", 7.0) == 7.0


@pytest.mark.parametrize(
    "fields",
    [
        {"host": "http://goenhance.invalid"},
        {"host": "https://api.goenhance.invalid", "extra": {"proxy": "http://user:secret@127.0.0.1:9"}},
    ],
)
def test_where_nobody_answers_nothing_was_sent(connection: Define, fields: dict[str, object]) -> None:
    with pytest.raises(UnreachableError, match="Nothing was sent by this submit") as raised:
        GoEnhanceHook(connection(**fields)).submit_face_swap(*PAIR)
    assert "secret" not in str(raised.value)


def test_tls_spoken_to_a_plain_server_is_never_a_submit(connection: Define, answering: Answering) -> None:
    with pytest.raises(UnreachableError):
        GoEnhanceHook(connection(host=f"https://127.0.0.1:{answering.port}")).submit_face_swap(*PAIR)
    assert answering.seen == []


def test_the_test_button_shows_the_balance(connection: Define, answering: Answering) -> None:
    answering.body = b'{"code":0,"msg":"success","data":{"count":4207,"queueLimit":3}}'
    ok, message = GoEnhanceHook(connection(host=answering.url)).test_connection()
    assert (ok, message) == (
        True,
        "GoEnhance accepts the token: 4207 credits left, 3 jobs at a time.",
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"host": "http://127.0.0.1:9"}, "Could not reach GoEnhance"),
        ({"password": ""}, "has no API token"),
        ({"host": "ftp://x"}, "The host must be a URL like"),
        ({"extra": {"timeout": "soon"}}, "request_timeout"),
        ({"extra": {"X-Bad": "a\r\nb"}}, "is not a valid one"),
    ],
)
def test_the_test_button_says_what_is_wrong_and_never_raises(
    connection: Define, fields: dict[str, object], said: str
) -> None:
    ok, message = GoEnhanceHook(connection(**fields)).test_connection()
    assert not ok
    assert said in message
    assert "goenhance_test" not in message  # the form tests a connection under an id that Airflow made up


def test_the_test_button_names_a_refused_token_and_a_missing_connection(
    connection: Define, answering: Answering
) -> None:
    answering.status, answering.body = 401, b'{"code":401,"msg":"Token Error"}'
    ok, message = GoEnhanceHook(connection(host=answering.url)).test_connection()
    assert not ok
    assert f"refused the API token of {answering.url} " in message
    ok, message = GoEnhanceHook("goenhance_nowhere").test_connection()
    assert not ok
    assert "goenhance_nowhere" in message


def test_nothing_of_the_token_reaches_the_log(
    connection: Define, answering: Answering, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answering.status, answering.body = 503, f"Authorization: Bearer {TOKEN}".encode()
    hook = GoEnhanceHook(connection(host=answering.url))
    assert TOKEN not in hook.test_connection()[1]
    assert TOKEN not in caplog.text
