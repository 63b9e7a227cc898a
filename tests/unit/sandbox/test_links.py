# SPDX-License-Identifier: Apache-2.0
"""Signed result links."""

from __future__ import annotations

import pytest

from include.sandbox.links import PREFIX, LinkSigner

PATH = "user/2026/11/22/9dfdb4b5_0.jpg"
SIGNER = LinkSigner(b"k" * 32)


def query_of(link: str) -> str:
    path, _, query = link.partition("?")
    assert path == PREFIX + PATH
    return query


def test_a_link_is_good_within_its_window_only():
    query = query_of(SIGNER.sign(PATH, 1000, 2000))
    assert SIGNER.check(PATH, query, 999.9) == "early"
    assert SIGNER.check(PATH, query, 1000) == "good"
    assert SIGNER.check(PATH, query, 1999.9) == "good"
    assert SIGNER.check(PATH, query, 2000) == "expired"


@pytest.mark.parametrize(
    ("old", "new"),
    [("2000", "9000"), ("1000;", "0;"), ("q-signature=", "q-signature=0"), ("q-sign-time", "x")],
)
def test_a_changed_query_is_refused(old, new):
    assert (
        SIGNER.check(PATH, query_of(SIGNER.sign(PATH, 1000, 2000)).replace(old, new, 1), 1500) == "tampered"
    )


def test_a_signature_serves_one_picture_and_one_sandbox():
    query = query_of(SIGNER.sign(PATH, 1000, 2000))
    assert SIGNER.check(PATH.replace("9", "8"), query, 1500) == "tampered"
    assert LinkSigner(b"other").check(PATH, query, 1500) == "tampered"


@pytest.mark.parametrize("query", ["", "q-signature=", "q-sign-time=a;b&q-signature=\xe4", "&&=;"])
def test_a_query_that_is_no_signature_is_refused(query):
    assert SIGNER.check(PATH, query, 1500) == "tampered"
