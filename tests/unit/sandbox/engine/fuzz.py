# SPDX-License-Identifier: Apache-2.0
"""Feeds mangled pictures to the engine and judges what comes of each."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from PIL import ImageOps

from include.sandbox.engine import EngineError
from tests.unit.sandbox.engine.mangle import CODES, mangled
from tests.unit.sandbox.engine.pictures import opened, sample

if TYPE_CHECKING:
    from collections.abc import Iterable

    from include.sandbox.engine import FaceSwapEngine

LONGEST = 20.0


def survives(engine: FaceSwapEngine, numbers: Iterable[int]) -> Counter[str]:
    """Swap each picture, in turn as source and as reference; how often each outcome came."""
    outcomes: Counter[str] = Counter()
    partner = sample("hopper.jpg")
    for number in numbers:
        picture = mangled(number)
        as_source = number % 2 == 0
        began = time.monotonic()
        try:
            swap = engine.swap(picture, partner) if as_source else engine.swap(partner, picture)
        except EngineError as error:
            assert error.code in CODES, (number, error.code)
            assert error.picture == ("source_img" if as_source else "reference_img"), number
            assert str(error).startswith(error.picture), number
            outcomes[error.code] += 1
        else:
            reference = ImageOps.exif_transpose(opened(partner if as_source else picture))
            assert opened(swap.data).size == reference.size, number
            assert swap.faces, number
            outcomes["swap"] += 1
        assert time.monotonic() - began < LONGEST, f"picture {number} took too long"
    return outcomes
