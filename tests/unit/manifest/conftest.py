# SPDX-License-Identifier: Apache-2.0
"""Fixtures for the tests of package manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.manifest.web_server import web_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.unit.manifest.web_server import WebServer


@pytest.fixture
def manifest_file(tmp_path: Path) -> Callable[..., str]:
    """Write text or bytes to a file, by default ``pairs.csv``, and return its path."""

    def write(content: str | bytes, name: str = "pairs.csv") -> str:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the proxy of this machine."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server(no_proxy: None) -> Iterator[WebServer]:
    """Run a web server."""
    with web_server() as running:
        yield running
