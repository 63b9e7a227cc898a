# SPDX-License-Identifier: Apache-2.0
"""
The security headers of the page, and what a browser without a session gets.

Whatever a manifest says, a browser runs nothing but our script, and loads nothing from another host: pictures of a
manifest go through the server (:mod:`.media`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from fastapi import HTTPException, Request, Response
from fastapi.exception_handlers import http_exception_handler, request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse
from starlette._utils import get_route_path
from starlette.datastructures import MutableHeaders

from ..links import page_url, ui_url
from .rendering import render

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
#: Set on every response that does not set them itself.
HEADERS = {
    "Content-Security-Policy": _POLICY,
    # Not "no-referrer": over plain HTTP, a browser would then send no origin with the form of a download.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-store",
}


#: Parameters that say whose rows are shown: what was authorized must be exactly what is read.
_IDS = frozenset({"dag_id", "run_id", "task_id"})


class SecureHeaders:
    """
    Adds the headers to each response. Not Starlette's base class for middleware, which holds streams up.

    :param app: the application
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        if scope["type"] == "http" and _names_nothing(scope):
            answer = PlainTextResponse("No Dag, run or task has such an id.", 404)
            await answer(scope, receive, with_headers)
            return
        await self._app(scope, receive, with_headers)


def _names_nothing(scope: Scope) -> bool:
    """Return whether an id holds a NUL, which no database stores, and which is dropped where rows are read."""
    query = scope["query_string"].decode("latin-1")
    return any("\0" in value for name, value in parse_qsl(query) if name in _IDS)


def install(app: FastAPI) -> None:
    """Add the headers, and the answers to what goes wrong, to the application."""
    app.add_middleware(SecureHeaders)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        if not _wants_page(request):
            return await http_exception_handler(request, error)
        if error.status_code == 401:
            return RedirectResponse(_login(request), status_code=303)
        return HTMLResponse(_error_page(error.status_code, str(error.detail)), status_code=error.status_code)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        if not _wants_page(request):
            return await request_validation_exception_handler(request, error)
        wrong = ", ".join(sorted({str(one["loc"][-1]) for one in error.errors()}))
        return HTMLResponse(
            _error_page(422, f"The address is not complete: {wrong} is missing or has no valid value."), 422
        )


def _wants_page(request: Request) -> bool:
    """Return whether a person looks at the answer: a browser that loads a page, not a script or a picture."""
    return request.method == "GET" and "text/html" in request.headers.get("accept", "")


def _login(request: Request) -> str:
    """Return the address of Airflow's log-in, which returns to this page."""
    query = f"?{request.url.query}" if request.url.query else ""
    back = f"{page_url()}{get_route_path(request.scope)}{query}"
    return f"{ui_url('/auth/login')}?{urlencode({'next': back})}"


def _error_page(status: int, message: str) -> str:
    title = {403: "You may not see this", 404: "Not found", 503: "The results table cannot be read"}
    return render("error.html", title=title.get(status, "This did not work"), message=message)
