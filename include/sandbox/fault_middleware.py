# SPDX-License-Identifier: Apache-2.0
"""Injecting faults: an ASGI layer around the app that spoils the requests the switches name."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from .endpoints import submit
from .wire import envelope, expired_link, no_credits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI
    from starlette.types import Message, Receive, Scope, Send

    from .connections import Connections
    from .faults import FaultPlan
    from .switches import Fault, Switches

_ENDPOINTS = {
    "/api/v1/imagefaceswap/generate": "submit",
    "/api/v1/jobs/detail": "detail",
    "/api/v1/user/tokens": "tokens",
}
_PROXY_PAGE = (
    "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center><hr>proxy</body></html>"
)


@dataclass(frozen=True)
class Answer:
    """What the app would have answered; empty when it was not asked."""

    status: int = 200
    body: bytes = b""


class FaultGate:
    """The outermost ASGI layer; requests that no fault strikes pass untouched."""

    def __init__(self, app: FastAPI, plan: FaultPlan, connections: Connections) -> None:
        self.app = app
        self._plan = plan
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or spoil it."""
        endpoint = _endpoint(scope)
        if endpoint is None:
            await self.app(scope, receive, send)
            return
        spoiling = self._plan.for_request(endpoint)
        if spoiling.wait_before:
            await asyncio.sleep(spoiling.wait_before)
        if spoiling.fault is not None:
            answer = await self._carry_out(endpoint, scope, receive, spoiling.fault)
            await asyncio.sleep(spoiling.wait_after)
            await self._spoil(spoiling.fault, answer, scope, receive, send)
        else:
            late = _late(send, spoiling.wait_after) if spoiling.wait_after else send
            await self._answer(endpoint, scope, receive, late)

    async def _answer(self, endpoint: str, scope: Scope, receive: Receive, send: Send) -> None:
        if endpoint == "submit" and scope["method"] == "POST":
            # Past the framework's layers, which would take half of a submit's time and do nothing for it.
            scope["app"] = self.app
            # A client that left in the middle of its body has submitted nothing.
            with suppress(ClientDisconnect):
                response = await submit(Request(scope, receive))
                await response(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _spoil(self, fault: Fault, answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
        if fault.kind == "disconnect":
            await self._drop(scope, receive, reset=fault.reset)
        elif fault.kind == "hang":
            await self._hang(scope, receive, fault.seconds)
        elif fault.kind == "truncated":
            await self._truncate(scope, receive, send, answer)
        else:
            response = _spoiled_answer(fault, answer, self._plan.switches, scope)
            await response(scope, receive, send)

    async def _carry_out(self, endpoint: str, scope: Scope, receive: Receive, fault: Fault) -> Answer:
        """Let the app do its work if the fault comes after it, and return what it would have sent."""
        if fault.when == "before" and fault.kind not in {"truncated", "missing_img_uuid"}:
            # Read to its end, so that the client has sent everything and cannot tell that nothing was done.
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
    # The live page shows sample pictures too; looking at it must not use up faults.
    if path.startswith("/images/"):
        return None if scope["query_string"] == b"page" else "image"
    return _ENDPOINTS.get(path)


async def _read_request(receive: Receive) -> None:
    while (await receive()).get("more_body"):
        pass


async def _client_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _spoiled_answer(fault: Fault, answer: Answer, switches: Switches, scope: Scope) -> Response:
    match fault.kind:
        case "http_error":
            status = fault.status or 500
            return envelope(status, fault.msg or "", status=status)
        case "rate_limited":
            headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            return envelope(429, fault.msg or "Too Many Requests", status=429, **headers)
        case "html":
            status = fault.status or 200
            title = f"{status} Error" if status not in {200, 502} else "502 Bad Gateway"
            return Response(_PROXY_PAGE.format(title), status, media_type="text/html")
        case "business_error":
            return envelope(fault.code, fault.msg or "Operation failed", None)
        case "no_credits":
            return no_credits(at_200=switches.out_of_credits == "code_at_200")
        case _:
            return _spoiled_body(fault, answer, scope)


def _spoiled_body(fault: Fault, answer: Answer, scope: Scope) -> Response:
    match fault.kind:
        case "bad_json":
            whole = answer.body or b'{"code":0,"msg":"Success","data":{}}'
            return Response(whole[: len(whole) // 2], media_type="application/json")
        case "missing_img_uuid":
            return _without_img_uuid(answer)
        case "expired_link":
            return expired_link("Request has expired")
        case "redirect_loop":
            query = scope["query_string"].decode("latin-1")
            return Response(status_code=302, headers={"Location": f"{scope['path']}?{query}"})
        case _:
            return StreamingResponse(_zeros(fault.bytes), media_type="image/jpeg")


def _without_img_uuid(answer: Answer) -> Response:
    document: Any = json.loads(answer.body)
    if isinstance(document.get("data"), dict):
        document["data"].pop("img_uuid", None)
    return Response(json.dumps(document), answer.status, media_type="application/json")


async def _zeros(size: int) -> AsyncIterator[bytes]:
    block = bytes(256 * 1024)
    for start in range(0, size, len(block)):
        yield block[: size - start]
