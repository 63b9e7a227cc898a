# SPDX-License-Identifier: Apache-2.0
"""A misbehaving picture server on 127.0.0.1."""

from __future__ import annotations

import asyncio

from aiohttp import web

SIGNATURE = (
    "q-sign-algorithm=sha1&q-ak=AKIDSECRET&q-sign-time=1700000000%3B1700043200&q-signature=f00dSECRETf00d"
)
VIDEO = b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(500)
ZEROS = 2 * 1024**3


class PictureServer:
    """Serves ``picture`` at ``/user/face_0.jpg`` and faulty responses at other paths; records the requests."""

    def __init__(self, picture: bytes) -> None:
        self.picture = picture
        self.asked: list[str] = []
        self.zeros_sent = 0
        self.breaks_left = 0
        self.refusals_left = 0
        self.at_once = self.most_at_once = 0
        self.location = b""
        self.padding = b"X-Padding: none"
        self.base = ""
        self.hanging = asyncio.Event()
        self._stop = asyncio.Event()
        app = web.Application()
        app.router.add_get("/user/{name}", self._picture)
        app.router.add_get("/html", self._html)
        app.router.add_get("/video", self._video)
        app.router.add_get("/zeros", self._zeros)
        app.router.add_get("/announced", self._announced)
        app.router.add_get("/loop", self._loop)
        app.router.add_get("/moved/{hops}", self._moved)
        app.router.add_get("/nowhere", self._nowhere)
        app.router.add_get("/to-file", self._to_file)
        app.router.add_get("/status/{status}", self._status)
        app.router.add_get("/cut", self._cut)
        app.router.add_get("/flaky", self._flaky)
        app.router.add_get("/narrow/{name}", self._narrow)
        app.router.add_get("/chunked", self._chunked)
        app.router.add_get("/hang", self._hang)
        app.router.add_get("/query", self._query)
        app.router.add_get("/said/{encoding}", self._encoded)
        app.router.add_get("/late/{status}", self._late)
        app.router.add_get("/to", self._to)
        app.router.add_get("/announced-more/{then}", self._announced_more)
        app.router.add_get("/odd/{rest:.*}", self._query)
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
        status = 203 if request.match_info["name"] == "through-a-proxy.jpg" else 200
        return web.Response(body=self.picture, content_type="image/jpeg", status=status)

    async def _html(self, request: web.Request) -> web.Response:
        return web.Response(text="<!DOCTYPE html><title>Sorry</title>", content_type="text/html")

    async def _video(self, request: web.Request) -> web.Response:
        return web.Response(body=VIDEO, content_type="video/mp4")

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

    async def _announced_more(self, request: web.Request) -> web.StreamResponse:
        """Send the whole picture under a length that is too large, then close the connection or not."""
        response = web.StreamResponse(headers={"Content-Length": str(len(self.picture) + 100)})
        await response.prepare(request)
        await response.write(self.picture)
        if request.match_info["then"] == "open":
            self.hanging.set()
            await self._stop.wait()
        assert request.transport is not None
        request.transport.close()
        return response

    async def _flaky(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        if self.breaks_left:
            self.breaks_left -= 1
            return await self._cut(request)
        return web.Response(body=self.picture)

    async def _narrow(self, request: web.Request) -> web.StreamResponse:
        """Break off every download beside four others."""
        self.asked.append(request.path)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.at_once > 4:
                return await self._cut(request)
            await asyncio.sleep(0.01)
            return web.Response(body=self.picture)
        finally:
            self.at_once -= 1

    async def _chunked(self, request: web.Request) -> web.StreamResponse:
        """Serve the picture without its length."""
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(self.picture)
        return response

    async def _hang(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(self.picture[:100])
        self.hanging.set()
        await self._stop.wait()
        return response

    async def _encoded(self, request: web.Request) -> web.Response:
        """Serve the picture as it is under any Content-Encoding."""
        self.asked.append(request.path)
        return web.Response(body=self.picture, headers={"Content-Encoding": request.match_info["encoding"]})

    async def _late(self, request: web.Request) -> web.Response:
        """Refuse the picture a few times before serving it."""
        self.asked.append(request.path)
        if self.refusals_left:
            self.refusals_left -= 1
            return web.Response(status=int(request.match_info["status"]))
        return web.Response(body=self.picture)

    async def _to(self, request: web.Request) -> web.StreamResponse:
        """Redirect to ``location``, sent as its bytes are."""
        assert request.transport is not None
        request.transport.write(
            b"HTTP/1.1 302 Found\r\nLocation: "
            + self.location
            + b"\r\n"
            + self.padding
            + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        request.transport.close()
        return web.StreamResponse()

    async def _query(self, request: web.Request) -> web.Response:
        self.asked.append(request.raw_path)
        return web.Response(body=self.picture)
