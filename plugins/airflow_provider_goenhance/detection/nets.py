# SPDX-License-Identifier: Apache-2.0
"""Load networks that a package carries, after verifying their digests, and run them one call at a time."""

from __future__ import annotations

import hashlib
import threading
from importlib import resources
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable
    from pathlib import Path

SHORT_RANGE = "face_detection_short_range.tflite"
_SHORT_RANGE_SHA256 = "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8"


def checked(path: Path, sha256: str) -> Path:
    """
    Return the path of a model file after verifying its digest.

    :raises RuntimeError: the file is missing or was changed
    """
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise RuntimeError(f"The model file {path.name} cannot be read: {error.strerror}.") from error
    if digest != sha256:
        raise RuntimeError(
            f"The model file {path.name} has sha256 {digest}, expected {sha256}: the installation is damaged; "
            "install it again."
        )
    return path


class Net:
    """
    A network. ``cv2.dnn.Net`` stores its input, so each call holds a lock.

    :param model: the TFLite file
    :param sha256: its digest
    :raises RuntimeError: the file is missing or was changed
    """

    def __init__(self, model: Traversable, sha256: str) -> None:
        # A file path and the classic engine: for a buffer, OpenCV 5 selects an engine that drops the second output.
        with resources.as_file(model) as path:
            options: dict[str, Any] = {}
            if hasattr(cv2.dnn, "ENGINE_CLASSIC"):
                options["engine"] = cv2.dnn.ENGINE_CLASSIC
            self._net = cv2.dnn.readNetFromTFLite(str(checked(path, sha256)), **options)
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


def short_range_net() -> Net:
    """Return a new BlazeFace network, short range."""
    return Net(resources.files(__package__) / "models" / SHORT_RANGE, _SHORT_RANGE_SHA256)
