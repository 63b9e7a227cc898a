# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a picture depends on its place in the pair, and on what is done before."""

from __future__ import annotations

import json

import pytest

from airflow_provider_goenhance.exceptions import ErrorCode
from airflow_provider_goenhance.inputs.findings import Rules, as_json, change_of, findings_of
from airflow_provider_goenhance.inputs.look import Look, LookError

LINK = "https://pictures.example/people/anna.jpg?X-Amz-Signature=secret"
GOOD = Look("jpeg", 400_000, 1200, 900)


def codes(seen: Look | LookError | None, role: str = "source", rules: Rules | None = None) -> dict[str, bool]:
    found = findings_of(LINK, role, seen, rules or Rules())  # type: ignore[arg-type]
    return {one.code: one.rejects for one in found}


def test_nothing_is_wrong_with_a_good_picture_or_an_unknown_one() -> None:
    assert codes(GOOD) == codes(None) == {}


@pytest.mark.parametrize(
    ("address", "advice"),
    [
        ("https://www.dropbox.com/scl/fi/x/anna.jpg?rlkey=k&dl=0", "dl=1 in place of dl=0."),
        (
            "https://drive.google.com/file/d/1aB/view?usp=sharing",
            "uc?export=download&id=, followed by the id of",
        ),
        ("https://drive.google.com/open?id=1aB", "uc?export=download&id=, followed by the id of"),
        ("https://github.com/o/r/blob/main/anna.jpg", "/raw/ in place of /blob/."),
        ("https://imgur.com/aBcDeF", "https://i.imgur.com/, followed by the id and .jpg."),
        ("https://acme.sharepoint.com/:i:/s/team/Eabc", "the parameter download=1 added."),
        ("https://pictures.example/anna", "Correct its address, or make it readable."),
    ],
)
def test_the_address_of_a_page_that_shows_a_picture_comes_with_that_of_its_file(
    address: str, advice: str
) -> None:
    page = LookError(ErrorCode.INPUT_NOT_AN_IMAGE, "it is a web page", lasting=True)
    (found,) = findings_of(address, "source", page, Rules())
    assert advice in found.message
    assert "rlkey" not in found.message


def test_a_picture_that_is_too_large_rejects_unless_it_is_shrunk() -> None:
    large = Look("jpeg", 5_000_001, 4000, 3000)
    staged = Rules(stages=True)

    assert codes(large) == codes(large, "reference") == {"input_too_large": True}
    assert codes(large, "source", staged) == {}
    assert codes(large, "reference", staged) == {"input_too_large": True}
    assert codes(large, "reference", Rules("all", stages=True)) == {}
    assert codes(large, "source", Rules("never", stages=True)) == {"input_too_large": True}
    assert codes(Look("jpeg", 5_000_000, 4000, 3000)) == {}


def test_an_odd_format_is_a_warning_unless_it_is_converted() -> None:
    heic = Look("heic", 400_000)
    assert codes(heic) == {"unusual_format": False}
    assert codes(heic, "reference", Rules(stages=True)) == {}


def test_what_will_be_changed_is_noted_for_the_task_that_changes_it() -> None:
    large, heic = Look("jpeg", 10_000_000, 6000, 4000), Look("heic", 400_000)
    staged = Rules(stages=True)

    assert change_of(LINK, "source", large, staged) == (
        "source_img pictures.example/…/anna.jpg has 10,000,000 bytes, and is shrunk before it is sent"
    )
    assert "is converted" in (change_of(LINK, "reference", heic, staged) or "")
    assert change_of(LINK, "reference", large, staged) is None, "its result would become smaller too"
    assert change_of(LINK, "source", large, Rules()) is None, "no storage to stage it"
    assert change_of(LINK, "source", GOOD, staged) is None


def test_no_face_rejects_and_what_is_less_certain_warns() -> None:
    def with_faces(count: int, size: float) -> Look:
        return Look("jpeg", 400_000, 1000, 800, None, count, size)

    assert codes(with_faces(0, 0.0)) == {"no_face": True}
    assert codes(with_faces(1, 0.4)) == {}
    assert codes(with_faces(1, 0.05)) == {"small_face": False}
    assert codes(with_faces(3, 0.3), "reference") == {"several_faces": False}
    assert codes(with_faces(1, 0.0)) == {}, "its size was not measured"


@pytest.mark.parametrize("lasting", [True, False])
def test_only_what_lasts_rejects(lasting: bool) -> None:
    error = LookError(ErrorCode.INPUT_UNREACHABLE, "its server answers HTTP 503", lasting=lasting)
    assert codes(error) == {"input_unreachable": lasting}


def test_a_finding_names_the_picture_without_its_signature_and_says_what_to_do() -> None:
    (finding,) = findings_of(LINK, "source", Look("jpeg", 6_200_000, 1000, 900), Rules("never"))

    assert finding.message == (
        "source_img pictures.example/…/anna.jpg has 6,200,000 bytes; GoEnhance takes at most 5,000,000. "
        "Make it smaller, or set shrink."
    )
    (stored,) = json.loads(as_json([finding]) or "")
    assert stored == {"picture": "source", "code": "input_too_large", "message": finding.message}
    assert as_json([]) is None
