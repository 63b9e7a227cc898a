# SPDX-License-Identifier: Apache-2.0
"""Temporary files that are deleted with the last object that can open them."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def new_file() -> Any:
    """Return a new temporary file, open for writing bytes."""
    return tempfile.NamedTemporaryFile(prefix="goenhance-manifest-")


def opener_of(file: Any) -> Callable[[], IO[bytes]]:
    """Return a function that opens a temporary file for reading; the file exists as long as the function."""
    file.flush()
    return partial(_reopen, file)


def _reopen(file: Any) -> IO[bytes]:
    return Path(file.name).open("rb")
