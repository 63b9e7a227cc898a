# SPDX-License-Identifier: Apache-2.0
"""The responses that replace or change those of the app where a fault strikes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.responses import Response, StreamingResponse

from .wire import envelope, expired_link, no_credits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.types import Scope

    from .switches import Fault, Switches

_JSON = "Content-Type: application/json"
LONG_HEADER_BYTES = 20_000
_PROXY_PAGE = (
    "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center><hr>proxy</body></html>"
)


@dataclass(frozen=True)
class Answer:
    """The response of the app; empty if the app was not called."""

    status: int = 200
    body: bytes = b""


@dataclass(frozen=True)
class Struck:
    """A request that a fault struck: what a replacement for its response is built from."""

    fault: Fault
    answer: Answer
    switches: Switches
    scope: Scope


def _http_error(struck: Struck) -> Response:
    status = struck.fault.status or 500
    return envelope(status, struck.fault.msg or "", status=status)


def _rate_limited(struck: Struck) -> Response:
    retry_after = struck.fault.retry_after
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return envelope(429, struck.fault.msg or "Too Many Requests", status=429, **headers)


def _html(struck: Struck) -> Response:
    status = struck.fault.status or 200
    title = f"{status} Error" if status not in {200, 502} else "502 Bad Gateway"
    return Response(_PROXY_PAGE.format(title), status, media_type="text/html")


def _business_error(struck: Struck) -> Response:
    fault = struck.fault
    return envelope(fault.code, fault.msg or "Operation failed", None, status=fault.status or 200)


def _edited(struck: Struck) -> Response:
    document: Any = json.loads(struck.answer.body)
    if isinstance(document.get("data"), dict):
        document["data"].update(struck.fault.data)
        if struck.fault.as_text:
            document["data"] = json.dumps(document["data"])
    return Response(json.dumps(document), struck.answer.status, media_type="application/json")


def _no_credits(struck: Struck) -> Response:
    return no_credits(at_200=struck.switches.out_of_credits == "code_at_200")


def _bad_json(struck: Struck) -> Response:
    whole = struck.answer.body or b'{"code":0,"msg":"Success","data":{}}'
    return Response(whole[: len(whole) // 2], media_type="application/json")


def _missing_img_uuid(struck: Struck) -> Response:
    document: Any = json.loads(struck.answer.body)
    if isinstance(document.get("data"), dict):
        document["data"].pop("img_uuid", None)
    return Response(json.dumps(document), struck.answer.status, media_type="application/json")


def _expired_link(_: Struck) -> Response:
    return expired_link("Request has expired")


def _redirect_loop(struck: Struck) -> Response:
    query = struck.scope["query_string"].decode("latin-1")
    return Response(status_code=302, headers={"Location": f"{struck.scope['path']}?{query}"})


def _zeros(struck: Struck) -> Response:
    return StreamingResponse(_zero_blocks(struck.fault.bytes), media_type="image/jpeg")


def _redirect(struck: Struck) -> Response:
    return Response(status_code=struck.fault.status or 302, headers={"Location": struck.fault.location})


def _delivered(struck: Struck, **headers: str) -> Response:
    answer = struck.answer
    return Response(answer.body, answer.status, headers, media_type="application/json")


def _long_header(struck: Struck) -> Response:
    return _delivered(struck, **{"X-Policy": "x" * LONG_HEADER_BYTES})


def _false_encoding(struck: Struck) -> Response:
    return _delivered(struck, **{"Content-Encoding": "gzip"})


#: The kinds that end in a complete response; the middleware itself handles those that break the connection.
RESPONSES: dict[str, Callable[[Struck], Response]] = {
    "http_error": _http_error,
    "rate_limited": _rate_limited,
    "html": _html,
    "business_error": _business_error,
    "no_credits": _no_credits,
    "bad_json": _bad_json,
    "missing_img_uuid": _missing_img_uuid,
    "edited": _edited,
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


#: The kinds that send the whole body, and end the connection before the response has ended.
UNFINISHED: dict[str, Callable[[Answer], bytes]] = {
    "unfinished_chunks": _unfinished_chunks,
    "short_body": _short_body,
}
#: The kinds that change the response of the app, so that `when` does not apply.
WITH_THE_APPS_RESPONSE = {
    "truncated",
    "missing_img_uuid",
    "edited",
    "early_hints",
    "long_header",
    "false_encoding",
    *UNFINISHED,
}


async def _zero_blocks(size: int) -> AsyncIterator[bytes]:
    block = bytes(256 * 1024)
    for start in range(0, size, len(block)):
        yield block[: size - start]
