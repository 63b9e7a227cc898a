# SPDX-License-Identifier: Apache-2.0
"""Each fault switch does to a client what it says, and the ledger knows what was accepted."""

from __future__ import annotations

import json
import re
import time

import httpx
import pytest

from .conftest import BODY, DETAIL, PAIR, SUBMIT, TOKENS, says_nothing, sent, wait_until

HEX = re.compile(rb"[0-9a-f]{1,4}")
ACCEPTED = [("before", 0), ("after", 1)]


@pytest.mark.parametrize(("when", "accepted"), ACCEPTED)
@pytest.mark.parametrize(
    ("reset", "error"), [(False, httpx.RemoteProtocolError), (True, httpx.ReadError)], ids=["close", "reset"]
)
def test_a_lost_connection_ends_without_a_single_byte(client, sandbox, when, accepted, reset, error):
    sandbox.put_faults(submit={"kind": "disconnect", "when": when, "reset": reset, "count": 1})
    with pytest.raises(error):
        client.post(SUBMIT, json=BODY)
    assert len(sandbox.submissions()) == accepted
    assert client.post(SUBMIT, json=BODY).json()["code"] == 0


@pytest.mark.parametrize(("when", "accepted"), ACCEPTED)
def test_a_hang_lasts_until_the_client_gives_up(sandbox, when, accepted):
    sandbox.put_faults(submit={"kind": "hang", "when": when})
    with sent(sandbox, SUBMIT, BODY) as connection:
        wait_until(lambda: sandbox.faults()["submit"][0]["fired"])
        wait_until(lambda: len(sandbox.submissions()) == accepted)
        assert says_nothing(connection)
    assert len(sandbox.submissions()) == accepted


def test_a_hang_with_seconds_ends_with_a_lost_connection(client, sandbox):
    sandbox.put_faults(tokens={"kind": "hang", "seconds": 0.1})
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(TOKENS)


@pytest.mark.parametrize(("when", "accepted"), ACCEPTED)
def test_a_server_error_is_answered_before_or_after_accepting(client, sandbox, when, accepted):
    sandbox.put_faults(submit={"kind": "http_error", "when": when})
    answer = client.post(SUBMIT, json=BODY)
    assert (answer.status_code, answer.content) == (500, b'{"code":500,"msg":""}')
    assert len(sandbox.submissions()) == accepted


def test_too_many_requests_come_with_and_without_retry_after(client, sandbox):
    sandbox.put_faults(
        submit=[{"kind": "rate_limited", "retry_after": 7, "count": 1}, {"kind": "rate_limited"}]
    )
    with_header, without = client.post(SUBMIT, json=BODY), client.post(SUBMIT, json=BODY)
    assert (with_header.status_code, with_header.headers["Retry-After"]) == (429, "7")
    assert without.status_code == 429
    assert "Retry-After" not in without.headers
    assert sandbox.submissions() == []


@pytest.mark.parametrize("status", [200, 502])
@pytest.mark.parametrize(("when", "accepted"), ACCEPTED)
def test_a_proxy_answers_html(client, sandbox, status, when, accepted):
    sandbox.put_faults(submit={"kind": "html", "status": status, "when": when})
    answer = client.post(SUBMIT, json=BODY)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert answer.text.startswith("<html>")
    assert len(sandbox.submissions()) == accepted


@pytest.mark.parametrize(("when", "accepted"), ACCEPTED)
def test_a_business_error_hides_inside_http_200(client, sandbox, when, accepted):
    sandbox.put_faults(submit={"kind": "business_error", "code": 1006, "msg": "Quota", "when": when})
    answer = client.post(SUBMIT, json=BODY)
    assert (answer.status_code, answer.json()) == (200, {"code": 1006, "msg": "Quota", "data": None})
    assert len(sandbox.submissions()) == accepted


