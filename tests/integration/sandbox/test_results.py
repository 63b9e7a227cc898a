# SPDX-License-Identifier: Apache-2.0
"""Result links: signed, expiring, and spoiled on demand."""

from __future__ import annotations

import httpx
import pytest

from .conftest import PAIR, client_of, says_nothing, sent, wait_until


def link_of(sandbox) -> str:
    return sandbox.wait_for(sandbox.submit(**PAIR))["json"][0]["value"]


def test_a_link_needs_no_token_and_names_the_picture_type(sandbox):
    answer = httpx.get(link_of(sandbox), trust_env=False)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.content.startswith(b"\x89PNG")


def test_a_link_that_was_changed_is_refused(client, sandbox):
    link = link_of(sandbox)
    for changed in (link[:-1] + "x", link.replace("q-sign-time=", "q-sign-time=1"), link.split("?")[0]):
        assert client.get(changed).status_code == 403


def test_a_link_dies_with_its_lifetime_and_says_so(client, sandbox):
    sandbox.put_faults(link_seconds=0)
    answer = client.get(link_of(sandbox))
    assert (answer.status_code, answer.headers["content-type"]) == (403, "application/xml")
    assert "expired" in answer.text


def test_a_link_signed_at_completion_stays_the_same_and_one_signed_at_each_call_has_a_new_lifetime(
    client, sandbox
):
    sandbox.put_faults(link_seconds=0)
    img_uuid = sandbox.submit(**PAIR)
    sandbox.wait_for(img_uuid)
    sandbox.put_faults(link_seconds=3600)
    at_completion = sandbox.detail(img_uuid)["json"][0]["value"]
    assert client.get(at_completion).status_code == 403
    sandbox.put_faults(link_signed="at_each_call")
    assert client.get(sandbox.detail(img_uuid)["json"][0]["value"]).status_code == 200
    assert client.get(at_completion).status_code == 403


def test_a_signed_link_of_a_forgotten_job_is_not_found(client, sandbox):
    link = link_of(sandbox)
    sandbox.reset()
    answer = client.get(link)
    assert (answer.status_code, answer.json()["code"]) == (404, 404)


def test_head_answers_without_a_body(client, sandbox):
    answer = client.head(link_of(sandbox))
    assert (answer.status_code, answer.content) == (200, b"")


def test_an_expired_link_can_be_had_at_once(client, sandbox):
    link = link_of(sandbox)
    sandbox.put_faults(result={"kind": "expired_link", "count": 1})
    assert [client.get(link).status_code for _ in range(2)] == [403, 200]


def test_html_comes_with_status_200(client, sandbox):
    link = link_of(sandbox)
    sandbox.put_faults(result="html")
    answer = client.get(link)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")


def test_a_huge_body_of_zeros_has_the_asked_for_length(client, sandbox):
    link = link_of(sandbox)
    sandbox.put_faults(result={"kind": "zeros", "bytes": 3_000_001})
    answer = client.get(link)
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.content == bytes(3_000_001)


def test_a_redirect_loop_has_no_end(sandbox):
    link = link_of(sandbox)
    sandbox.put_faults(result="redirect_loop")
    with (
        client_of(sandbox, follow_redirects=True, max_redirects=5) as client,
        pytest.raises(httpx.TooManyRedirects),
    ):
        client.get(link)
    assert sandbox.faults()["result"][0]["fired"] == 6


def test_a_truncated_body_ends_before_its_length(client, sandbox):
    link = link_of(sandbox)
    sandbox.put_faults(result="truncated")
    with pytest.raises(httpx.RemoteProtocolError, match=r"received 112 bytes, expected 224"):
        client.get(link)


def test_a_download_hangs(sandbox):
    link = link_of(sandbox)
    sandbox.put_faults(result="hang")
    with sent(sandbox, link.removeprefix(sandbox.url)) as connection:
        wait_until(lambda: sandbox.faults()["result"][0]["fired"])
        assert says_nothing(connection)


def test_the_live_page_sees_pictures_that_faults_spoil_for_clients(client, sandbox):
    img_uuid = sandbox.submit(**PAIR)
    wait_until(lambda: "end_time" in sandbox.detail(img_uuid))
    sandbox.put_faults(result="html")
    assert client.get(f"/sandbox/pictures/{img_uuid}").headers["content-type"] == "image/png"
    assert client.get("/sandbox/pictures/unknown").status_code == 404
