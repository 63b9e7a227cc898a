# SPDX-License-Identifier: Apache-2.0
"""The words of the wire: envelope, token, submit body, times."""

from __future__ import annotations

import json

import pytest

from include.sandbox.wire import (
    JOB_TYPE,
    MAX_BODY_BYTES,
    BadSubmitError,
    carries_token,
    envelope,
    iso_time,
    read_submit,
    token_error,
)

SOURCE, REFERENCE = "https://pictures.example/face.jpg", "http://pictures.example/scene.jpg"


def body(**changes: object) -> bytes:
    document = {"type": JOB_TYPE, "args": {"source_img": SOURCE, "reference_img": REFERENCE}}
    return json.dumps(document | changes).encode()


def test_an_envelope_keeps_the_vendor_order_and_leaves_data_out_unless_given():
    assert (
        envelope(0, "Success", {"img_uuid": "a"}).body
        == b'{"code":0,"msg":"Success","data":{"img_uuid":"a"}}'
    )
    assert envelope(500, "").body == b'{"code":500,"msg":""}'
    assert envelope(0, "Success", None).body == b'{"code":0,"msg":"Success","data":null}'


def test_a_refused_token_gets_the_documented_words():
    answer = token_error()
    assert (answer.status_code, answer.body) == (401, b'{"code":401,"msg":"Token Error"}')


@pytest.mark.parametrize(
    ("header", "good"),
    [
        ("Bearer sk-x", True),
        ("bearer sk-x", True),
        ("Bearer  sk-x ", True),
        ("sk-x", False),
        ("Basic sk-x", False),
        ("Bearer sk-y", False),
        ("Bearer", False),
        ("Bearer sk-\xff", False),
        ("", False),
        (None, False),
    ],
)
def test_only_a_bearer_header_with_the_token_is_let_in(header, good):
    assert carries_token(header, "sk-x") is good


def test_a_submit_is_read_into_source_and_reference():
    assert read_submit(body()) == (SOURCE, REFERENCE)


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"\xff\xfe", "body"),
        (b"[]", "body"),
        (b"[" * 60_000, "body"),
        (b" " * (MAX_BODY_BYTES + 1), "body"),
        (body(type="mx-v2v"), "type"),
        (body(type=None), "type"),
        (body(args=[]), "args"),
        (body(args={"reference_img": REFERENCE}), "args.source_img"),
        (body(args={"source_img": SOURCE, "reference_img": 7}), "args.reference_img"),
        (body(args={"source_img": "ftp://x/y", "reference_img": REFERENCE}), "args.source_img"),
        (
            body(args={"source_img": "data:image/png;base64,AA", "reference_img": REFERENCE}),
            "args.source_img",
        ),
        (body(args={"source_img": "http://" + "x" * 2048, "reference_img": REFERENCE}), "args.source_img"),
        (body(args={"source_img": "http://\ud800", "reference_img": REFERENCE}), "args.source_img"),
    ],
)
def test_a_bad_submit_is_refused_with_the_name_of_the_field(bad, named):
    with pytest.raises(BadSubmitError, match=rf"^{named}:"):
        read_submit(bad)


def test_times_are_utc_with_milliseconds_and_a_z():
    assert iso_time(1_728_644_132.596) == "2024-10-11T10:55:32.596Z"
    assert iso_time(1_728_644_132) == "2024-10-11T10:55:32.000Z"
