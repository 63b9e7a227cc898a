# SPDX-License-Identifier: Apache-2.0
"""Tell which format a manifest has, by its content where that is certain and by its file name otherwise."""

from __future__ import annotations

import codecs
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from .compression import ENDINGS

if TYPE_CHECKING:
    from collections.abc import Collection

PARQUET = b"PAR1"
ZIP = b"PK\x03\x04"
#: The endings whose content may be any text format.
_ANY_TEXT = frozenset({"", ".txt"})


def ending_of(name: str) -> str:
    """Return the ending that stands for a file's format, in lower case, without that of a compression."""
    path = PurePosixPath(name.lower())
    return PurePosixPath(path.stem).suffix if path.suffix in ENDINGS else path.suffix


def format_of(suffix: str, start: bytes) -> str:
    """
    Return the ending of the format in which a file is read.

    :param suffix: the ending of its name, see :func:`ending_of`
    :param start: its first bytes, unpacked
    """
    if start.startswith(PARQUET):
        return ".parquet"
    if start.startswith(ZIP):
        return ".xlsx"
    if suffix in _ANY_TEXT:
        return ".json" if looks_like_json(start) else ".csv"
    return suffix


def looks_like_json(start: bytes) -> bool:
    """Return whether a text begins like a JSON array or object."""
    return start.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in {b"[", b"{"}


def unknown_format(suffix: str, supported: Collection[str]) -> str:
    """Return what is wrong with a file of another format, as a predicate."""
    return f"has the unknown ending {suffix}; supported: {', '.join(sorted(supported))}"
