# SPDX-License-Identifier: Apache-2.0
"""Feeds mangled pictures to the engine and judges what comes of each."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from PIL import ImageOps

from include.sandbox.engine import EngineError
from tests.unit.sandbox.engine.mangle import CODES, mangled
from tests.unit.sandbox.engine.pictures import encoded, opened, sample

if TYPE_CHECKING:
    from collections.abc import Iterable

    from include.sandbox.engine import FaceSwapEngine, Swap

#: Seconds of processor time: what else runs on the machine does not count.
LONGEST = 20.0


def survives(engine: FaceSwapEngine, numbers: Iterable[int]) -> Counter[str]:
    """Swap each picture, in turn as source and as reference; how often each outcome came."""
    outcomes: Counter[str] = Counter()
    partner = encoded(opened(sample("hopper.jpg")).resize((256, 300)), "JPEG")
    for number in numbers:
        picture = mangled(number)
        pair = (picture, partner) if number % 2 == 0 else (partner, picture)
        began = time.process_time()
        outcome = _outcome(engine, *pair)
        assert time.process_time() - began < LONGEST, f"picture {number} took too long"
        if isinstance(outcome, EngineError):
            assert outcome.code in CODES, (number, outcome.code)
            assert outcome.picture == ("source_img" if number % 2 == 0 else "reference_img"), number
            assert str(outcome).startswith(outcome.picture), number
            outcomes[outcome.code] += 1
        else:
            assert opened(outcome.data).size == ImageOps.exif_transpose(opened(pair[1])).size, number
            assert outcome.faces, number
            outcomes["swap"] += 1
    return outcomes


def _outcome(engine: FaceSwapEngine, source: bytes, reference: bytes) -> Swap | EngineError:
    try:
        return engine.swap(source, reference)
    except EngineError as error:
        return error
