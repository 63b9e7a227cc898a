# SPDX-License-Identifier: Apache-2.0
"""Arguments that a Dag with native rendering has evaluated."""

from __future__ import annotations

from typing import Any

import pytest
from jinja2.nativetypes import NativeEnvironment

from airflow_provider_goenhance.operators.arguments import as_written, display_name


def native(value: str) -> Any:
    return NativeEnvironment().from_string(value).render()


@pytest.mark.parametrize(
    "text", ["4711", "1e5", "[1, 2]", "None", "True", "true", "0x1F", "'p'", "1+2j", "p1", "007"]
)
def test_a_text_without_a_template_stays_what_it_was(text: str) -> None:
    assert as_written(text, native(text)) == text
    assert as_written([{"pair_id": text}], [{"pair_id": native(text)}]) == [{"pair_id": text}]


def test_what_a_template_renders_is_taken_as_it_is() -> None:
    assert as_written("{{ 6 * 7 }}", 42) == 42
    assert as_written(object(), ["1e5"]) == ["1e5"]


def test_a_template_inside_a_list_of_pairs_is_rendered_to_text_where_it_was_evaluated() -> None:
    written = [{"pair_id": "{{ id }}", "consent_ref": "{{ none }}", "source_img": "{{ url }}"}]
    evaluated = [{"pair_id": 100000.0, "consent_ref": None, "source_img": "https://img.example.com/a.jpg"}]

    assert as_written(written, evaluated, lambda template: {"{{ id }}": "1e5"}[template]) == [
        {"pair_id": "1e5", "consent_ref": None, "source_img": "https://img.example.com/a.jpg"}
    ]


def test_what_a_subclass_has_set_after_construction_is_kept() -> None:
    assert as_written("p1", "p2") == "p2"
    assert as_written("", '[{"pair_id": "p1"}]') == '[{"pair_id": "p1"}]'
    assert as_written([{"pair_id": "1"}], [{"pair_id": "2"}, {"pair_id": "3"}]) == [
        {"pair_id": "2"},
        {"pair_id": "3"},
    ]
    assert as_written([{"pair_id": "1"}], []) == []


@pytest.mark.parametrize(
    "name",
    [
        "4711",
        "1e5",
        "[1, 2]",
        "None",
        "True",
        "true",
        "'p'",
        "1+2j",
        "p1",
        "12: rows 1-2",
        "007",
        "{[]: 1}",
        "((" * 90,
    ],
)
def test_a_name_is_rendered_as_text(name: str) -> None:
    rendered = NativeEnvironment().from_string("{{ name }}").render(name=display_name(name, "pair"))
    assert isinstance(rendered, str)
    assert rendered.endswith(name)
