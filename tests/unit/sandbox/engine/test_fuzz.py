# SPDX-License-Identifier: Apache-2.0
"""Thirty mangled pictures: each a swap or a coded error. Five hundred are in tests/system/test_engine_fuzz.py."""

from __future__ import annotations

from tests.unit.sandbox.engine.fuzz import survives


def test_thirty_mangled_pictures_end_in_a_swap_or_a_coded_error(engine):
    outcomes = survives(engine, range(30))
    assert sum(outcomes.values()) == 30
    assert outcomes["swap"] > 5
    assert len(outcomes) > 4
