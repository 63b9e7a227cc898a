# SPDX-License-Identifier: Apache-2.0
"""
The application that the plugin mounts, created at its first request.

Every Airflow process loads plugins, even to parse a Dag or run a task; only the API server needs FastAPI.
"""

from __future__ import annotations

from typing import Any


class LazyApp:
    """An ASGI application that is imported at the first request."""

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if self._app is None:
            from .app import create_app

            self._app = create_app()
        await self._app(scope, receive, send)