@pytest.mark.parametrize(("when", "accepted"), ACCEPTED)
def test_a_refusal_can_have_any_status_code_and_message(client, sandbox, when, accepted):
    sandbox.put_faults(
        submit={"kind": "business_error", "status": 425, "code": 10001, "msg": "system busy", "when": when}
    )
    answer = client.post(SUBMIT, json=BODY)
    assert (answer.status_code, answer.json()) == (425, {"code": 10001, "msg": "system busy", "data": None})
    assert len(sandbox.submissions()) == accepted


def test_a_status_call_can_say_that_a_known_job_is_not_found(client, sandbox):
    img_uuid = sandbox.submit(**PAIR)
    sandbox.put_faults(detail={"kind": "business_error", "code": 404, "msg": "Job not found", "count": 1})
    answer = client.get(DETAIL, params={"img_uuid": img_uuid})
    assert (answer.status_code, answer.json()["code"]) == (200, 404)
    assert sandbox.detail(img_uuid)["img_uuid"] == img_uuid


@pytest.mark.parametrize("cost", [3_000_000_000, "4 credits", None])
def test_an_accepted_submit_can_have_any_value_beside_its_uuid(client, sandbox, cost):
    sandbox.put_faults(submit={"kind": "edited", "data": {"cost": cost}})
    data = client.post(SUBMIT, json=BODY).json()["data"]
    assert data == {"img_uuid": sandbox.submissions()[0]["img_uuid"], "cost": cost}


def test_the_data_of_a_response_can_be_a_text(client, sandbox):
    sandbox.put_faults(submit={"kind": "edited", "as_text": True})
    data = client.post(SUBMIT, json=BODY).json()["data"]
    assert json.loads(data) == {"img_uuid": sandbox.submissions()[0]["img_uuid"]}


def test_a_job_can_end_at_the_zero_of_time(sandbox):
    img_uuid = sandbox.submit(**PAIR)
    sandbox.wait_for(img_uuid)
    sandbox.put_faults(detail={"kind": "edited", "data": {"end_time": "0001-01-01T00:00:00Z"}})
    detail = sandbox.detail(img_uuid)
    assert (detail["status"], detail["end_time"]) == ("success", "0001-01-01T00:00:00Z")


def test_a_refusal_has_no_data_that_could_be_edited(client, sandbox):
    sandbox.put_faults(credits=0, submit={"kind": "edited", "data": {"cost": 1}, "as_text": True})
    answer = client.post(SUBMIT, json=BODY)
    assert (answer.status_code, answer.json()) == (402, {"code": 402, "msg": "Insufficient credits"})


def test_a_uuid_can_be_a_number(client, sandbox):
    sandbox.put_faults(img_uuid="number")
    img_uuid = client.post(SUBMIT, json=BODY).json()["data"]["img_uuid"]
    assert [entry["img_uuid"] for entry in sandbox.submissions()] == [str(img_uuid)]
    assert client.get(DETAIL, params={"img_uuid": img_uuid}).json()["data"]["img_uuid"] == img_uuid
    assert isinstance(img_uuid, int)


@pytest.mark.parametrize(("when", "accepted"), ACCEPTED)
def test_bad_json_is_cut_off(client, sandbox, when, accepted):
    sandbox.put_faults(submit={"kind": "bad_json", "when": when})
    answer = client.post(SUBMIT, json=BODY)
    assert answer.status_code == 200
    with pytest.raises(ValueError, match=r"line 1"):
        answer.json()
    assert len(sandbox.submissions()) == accepted


def test_a_missing_img_uuid_is_an_accepted_job_nobody_can_name(client, sandbox):
    sandbox.put_faults(submit="missing_img_uuid")
    assert client.post(SUBMIT, json=BODY).json() == {"code": 0, "msg": "Success", "data": {}}
    assert len(sandbox.submissions()) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(("when", "accepted"), ACCEPTED)
