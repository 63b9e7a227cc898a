# SPDX-License-Identifier: Apache-2.0
"""Pictures of some rows as one ZIP file, made while it is sent: one picture is in memory at a time."""

from __future__ import annotations

import io
import logging
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote

from ..exceptions import CollectError
from ..pictures.names import folder_for

if TYPE_CHECKING:
    from ..results.swap import Swap

log = logging.getLogger(__name__)

_UNSAFE = re.compile(r"[^\w.-]+")
#: The note in the file about pictures that are not in it.
MISSING = "not-included.txt"


def zip_chunks(rows: Sequence[Swap], read: Callable[[str], bytes]) -> Iterator[bytes]:
    """
    Yield a ZIP file with the pictures of some rows, in one folder for each run.

    A picture that cannot be read is left out, and named in a text file at the end.

    :param rows: rows with a picture
    :param read: returns the picture of a ``result_uri``
    """
    sink = _Sink()
    missing: list[str] = []
    taken: set[str] = set()
    # The pictures are compressed already.
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED, allowZip64=True) as file:
        for row in rows:
            for uri in (str(row.result_uri), *row.additional_result_uris):
                try:
                    data = read(uri)
                except CollectError as error:
                    log.warning("The picture %s of %s could not be read: %s", uri, row.label, error)
                    missing.append(f"{row.label} of run {row.run_id}: the picture is not in the storage.")
                    continue
                file.writestr(_free_name(row, uri, taken), data)
                yield sink.taken()
        if missing:
            file.writestr(MISSING, "\n".join(missing) + "\n")
    yield sink.taken()


def _free_name(row: Swap, uri: str, taken: set[str]) -> str:
    path = PurePosixPath(unquote(uri.rpartition("/")[2]) or "picture")
    # A name that leads out of the folder would be extracted there.
    stem = _UNSAFE.sub("_", path.stem).strip(".") or "picture"
    suffix = path.suffix if path.suffix.removeprefix(".").isalnum() else ""
    folder = folder_for(row.run_id)
    number, name = 1, f"{folder}/{stem}{suffix}"
    while name.lower() in taken:
        number += 1
        name = f"{folder}/{stem}-{number}{suffix}"
    taken.add(name.lower())
    return name


class _Sink(io.RawIOBase):
    """Collects what the ZIP file writes, until it is taken; it cannot be read or moved in."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        part = bytes(data)  # type: ignore[call-overload]
        self._parts.append(part)
        self._position += len(part)
        return len(part)

    def tell(self) -> int:
        return self._position

    def taken(self) -> bytes:
        """Return what was written since the last time."""
        parts, self._parts = self._parts, []
        return b"".join(parts)
