# SPDX-License-Identifier: Apache-2.0
"""
Find candidate faces with the boosted Haar cascades that come with OpenCV.

They share neither method nor training data with BlazeFace, so that a face which one misses is often found by the other.
"""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np

#: Frontal faces, and heads seen from one side; the other side is the mirrored picture.
_FRONTAL, _PROFILE = "haarcascade_frontalface_alt2.xml", "haarcascade_profileface.xml"
#: The longer side at which a picture is searched: the search takes time in proportion to the pixels.
SEARCHED_SIDE = 800
#: Pixels of the smallest face that is searched for, at that size.
_SMALLEST = 30
#: How much larger the windows get from one pass to the next, and how many windows must agree on a face. Steps of 1.1
#: with four windows find as many faces in twice the time, and more where there is none.
_STEP, _NEIGHBOURS = 1.2, 3
# A cascade stores the picture that it searches, so each thread has its own.
_OWN = threading.local()


def shows_face(rgb: np.ndarray) -> bool:
    """Return whether a cascade finds a face in a picture."""
    grey = _prepared(rgb)
    return (
        _found(_cascade(_FRONTAL), grey)
        or _found(_cascade(_PROFILE), grey)
        or _found(_cascade(_PROFILE), np.ascontiguousarray(grey[:, ::-1]))
    )


def _prepared(rgb: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    longest = max(grey.shape)
    if longest > SEARCHED_SIDE:
        scale = SEARCHED_SIDE / longest
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.equalizeHist(grey)


def _found(cascade: cv2.CascadeClassifier, grey: np.ndarray) -> bool:
    boxes = cascade.detectMultiScale(
        grey, scaleFactor=_STEP, minNeighbors=_NEIGHBOURS, minSize=(_SMALLEST, _SMALLEST)
    )
    return len(boxes) > 0


def _cascade(name: str) -> cv2.CascadeClassifier:
    own: dict[str, cv2.CascadeClassifier] = _OWN.__dict__
    if name not in own:
        own[name] = _read(name)
    return own[name]


def _read(name: str) -> cv2.CascadeClassifier:
    cascade = cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / name))
    if cascade.empty():
        raise RuntimeError(f"OpenCV's file {name} cannot be read; install opencv-python-headless again.")
    return cascade
