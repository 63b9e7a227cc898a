# SPDX-License-Identifier: Apache-2.0
"""Secrets are cut out of texts and URLs."""

from __future__ import annotations

import time

import pytest

from airflow_provider_goenhance.redaction import (
    excerpt,
    link_name,
    redact_link,
    redact_location,
    redact_urls,
    short_url,
    without_token,
)


@pytest.mark.parametrize(
    "text", ["#N/A", "#NAME?", "#DIV/0!", "# first shoot", "see #4", "N/A #3", "what?", "C#"]
)
def test_a_text_that_is_no_url_is_shown_as_it_is(text: str) -> None:
    assert short_url(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://a.example/b.jpg?sig=s3cret", "https://a.example/b.jpg"),
        ("https://a.example/b c.jpg?s3cret", "https://a.example/b c.jpg"),
        ("https:/a.example/b.jpg#s3cret", "https:/a.example/b.jpg"),
        ("a.example/b.jpg?s3cret", "a.example/b.jpg"),
        ("b.jpg#s3cret", "b.jpg"),
        ("picture?sig=s3cret", "picture"),
        ("#token=s3cret", ""),
        ("#1 at https://a.example/b.jpg?sig=s3cret", "#1 at https://a.example/b.jpg?..."),
        ("#1 at https://me:s3cret@a.example/b.jpg", "#1 at https://a.example/b.jpg"),
    ],
)
def test_a_url_in_a_message_has_no_secret(text: str, shown: str) -> None:
    assert short_url(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see https://a.b/c.jpg?sig=1&x=2 there", "see https://a.b/c.jpg?... there"),
        ("HTTPS://A.B/c?sig", "HTTPS://A.B/c?..."),
        ('"https:\\/\\/a.b\\/c?sig=1"', '"https:\\/\\/a.b\\/c?..."'),
        ("s3://bucket/key?versionId=7", "s3://bucket/key?..."),
        ("https://a.b/c#token=1", "https://a.b/c?..."),
        ("proxy http://user:pass@proxy:3128 refused", "proxy http://proxy:3128 refused"),
        ("proxy http://user:p@ss@proxy:3128 refused", "proxy http://proxy:3128 refused"),
        ("GET /m.csv?sig=1&x=2 failed", "GET /m.csv?... failed"),
        ("really? no link at all", "really? no link at all"),
        ("really?no link = no query", "really?no link = no query"),
        ("https://a.b/c.jpg", "https://a.b/c.jpg"),
    ],
)
def test_the_secret_part_of_a_url_is_cut_out(text: str, shown: str) -> None:
    assert redact_urls(text) == shown


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


@pytest.mark.parametrize(
    "query",
    [
        "q-sign-algorithm=sha1&q-ak=A&q-signature=S",
        "X-Amz-Credential=A&X-Amz-Signature=S",
        "X-Goog-Signature=S",
        "sv=2024&sig=S",
        "Expires=1&Signature=S&Key-Pair-Id=K",
        "token=S",
        "access_token=S",
        "v=1;auth=S",
        "apikey=S",
        "api_key=S",
    ],
)
def test_a_query_that_looks_signed_is_dropped(query: str) -> None:
    assert redact_link(f"https://x.org/a.jpg?{query}") == "https://x.org/a.jpg"


@pytest.mark.parametrize("query", ["w=100&h=20", "v=3", "design=1", "monkey=2"])
def test_a_plain_query_stays(query: str) -> None:
    assert redact_link(f"https://x.org/a.jpg?{query}") == f"https://x.org/a.jpg?{query}"


def test_user_and_fragment_of_a_link_are_dropped_and_no_link_is_none() -> None:
    assert redact_link("https://u:p@x.org:8/a#f") == "https://x.org:8/a"
    assert redact_link(None) is None
    assert redact_link("http://[broken") is None


def test_a_link_is_named_by_host_and_file() -> None:
    link = "https://u:p@static.example.org:8443/user/2026/11/22/abc_0.jpg?q-signature=x#y"
    assert link_name(link) == "static.example.org/…/abc_0.jpg"
    assert link_name("http://[broken") == "an address that cannot be read"


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("nightly/pairs.csv", "nightly/pairs.csv"),
        ("s3://aws_eu@bucket/a#1?.csv", "s3://aws_eu@bucket/a#1?.csv"),
        ("s3://key:s3cret@bucket/m.csv", "s3://key:***@bucket/m.csv"),
        ("https://me:s3cret@h.example/m.csv?X-Amz-Signature=1", "https://me:***@h.example/m.csv"),
    ],
)
def test_a_location_is_shown_without_secrets(location, shown):
    assert redact_location(location) == shown
