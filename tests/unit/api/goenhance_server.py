# SPDX-License-Identifier: Apache-2.0
"""A small HTTP server that plays a script: what the vendor, a proxy or a broken line might answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Self

from aiohttp import web

Step = Callable[[web.Request], Awaitable[web.StreamResponse]]

ACCEPTED = {"code": 0, "msg": "Success", "data": {"img_uuid": "job-1"}}
RUNNING = {"code": 0, "msg": "Success", "data": {"img_uuid": "job-1", "status": "processing", "json": None}}


def answer(body: Any, status: int = 200, **headers: str) -> Step:
    """Answer with JSON, or with text as it stands."""

    async def step(_: web.Request) -> web.StreamResponse:
        text = body if isinstance(body, str) else json.dumps(body)
        kind = "text/html" if isinstance(body, str) else "application/json"
        return web.Response(
            text=text,
            status=status,
            content_type=kind,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )

    return step


def raw(body: bytes, content_type: str = "application/json") -> Step:
    """Answer with these bytes under this content type."""

    async def step(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, headers={"Content-Type": content_type})

    return step


def hang_up() -> Step:
    """Close the connection without an answer."""

    async def step(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    return step


def cut(body: Any) -> Step:
    """Promise a whole body, send half of it and close."""

    async def step(request: web.Request) -> web.StreamResponse:
        whole = json.dumps(body).encode()
        response = web.StreamResponse(headers={"Content-Length": str(len(whole))})
        await response.prepare(request)
        await response.write(whole[: len(whole) // 2])
        assert request.transport is not None
        request.transport.close()
        return response

    return step


class GoEnhanceServer:
    """Takes one step of its script per request; the last step is repeated."""

    def __init__(self, ssl_context: Any = None) -> None:
        self.script: list[Step] = [answer(ACCEPTED)]
        self.requests: list[web.Request] = []
        self.bodies: list[str] = []
        self.under_way = 0
        self.most_under_way = 0
        self.connections: set[Any] = set()
        self.released = asyncio.Event()
        self._ssl = ssl_context

    def hang(self) -> Step:
        """Take the request and say nothing until the test is over."""

        async def step(_: web.Request) -> web.StreamResponse:
            await self.released.wait()
            return web.Response()

        return step

    def plays(self, *script: Step) -> None:
        self.script = list(script)

    @property
    def url(self) -> str:
        return f"{'https' if self._ssl else 'http'}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._ssl)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.released.set()
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.connections.add(request.transport)
        self.bodies.append(await request.text())
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            return await step(request)
        finally:
            self.under_way -= 1
