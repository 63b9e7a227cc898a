# SPDX-License-Identifier: Apache-2.0
"""Fixtures for the tests of package manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def manifest_file(tmp_path: Path) -> Callable[..., str]:
    """Write text or bytes to a file, by default ``pairs.csv``, and return its path."""

    def write(content: str | bytes, name: str = "pairs.csv") -> str:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write
