# SPDX-License-Identifier: Apache-2.0
"""Reading a CSV manifest: which values stay as they are, and how rows are numbered."""

from __future__ import annotations

import logging
import subprocess
import sys
from functools import partial

import pytest

from airflow_provider_goenhance.manifest.model import Manifest, Pair
from airflow_provider_goenhance.manifest.read import READERS, read_manifest
from airflow_provider_goenhance.manifest.read_csv import read_csv

HEADER = "pair_id,source_img,reference_img\n"
FACE = "https://pictures.example/faces/ada.jpg"
SCENE = "https://pictures.example/scenes/beach.jpg"


def numbers(manifest: Manifest) -> list[int]:
    return [pair.row_number for pair in manifest.pairs]


def test_a_good_row_becomes_a_pair_and_the_first_data_row_is_row_2(manifest_file):
    location = manifest_file(f"{HEADER}p1,{FACE},{SCENE}\n")
    assert read_manifest(location) == Manifest(location, [Pair("p1", FACE, SCENE, 2, None)], [])


@pytest.mark.parametrize(
    "pair_id", ["NA", "007", "null", "nan", "1e5", "True", "-", "1.0", "N/A", "None", "Zoë"]
)
def test_a_pair_id_stays_the_text_it_is(manifest_file, pair_id):
    manifest = read_manifest(manifest_file(f"{HEADER}{pair_id},{FACE},{SCENE}\n"))
    assert [pair.pair_id for pair in manifest.pairs] == [pair_id]


@pytest.mark.parametrize(
    "header",
    [
        "\ufeff\ufeffsource_img,reference_img",
        '\ufeff"\ufeffsource_img","reference_img"',
        '"\ufeffsource_img",reference_img',
        "source_img\u200b,\u200breference_img\xa0",
        " source_img\t,\u2060 reference_img ",
    ],
)
def test_invisible_characters_around_a_column_name_are_trimmed(manifest_file, header):
    location = manifest_file(f"{header}\n{FACE},{SCENE}\n")
    assert [(pair.source_img, pair.reference_img) for pair in read_manifest(location).pairs] == [
        (FACE, SCENE)
    ]


def test_columns_may_stand_in_any_order_and_the_other_ones_travel_as_labels(manifest_file, caplog):
    location = manifest_file(
        f"note,reference_img,,source_img,consent_ref\nhello,{SCENE},x,{FACE},form-17\n,{SCENE}?2,,{FACE},\n"
    )
    with caplog.at_level(logging.INFO):
        manifest = read_manifest(location)
    assert [(p.source_img, p.reference_img, p.consent_ref) for p in manifest.pairs] == [
        (FACE, SCENE, "form-17"),
        (FACE, f"{SCENE}?2", None),
    ]
    assert [p.labels for p in manifest.pairs] == ['{"note": "hello", "column 3": "x"}', None]
    assert f"Manifest {location}: the columns note, column 3 travel as labels" in caplog.messages


def test_two_extra_columns_of_the_same_name_both_travel(manifest_file):
    [pair] = read_manifest(manifest_file(f"a,a,source_img,reference_img\n1,2,{FACE},{SCENE}\n")).pairs
    assert pair.labels == '{"a": "1", "a 2": "2"}'


def test_spaces_around_names_and_values_are_trimmed(manifest_file):
    manifest = read_manifest(
        manifest_file(f" source_img , reference_img,pair_id\n {FACE} ,\t{SCENE}\u00a0, p 1 \n")
    )
    assert manifest.pairs == [Pair("p 1", FACE, SCENE, 2)]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_every_usual_line_end_and_a_byte_order_mark_are_read(manifest_file, line_end, bom):
    text = f"{bom}{HEADER}p1,{FACE},{SCENE}\n\np2,{FACE},{SCENE}".replace("\n", line_end)
    assert numbers(read_manifest(manifest_file(text))) == [2, 4]


def test_blank_lines_do_not_shift_row_numbers(manifest_file):
    text = f"{HEADER}\n\np1,{FACE},{SCENE}\n,,\n   \n , ,\t\np2,{FACE},{SCENE}\n,,,,\n\n"
    manifest = read_manifest(manifest_file(text))
    assert numbers(manifest) == [4, 8]
    assert manifest.rejected == []


def test_blank_rows_between_quoted_values_are_counted_and_left_out(manifest_file):
    rows = [
        "source_img,reference_img,note",
        f'{FACE},{SCENE},"a, b"',
        "",
        ",,",
        " , ,\t",
        '"","",""',
        ",,,,",
        f'{FACE},{SCENE}?2,"c"',
        "",
    ]
    manifest = read_manifest(manifest_file("\n".join(rows)))
    assert (numbers(manifest), manifest.rejected) == ([2, 8], [])


def test_a_row_with_only_a_note_is_not_blank(manifest_file):
    manifest = read_manifest(manifest_file(f"source_img,reference_img,note\n,,first half\n{FACE},{SCENE},\n"))
    assert [(row.row_number, row.column) for row in manifest.rejected] == [(2, "source_img")]
    assert numbers(manifest) == [3]


def test_a_quoted_value_with_line_breaks_counts_as_one_row(manifest_file):
    text = f'note,source_img,reference_img\n"two\nlines",{FACE},{SCENE}\n"x\r\ny\rz",{FACE},{SCENE}?2\n'
    assert numbers(read_manifest(manifest_file(text))) == [2, 3]


