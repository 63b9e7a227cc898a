# SPDX-License-Identifier: Apache-2.0
"""The application that shows runs, rows and pictures inside the Airflow UI. Each concern has a router of its own."""

from __future__ import annotations

from pathlib import PurePath

from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse

from . import headers, media, rows, runs, sheet
from .actions import ROUTERS
from .rendering import STATIC

_STATIC_TYPES = {
    "page.css": "text/css",
    "page.js": "text/javascript",
    "actions.js": "text/javascript",
    "light.svg": "image/svg+xml",
    "dark.svg": "image/svg+xml",
}


def create_app() -> FastAPI:
    """Return the application that Airflow mounts under ``/goenhance``."""
    app = FastAPI(title="GoEnhance face swaps", docs_url=None, redoc_url=None, openapi_url=None)
    headers.install(app)
    for router in (runs.router, rows.router, media.router, sheet.router, *ROUTERS):
        app.include_router(router)
    app.add_api_route("/static/{version}/{name}", _static_file, methods=["GET"])
    return app


def _static_file(version: str, name: str) -> FileResponse:
    """Return our script, style sheet or icon, which hold nobody's data. The version is for caches only."""
    if name not in _STATIC_TYPES:
        raise HTTPException(404, "There is no such file.")
    return FileResponse(
        STATIC / PurePath(name).name,
        media_type=_STATIC_TYPES[name],
        headers={"Cache-Control": "public, max-age=31536000, immutable"},
    )
