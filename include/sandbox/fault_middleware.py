# SPDX-License-Identifier: Apache-2.0
"""ASGI middleware that injects faults into the requests that the switches select."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request

from .endpoints import submit
from .fault_responses import RESPONSES, UNFINISHED, WITH_THE_APPS_RESPONSE, Answer, Struck

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import Message, Receive, Scope, Send

    from .connections import Connections
    from .faults import FaultPlan
    from .switches import Fault

_ENDPOINTS = {
    "/api/v1/imagefaceswap/generate": "submit",
    "/api/v1/jobs/detail": "detail",
    "/api/v1/user/tokens": "tokens",
}
_EARLY_HINTS = (
    b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
)


class FaultMiddleware:
    """The outermost ASGI layer. Requests that no fault strikes pass unchanged."""

    def __init__(self, app: FastAPI, plan: FaultPlan, connections: Connections) -> None:
        self.app = app
        self._plan = plan
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request to the app, or apply the fault that strikes it."""
        endpoint = _endpoint(scope)
        if endpoint is None:
            await self.app(scope, receive, send)
        elif endpoint == "submit" and scope["method"] == "POST":
            with self.app.state.traffic.submit():
                await self._process(endpoint, scope, receive, send)
        else:
            await self._process(endpoint, scope, receive, send)

    async def _process(self, endpoint: str, scope: Scope, receive: Receive, send: Send) -> None:
        effects = self._plan.for_request(endpoint)
        if effects.wait_before:
            await asyncio.sleep(effects.wait_before)
        if effects.fault is not None:
            answer = await self._carry_out(endpoint, scope, receive, effects.fault)
            await asyncio.sleep(effects.wait_after)
            await self._apply(effects.fault, answer, scope, receive, send)
        else:
            late = _late(send, effects.wait_after) if effects.wait_after else send
            await self._answer(endpoint, scope, receive, late)

    async def _answer(self, endpoint: str, scope: Scope, receive: Receive, send: Send) -> None:
        if endpoint == "submit" and scope["method"] == "POST":
            # Bypass the framework's routing, which would take half of a submit's time.
            scope["app"] = self.app
            # A client that disconnects while sending its body has submitted nothing.
            with suppress(ClientDisconnect):
                response = await submit(Request(scope, receive))
                await response(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _apply(self, fault: Fault, answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
        if fault.kind == "disconnect":
            await self._drop(scope, receive, reset=fault.reset)
        elif fault.kind == "hang":
            await self._hang(scope, receive, fault.seconds)
        elif fault.kind == "truncated":
            await self._truncate(scope, receive, send, answer)
        elif fault.kind in UNFINISHED:
            self._connections.write(scope["client"], UNFINISHED[fault.kind](answer))
            await self._drop(scope, receive, reset=False)
        else:
            if fault.kind == "early_hints":
                self._connections.write(scope["client"], _EARLY_HINTS)
            struck = Struck(fault, answer, self._plan.switches, scope)
            await RESPONSES[fault.kind](struck)(scope, receive, send)

    async def _carry_out(self, endpoint: str, scope: Scope, receive: Receive, fault: Fault) -> Answer:
        """Call the app if the fault strikes after it, and return the response it would have sent."""
        if fault.when == "before" and fault.kind not in WITH_THE_APPS_RESPONSE:
            # Read the whole body, so that the client cannot see whether the request was processed.
            await _read_request(receive)
            return Answer()
        status, body = 500, bytearray()

        async def keep(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            body.extend(message.get("body", b""))

        await self._answer(endpoint, scope, receive, keep)
        return Answer(status, bytes(body))

    async def _drop(self, scope: Scope, receive: Receive, *, reset: bool) -> None:
        self._connections.drop(scope["client"], reset=reset)
        await _client_gone(receive)

    async def _hang(self, scope: Scope, receive: Receive, seconds: float | None) -> None:
        gone = asyncio.ensure_future(_client_gone(receive))
        closing = asyncio.ensure_future(self._connections.closing.wait())
        await asyncio.wait({gone, closing}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        closing.cancel()
        if not gone.done():
            self._connections.drop(scope["client"], reset=False)
        await gone

    async def _truncate(self, scope: Scope, receive: Receive, send: Send, answer: Answer) -> None:
        body = answer.body
        headers = [(b"content-type", b"image/jpeg"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        await self._drop(scope, receive, reset=False)


def _late(send: Send, seconds: float) -> Send:
    async def send_late(message: Message) -> None:
        if message["type"] == "http.response.start":
            await asyncio.sleep(seconds)
        await send(message)

    return send_late


def _endpoint(scope: Scope) -> str | None:
    if scope["type"] != "http":
        return None
    path = scope["path"]
    if path.startswith("/results/"):
        return "result"
    # The live page shows sample pictures too. Viewing it must not consume faults.
    if path.startswith("/images/"):
        return None if scope["query_string"] == b"page" else "image"
    return _ENDPOINTS.get(path)


async def _read_request(receive: Receive) -> None:
    while (await receive()).get("more_body"):
        pass


async def _client_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
