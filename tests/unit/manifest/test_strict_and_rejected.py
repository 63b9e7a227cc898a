# SPDX-License-Identifier: Apache-2.0
"""All problems of a manifest at once: in the error, in strict mode, and as rejected.csv."""

from __future__ import annotations

import csv
import io

import pytest

from airflow_provider_goenhance.exceptions import ManifestError
from airflow_provider_goenhance.manifest.model import Manifest
from airflow_provider_goenhance.manifest.read import Options, open_manifest, read_manifest
from airflow_provider_goenhance.manifest.rejected import RejectedFile
from airflow_provider_goenhance.manifest.validate import PairIds

FACE = "https://pictures.example/faces/ada.jpg"
SCENE = "https://pictures.example/scenes/beach.jpg"
HEADER = "pair_id,source_img,reference_img,note\n"
ROWS = [
    f"p1,{FACE},{SCENE},ok",
    "p2,ftp://x,,night 7",
    f"p1,{FACE},{SCENE}?2,",
    f",{FACE},{SCENE}?2,",
    f",{FACE},{SCENE}?2,x",
]
BAD = HEADER + "\n".join(ROWS) + "\n"


def test_strict_refuses_a_manifest_and_names_every_row(manifest_file):
    with pytest.raises(ManifestError) as caught:
        read_manifest(manifest_file(BAD), strict=True)
    message = str(caught.value)
    assert "is refused, because 3 rows of it cannot be swapped and strict=True: row 3: " in message
    assert "row 3: source_img is not an http:// or https:// URL: ftp://x; reference_img is blank; " in message
    assert "row 4: pair_id p1 is already used by row 2: pair_ids must be unique" in message
    assert message.endswith("add a unique pair_id to swap them again. Nothing was sent or paid")


def test_strict_yields_nothing_before_the_whole_file_is_known_to_be_good(manifest_file):
    stream = open_manifest(manifest_file(BAD), options=Options(strict=True))
    with pytest.raises(ManifestError, match="strict=True"):
        next(iter(stream))
    good = open_manifest(manifest_file(f"{HEADER}p1,{FACE},{SCENE},ok\n"), options=Options(strict=True))
    assert [len(checked.pairs) for checked in good] == [1]


def test_a_file_that_is_refused_names_its_other_problems_too(manifest_file):
    rows = [
        f"p1,ftp://x,{SCENE},",
        f'p2,{FACE},{SCENE},"a" b',
        f"p3,{FACE},,",
        f'p4,{FACE},{SCENE}?4,"5\\""',
        f'p5,,{SCENE},"c" d',
    ]
    text = HEADER + "\n".join(rows) + "\n"
    with pytest.raises(ManifestError) as caught:
        read_manifest(manifest_file(text))
    first, *others = str(caught.value).split("Also: ")
    assert "row 3, column note: text follows the closing quote of a value in line 3" in first
    assert others[0].startswith("row 5, column note: line 5 writes a quote inside a value as")
    assert others[1].startswith("row 6, column note: text follows the closing quote of a value in line 6")
    assert others[2].startswith(
        "row 2: source_img is not an http:// or https:// URL: ftp://x; row 4: reference_img is blank"
    )


def test_pairs_behind_a_damaged_quote_are_not_accepted_even_within_the_limit(manifest_file):
    text = f'{HEADER}p1,{FACE},{SCENE},"a" b\np2,{FACE},{SCENE}?2,\n'
    with pytest.raises(ManifestError, match="row 2, column note"):
        read_manifest(manifest_file(text), limit=1)


def test_a_pair_id_is_unique_over_the_manifests_of_a_run(manifest_file):
    first = manifest_file(f"{HEADER}p1,{FACE},{SCENE},\n", "first.csv")
    second = manifest_file(f"{HEADER}p1,{FACE},{SCENE}?2,\np2,{FACE},{SCENE}?2,\n", "second.csv")
    ids = PairIds()
    manifests = [open_manifest(location, ids=ids).collect() for location in (first, second)]
    assert [[pair.pair_id for pair in manifest.pairs] for manifest in manifests] == [["p1"], ["p2"]]
    assert manifests[1].rejected[0].reason == (
        f"pair_id p1 is already used by row 2 of {first}: pair_ids must be unique"
    )


def rejected_csv(manifests: list[Manifest]) -> bytes:
    file = RejectedFile(several=len(manifests) > 1)
    for manifest in manifests:
        file.add_rejected(manifest.location, manifest.rejected)
    with file.finish() as written:
        return written.read()


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def test_rejected_rows_are_written_as_they_stood_with_row_and_reason(manifest_file):
    manifest = read_manifest(manifest_file(BAD))
    [first, second, third] = rows_of(rejected_csv([manifest]))
    assert (first["row_number"], first["error_code"], first["column"]) == ("3", "not_http_url", "source_img")
    assert (first["pair_id"], first["source_img"], first["reference_img"]) == ("p2", "ftp://x", "")
    assert first["note"] == "night 7"
    assert (second["error_code"], second["row_number"]) == ("duplicate_pair_id", "4")
    assert third["note"] == "x"


def test_rejected_rows_can_be_corrected_and_fed_back(manifest_file):
    rows = rejected_csv([read_manifest(manifest_file(BAD))]).decode().replace("ftp://x,", f"{FACE},{SCENE}?9")
    fed_back = read_manifest(manifest_file(rows, "rejected.csv"))
    assert [pair.pair_id for pair in fed_back.pairs][:2] == ["p2", "p1"]


def test_rejected_rows_carry_no_signature(manifest_file):
    signed = f"{FACE}?w=1&X-Amz-Signature=s3cret&X-Amz-Credential=c&X-Amz-Date=20260101T000000Z"
    manifest = read_manifest(manifest_file(f"{HEADER}p1,{signed},,\n"))
    [row] = rows_of(rejected_csv([manifest]))
    assert "s3cret" not in row["source_img"]
    assert row["source_img"].startswith(FACE)


def test_rejected_rows_of_several_manifests_name_theirs(manifest_file):
    manifest = read_manifest(manifest_file(BAD))
    other = Manifest("elsewhere.csv", [], manifest.rejected[:1])
    assert {row["manifest"] for row in rows_of(rejected_csv([manifest, other]))} == {
        manifest.location,
        "elsewhere.csv",
    }
