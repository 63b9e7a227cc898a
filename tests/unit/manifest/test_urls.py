# SPDX-License-Identifier: Apache-2.0
"""Which URLs are usable, and with which code and reason the others are rejected."""

from __future__ import annotations

import json

import pytest

from airflow_provider_goenhance.api.models import submit_body
from airflow_provider_goenhance.manifest.read import read_manifest
from airflow_provider_goenhance.manifest.urls import PLAIN_URL
from airflow_provider_goenhance.manifest.validate import check_pairs

FACE = "https://pictures.example/faces/ada.jpg"
SCENE = "https://pictures.example/scenes/beach.jpg"


GOOD_URLS = [
    FACE,
    "http://127.0.0.1:8765/images/a.png",
    "HTTPS://Pictures.Example/A.JPG",
    "https://pictures.example",
    "https://pictures.example?id=7",
    "https://pictures.example:443/a",
    "https://pictures.example:8080/a?b=c&d=%20#e",
    "https://under_score.example/a.jpg",
    "https://bücher.example/größe.jpg",
    "https://[::1]:8080/a.jpg",
    "https://pictures.example./a.jpg",
    "https://medium.example/@ada/me.jpg",
    "https://a.example/x?email=a@b.example",
    "https://a.example/a,b.jpg",
    "https://a.example/a,b,,c.jpg?x=1,2;3|4",
    "https://a.example/%2Fa%2fb%20c.jpg?sig=a%2Bb%3D",
    "https://a.example/größe,名前.jpg",
    "https://a.example//a//b.jpg",
    "https://proxy.example/fetch/w_300,h_200/https://b.example/a.jpg",
    "https://proxy.example/?url=https://b.example/a.jpg",
    "https://proxy.example/?url=https%3A%2F%2Fb.example&next%3Dhttps://c.example/",
    "https://proxy.example/plain:https://b.example/a.jpg",
    "https://thumbs.example/unsafe/filters:watermark(http://b.example/w.png,10)/https://b.example/a.jpg",
    "https://archive.example/web/2020im_/http://b.example/a.jpg",
    "https://https.example/a.jpg",
    "https://httpshost/a.jpg",
    "https://a.example/x?path=C:\\y",
    "https://a.example:65535/",
    "https://192.0.2.7/a.jpg",
    "https://[2001:db8::7]/a.jpg",
    "https://xn--bcher-kva.example/a.jpg",
    "HtTp://a.example/a.jpg",
    "https://pictures.example/" + "a" * (2048 - len("https://pictures.example/")),
]

