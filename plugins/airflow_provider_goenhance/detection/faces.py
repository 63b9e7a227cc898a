# SPDX-License-Identifier: Apache-2.0
"""
Decide whether a picture shows a face.

A wrong "no face" costs a valid row, a wrong "face" one credit. So one detector that finds a face is enough, and "no
face" needs two that are independent: BlazeFace, in windows of several sizes and in the picture turned each way, and
OpenCV's cascades.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from . import cascade
from .blazeface import Candidate, detect_in, levels
from .nets import short_range_net

if TYPE_CHECKING:
    from .nets import Net

#: A candidate that is less certain than this does not count as a second face.
SURE = 0.75
_OWN = threading.local()


@dataclass(frozen=True, slots=True)
class Faces:
    """
    The faces of a picture.

    :param count: how many there are. Whether there is one at all is more certain than their number
    :param size: side of the largest one as a share of the picture's longer side; 0 if only the cascades found one
    """

    count: int
    size: float = 0.0


def find_faces(rgb: np.ndarray) -> Faces:
    """
    Return the faces of a picture.

    :param rgb: upright pixels, uint8 H x W x 3
    :raises RuntimeError: the model is missing or was changed
    """
    net, longest = _net(), max(rgb.shape[:2])
    for turns in range(4):
        view = np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb
        # Turned pictures are rare, so they are searched less finely.
        for windows in islice(levels(view), 1 if turns else None):
            found = detect_in(net, view, windows)
            if turns:
                # In a turned picture the network has more false positives.
                found = [one for one in found if one.score >= SURE]
            if found:
                return Faces(_count(found), min(1.0, max(one.size for one in found) / longest))
    return Faces(1 if cascade.shows_face(rgb) else 0)


def _count(found: list[Candidate]) -> int:
    return max(1, sum(one.score >= SURE for one in found))


def _net() -> Net:
    """Return the network of this thread: a network runs one picture at a time."""
    net: Net | None = getattr(_OWN, "net", None)
    if net is None:
        net = _OWN.net = short_range_net()
    return net
