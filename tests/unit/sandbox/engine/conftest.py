# SPDX-License-Identifier: Apache-2.0
"""One engine for all its tests, and the two pictures most of them use."""

from __future__ import annotations

import pytest

from include.sandbox.engine import FaceSwapEngine
from tests.unit.sandbox.engine.pictures import encoded, opened, sample


@pytest.fixture(scope="session")
def engine() -> FaceSwapEngine:
    return FaceSwapEngine(opencv_threads=1)


@pytest.fixture(scope="session")
def collins() -> bytes:
    return sample("collins.jpg")


@pytest.fixture(scope="session")
def hopper() -> bytes:
    return sample("hopper.jpg")


@pytest.fixture(scope="session")
def hopper_png(hopper: bytes) -> bytes:
    return encoded(opened(hopper).convert("RGB"), "PNG", compress_level=1)