def test_a_redirect_is_answered_before_or_after_accepting(client, sandbox, status, when, accepted):
    sandbox.put_faults(
        submit={"kind": "redirect", "status": status, "when": when, "location": "https://moved.example.com/"}
    )
    answer = client.post(SUBMIT, json=BODY)
    assert (answer.status_code, answer.headers["location"]) == (status, "https://moved.example.com/")
    assert len(sandbox.submissions()) == accepted


@pytest.mark.parametrize("asked", ["Thu, 01 Jan 1970 00:00:00 GMT", "-5", "soon"])
def test_too_many_requests_can_ask_for_any_time(client, sandbox, asked):
    sandbox.put_faults(submit={"kind": "rate_limited", "retry_after": asked})
    assert client.post(SUBMIT, json=BODY).headers["Retry-After"] == asked


def answer_to_a_submit(sandbox, *, ends):
    """What a submit's connection brings: up to its end, or up to the end of the body."""
    received = b""
    with sent(sandbox, SUBMIT, BODY) as connection:
        while ends or not received.endswith(b"}}"):
            data = connection.recv(65536)
            if not data:
                break
            received += data
    (submission,) = sandbox.submissions()
    return received, submission["img_uuid"].encode()


@pytest.mark.parametrize(
    ("kind", "marks"),
    [
        ("early_hints", [b"HTTP/1.1 102 Processing", b"HTTP/1.1 103 Early Hints", b"HTTP/1.1 200 OK"]),
        ("long_header", [b"x" * 20_000]),
        ("false_encoding", [b"content-encoding: gzip"]),
        ("unfinished_chunks", [b"transfer-encoding: chunked"]),
        ("short_body", [b"content-length: "]),
    ],
)
def test_a_whole_answer_comes_in_a_form_that_a_strict_client_may_refuse(sandbox, kind, marks):
    sandbox.put_faults(submit=kind)
    received, img_uuid = answer_to_a_submit(sandbox, ends=kind in {"unfinished_chunks", "short_body"})
    flat = received.lower()
    assert all(mark.lower() in flat for mark in marks)
    assert not flat.endswith(b"0\r\n\r\n")
    head, _, body = received.partition(b"HTTP/1.1 200 OK")[2].partition(b"\r\n\r\n")
    text = b"".join(part for part in body.split(b"\r\n") if not HEX.fullmatch(part))
    assert img_uuid in text
    if kind == "short_body":
        assert int(re.search(rb"content-length: (\d+)", head.lower())[1]) > len(body)


def test_slow_answers_late_before_or_after_accepting(client, sandbox):
    sandbox.put_faults(submit={"kind": "slow", "seconds": 0.2, "count": 1, "when": "after"}, latency=0.1)
    start = time.monotonic()
    assert client.post(SUBMIT, json=BODY).json()["code"] == 0
    assert 0.3 <= time.monotonic() - start < 60


def test_a_slow_answer_after_accepting_is_accepted_at_once(sandbox):
    sandbox.put_faults(submit={"kind": "slow", "seconds": 3600, "when": "after"})
    with sent(sandbox, SUBMIT, BODY) as connection:
        wait_until(lambda: len(sandbox.submissions()) == 1)
        assert says_nothing(connection)


@pytest.mark.parametrize(("endpoint", "path"), [("detail", DETAIL), ("tokens", TOKENS)])
def test_each_endpoint_has_its_own_faults(client, sandbox, endpoint, path):
    sandbox.put_faults(**{endpoint: {"kind": "http_error", "status": 503, "count": 1}})
    assert client.post(SUBMIT, json=BODY).status_code == 200
    assert [client.get(path).status_code for _ in range(2)] == [503, 200]


def test_a_share_strikes_the_same_requests_on_each_run(client, sandbox):
    def run() -> list[int]:
        sandbox.reset()
        sandbox.put_faults(seed=5, submit={"kind": "http_error", "share": 0.5})
        return [client.post(SUBMIT, json=BODY).status_code for _ in range(20)]

    first = run()
    assert {200, 500} == set(first)
    assert run() == first
    assert sandbox.faults()["submit"][0]["fired"] == first.count(500)


