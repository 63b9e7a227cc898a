# SPDX-License-Identifier: Apache-2.0
"""Load the two vendored networks after verifying their digests, and run them one call at a time."""

from __future__ import annotations

import hashlib
import threading
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

DETECTOR = "face_detection_short_range.tflite"
MESH = "face_landmark.tflite"
TRIANGLES = "mesh_triangles.npy"

SHA256 = {
    DETECTOR: "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
    MESH: "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
    TRIANGLES: "dcccc220666a8b1c9de85b5eeefa85f0a8418199a7b162c1939a607fc8d707fa",
}


def checked(path: Path) -> Path:
    """Return the path of a model file after verifying its digest."""
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise RuntimeError(
            f"The engine's model file {path.name} cannot be read: {error.strerror}."
        ) from error
    if digest != SHA256[path.name]:
        raise RuntimeError(
            f"The engine's model file {path.name} has sha256 {digest}, expected {SHA256[path.name]}: "
            "the installation is damaged; install it again."
        )
    return path


class Net:
    """A network. ``cv2.dnn.Net`` stores its input, so each call holds a lock."""

    def __init__(self, name: str) -> None:
        # A file path and the classic engine: for a buffer, OpenCV 5 selects an engine that drops the second output.
        with resources.as_file(resources.files(__package__) / "models" / name) as path:
            options: dict[str, Any] = {}
            if hasattr(cv2.dnn, "ENGINE_CLASSIC"):
                options["engine"] = cv2.dnn.ENGINE_CLASSIC
            self._net = cv2.dnn.readNetFromTFLite(str(checked(path)), **options)
        self._outputs = sorted(self._net.getUnconnectedOutLayersNames())
        self._lock = threading.Lock()

    def __call__(self, blob: np.ndarray) -> dict[str, np.ndarray]:
        """Run the network on an NCHW float32 blob and return its flattened outputs by name."""
        with self._lock:
            self._net.setInput(blob)
            values = self._net.forward(self._outputs)
            return {
                name: np.array(value).reshape(-1) for name, value in zip(self._outputs, values, strict=True)
            }


@cache
def triangles() -> np.ndarray:
    """Return the mesh's fixed topology: three point indices a row, int32 898 x 3."""
    with resources.as_file(resources.files(__package__) / "models" / TRIANGLES) as path:
        corners: np.ndarray = np.load(checked(path)).astype(np.int32)
        return corners
