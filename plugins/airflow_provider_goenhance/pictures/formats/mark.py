# SPDX-License-Identifier: Apache-2.0
"""Mark a picture as altered by a trained model, without changing a pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, cast

from ...exceptions import CollectError, ErrorCode
from ..kinds import HEAD, kind_of_bytes
from . import BrokenContainerError, NoRoomError, jpeg, png, webp, xmp

if TYPE_CHECKING:
    from collections.abc import Mapping

MarkOutcome = Literal["marked", "already_marked", "left_whole", "no_room"]
"""
``marked``: the mark was written · ``already_marked``: it was there · ``left_whole``: the picture carries a C2PA
manifest, which any change would invalidate · ``no_room``: the format or its limits leave no place for the mark.
The last two need a sidecar.
"""

NEEDS_SIDECAR: frozenset[MarkOutcome] = frozenset({"left_whole", "no_room"})


class Marked(NamedTuple):
    """The outcome of marking, and the picture: the bytes passed in unless the mark was written."""

    outcome: MarkOutcome
    data: bytes


class _Container(Protocol):
    def read_xmp(self, data: bytes) -> bytes | None: ...
    def write_xmp(self, data: bytes, packet: bytes) -> bytes: ...
    def has_claim(self, data: bytes) -> bool: ...


_CONTAINERS: Mapping[str, _Container] = {
    "jpeg": cast("_Container", jpeg),
    "png": cast("_Container", png),
    "webp": cast("_Container", webp),
}


def mark_picture(data: bytes, *, system: str = "GoEnhance") -> Marked:
    """
    Mark a picture as altered with a trained model, in its XMP: ``DigitalSourceType`` and ``AISystemUsed``.

    All other properties and extended XMP stay, and not a byte of the picture data changes.

    :param data: the content of the picture's file
    :param system: the name written as ``AISystemUsed``
    :raises CollectError: ``truncated_image`` if the picture is incomplete
    """
    kind = kind_of_bytes(data[:HEAD])
    container = _CONTAINERS.get(kind or "")
    if container is None:
        # Other formats keep a manifest in boxes of these names as well.
        return Marked("left_whole" if b"jumb" in data and b"c2pa" in data else "no_room", data)
    broken: str
    try:
        return _mark(container, data, system)
    except BrokenContainerError as error:
        broken = str(error)
    raise CollectError(f"The picture ({kind}) is incomplete: {broken}.", error_code=ErrorCode.TRUNCATED_IMAGE)


def _mark(container: _Container, data: bytes, system: str) -> Marked:
    packet = container.read_xmp(data)
    if container.has_claim(data) or (packet is not None and xmp.names_remote_claim(packet)):
        return Marked("left_whole", data)
    wanted = {"DigitalSourceType": xmp.DIGITAL_SOURCE_TYPE, "AISystemUsed": system}
    if packet is not None and wanted.items() <= xmp.read_properties(packet).items():
        return Marked("already_marked", data)
    try:
        return Marked("marked", container.write_xmp(data, xmp.with_properties(packet, wanted)))
    except NoRoomError:
        return Marked("no_room", data)