def test_credits_run_out_as_402_or_as_a_code_inside_http_200(client, sandbox):
    sandbox.put_faults(credits=1)
    assert client.post(SUBMIT, json=BODY).status_code == 200
    answer = client.post(SUBMIT, json=BODY)
    assert (answer.status_code, answer.json()) == (402, {"code": 402, "msg": "Insufficient credits"})
    sandbox.put_faults(out_of_credits="code_at_200")
    answer = client.post(SUBMIT, json=BODY)
    assert (answer.status_code, answer.json()["code"]) == (200, 402)
    assert len(sandbox.submissions()) == 1


@pytest.mark.parametrize(
    ("kind", "status", "body"),
    [
        ("null_at_200", 200, {"code": 404, "msg": "Job not found", "data": None}),
        ("http_404", 404, {"code": 404, "msg": "Job not found"}),
        ("http_500", 500, {"code": 500, "msg": ""}),
        ("null_data", 200, {"code": 0, "msg": "Success", "data": None}),
    ],
)
def test_an_unknown_uuid_is_answered_as_the_switch_says(client, sandbox, kind, status, body):
    sandbox.put_faults(unknown_job=kind)
    answer = client.get(DETAIL, params={"img_uuid": "never-given-out"})
    assert (answer.status_code, answer.json()) == (status, body)


def test_by_default_an_unknown_uuid_has_all_fields_of_a_job_and_names_none(sandbox, client):
    answer = client.get(DETAIL, params={"img_uuid": "never-given-out"}).json()
    known = sandbox.wait_for(sandbox.submit(**PAIR))
    assert (answer["code"], answer["msg"]) == (404, "Job not found")
    assert answer["data"].keys() >= known.keys() - {"end_time", "sandbox"}
    assert (answer["data"]["img_uuid"], answer["data"]["status"], answer["data"]["json"]) == (
        "",
        "failed",
        [],
    )


@pytest.mark.parametrize("word", ["pending", "failed"])
def test_an_unknown_uuid_can_look_like_a_job(sandbox, word):
    sandbox.put_faults(unknown_job=word)
    assert sandbox.detail("never-given-out")["status"] == word


@pytest.mark.parametrize(
    ("switches", "word"),
    [
        ({"success_word": "completed"}, "completed"),
        ({"status_case": "upper"}, "SUCCESS"),
        ({"success_word": "Completed"}, "Completed"),
    ],
)
def test_the_word_for_a_finished_job_is_a_switch(sandbox, switches, word):
    sandbox.put_faults(**switches)
    assert sandbox.wait_for(sandbox.submit(**PAIR))["status"] == word


def test_jobs_over_the_limit_wait_and_start_in_order(client, sandbox):
    sandbox.put_faults(queue_limit=1, job_seconds=86_400, show_queue_limit=True)
    first, second, third = (sandbox.submit(**PAIR) for _ in range(3))
    assert [sandbox.detail(u)["status"] for u in (first, second, third)] == ["pending", "WAITING", "WAITING"]
    assert client.get(TOKENS).json()["data"]["queueLimit"] == 1
    sandbox.put_faults(queue_limit=2)
    assert [sandbox.detail(u)["status"] for u in (second, third)] == ["pending", "WAITING"]


def test_a_waiting_job_starts_when_another_ends(sandbox):
    sandbox.put_faults(queue_limit=1, job_seconds=0.05)
    uuids = [sandbox.submit(**PAIR) for _ in range(4)]
    ends = [sandbox.wait_for(img_uuid)["end_time"] for img_uuid in uuids]
    assert ends == sorted(ends)


def test_an_unknown_status_word_is_shown_while_a_job_runs(sandbox):
    sandbox.put_faults(unknown_status="reviewing", job={"kind": "stuck", "count": 1})
    running, ended = sandbox.submit(**PAIR), sandbox.submit(**PAIR)
    wait_until(lambda: sandbox.detail(running)["status"] == "reviewing")
    assert sandbox.wait_for(ended)["status"] == "success"


