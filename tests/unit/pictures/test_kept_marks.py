# SPDX-License-Identifier: Apache-2.0
"""A kept picture without the mark, for a run that marks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_provider_goenhance.pictures.formats.mark import mark_picture
from airflow_provider_goenhance.pictures.formats.xmp import read_properties
from airflow_provider_goenhance.pictures.kept_marks import mark_kept_picture
from airflow_provider_goenhance.pictures.sidecar import SwapFacts
from airflow_provider_goenhance.pictures.storage import KeptPicture, read_picture
from tests.unit.pictures.pictures import FORMATS, MARK, READERS, encoded, gif, pixels, with_manifest


def marked(path: Path) -> KeptPicture:
    return mark_kept_picture(path.as_uri(), facts=SwapFacts(img_uuid="u-1"), run_id="run", pair_id="p")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "run #1 100%"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("kind", FORMATS)
def test_an_unmarked_picture_gets_a_marked_copy_beside_it_and_stays_as_it_is(folder: Path, kind: str) -> None:
    earlier = folder / f"p{FORMATS[kind][1]}"
    earlier.write_bytes(encoded(kind))
    copy = marked(earlier)
    data = read_picture(copy.uri)
    packet = READERS[kind].read_xmp(data)
    assert packet is not None
    assert read_properties(packet) == MARK
    assert pixels(data) == pixels(encoded(kind))
    assert earlier.read_bytes() == encoded(kind)
    assert marked(earlier) == copy
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("kind", FORMATS)
def test_a_marked_picture_needs_no_copy(folder: Path, kind: str) -> None:
    earlier = folder / "p"
    earlier.write_bytes(mark_picture(encoded(kind)).data)
    assert marked(earlier).uri == earlier.as_uri()
    assert list(folder.iterdir()) == [earlier]


@pytest.mark.parametrize("data", [gif(), encoded("avif"), with_manifest("jpeg")])
def test_a_picture_that_cannot_be_marked_gets_the_sidecar_that_it_lacks(folder: Path, data: bytes) -> None:
    earlier = folder / "p"
    earlier.write_bytes(data)
    assert marked(earlier).uri == earlier.as_uri()
    assert earlier.read_bytes() == data
    sidecar = folder / "p.json"
    assert json.loads(sidecar.read_bytes())["img_uuid"] == "u-1"
    sidecar.write_text("written by an earlier run")
    marked(earlier)
    assert sidecar.read_text() == "written by an earlier run"
