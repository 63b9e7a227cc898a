# SPDX-License-Identifier: Apache-2.0
"""The live page at `/`."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import HTMLResponse

router = APIRouter(tags=["sandbox"])
_PAGE = Path(__file__).with_name("page.html")
_POLICY = "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src *"


@router.get("/", response_class=HTMLResponse)
async def live_page() -> HTMLResponse:
    """Serve the page that shows the sandbox, its switches and its latest jobs."""
    return HTMLResponse(_PAGE.read_text(encoding="utf-8"), headers={"Content-Security-Policy": _POLICY})