def test_cost_and_img_url_are_shown_if_asked_for(client, sandbox):
    sandbox.put_faults(show_cost=True, cost=4, show_img_url=True)
    data = client.post(SUBMIT, json=BODY).json()["data"]
    assert data["cost"] == 4
    detail = sandbox.wait_for(data["img_uuid"])
    assert detail["img_url"] == detail["json"][0]["value"]


@pytest.mark.parametrize(
    ("body", "code", "msg", "error"),
    [
        ("error", 0, "Success", "nsfw: refused"),
        ("bare", 0, "Success", None),
        ("msg", 0, "nsfw: refused", None),
        ("code", 1, "nsfw: refused", None),
    ],
)
def test_a_failed_job_tells_its_reason_where_the_switch_says(client, sandbox, body, code, msg, error):
    sandbox.put_faults(job={"kind": "failed", "error": "nsfw: refused"}, failed_body=body)
    img_uuid = sandbox.submit(**PAIR)
    sandbox.wait_for(img_uuid)
    answer = client.get(DETAIL, params={"img_uuid": img_uuid}).json()
    assert (answer["code"], answer["msg"], answer["data"].get("error")) == (code, msg, error)
    assert (answer["data"]["status"], answer["data"]["json"]) == ("failed", None)


def test_failed_jobs_are_refunded_if_asked_for(client, sandbox):
    sandbox.put_faults(credits=5, refund_failed=True, job={"kind": "failed", "count": 1})
    for img_uuid in [sandbox.submit(**PAIR), sandbox.submit(**PAIR)]:
        sandbox.wait_for(img_uuid)
    assert client.get(TOKENS).json()["data"]["count"] == 4
    assert [entry["refunded"] for entry in sandbox.submissions()] == [True, False]


def test_credits_are_taken_at_the_submit_or_once_the_job_has_succeeded(client, sandbox):
    def balance():
        return client.get(TOKENS).json()["data"]["count"]

    sandbox.put_faults(credits=10, cost=2, job_seconds=86_400)
    sandbox.submit(**PAIR)
    assert balance() == 8

    sandbox.reset()
    sandbox.put_faults(credits=10, cost=2, charged="at_end", job={"kind": "failed", "count": 1})
    sandbox.wait_for(sandbox.submit(**PAIR))
    assert balance() == 10  # a failed job costs nothing
    sandbox.wait_for(sandbox.submit(**PAIR))
    assert balance() == 8


def test_a_stuck_job_never_ends_and_holds_its_place(sandbox):
    sandbox.put_faults(job={"kind": "stuck", "count": 1}, queue_limit=1, job_seconds=0.0)
    stuck, behind = sandbox.submit(**PAIR), sandbox.submit(**PAIR)
    wait_until(lambda: sandbox.detail(stuck)["status"] == "processing")
    assert sandbox.detail(behind)["status"] == "WAITING"


@pytest.mark.parametrize("changes", [b'{"latncy": 1}', b'{"submit": "explode"}', b"[]", b"no json", b"\xff"])
def test_a_bad_switch_is_refused_and_named(client, sandbox, changes):
    before = sandbox.faults()
    answer = client.put("/sandbox/faults", content=changes)
    assert (answer.status_code, answer.json()["code"]) == (400, 400)
    if b"latncy" in changes:
        assert "'latncy'" in answer.json()["msg"]
    assert sandbox.faults() == before


def test_reset_restores_ledger_switches_and_balance(client, sandbox):
    sandbox.put_faults(credits=3, success_word="completed", submit={"kind": "slow", "seconds": 0.0})
    sandbox.submit(**PAIR)
    sandbox.reset()
    assert sandbox.submissions() == []
    assert client.get(TOKENS).json()["data"]["count"] == 1_000_000
    switches = sandbox.faults()
    assert (switches["success_word"], switches["submit"], switches["job_seconds"]) == ("success", [], 0.1)
