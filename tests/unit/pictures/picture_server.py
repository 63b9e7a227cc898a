# SPDX-License-Identifier: Apache-2.0
"""A misbehaving picture server on 127.0.0.1."""

from __future__ import annotations

import asyncio

from aiohttp import web

SIGNATURE = (
    "q-sign-algorithm=sha1&q-ak=AKIDSECRET&q-sign-time=1700000000%3B1700043200&q-signature=f00dSECRETf00d"
)
ZEROS = 2 * 1024**3


class PictureServer:
    """Serves ``picture`` at ``/user/face_0.jpg`` and faulty responses at other paths; records the requests."""

    def __init__(self, picture: bytes) -> None:
        self.picture = picture
        self.asked: list[str] = []
        self.zeros_sent = 0
        self.breaks_left = 0
        self.base = ""
        self.hanging = asyncio.Event()
        self._stop = asyncio.Event()
        app = web.Application()
        app.router.add_get("/user/{name}", self._picture)
        app.router.add_get("/html", self._html)
        app.router.add_get("/zeros", self._zeros)
        app.router.add_get("/announced", self._announced)
        app.router.add_get("/loop", self._loop)
        app.router.add_get("/moved/{hops}", self._moved)
        app.router.add_get("/nowhere", self._nowhere)
        app.router.add_get("/to-file", self._to_file)
        app.router.add_get("/status/{status}", self._status)
        app.router.add_get("/cut", self._cut)
        app.router.add_get("/flaky", self._flaky)
        app.router.add_get("/hang", self._hang)
        app.router.add_get("/query", self._query)
        self._runner = web.AppRunner(app, shutdown_timeout=1.0)

    async def __aenter__(self) -> PictureServer:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.base = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._stop.set()
        await self._runner.cleanup()

    def link(self, path: str) -> str:
        """Return a signed link to a path of this server."""
        return f"{self.base}{path}?{SIGNATURE}"

    async def _picture(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        return web.Response(body=self.picture, content_type="image/jpeg")

    async def _html(self, request: web.Request) -> web.Response:
        return web.Response(text="<!DOCTYPE html><title>Sorry</title>", content_type="text/html")

    async def _zeros(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "image/jpeg"})
        await response.prepare(request)
        block = bytes(256 * 1024)
        while self.zeros_sent < ZEROS:
            await response.write(block)
            self.zeros_sent += len(block)
        return response

    async def _announced(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(ZEROS)})
        await response.prepare(request)
        await self._stop.wait()
        return response

    async def _loop(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        return web.Response(status=302, headers={"Location": f"/loop?{SIGNATURE}"})

    async def _moved(self, request: web.Request) -> web.Response:
        hops = int(request.match_info["hops"])
        target = f"/moved/{hops - 1}" if hops > 1 else "/user/face_0.jpg"
        return web.Response(status=307, headers={"Location": f"{target}?{SIGNATURE}"})

    async def _nowhere(self, request: web.Request) -> web.Response:
        return web.Response(status=302)

    async def _to_file(self, request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "file:///etc/hostname"})

    async def _status(self, request: web.Request) -> web.Response:
        return web.Response(status=int(request.match_info["status"]), text=str(request.url))

    async def _cut(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(self.picture))})
        await response.prepare(request)
        await response.write(self.picture[: len(self.picture) // 2])
        assert request.transport is not None
        request.transport.close()
        return response

    async def _flaky(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        if self.breaks_left:
            self.breaks_left -= 1
            return await self._cut(request)
        return web.Response(body=self.picture)

    async def _hang(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(self.picture[:100])
        self.hanging.set()
        await self._stop.wait()
        return response

    async def _query(self, request: web.Request) -> web.Response:
        self.asked.append(request.raw_path)
        return web.Response(body=self.picture)
