# SPDX-License-Identifier: Apache-2.0
"""
The application that the plugin mounts, made at its first request.

Every Airflow process loads plugins, Dag parsing and each task included; only the API server needs FastAPI and the rest.
"""

from __future__ import annotations

from typing import Any


class LazyApp:
    """An ASGI application that imports what it needs when it is first called."""

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if self._app is None:
            from .app import create_app

            self._app = create_app()
        await self._app(scope, receive, send)
