# SPDX-License-Identifier: Apache-2.0
"""What may be shown."""

from __future__ import annotations

import time

import pytest

from airflow_provider_goenhance.redaction import excerpt, without_query, without_token


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see https://a.b/c.jpg?sig=1&x=2 there", "see https://a.b/c.jpg?... there"),
        ("HTTPS://A.B/c?sig", "HTTPS://A.B/c?..."),
        ('"https:\\/\\/a.b\\/c?sig=1"', '"https:\\/\\/a.b\\/c?..."'),
        ("s3://bucket/key?versionId=7", "s3://bucket/key?..."),
        ("https://a.b/c#token=1", "https://a.b/c?..."),
        ("proxy http://user:pass@proxy:3128 refused", "proxy http://proxy:3128 refused"),
        ("really? no link at all", "really? no link at all"),
        ("https://a.b/c.jpg", "https://a.b/c.jpg"),
    ],
)
def test_the_secret_part_of_a_url_is_cut_out(text: str, shown: str) -> None:
    assert without_query(text) == shown


def test_a_token_is_cut_out_but_not_one_that_is_a_common_word() -> None:
    assert without_token("Bearer sk-secret!", "sk-secret") == "Bearer ***!"
    assert without_token("a cat sat", "a") == "a cat sat"


def test_an_excerpt_is_one_short_printable_line() -> None:
    assert excerpt("one\n\ttwo\x00three") == "one two three"
    assert excerpt("x" * 20, longest=10) == "xxxxxxx..."


def test_a_hostile_text_does_not_keep_the_event_loop_busy() -> None:
    began = time.thread_time()  # what others do with the processor meanwhile does not count
    for text in ("x" * 100_000, "a://" * 25_000, "http://" + "a" * 100_000 + "@"):
        assert len(excerpt(text)) <= 300
    assert time.thread_time() - began < 10.0
