# SPDX-License-Identifier: Apache-2.0
"""Every face with every target, from one or two manifests."""

from __future__ import annotations

import itertools
import json

import pytest

from airflow_provider_goenhance.exceptions import ManifestError
from airflow_provider_goenhance.manifest import matrix
from airflow_provider_goenhance.manifest.read import Options, open_manifest, read_manifest

FACES = [f"https://pictures.example/faces/{n}.jpg" for n in range(3)]
SCENES = [f"https://pictures.example/scenes/{n}.jpg" for n in range(2)]


def combined(manifest) -> list[tuple[str, str]]:
    return [(pair.source_img, pair.reference_img) for pair in manifest.pairs]


def test_one_file_has_two_lists_of_different_lengths(manifest_file):
    text = "face,target\n" + "".join(
        f"{face},{scene}\n" for face, scene in itertools.zip_longest(FACES, SCENES, fillvalue="")
    )
    manifest = read_manifest(manifest_file(text), mode="matrix")
    assert combined(manifest) == list(itertools.product(FACES, SCENES))
    assert [pair.row_number for pair in manifest.pairs] == [1, 2, 3, 4, 5, 6]
    assert len({pair.pair_id for pair in manifest.pairs}) == 6


def test_two_files_of_different_formats(manifest_file):
    faces = manifest_file(
        "id,face,consent,shoot\n" + "".join(f"f{n},{face},form-{n},a\n" for n, face in enumerate(FACES)),
        "faces.csv",
    )
    targets = manifest_file(
        json.dumps([{"id": f"t{n}", "target": scene, "shoot": "b"} for n, scene in enumerate(SCENES)]),
        "targets.json",
    )
    manifest = read_manifest(faces, mode="matrix", reference_manifest=targets)
    assert combined(manifest) == list(itertools.product(FACES, SCENES))
    assert [pair.pair_id for pair in manifest.pairs][:3] == ["f0__t0", "f0__t1", "f1__t0"]
    assert manifest.pairs[2].consent_ref == "form-1"
    assert json.loads(manifest.pairs[0].labels or "") == {"shoot": "a", "reference shoot": "b"}
    assert manifest.location == f"{faces} x {targets}"


def test_a_picture_that_cannot_be_used_is_one_rejected_row(manifest_file):
    text = f"face,target\n{FACES[0]},{SCENES[0]}\nftp://x,{SCENES[1]}\n{FACES[0]},\n"
    manifest = read_manifest(manifest_file(text), mode="matrix")
    assert combined(manifest) == [(FACES[0], SCENES[0]), (FACES[0], SCENES[1])]
    assert [(row.row_number, row.code) for row in manifest.rejected] == [
        (3, "not_http_url"),
        (4, "duplicate_pair_id"),
    ]
    assert manifest.rejected[1].reason == "the same face as row 2"


def test_a_picture_is_not_combined_with_itself(manifest_file):
    text = f"face,target\n{FACES[0]},{FACES[0]}\n{FACES[1]},\n"
    manifest = read_manifest(manifest_file(text), mode="matrix")
    assert combined(manifest) == [(FACES[1], FACES[0])]
    assert [row.code for row in manifest.rejected] == ["same_picture"]


def test_limit_takes_the_first_combinations(manifest_file):
    text = "face,target\n" + "".join(f"{face},{face.replace('faces', 'scenes')}\n" for face in FACES)
    assert len(read_manifest(manifest_file(text), mode="matrix", limit=4).pairs) == 4


def test_a_matrix_without_targets_or_with_too_many_pairs_is_refused(manifest_file, monkeypatch):
    with pytest.raises(ManifestError, match="has no target that can be used"):
        read_manifest(manifest_file(f"face,target\n{FACES[0]},\n"), mode="matrix")
    monkeypatch.setattr(matrix, "MAX_PAIRS", 5)
    text = "face,target\n" + "".join(f"{face},{face.replace('faces', 'scenes')}\n" for face in FACES)
    with pytest.raises(
        ManifestError, match=r"3 faces x 3 targets = 9 pairs, more than 5: split it, or set limit"
    ):
        read_manifest(manifest_file(text), mode="matrix")
    assert len(read_manifest(manifest_file(text), mode="matrix", limit=5).pairs) == 5


def test_a_matrix_is_yielded_in_chunks(manifest_file, monkeypatch):
    monkeypatch.setattr(matrix, "CHUNK_ROWS", 4)
    text = "face,target\n" + "".join(f"{face},{face.replace('faces', 'scenes')}\n" for face in FACES)
    stream = open_manifest(manifest_file(text), options=Options(matrix=True))
    assert [len(checked.pairs) for checked in stream] == [4, 4, 1]