def test_a_quoted_header_and_quoted_commas_are_read(manifest_file):
    text = f'"source_img","reference_img"\n"{FACE}?a,b","{SCENE}"\n'
    assert read_manifest(manifest_file(text)).pairs[0].source_img == f"{FACE}?a,b"


def test_a_header_with_a_line_break_in_a_name_is_one_row(manifest_file):
    text = f'"a note,\nor two",source_img,reference_img\n,{FACE},{SCENE}\n'
    assert numbers(read_manifest(manifest_file(text))) == [2]


def test_the_ending_may_be_in_capitals(manifest_file):
    assert numbers(read_manifest(manifest_file(f"{HEADER}p1,{FACE},{SCENE}\n", "PAIRS.CSV"))) == [2]


def test_a_short_row_is_rejected_for_what_it_lacks(manifest_file):
    manifest = read_manifest(manifest_file(f"{HEADER}p1,{FACE}\np2\np3,{FACE},{SCENE}\n"))
    assert [(row.row_number, row.column) for row in manifest.rejected] == [
        (2, "reference_img"),
        (3, "source_img"),
    ]
    assert numbers(manifest) == [4]


@pytest.mark.parametrize("extra", ["x", "x,y", ",x", ",,,,,,,,,,x", '"a,b"'])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_row_with_too_many_values_is_rejected_alone(manifest_file, extra, place):
    rows = [f"p{i},{FACE},{SCENE}" for i in range(3)]
    rows[place] += f",{extra}"
    manifest = read_manifest(manifest_file(HEADER + "\n".join(rows)))
    assert [(row.row_number, row.pair_id, row.column, row.code) for row in manifest.rejected] == [
        (place + 2, f"p{place}", "", "too_many_values")
    ]
    assert "put values that contain a comma in double quotes" in manifest.rejected[0].reason
    assert numbers(manifest) == [n for n in (2, 3, 4) if n != place + 2]


def test_an_unquoted_comma_in_a_url_never_yields_a_pair_with_half_a_url(manifest_file):
    text = f"reference_img,source_img\n{SCENE},https://pictures.example/a,,b.jpg\n{SCENE},{FACE}\n"
    manifest = read_manifest(manifest_file(text))
    assert numbers(manifest) == [3]
    assert [(row.row_number, row.code) for row in manifest.rejected] == [(2, "too_many_values")]


def test_trailing_commas_are_no_extra_values(manifest_file):
    manifest = read_manifest(manifest_file(f"{HEADER}p1,{FACE},{SCENE},\np2,{FACE},{SCENE},,,,\n"))
    assert (numbers(manifest), manifest.rejected) == ([2, 3], [])


def test_rows_are_numbered_the_same_across_chunks_and_after_a_row_that_stops_pandas(
    manifest_file, monkeypatch
):
    monkeypatch.setitem(READERS, ".csv", partial(read_csv, chunk_rows=7))
    rows = ["" if n % 5 == 0 else f'p{n},"{FACE}",{SCENE}' + ",x,y" * (n == 40) for n in range(2, 70)]
    manifest = read_manifest(manifest_file(HEADER + "\n".join(rows)))
    assert [row.row_number for row in manifest.rejected] == []
    assert numbers(manifest) == [n for n in range(2, 70) if n % 5]
    assert all(pair.pair_id == f"p{pair.row_number}" for pair in manifest.pairs)


def test_a_row_that_stops_pandas_in_a_later_chunk_is_rejected_once(manifest_file, monkeypatch):
    monkeypatch.setitem(READERS, ".csv", partial(read_csv, chunk_rows=7))
    rows = [f"p{n},{FACE},{SCENE}" + ",x,y" * (n in {41, 58}) for n in range(2, 70)]
    manifest = read_manifest(manifest_file(HEADER + "\n".join(rows)))
    assert [row.row_number for row in manifest.rejected] == [41, 58]
    assert numbers(manifest) == [n for n in range(2, 70) if n not in {41, 58}]


def test_a_limit_takes_that_many_pairs_and_reads_no_further(manifest_file):
    text = f"{HEADER}p1,,{SCENE}\np2,{FACE},{SCENE}\np3,{FACE},{SCENE}\np4,,\n"
    manifest = read_manifest(manifest_file(text), limit=2)
    assert numbers(manifest) == [3, 4]
    assert [row.row_number for row in manifest.rejected] == [2]


def test_a_limit_beyond_the_file_takes_all(manifest_file):
    assert numbers(read_manifest(manifest_file(f"{HEADER}p1,{FACE},{SCENE}\n"), limit=100)) == [2]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(manifest_file, limit):
    with pytest.raises(ValueError, match=rf"limit must be at least 1, .* got {limit}\."):
        read_manifest(manifest_file(HEADER), limit=limit)


def test_a_manifest_of_bad_rows_only_is_reported_not_raised(manifest_file):
    manifest = read_manifest(manifest_file(f"{HEADER}p1,,{SCENE}\n"))
    assert (manifest.pairs, len(manifest.rejected)) == ([], 1)


def test_another_format_is_one_entry_in_the_table_of_readers(manifest_file, monkeypatch):
    monkeypatch.setitem(READERS, ".pairs", READERS[".csv"])
    assert numbers(read_manifest(manifest_file(f"{HEADER}p1,{FACE},{SCENE}\n", "tonight.pairs"))) == [2]


def test_importing_the_reader_loads_neither_pandas_nor_airflow():
    program = (
        "import sys; import airflow_provider_goenhance.manifest.read, airflow_provider_goenhance.manifest.chunk; "
        "print(sorted({'pandas', 'numpy', 'airflow', 'fsspec'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": "plugins"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr
