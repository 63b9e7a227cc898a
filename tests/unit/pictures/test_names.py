# SPDX-License-Identifier: Apache-2.0
"""Names of files and folders, made of ids that anybody may have chosen."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_goenhance.pictures.names import file_name_for, folder_for

HOSTILE = [
    "../../etc/passwd",
    "..",
    ".",
    "",
    " ",
    "a/b",
    "a\\b",
    "C:\\x",
    "x\0y",
    "line\nbreak",
    "Ünïcödé",
    "日本語",
    "\ud800",
    "a" * 5000,
    "con",
    "NUL",
    "com1.txt",
    ".hidden",
    "ends.",
    "ends ",
    "-rf",
    "*?<>|\"'$(x)",
    "scheduled__2026-11-22T02:00:00+00:00",
]


@pytest.mark.parametrize("identifier", ["pair_1", "pair-001", "A.b_c-9", "2026-11-22", "0"])
def test_a_plain_id_is_its_own_name(identifier: str) -> None:
    assert file_name_for(identifier, ".jpg") == f"{identifier}.jpg"
    assert folder_for(identifier) == identifier


@pytest.mark.parametrize("identifier", HOSTILE)
def test_no_id_leaves_its_folder_or_troubles_a_file_system(identifier: str) -> None:
    for name in (file_name_for(identifier, ".jpg"), folder_for(identifier)):
        assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name), name
        assert not name.endswith(".")
        assert len(name) < 140
        assert not re.fullmatch(r"(?i)(con|nul|com1)(\..*)?", name)


def test_a_run_id_of_airflow_stays_readable() -> None:
    name = folder_for("scheduled__2026-11-22T02:00:00+00:00")
    assert re.fullmatch(r"scheduled__2026-11-22T02_00_00_00_00-[0-9a-f]{12}", name)


def test_further_pictures_are_numbered() -> None:
    assert [file_name_for("p", ".png", i) for i in range(3)] == ["p.png", "p__1.png", "p__2.png"]


def test_an_id_cannot_take_the_name_of_another_pairs_further_picture() -> None:
    assert file_name_for("p__1", ".jpg") != file_name_for("p", ".jpg", 1)


@pytest.mark.parametrize("pair_id", ["p", "a/b", "p__1", "x" * 300])
def test_a_picture_told_apart_by_its_job_has_a_name_that_no_pair_has(pair_id: str) -> None:
    name = file_name_for(pair_id, ".jpg", 1, apart="job-1")
    assert name == file_name_for(pair_id, ".jpg", 1, apart="job-1")
    assert name != file_name_for(pair_id, ".jpg", 1, apart="job-2")
    assert name.endswith("__1.jpg")
    stem = name.removesuffix("__1.jpg")
    assert file_name_for(stem, ".jpg", 1) != name


def test_an_id_cannot_take_the_name_that_another_id_got() -> None:
    taken = folder_for("a/b")
    assert folder_for(taken) != taken
    assert file_name_for(taken, ".jpg") != file_name_for("a/b", ".jpg")


IDS = st.one_of(
    st.text(max_size=12),
    st.text(alphabet="ab_-./ 1", max_size=6),
    st.sampled_from(HOSTILE),
    st.sampled_from(HOSTILE).map(folder_for),
)


@given(IDS, IDS, st.integers(0, 3), st.integers(0, 3))
def test_two_pictures_never_share_a_name(one: str, other: str, i: int, j: int) -> None:
    same = (one, i) == (other, j)
    assert (file_name_for(one, ".jpg", i) == file_name_for(other, ".jpg", j)) == same
