# SPDX-License-Identifier: Apache-2.0
"""ASGI middleware that injects faults into the requests that the switches select."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from .endpoints import submit
from .wire import envelope, expired_link, no_credits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

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
_JSON = "Content-Type: application/json"
_EARLY_HINTS = (
    b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
)
LONG_HEADER_BYTES = 20_000
_PROXY_PAGE = (
    "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center><hr>proxy</body></html>"
)


@dataclass(frozen=True)
class Answer:
    """The response of the app; empty if the app was not called."""

    status: int = 200
    body: bytes = b""


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
            return
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
        elif fault.kind in _UNFINISHED:
            self._connections.write(scope["client"], _UNFINISHED[fault.kind](answer))
            await self._drop(scope, receive, reset=False)
        else:
            if fault.kind == "early_hints":
                self._connections.write(scope["client"], _EARLY_HINTS)
            struck = _Struck(fault, answer, self._plan.switches, scope)
            await _RESPONSES[fault.kind](struck)(scope, receive, send)

    async def _carry_out(self, endpoint: str, scope: Scope, receive: Receive, fault: Fault) -> Answer:
        """Call the app if the fault strikes after it, and return the response it would have sent."""
        if fault.when == "before" and fault.kind not in _WITH_THE_APPS_RESPONSE:
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


@dataclass(frozen=True)
class _Struck:
    """A request that a fault struck: what a replacement for its response is built from."""

    fault: Fault
    answer: Answer
    switches: Switches
    scope: Scope


def _http_error(struck: _Struck) -> Response:
    status = struck.fault.status or 500
    return envelope(status, struck.fault.msg or "", status=status)


def _rate_limited(struck: _Struck) -> Response:
    retry_after = struck.fault.retry_after
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return envelope(429, struck.fault.msg or "Too Many Requests", status=429, **headers)


def _html(struck: _Struck) -> Response:
    status = struck.fault.status or 200
    title = f"{status} Error" if status not in {200, 502} else "502 Bad Gateway"
    return Response(_PROXY_PAGE.format(title), status, media_type="text/html")


def _business_error(struck: _Struck) -> Response:
    return envelope(struck.fault.code, struck.fault.msg or "Operation failed", None)


def _no_credits(struck: _Struck) -> Response:
    return no_credits(at_200=struck.switches.out_of_credits == "code_at_200")


def _bad_json(struck: _Struck) -> Response:
    whole = struck.answer.body or b'{"code":0,"msg":"Success","data":{}}'
    return Response(whole[: len(whole) // 2], media_type="application/json")


def _missing_img_uuid(struck: _Struck) -> Response:
    document: Any = json.loads(struck.answer.body)
    if isinstance(document.get("data"), dict):
        document["data"].pop("img_uuid", None)
    return Response(json.dumps(document), struck.answer.status, media_type="application/json")


def _expired_link(_: _Struck) -> Response:
    return expired_link("Request has expired")


def _redirect_loop(struck: _Struck) -> Response:
    query = struck.scope["query_string"].decode("latin-1")
    return Response(status_code=302, headers={"Location": f"{struck.scope['path']}?{query}"})


def _zeros(struck: _Struck) -> Response:
    return StreamingResponse(_zero_blocks(struck.fault.bytes), media_type="image/jpeg")


def _redirect(struck: _Struck) -> Response:
    return Response(status_code=struck.fault.status or 302, headers={"Location": struck.fault.location})


def _delivered(struck: _Struck, **headers: str) -> Response:
    answer = struck.answer
    return Response(answer.body, answer.status, headers, media_type="application/json")


def _long_header(struck: _Struck) -> Response:
    return _delivered(struck, **{"X-Policy": "x" * LONG_HEADER_BYTES})


def _false_encoding(struck: _Struck) -> Response:
    return _delivered(struck, **{"Content-Encoding": "gzip"})


# The kinds that end in a complete response; the middleware itself handles those that break the connection.
_RESPONSES: dict[str, Callable[[_Struck], Response]] = {
    "http_error": _http_error,
    "rate_limited": _rate_limited,
    "html": _html,
    "business_error": _business_error,
    "no_credits": _no_credits,
    "bad_json": _bad_json,
    "missing_img_uuid": _missing_img_uuid,
    "expired_link": _expired_link,
    "redirect_loop": _redirect_loop,
    "zeros": _zeros,
    "redirect": _redirect,
    "early_hints": _delivered,
    "long_header": _long_header,
    "false_encoding": _false_encoding,
}


def _unfinished_chunks(answer: Answer) -> bytes:
    half = len(answer.body) // 2
    chunks = (answer.body[:half], answer.body[half:])
    return _head(answer, "Transfer-Encoding: chunked") + b"".join(
        b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks
    )


def _short_body(answer: Answer) -> bytes:
    return _head(answer, f"Content-Length: {len(answer.body) + 1}") + answer.body


def _head(answer: Answer, length: str) -> bytes:
    lines = (f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}", _JSON, length, "", "")
    return "\r\n".join(lines).encode()


# The kinds that send the whole body, and end the connection before the response has ended.
_UNFINISHED: dict[str, Callable[[Answer], bytes]] = {
    "unfinished_chunks": _unfinished_chunks,
    "short_body": _short_body,
}
_WITH_THE_APPS_RESPONSE = {
    "truncated",
    "missing_img_uuid",
    "early_hints",
    "long_header",
    "false_encoding",
    *_UNFINISHED,
}


async def _zero_blocks(size: int) -> AsyncIterator[bytes]:
    block = bytes(256 * 1024)
    for start in range(0, size, len(block)):
        yield block[: size - start]
