# SPDX-License-Identifier: Apache-2.0
"""The sample manifest: each pair swaps, but for the one that must not."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from include.sandbox.engine import EngineError
from include.sandbox.engine.decode import decode
from tests.unit.sandbox.engine.pictures import IMAGES, sample

MANIFEST = IMAGES.parent / "manifests" / "sample.csv"
PREFIX = "http://127.0.0.1:8765/images/"
LOCAL = "../images/"
ROWS = list(csv.DictReader(MANIFEST.read_text(encoding="utf-8").splitlines()))
NO_FACE = "coffee-has-no-face"


def picture(row: dict[str, str], column: str) -> bytes:
    assert row[column].startswith((PREFIX, LOCAL))
    return sample(row[column].removeprefix(PREFIX).removeprefix(LOCAL))


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row["pair_id"] != NO_FACE], ids=lambda row: row["pair_id"]
)
def test_each_pair_of_the_sample_manifest_changes_a_face(engine, row):
    reference = picture(row, "reference_img")
    swap = engine.swap(picture(row, "source_img"), reference)
    before, after = (decode(data, "reference_img").rgb.astype(int) for data in (reference, swap.data))
    assert before.shape == after.shape
    left, top, right, bottom = swap.faces[0]
    assert np.abs(after - before)[top:bottom, left:right].mean() > 5


def test_the_pair_without_a_face_says_so(engine):
    (row,) = [row for row in ROWS if row["pair_id"] == NO_FACE]
    with pytest.raises(EngineError, match="source_img shows no face") as refused:
        engine.swap(picture(row, "source_img"), picture(row, "reference_img"))
    assert refused.value.code == "no_face"


def test_the_sample_has_enough_pairs_with_names_of_their_own():
    assert len(ROWS) >= 15
    assert len({row["pair_id"] for row in ROWS}) == len(ROWS)
    assert list(ROWS[0]) == ["pair_id", "source_img", "reference_img"]


def test_every_sample_picture_is_described_and_small():
    readme = (IMAGES / "README.md").read_text(encoding="utf-8")
    for path in IMAGES.iterdir():
        if path.suffix != ".md":
            assert f"`{path.name}`" in readme
            assert path.stat().st_size <= 300 * 1024
