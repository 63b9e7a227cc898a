# SPDX-License-Identifier: Apache-2.0
"""Five hundred pictures cut, turned, scaled, corrupted and of the wrong type: no crash, no hang."""

from __future__ import annotations

from include.sandbox.engine import FaceSwapEngine
from tests.unit.sandbox.engine.fuzz import survives


def test_five_hundred_mangled_pictures_end_in_a_swap_or_a_coded_error():
    outcomes = survives(FaceSwapEngine("all", opencv_threads=1), range(1000, 1500))
    assert sum(outcomes.values()) == 500
    assert outcomes["swap"] > 100
