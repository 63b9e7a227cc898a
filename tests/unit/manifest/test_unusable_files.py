# SPDX-License-Identifier: Apache-2.0
"""Files that cannot be a manifest: each gets an error that names the file, the place and the way out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from airflow_provider_goenhance.exceptions import ManifestError
from airflow_provider_goenhance.manifest.read import read_manifest

HEADER = "pair_id,source_img,reference_img\n"
FACE = "https://pictures.example/faces/ada.jpg"
SCENE = "https://pictures.example/scenes/beach.jpg"
GOOD = f"{HEADER}p1,{FACE},{SCENE}\n"


def refusal(location: str) -> str:
    with pytest.raises(ManifestError) as caught:
        read_manifest(location)
    return str(caught.value)


def refusal_of(manifest_file, content: str | bytes, name: str = "pairs.csv") -> str:
    location = manifest_file(content, name)
    message = refusal(location)
    assert message.startswith(f"manifest {location}")
    return message.removeprefix(f"manifest {location}")


@pytest.mark.parametrize("location", ["", "  "])
def test_no_name_at_all(location):
    assert refusal(location) == "manifest must be a path or URI; it is empty."


def test_a_missing_file(tmp_path):
    assert refusal(f"{tmp_path}/gone.csv") == f"there is no manifest {tmp_path}/gone.csv: check the path"


def test_a_missing_file_of_a_relative_name_says_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refusal("gone.csv") == f"there is no manifest gone.csv (looked in {tmp_path}): check the path"


@pytest.mark.parametrize("name", ["", "/", "/folder.csv"])
def test_a_folder(tmp_path, name):
    (tmp_path / "folder.csv").mkdir()
    assert refusal(f"{tmp_path}{name}") == f"manifest {tmp_path}{name} is a folder: name the file in it"


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    assert "is not a regular file" in refusal(f"{tmp_path}/pipe.csv")


def test_a_file_that_cannot_be_reached(tmp_path, manifest_file):
    location = f"{manifest_file(GOOD)}/pairs.csv"
    assert refusal(location) == f"manifest {location} cannot be read: Not a directory"
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    assert refusal(f"{tmp_path}/loop.csv").endswith("cannot be read: Too many levels of symbolic links")
    assert "cannot be read" in refusal("a\0b.csv")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read every file")
def test_a_file_that_may_not_be_read(manifest_file):
    location = manifest_file(GOOD)
    Path(location).chmod(0)
    assert refusal(location).endswith("cannot be read: Permission denied")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pairs.docx", " has the unknown ending .docx; supported: .csv, .json, .jsonl, .ndjson, .parquet, "),
        ("pairs.yaml.gz", " has the unknown ending .yaml; supported: .csv, "),
    ],
)
def test_an_unknown_format_names_the_supported_ones(manifest_file, name, said):
    assert refusal_of(manifest_file, GOOD, name).startswith(said)


@pytest.mark.parametrize("content", ["", "\ufeff", "\n", "\r\n\r\n  \n", ",,\n\n,\n", " "])
def test_an_empty_file(manifest_file, content):
    assert refusal_of(manifest_file, content) == " is empty: it needs a header row and at least one pair"


def test_many_blank_rows_above_the_header(manifest_file):
    said = ", row 10 is blank: the column names must be in it"
    assert refusal_of(manifest_file, "\n" * 10 + GOOD) == said


@pytest.mark.parametrize("rest", ["", "\n\n", ",,\n", "  \n"])
def test_a_header_without_rows(manifest_file, rest):
    message = refusal_of(manifest_file, HEADER + rest)
    assert message == " has a header row and no rows below it: it needs at least one pair"


def test_a_header_without_a_line_end(manifest_file):
    assert "no rows below it" in refusal_of(manifest_file, HEADER.strip())


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("source_img,note", "the column reference_img is missing; found: source_img, note"),
        (
            "a,b",
            "the columns source_img and reference_img are missing; found: a, b",
        ),
        (
            "source_pic,reference_img",
            "the column source_img is missing; found: source_pic, reference_img. Rename source_pic -> source_img?",
        ),
        (
            "Source Imgs,REFERENCE-IMGS",
            "the columns source_img and reference_img are missing; found: Source Imgs, REFERENCE-IMGS. "
            "Rename Source Imgs -> source_img, REFERENCE-IMGS -> reference_img?",
        ),
        (
            "face,target,scene",
            "the columns target, scene (columns 2 and 3) could each be reference_img: rename one, or say which it is "
            'with columns={"reference_img": ...}',
        ),
        (
            '"source_img,reference_img"',
            "the columns source_img and reference_img are missing; found: source_img,reference_img. "
            "Row 1 is one quoted value: remove the quotes around whole rows",
        ),
        (
            f"{FACE},{SCENE}",
            "the columns source_img and reference_img cannot be found, as row 1 holds data: put a header row "
            "source_img,reference_img (in the order of your columns) above it",
        ),
    ],
)
def test_missing_columns_say_which_were_found_and_what_is_likely_meant(manifest_file, header, said):
    assert refusal_of(manifest_file, f"{header}\nx,y\n") == f", row 1: {said}"


def test_a_header_of_hundreds_of_columns_is_not_repeated_in_full(manifest_file):
    message = refusal_of(manifest_file, ",".join(f"column{i}" for i in range(500)) + "\n")
    assert message.endswith("column10, column11 and 488 more")


@pytest.mark.parametrize("name", ["source_img", "reference_img", "pair_id", "consent_ref"])
def test_a_column_that_is_there_twice(manifest_file, name):
    header = f"source_img,reference_img,pair_id,consent_ref, {name}"
    first = ["source_img", "reference_img", "pair_id", "consent_ref"].index(name) + 1
    assert refusal_of(manifest_file, f"{header}\n") == (
        f", row 1: the column {name} is duplicated (columns {first} and 5): remove or rename one"
    )


def test_latin_1_names_row_column_and_byte(manifest_file):
    text = f'note,source_img,reference_img\n"a\nb",{FACE},{SCENE}\n\n,{FACE},https://pictures.example/caf'
    place = len(text.encode())
    assert refusal_of(manifest_file, text.encode() + b"\xe9.jpg\n,a,b\n") == (
        f", row 4, column reference_img: byte 0xE9 (byte {place} of the file) is not UTF-8: "
        'save it as UTF-8 (in Excel: "CSV UTF-8") and run again'
    )


@pytest.mark.parametrize("rows_before", [0, 3, 2000, 60_000])
def test_a_bad_byte_is_found_wherever_it_stands(manifest_file, rows_before):
    text = HEADER + f"p,{FACE},{SCENE}\n" * rows_before
    message = refusal_of(manifest_file, b"\xef\xbb\xbf" + text.encode() + b"\xff")
    assert message.startswith(
        f", row {rows_before + 2}, column pair_id: byte 0xFF (byte {len(text) + 3} of the file) is not UTF-8"
    )


def test_a_bad_byte_in_the_header_names_row_1(manifest_file):
    assert refusal_of(manifest_file, b"source_img,r\xe9f\n").startswith(
        ", row 1: byte 0xE9 (byte 12 of the file)"
    )


def test_a_character_cut_off_by_the_end_of_the_file(manifest_file):
    message = refusal_of(manifest_file, GOOD.encode() + b"p2\xe2\x82")
    assert message.startswith(
        f", row 3, column pair_id: byte 0xE2 (byte {len(GOOD) + 2} of the file) is not UTF-8"
    )


@pytest.mark.parametrize("rows_before", [0, 60_000])
def test_a_nul_character(manifest_file, rows_before):
    text = HEADER + f"p,{FACE},{SCENE}\n" * rows_before + f"p1,{FACE}"
    message = refusal_of(manifest_file, f"{text}\0{SCENE}\n")
    assert message.startswith(
        f", row {rows_before + 2}, column source_img: a NUL character (byte {len(text)} of the file)"
    )


def test_a_nul_character_in_the_header(manifest_file):
    assert refusal_of(manifest_file, "source_img,\0\n").startswith(
        ", row 1: a NUL character (byte 11 of the file)"
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (GOOD.encode("utf-16")[:-1], " is damaged UTF-16 text (near byte "),
        (
            b"\xff\xfe\x00\xdc\x00\x00",
            " is damaged UTF-16 text (near byte 2: illegal encoding): save it as UTF-8",
        ),
        (b"PK\x03\x04\x14\x00\x06\x00\xff", " is not an Excel workbook that can be read (BadZipFile"),
        (b"\x1f\x8b\x08\x00\xff", " is compressed with gzip, and damaged or incomplete"),
    ],
)
def test_other_kinds_of_file_are_called_what_they_are(manifest_file, content, said):
    assert refusal_of(manifest_file, content).startswith(said)


def test_a_file_that_is_no_table_is_not_read_as_one_endless_header(manifest_file):
    assert refusal_of(manifest_file, "x" * 1_000_000).startswith(", row 1 is longer than 65536 characters")


def test_a_quote_never_closed_in_the_header(manifest_file):
    message = refusal_of(manifest_file, f'"source_img,reference_img\n{FACE},{SCENE}\n')
    assert message == (
        ", row 1: a quote is opened and never closed, so the rest of the file cannot be split into rows: "
        "close it in line 1"
    )


@pytest.mark.parametrize("tail", ["", "\n", "\np3,a,b\n", f"\np3,{FACE},{SCENE}\n" * 50])
def test_a_quote_never_closed_names_row_and_column(manifest_file, tail):
    message = refusal_of(manifest_file, f'{GOOD}\np2,"{FACE},{SCENE}{tail}')
    assert message.partition(". Also: ")[0] == (
        ", row 4, column source_img: a quote is opened and never closed, "
        "so the rest of the file cannot be split into rows: close it in line 4"
    )


def test_a_quote_as_the_very_last_character(manifest_file):
    message = refusal_of(manifest_file, f'{GOOD}p2,{FACE},"')
    assert message.startswith(", row 3, column reference_img: a quote is opened and never closed")


def test_a_quote_never_closed_is_found_after_a_row_with_too_many_values(manifest_file):
    message = refusal_of(manifest_file, f'{GOOD}p2,{FACE},{SCENE},x,y\np3,"{FACE},{SCENE}\n')
    assert message.startswith(", row 4, column source_img: a quote is opened and never closed")


def test_a_quote_never_closed_in_front_of_a_long_rest(manifest_file):
    message = refusal_of(manifest_file, f'{GOOD}p2,"{FACE},{SCENE}\n' + f"p3,{FACE},{SCENE}\n" * 3000)
    assert message.startswith(", row 3 cannot be read (field larger than field limit (131072))")
    assert message.endswith("is a quote opened in it (line 3) and never closed?")


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (.xls)"),
        (b"PAR1\x15\x04\x15\xff", "not a Parquet file that can be read"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "a PDF document"),
        (b"BZh91AY&SY\xff", "compressed with bzip2"),
        (b"\xfd7zXZ\x00", "compressed with xz"),
        (b"\x28\xb5\x2f\xfd\x04", "compressed with Zstandard, and damaged or incomplete"),
    ],
)
def test_a_file_of_another_format_is_named(manifest_file, start, kind):
    assert refusal_of(manifest_file, start).startswith(f" is {kind}")
