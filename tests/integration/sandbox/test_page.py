# SPDX-License-Identifier: Apache-2.0
"""The live page and what it is fed with."""

from __future__ import annotations

import re

from .conftest import PAIR


def test_the_page_needs_nothing_from_outside(client):
    answer = client.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert re.findall(r'(?:src|href)="(?!/)[^"]*"', answer.text) == []
    assert "http" not in answer.text.replace("location.origin", "")
    assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_the_page_says_what_the_sandbox_is_and_is_not(client):
    text = client.get("/").text
    assert "It is not GoEnhance" in text
    assert "Swap only the faces of people who have consented" in " ".join(text.split())


def test_the_overview_tells_figures_switches_and_the_latest_jobs_first(client, sandbox):
    sandbox.put_faults(success_word="completed", queue_limit=1, job_seconds=3600, credits=9)
    older, newer = sandbox.submit(**PAIR), sandbox.submit(**PAIR)
    overview = client.get("/sandbox/overview", params={"limit": 5}).json()
    assert [job["img_uuid"] for job in overview["jobs"]] == [newer, older]
    figures = {
        name: overview[name] for name in ("accepted", "running", "queued", "credits", "token", "engine")
    }
    assert figures == {
        "accepted": 2,
        "running": 1,
        "queued": 1,
        "credits": 7,
        "token": sandbox.token,
        "engine": "none",
    }
    assert overview["switches"] == {"success_word": "completed", "queue_limit": 1, "job_seconds": 3600.0}


def test_sample_pictures_are_listed_and_served_and_nothing_beside_them(client):
    names = client.get("/images").json()
    assert "hopper.jpg" in names
    assert client.get("/images/hopper.jpg").headers["content-type"] == "image/jpeg"
    assert client.head("/images/hopper.jpg").status_code == 200
    for path in ("none.jpg", "%2e%2e", "%2e%2e%2fmanifests%2fsample.csv", "%2fetc%2fpasswd", ".hidden"):
        assert client.get(f"/images/{path}").status_code in {400, 404}


def test_looking_at_the_page_uses_up_no_faults(client, sandbox):
    sandbox.put_faults(image={"kind": "http_error", "count": 1})
    assert [client.get(f"/images/hopper.jpg{query}").status_code for query in ("?page", "", "")] == [
        200,
        500,
        200,
    ]
