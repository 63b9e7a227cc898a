# SPDX-License-Identifier: Apache-2.0
"""Load the mesh network and its topology; the detector is the provider's own."""

from __future__ import annotations

from functools import cache
from importlib import resources

import numpy as np

from airflow_provider_goenhance.detection.nets import Net, checked

MESH = "face_landmark.tflite"
TRIANGLES = "mesh_triangles.npy"
MIRROR = "mesh_mirror.npy"

SHA256 = {
    MESH: "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
    TRIANGLES: "dcccc220666a8b1c9de85b5eeefa85f0a8418199a7b162c1939a607fc8d707fa",
    MIRROR: "8e0f439e2cba835854c620c5a42821c44d23fe91b38bb0d014c36d45864f9331",
}


def mesh_net() -> Net:
    """Return a new mesh network."""
    return Net(resources.files(__package__) / "models" / MESH, SHA256[MESH])


@cache
def triangles() -> np.ndarray:
    """Return the mesh's fixed topology: three point indices a row, int32 898 x 3."""
    return _array(TRIANGLES)


@cache
def mirror() -> np.ndarray:
    """Return for each mesh point the number of the one on the other half of the face, int32 468."""
    return _array(MIRROR)


def _array(name: str) -> np.ndarray:
    with resources.as_file(resources.files(__package__) / "models" / name) as path:
        numbers: np.ndarray = np.load(checked(path, SHA256[name])).astype(np.int32)
        return numbers
