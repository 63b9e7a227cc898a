# SPDX-License-Identifier: Apache-2.0
"""Links to Google sheets, and the formats that a web server states."""

from __future__ import annotations

import json

import pytest

from airflow_provider_goenhance.manifest.read import read_manifest
from airflow_provider_goenhance.manifest.web_formats import sheet_export
from airflow_provider_goenhance.retry_policy import is_final

from .files import as_excel, as_parquet
from .web_server import SECRET, fault, response

pytestmark = pytest.mark.usefixtures("no_proxy")
SHEET = "https://docs.google.com/spreadsheets/d/1-Ab_c"
PUBLISHED = "https://docs.google.com/spreadsheets/d/e/2PACX-1v"
ROW = {"source_img": "https://a.example/1.jpg", "reference_img": "https://a.example/2.jpg", "pair_id": "p1"}


@pytest.mark.parametrize(
    ("link", "export"),
    [
        (f"{SHEET}/edit#gid=7", f"{SHEET}/export?format=csv&gid=7"),
        (f"{SHEET}/edit?gid=7#gid=7", f"{SHEET}/export?format=csv&gid=7"),
        (f"{SHEET}/edit?usp=sharing", f"{SHEET}/export?format=csv"),
        (f"{SHEET}/view", f"{SHEET}/export?format=csv"),
        (f"{SHEET}/", f"{SHEET}/export?format=csv"),
        (SHEET, f"{SHEET}/export?format=csv"),
        (f"{SHEET}/htmlview?resourcekey=0-x&usp=x#gid=0", f"{SHEET}/export?format=csv&gid=0&resourcekey=0-x"),
        (SHEET.replace("/d/", "/u/1/d/") + "/edit", SHEET.replace("/d/", "/u/1/d/") + "/export?format=csv"),
        (f"{PUBLISHED}/pubhtml?gid=3&single=true", f"{PUBLISHED}/pub?output=csv&gid=3&single=true"),
        (f"{PUBLISHED}/pubhtml", f"{PUBLISHED}/pub?output=csv"),
    ],
)
def test_a_link_that_shows_a_sheet_is_turned_into_its_export(link, export):
    assert sheet_export(link) == export


@pytest.mark.parametrize(
    "url",
    [
        f"{SHEET}/export?format=csv&gid=0",
        f"{SHEET}/export?format=xlsx",
        f"{SHEET}/gviz/tq?tqx=out:csv",
        f"{PUBLISHED}/pub?output=tsv",
        "https://docs.google.com/document/d/1/edit",
        "https://docs.example.com/spreadsheets/d/1/edit",
        "https://docs.google.com.example/spreadsheets/d/1/edit",
    ],
)
def test_any_other_address_stays_as_it_is(url):
    assert sheet_export(url) == url


@pytest.mark.parametrize(
    ("target", "content", "headers"),
    [
        ("/pairs", json.dumps([ROW]), {"content_type": "application/json"}),
        ("/pairs.json", json.dumps([ROW]), {"content_type": "text/plain"}),
        ("/pairs", json.dumps(ROW), {"content_type": "application/x-ndjson"}),
        ("/pairs?format=jsonl", json.dumps(ROW), {"content_type": "application/octet-stream"}),
        (
            "/pairs",
            "\t".join(ROW) + "\n" + "\t".join(ROW.values()),
            {"content_type": "text/tab-separated-values"},
        ),
        ("/export?format=xlsx", as_excel(list(ROW), [list(ROW.values())]), {}),
        ("/x", as_parquet(list(ROW), [list(ROW.values())]), {"content_type": "application/octet-stream"}),
    ],
)
def test_type_name_query_or_content_tell_the_format(server, target, content, headers):
    server.script[target] = response(content, **headers)
    assert [pair.pair_id for pair in read_manifest(server.url + target).pairs] == ["p1"]


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"error": SECRET, SECRET: 1}),
        json.dumps([{SECRET: SECRET}]),
        json.dumps({"error": SECRET}, indent=2),
        f'{{"error": {SECRET}',
        f"[{SECRET}]",
        f'"{SECRET}"',
    ],
)
def test_an_error_in_json_is_refused_and_not_quoted(server, content):
    server.script["/pairs"] = response(content, content_type="application/json")
    assert is_final(fault(f"{server.url}/pairs"))
