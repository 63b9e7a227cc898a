# SPDX-License-Identifier: Apache-2.0
"""An independent reader, exiftool, finds the mark in every format and no fault in the files."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_goenhance.pictures.c2pa_signing import sign_picture
from airflow_provider_goenhance.pictures.formats.mark import mark_picture
from airflow_provider_goenhance.pictures.formats.xmp import DIGITAL_SOURCE_TYPE
from tests.unit.pictures.certificates import signing_credentials
from tests.unit.pictures.pictures import FORMATS, VARIANTS, encoded, with_metadata

if TYPE_CHECKING:
    from pathlib import Path

EXIFTOOL = shutil.which("exiftool")
pytestmark = pytest.mark.skipif(
    EXIFTOOL is None, reason="exiftool is not installed (Debian: apt-get install libimage-exiftool-perl)"
)


def _tags(path: Path) -> dict[str, Any]:
    # -n: raw values; -G1: with groups, so that it is seen to come from the IPTC Extension namespace
    completed = subprocess.run(
        [EXIFTOOL or "", "-json", "-n", "-G1", "-a", "-validate", "-warning", "-error", "-all", path],
        capture_output=True,
        check=True,
        timeout=180,
    )
    tags: dict[str, Any] = json.loads(completed.stdout)[0]
    return tags


def _size(tags: dict[str, Any]) -> tuple[int, int]:
    """Give width and height, wherever the format keeps them."""
    group = next(g for g in ("File", "PNG", "RIFF") if f"{g}:ImageWidth" in tags)
    return tags[f"{group}:ImageWidth"], tags[f"{group}:ImageHeight"]


def _check(tags: dict[str, Any]) -> None:
    assert tags["XMP-iptcExt:DigitalSourceType"] == DIGITAL_SOURCE_TYPE
    assert tags["XMP-iptcExt:AISystemUsed"] == "GoEnhance"
    assert "ExifTool:Error" not in tags


@pytest.mark.parametrize(("kind", "options"), VARIANTS)
def test_exiftool_finds_the_mark_in_every_format(tmp_path: Path, kind: str, options: dict[str, Any]) -> None:
    path = tmp_path / f"p{FORMATS[kind][1]}"
    path.write_bytes(encoded(kind, **options))
    before = _tags(path)
    outcome, marked = mark_picture(path.read_bytes())
    assert outcome == "marked"
    path.write_bytes(marked)
    after = _tags(path)
    _check(after)
    assert after.get("ExifTool:Warning") == before.get("ExifTool:Warning")
    # A plain WebP must become an extended one to carry metadata.
    assert after["File:FileType"].split()[-1] == before["File:FileType"].split()[-1]
    assert _size(after) == _size(before) == options.get("size", (96, 64))


@pytest.mark.parametrize("kind", FORMATS)
def test_exiftool_still_finds_all_that_was_there(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"p{FORMATS[kind][1]}"
    path.write_bytes(with_metadata(kind))
    before = _tags(path)
    path.write_bytes(mark_picture(path.read_bytes()).data)
    after = _tags(path)
    _check(after)
    assert after["XMP-dc:Creator"] == "Ada <L>"
    changed = {"File", "System", "ExifTool", "RIFF", "SourceFile"}
    kept = {tag: value for tag, value in before.items() if tag.split(":")[0] not in changed}
    assert kept.items() <= after.items()


@pytest.mark.parametrize("kind", FORMATS)
def test_exiftool_finds_the_mark_in_a_signed_picture(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("c2pa", reason="the extra c2pa is not installed")
    path = tmp_path / f"p{FORMATS[kind][1]}"
    path.write_bytes(sign_picture(mark_picture(encoded(kind)).data, signing_credentials()))
    _check(_tags(path))
