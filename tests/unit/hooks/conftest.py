# SPDX-License-Identifier: Apache-2.0
"""Connections from the environment, as a worker finds them, and a server that both hooks can ask."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_goenhance.exceptions import GoEnhanceError
from airflow_provider_goenhance.hooks.goenhance import GoEnhanceAsyncHook, GoEnhanceHook
from tests.unit.api.certificate import self_signed

TOKEN = "sk-unit-test-0123456789"
PAIR = ("https://example.com/face.jpg", "https://example.com/scene.jpg")


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Define a connection, ``goenhance_test`` unless the test names it."""
    for name in (
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
    ):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)

    def define(conn_id: str = "goenhance_test", **fields: Any) -> str:
        fields = {"conn_type": "goenhance", "password": TOKEN, **fields}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))
        return conn_id

    return define


class Answering(ThreadingHTTPServer):
    """Returns the same response to every request, and records the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body: bytes | None = b'{"code":0,"msg":"success","data":{"count":4207}}'
        self.asked = threading.Event()
        self.body_may_go = threading.Event()
        self.body_may_go.set()
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class _Handler(BaseHTTPRequestHandler):
    server: Answering

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path, dict(self.headers), body))
        self.server.asked.set()
        if self.server.body is None:
            self.close_connection = True
            return
        self.send_response(self.server.status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(self.server.body)),
            **self.server.headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.flush()
        self.server.body_may_go.wait(60)
        self.wfile.write(self.server.body)

    do_GET = do_POST = _answer  # noqa: N815  the names that the base class calls

    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def answering() -> Iterator[Answering]:
    server = Answering()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def with_the_client(conn_id: str) -> str:
    async def submit() -> str:
        async with GoEnhanceAsyncHook(conn_id).client() as client:
            return (await client.submit(*PAIR)).img_uuid

    return asyncio.run(submit())


def with_the_hook(conn_id: str) -> str:
    return GoEnhanceHook(conn_id).submit_face_swap(*PAIR).img_uuid


def with_the_hook_in_a_loop(conn_id: str) -> str:
    async def submit() -> str:
        return with_the_hook(conn_id)

    return asyncio.run(submit())


@pytest.fixture(params=[with_the_client, with_the_hook, with_the_hook_in_a_loop])
def submit(request: pytest.FixtureRequest) -> Callable[[str], str]:
    return request.param


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*self_signed(tmp_path))
    return context


def submit_error(submit: Callable[[str], str], conn_id: str) -> GoEnhanceError:
    with pytest.raises(GoEnhanceError) as raised:
        submit(conn_id)
    assert TOKEN not in str(raised.value)
    return raised.value
