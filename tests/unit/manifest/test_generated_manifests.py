# SPDX-License-Identifier: Apache-2.0
"""
Generated manifests in every format: never a traceback, and every row is planned, rejected, or refused with the file.

``GOENHANCE_MANIFEST_EXAMPLES`` sets how many are generated; the system tests use 5,000.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from airflow_provider_goenhance.exceptions import ManifestError
from airflow_provider_goenhance.manifest.labels import LONGEST_TEXT, read_labels
from airflow_provider_goenhance.manifest.model import Manifest
from airflow_provider_goenhance.manifest.read import read_manifest

from .files import FORMATS

EXAMPLES = int(os.environ.get("GOENHANCE_MANIFEST_EXAMPLES", "150"))

FACES = [f"https://pictures.example/faces/{n}.jpg" for n in range(4)]
SCENES = [f"https://pictures.example/scenes/{n}.jpg?w={n}" for n in range(4)]
#: What a workbook's XML cannot hold, and a character that ends a line in no format.
printable = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff\ufeff")
odd_texts = st.text(printable, max_size=30).map(str.strip)
urls = st.one_of(
    st.sampled_from([*FACES, *SCENES]),
    st.sampled_from(
        ["", "ftp://x/y", "https://", "https://u:s3cret@h/", "#N/A", "http://https://a/b.jpg", "nan"]
    ),
    odd_texts,
)
ids = st.one_of(st.sampled_from(["", "a", "b", "007", "1e5", "NA", "None", "[1, 2]"]), odd_texts)
labels = st.one_of(st.sampled_from(["", "", "night", "=1+1", "a, b", 'say "hi"', "x" * 600]), odd_texts)
names = st.sampled_from(
    [
        ("pair_id", "source_img", "reference_img", "note"),
        ("ID", "Face URL", "Target Image", "note"),
        ("id", "sourceImg", "reference-img", "Shoot 7"),
    ]
)
tables = st.tuples(names, st.lists(st.tuples(ids, urls, urls, labels), min_size=1, max_size=12))
#: What happens to a finished file, seldom: a piece is cut out, its end is missing, bytes are changed.
damages = st.one_of(
    st.none(),
    st.none(),
    st.tuples(st.sampled_from(["cut", "end", "flip", "insert"]), st.floats(0, 1), st.integers(1, 40)),
)


def damaged(content: bytes, damage: tuple[str, float, int] | None) -> bytes:
    if damage is None:
        return content
    kind, share, size = damage
    place = int(share * len(content))
    match kind:
        case "cut":
            return content[:place] + content[place + size :]
        case "end":
            return content[:place]
        case "flip":
            return (
                content[:place]
                + bytes(byte ^ 0x2A for byte in content[place : place + 1])
                + content[place + 1 :]
            )
        case _:
            return content[:place] + b'"\xff\n,{'[: size % 5 + 1] + content[place:]


@settings(
    deadline=None,
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.sampled_from(sorted(FORMATS)), tables, damages)
@example("pairs.json", (("id", "face", "target", "note"), [("", FACES[0], "", "")]), ("end", 0.5, 1))
@example("pairs.parquet", (("id", "face", "target", "note"), [("", "", "", "x")]), ("end", 0.9, 1))
def test_every_row_of_every_file_is_accounted_for(name, table, damage):
    header, rows = table
    write, first = FORMATS[name]
    content = damaged(write(header, rows), damage)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        refusal = ""
        manifest = Manifest("", [], [])
        try:
            manifest = read_manifest(str(path))
        except ManifestError as error:
            refusal = str(error)
    if refusal:
        assert name in refusal
        assert "s3cret" not in refusal
        assert damage is not None or not any(any(row) for row in rows), refusal
        return
    seen = sorted(row.row_number for row in (*manifest.pairs, *manifest.rejected))
    assert len(set(seen)) == len(seen)
    assert all(row.code and row.reason for row in manifest.rejected)
    if damage is not None:
        return
    assert "s3cret" not in str(manifest.rejected)
    kept = {
        number: row
        for number, row in enumerate(rows, start=first)
        if any(row) or name.partition(".")[2][:4] == "json"
    }
    assert seen == sorted(kept)
    for pair in manifest.pairs:
        pair_id, source, reference, note = kept[pair.row_number]
        assert (pair.source_img, pair.reference_img) == (source, reference)
        assert pair.pair_id == pair_id or not pair_id
        assert len(pair.labels or "") <= LONGEST_TEXT
        value = read_labels(pair.labels).get(header[3], "")
        assert value == note or (len(note) > 500 and value.endswith("..."))
    assert len({pair.pair_id for pair in manifest.pairs}) == len(manifest.pairs)
