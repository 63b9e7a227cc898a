# SPDX-License-Identifier: Apache-2.0
"""The pair_id that a row without one gets."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_goenhance.manifest.pair_ids import default_pair_id

SCENE = "https://pictures.example/scenes/beach.jpg"


def test_it_names_both_pictures_and_is_always_the_same():
    name = default_pair_id(
        "https://a.example/faces/ada.jpg", "https://a.example/scenes/beach.final.png?size=2"
    )
    assert name == "ada__beach.final__81e1f7a21948"


@pytest.mark.parametrize(
    ("url", "stem"),
    [
        ("https://a.example/caf%C3%A9%20noir.jpg", "cafe-noir"),
        ("https://a.example/größe.jpg", "groe"),
        ("https://a.example/x/?id=7/8.jpg", "x"),
        ("https://a.example/photo", "photo"),
        ("https://a.example/photo#a/b.jpg", "photo"),
        ("https://a.example/", "a.example"),
        ("https://a.example", "a.example"),
        ("https://a.example?x=1", "a.example"),
        ("https://a.example/名前.jpg", "picture"),
        ("https://a.example/..%2F..%2Fetc.jpg", "etc"),
        ("https://a.example/" + "n" * 300 + ".jpg", "n" * 32),
        ("https://a.example/.jpg", "jpg"),
    ],
)
def test_the_name_of_a_picture_is_the_plain_part_of_its_file_name(url, stem):
    assert default_pair_id(url, SCENE).startswith(f"{stem}__beach__")


def test_pictures_of_the_same_name_from_elsewhere_get_another_pair_id():
    names = {
        default_pair_id(f"https://a.example/{n}/face.jpg", f"https://a.example/{n}/scene.jpg")
        for n in range(20_000)
    }
    assert len(names) == 20_000


def test_source_and_reference_are_not_interchangeable():
    one, two = "https://a.example/x.jpg", "https://b.example/x.jpg"
    assert default_pair_id(one, two) != default_pair_id(two, one)


@given(st.text(), st.text())
def test_it_is_a_plain_name_of_at_most_80_characters_whatever_the_urls(one, two):
    name = default_pair_id("https://" + one, "http://a.example/" + two)
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,80}", name)