BAD_URLS = [
    ("", "missing_value", "is blank"),
    ("https://pictures.example/" + "a" * 2024, "too_long", "is 2049 characters long, more than 2048"),
    (
        "https://a.example/a b.jpg",
        "unsafe_characters",
        "has a space (write %20) inside: https://a.example/a b.jpg",
    ),
    (
        "https://a.example/a\nb",
        "unsafe_characters",
        "has a line break (is a quote missing?) inside: https://a.e",
    ),
    (
        "https://a.example/a\tb",
        "unsafe_characters",
        r"has the character U+0009 inside: https://a.example/a\tb",
    ),
    (
        "https://a.example/\u200bb",
        "unsafe_characters",
        r"has the character U+200B inside: https://a.example/\u200bb",
    ),
    ("https://a.example/\x7f", "unsafe_characters", "has the character U+007F inside"),
    ("https://a.example/\ud800", "unsafe_characters", "has the character U+D800 inside"),
    ("https://a\u3000.example/", "unsafe_characters", "has the character U+3000 inside"),
    ("ftp://a.example/a.jpg", "not_http_url", "is not an http:// or https:// URL: ftp://a.example/a.jpg"),
    ("pictures/a.jpg", "not_http_url", "is not an http:// or https:// URL: pictures/a.jpg"),
    ("s3://", "no_host", "names no bucket: s3://"),
    ("s3:///a.jpg", "no_host", "names no bucket: s3:///a.jpg"),
    ("s3://bucket", "no_object", "names a bucket or folder, not a picture: s3://bucket"),
    ("gs://bucket/faces/", "no_object", "names a bucket or folder, not a picture: gs://bucket/faces/"),
    ("s3://me:s3cret@bucket/a.jpg", "credentials_in_url", "carries a password; name an Airflow connection"),
    ("s3://bucket/1.jpg,s3://bucket/2.jpg", "two_urls", "holds two URLs; put one URL in each cell"),
    ("s3://bucket/a\nb.jpg", "unsafe_characters", "has a line break (is a quote missing?) inside"),
    ("abfs://a\u200b@container/a.jpg", "unsafe_characters", "has the character U+200B inside"),
    (
        "file://server/share/a.jpg",
        "bad_host",
        "is no absolute path on this machine: file://server/share/a.jpg",
    ),
    ("/data/faces/", "no_object", "names a bucket or folder, not a picture: /data/faces/"),
    ("https:/a.example/a.jpg", "not_http_url", "is not"),
    ("data:image/png;base64,AAAA", "not_http_url", "is not"),
    ("javascript:alert(1)", "not_http_url", "is not"),
    ("//a.example/a.jpg", "not_http_url", "is not"),
    ("https://", "no_host", "names no host: https://"),
    ("https:///a.jpg", "no_host", "names no host: https:///a.jpg"),
    ("https://:80/a.jpg", "no_host", "names no host"),
    ("https://?a", "no_host", "names no host: https://"),
    ("https://a..example/a.jpg", "bad_host", "has no usable host or port: https://a..example/a.jpg"),
    ("https://" + "a" * 64 + ".example/a.jpg", "bad_host", "has no usable host or port"),
    ("https://./a.jpg", "bad_host", "has no usable host or port"),
    ("https://[::1/a.jpg", "bad_host", "has no usable host (Invalid IPv6 URL)"),
    ("https://a.example:port/a.jpg", "bad_host", "has no usable host or port"),
    ("https://a.example:0/a.jpg", "bad_host", "has no usable host or port"),
    ("https://a.example:65536/a.jpg", "bad_host", "has no usable host or port"),
    (
        "https://me:s3cret@a.example/a.jpg",
        "credentials_in_url",
        "carries a user name or password, which would be ",
    ),
    ("https://me@a.example/a.jpg", "credentials_in_url", "carries"),
    (
        "http://https://a.example/a.jpg",
        "two_schemes",
        "begins with two schemes: http://https://a.example/a.jpg",
    ),
    ("https://HTTPS://a.example/a.jpg", "two_schemes", "begins with two schemes"),
    ("https://https//a.example/a.jpg", "two_schemes", "begins with two schemes"),
    ("https://https:/a.example/a.jpg", "two_schemes", "begins with two schemes"),
    ("https://http/a.example/a.jpg", "two_schemes", "begins with two schemes"),
    ("https://https%3A%2F%2Fa.example/a.jpg", "two_schemes", "begins with two schemes"),
    ("https:https://a.example/a.jpg", "two_schemes", "begins with two schemes"),
    ("http://ftp://a.example/a.jpg", "two_schemes", "begins with two schemes"),
    ("http://s3://bucket/a.jpg", "two_schemes", "begins with two schemes"),
    ("http://https:", "two_schemes", "begins with two schemes"),
    (
        "https://a.example/1.jpg,https://b.example/2.jpg",
        "two_urls",
        "holds two URLs; put one URL in each cell: https://a.example/1.jpg,https://b.example/2.jpg",
    ),
    ("https://a.example/1.jpg, https://b.example/2.jpg", "two_urls", "holds two URLs; put"),
    ("https://a.example/1.jpg https://b.example/2.jpg", "two_urls", "holds two URLs; put"),
    ("https://a.example/1.jpg;https://b.example/2.jpg", "two_urls", "holds two URLs; put"),
    ("https://a.example/1.jpg | http://b.example/2.jpg", "two_urls", "holds two URLs; put"),
    ("https://a.example/1.jpg|HTTP://b.example/2.jpg", "two_urls", "holds two URLs; put"),
    (
        "https://a.example/1.jpg\nhttps://b.example/2.jpg",
        "two_urls",
        "holds two URLs (is a quote missing?); put",
    ),
    ("https://a.example/1.jpghttps://b.example/2.jpg", "two_urls", "holds two URLs; put"),
    ("https://a.example/1.jpg?sig=s3cret,https://b.example/2.jpg", "two_urls", "holds two URLs; put"),
    ("https://a.example/1.jpg,s3://bucket/2.jpg", "two_urls", "holds two URLs; put"),
    (
        "https://a.example:/a.jpg",
        "bad_host",
        "has no usable host or port (nothing follows the colon): https://a",
    ),
    ("https://a.example:", "bad_host", "has no usable host or port (nothing follows the colon)"),
    ("https://a.example://a.jpg", "bad_host", "has no usable host or port (nothing follows the colon)"),
    ("https://a.example:99999/a.jpg", "bad_host", "has no usable host or port (a port is 1 to 65535)"),
    ("https://a.example:+80/a.jpg", "bad_host", "has no usable host or port"),
    ("https://a.example:-1/a.jpg", "bad_host", "has no usable host or port"),
    ("https://a.example:8\u0660/a.jpg", "bad_host", "has no usable host or port"),
    ("https://a.example:80:80/a.jpg", "bad_host", "has no usable host or port"),
    ("https:// /a.jpg", "no_host", "names no host"),
    ("https:// /", "no_host", "names no host"),
    ("http:////a.example/a.jpg", "no_host", "names no host"),
    ("https://#a", "no_host", "names no host"),
    ("https://[]/a.jpg", "bad_host", "has no usable host"),
    ("https://[1.2.3.4]/a.jpg", "bad_host", "has no usable host"),
    ("https://[::1]x/a.jpg", "bad_host", "has no usable host"),
    ("https://[::g]/a.jpg", "bad_host", "has no usable host"),
    ("https://256.1.1.1/a.jpg", "bad_host", "has no usable host or port"),
    ("https://1.2.3/a.jpg", "bad_host", "has no usable host or port"),
    ("https://a.example,b.example/a.jpg", "bad_host", "has no usable host or port"),
    ("https://a%20b.example/a.jpg", "bad_host", "has no usable host or port"),
    ("https://.a.example/a.jpg", "bad_host", "has no usable host or port"),
    ("https://a.example../a.jpg", "bad_host", "has no usable host or port"),
    ("https://a.example\\b.jpg", "unsafe_characters", "has a backslash (write / or %5C) inside"),
    ("https://a.example/x\\b.jpg", "unsafe_characters", "has a backslash (write / or %5C) inside"),
    ("https:\\\\a.example\\b.jpg", "not_http_url", "is not an http:// or https:// URL"),
    ('https://a.example/a.jpg"', "unsafe_characters", "has a double quote (write %22) inside"),
    ('https://a.example/a.jpg?x="b"', "unsafe_characters", "has a double quote (write %22) inside"),
    ("C:\\pictures\\a.jpg", "not_http_url", "is not an http:// or https:// URL: C:\\pictures\\a.jpg"),
    ("hhttps://a.example/a.jpg", "not_http_url", "is not an http:// or https:// URL"),
    ("http//a.example/a.jpg", "not_http_url", "is not an http:// or https:// URL"),
    ("#N/A", "not_http_url", "is not an http:// or https:// URL: #N/A"),
    ("# first shoot", "not_http_url", "is not an http:// or https:// URL: # first shoot"),
    ("\u200bhttps://a.example/a.jpg", "unsafe_characters", "has the character U+200B inside"),
]


