# SPDX-License-Identifier: Apache-2.0
"""Write into a picture that a trained model has altered it, without touching a pixel."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, cast

from airflow_provider_goenhance.exceptions import CollectError
from airflow_provider_goenhance.pictures.formats import jpeg, png, webp, xmp
from airflow_provider_goenhance.pictures.formats.container import BrokenContainerError, NoRoomError
from airflow_provider_goenhance.pictures.verify import kind_of_bytes

from ...exceptions import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Mapping

MarkOutcome = Literal["marked", "already_marked", "left_whole", "no_room"]
"""
``marked``: the mark was written · ``already_marked``: it was there · ``left_whole``: the picture carries a C2PA
manifest, which any change would invalidate · ``no_room``: the format or its limits leave no place for the mark.
The last two need a sidecar.
"""

NEEDS_SIDECAR: frozenset[MarkOutcome] = frozenset({"left_whole", "no_room"})


class _Container(Protocol):
    def read_xmp(self, data: bytes) -> bytes | None: ...
    def write_xmp(self, data: bytes, packet: bytes) -> bytes: ...
    def has_claim(self, data: bytes) -> bool: ...


_CONTAINERS: Mapping[str, _Container] = {
    "jpeg": cast("_Container", jpeg),
    "png": cast("_Container", png),
    "webp": cast("_Container", webp),
}


def mark_picture(path: Path, *, system: str = "GoEnhance") -> MarkOutcome:
    """
    Mark a picture as altered with a trained model, in its XMP: ``DigitalSourceType`` and ``AISystemUsed``.

    What the packet held already stays, extended XMP stays, and not a byte of the picture data changes.

    :param path: the picture; replaced as a whole if it changes
    :param system: the name written as ``AISystemUsed``
    :raises CollectError: ``truncated_image`` if the file is not a whole picture
    """
    data = path.read_bytes()
    kind = kind_of_bytes(data[:12])
    container = _CONTAINERS.get(kind or "")
    if container is None:
        return "no_room"
    broken: str
    try:
        outcome, marked = _mark(container, data, system)
    except BrokenContainerError as error:
        broken = str(error)
    else:
        if marked is not None:
            _replace(path, marked)
        return outcome
    raise CollectError(f"The picture ({kind}) is not whole: {broken}.", error_code=ErrorCode.TRUNCATED_IMAGE)


def _mark(container: _Container, data: bytes, system: str) -> tuple[MarkOutcome, bytes | None]:
    packet = container.read_xmp(data)
    if container.has_claim(data) or (packet is not None and xmp.names_remote_claim(packet)):
        return "left_whole", None
    wanted = {"DigitalSourceType": xmp.DIGITAL_SOURCE_TYPE, "AISystemUsed": system}
    if packet is not None and wanted.items() <= xmp.read_properties(packet).items():
        return "already_marked", None
    try:
        return "marked", container.write_xmp(data, xmp.with_properties(packet, wanted))
    except NoRoomError:
        return "no_room", None


def _replace(path: Path, data: bytes) -> None:
    """Swap the file in one step, so that nobody ever sees half of it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
