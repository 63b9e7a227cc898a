# SPDX-License-Identifier: Apache-2.0
"""The picture of load mode."""

from __future__ import annotations

import io

from PIL import Image

from include.sandbox.placeholder import placeholder_picture


def test_the_load_mode_picture_opens_and_says_that_it_holds_no_swap():
    picture = Image.open(io.BytesIO(placeholder_picture("uuid-1", "sandbox load mode: no face was swapped")))
    picture.load()
    assert picture.size == (8, 8)
    assert picture.info["Comment"] == "GoEnhance sandbox load mode: no face was swapped; job uuid-1"


def test_each_job_has_its_own_bytes():
    assert placeholder_picture("a", "n") != placeholder_picture("b", "n")
    assert placeholder_picture("a", "n") == placeholder_picture("a", "n")