@pytest.mark.parametrize("url", GOOD_URLS)
def test_a_usable_url_is_accepted_in_either_column(url):
    manifest = check_pairs(
        [
            {"source_img": url, "reference_img": f"{SCENE}?"},
            {"source_img": f"{FACE}?1", "reference_img": url},
        ],
        location="here",
    )
    assert [(pair.source_img, pair.reference_img) for pair in manifest.pairs] == [
        (url, f"{SCENE}?"),
        (f"{FACE}?1", url),
    ]


@pytest.mark.parametrize(("url", "code", "clause"), BAD_URLS)
def test_a_bad_url_is_rejected_in_either_column_with_its_reason(url, code, clause):
    assert not PLAIN_URL.fullmatch(url)
    for row, column in (((url, SCENE), "source_img"), ((FACE, url), "reference_img")):
        [rejected] = check_pairs([{"source_img": row[0], "reference_img": row[1]}], location="here").rejected
        assert (rejected.row_number, rejected.column, rejected.code) == (1, column, code)
        assert rejected.reason.startswith(f"{column} {clause}")


@pytest.mark.parametrize("url", GOOD_URLS)
def test_a_usable_url_reaches_the_body_of_the_submit_byte_for_byte(manifest_file, url):
    [pair] = read_manifest(manifest_file(f'source_img,reference_img\n"{url}",{SCENE}?\n')).pairs
    sent = json.loads(json.dumps(submit_body(pair.source_img, pair.reference_img)))
    assert sent["args"] == {"source_img": url, "reference_img": f"{SCENE}?"}
