# SPDX-License-Identifier: Apache-2.0
"""The ASGI application: the GoEnhance endpoints and the control endpoints behind the fault middleware."""

from __future__ import annotations

from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from . import control, endpoints, page
from .fault_middleware import FaultMiddleware
from .faults import FaultPlan
from .openapi import SECURITY_SCHEMES
from .state import Sandbox, start_switches
from .switches import Switches
from .traffic import Traffic
from .wire import envelope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .connections import Connections
    from .settings import Settings

_ABOUT = """
A local substitute for the GoEnhance image face swap API. Its responses have the vendor's format; it swaps faces on
this machine and keeps its own ledger. It is not GoEnhance: speed, limits and pictures differ. Faults, and all behaviour
that the vendor does not document, are controlled by switches; see `PUT /sandbox/faults`.
"""


_ROUTERS = (endpoints.router, control.router, page.router)


def create_app(settings: Settings, connections: Connections) -> FaultMiddleware:
    """
    Build the application.

    :raises SwitchError: a start switch does not exist or its value is invalid.
    """
    plan = FaultPlan(start_switches(settings))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.sandbox = Sandbox(settings, plan, connections)
        yield
        await app.state.sandbox.close()

    app = FastAPI(
        title="GoEnhance sandbox",
        version="1",
        description=_ABOUT,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.traffic = Traffic()
    for router in _ROUTERS:
        app.include_router(router)
    app.add_exception_handler(HTTPException, _plain_error)
    app.add_exception_handler(Exception, _server_error)
    app.add_exception_handler(RequestValidationError, _bad_parameter)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return FaultMiddleware(app, plan, connections)


async def _plain_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class only
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = _methods(request)
    return envelope(error.status_code, error.detail, status=error.status_code, **headers)


def _methods(request: Request) -> str:
    """Return the methods that a path allows. Starlette itself reports only those of the first matching route."""
    # From FastAPI 0.137 on, the application lists a router where it listed the router's routes before.
    routes = [*request.app.routes, *(route for router in _ROUTERS for route in router.routes)]
    matching = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return ", ".join(
        sorted({method for route in matching for method in getattr(route, "methods", None) or ()})
    )


async def _server_error(_: Request, __: Exception) -> Response:
    return envelope(500, "", status=500)


async def _bad_parameter(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class only
    first = error.errors()[0]
    return envelope(400, f"{first['loc'][-1]}: {first['msg']}", status=400)


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        schema["components"]["securitySchemes"] = SECURITY_SCHEMES
        changes = Switches.model_json_schema(ref_template="#/components/schemas/{model}")
        schema["components"]["schemas"] |= changes.pop("$defs") | {"SwitchChanges": changes}
        _document_errors_as_they_are(schema)
        app.openapi_schema = schema
    return app.openapi_schema


def _document_errors_as_they_are(schema: dict[str, Any]) -> None:
    # FastAPI documents a 422 response that this application never sends.
    for operations in schema["paths"].values():
        for operation in operations.values():
            if operation["responses"].pop("422", None):
                operation["responses"].setdefault("400", {"description": "An invalid parameter."})
    for name in ("HTTPValidationError", "ValidationError"):
        schema["components"].get("schemas", {}).pop(name, None)
