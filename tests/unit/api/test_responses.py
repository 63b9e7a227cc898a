# SPDX-License-Identifier: Apache-2.0
"""What an answer of GoEnhance's, or of something in its place, is taken for."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest

from airflow_provider_goenhance.api.models import JobState
from airflow_provider_goenhance.api.responses import (
    RawAnswer,
    read_credits,
    read_job,
    read_submission,
    text_of,
)
from airflow_provider_goenhance.exceptions import (
    AuthenticationError,
    BadRequestError,
    GoEnhanceError,
    JobNotFoundError,
    OutOfCreditsError,
    RateLimitedError,
    ServerError,
    ServiceBusyError,
    UnexpectedResponseError,
)

UUID = "c12b656c-747a-44fd-9c80-add79b0c52d5"
SIGNED = "https://openapi-static.goenhance.ai/user/2026/11/22/p_0.jpg?q-ak=AK&q-signature=deadbeef"
HTML = "<html><head><title>502 Bad Gateway</title></head></html>"


def answered(body: Any, status: int = 200, retry_after: str | None = None) -> RawAnswer:
    text = body if isinstance(body, str) else json.dumps(body)
    return RawAnswer(status, text, retry_after, "submit", "connection 'c' (https://api.goenhance.ai)")


def refused(code: Any, msg: str = "", data: Any = None) -> dict[str, Any]:
    return {"code": code, "msg": msg, "data": data}


@pytest.mark.parametrize(
    ("body", "cost"),
    [
        ({"code": 0, "msg": "Success", "data": {"img_uuid": UUID}}, None),
        ({"code": 0, "msg": "Success", "data": {"img_uuid": f" {UUID} ", "cost": 4}}, 4),
        ({"code": "0", "msg": "", "data": {"img_uuid": UUID, "cost": "4"}}, 4),
        ({"code": 0, "msg": "", "data": {"img_uuid": UUID, "cost": True}}, None),
        # A job that has a name was taken, whatever stands around it.
        ({"code": 7, "msg": "odd", "data": {"img_uuid": UUID}}, None),
        ({"data": {"img_uuid": UUID}}, None),
    ],
)
def test_a_submit_that_names_a_job_was_accepted(body: Any, cost: int | None) -> None:
    submission = read_submission(answered(body))
    assert (submission.img_uuid, submission.cost) == (UUID, cost)


@pytest.mark.parametrize(
    ("status", "body", "error", "maybe_accepted"),
    [
        (401, refused(401, "Token Error"), AuthenticationError, False),
        (200, refused(401, "Token Error"), AuthenticationError, False),
        (400, refused(401, "Token Error"), AuthenticationError, False),
        (401, HTML, AuthenticationError, False),
        (403, refused(403, "Forbidden"), AuthenticationError, False),
        (400, refused(400, "source_img is not a URL"), BadRequestError, False),
        (404, refused(404, "Not found"), ServiceBusyError, False),
        (200, refused(1, "Operation failed"), BadRequestError, False),
        (200, refused(10042, "Operation failed"), BadRequestError, False),
        (402, refused(402, "Payment required"), OutOfCreditsError, False),
        (200, refused(1001, "Insufficient credits"), OutOfCreditsError, False),
        (400, refused(400, "Your credits are used up"), OutOfCreditsError, False),
        (429, refused(429, "Too Many Requests"), RateLimitedError, False),
        (200, refused(429, "Too Many Requests"), RateLimitedError, False),
        (400, refused(429, "Too Many Requests"), RateLimitedError, False),
        (429, HTML, RateLimitedError, False),
        (500, refused(500), ServerError, True),
        (500, "", ServerError, True),
        (500, refused(401, "Token Error"), ServerError, True),
        (200, refused(500), ServerError, True),
        (503, refused(503), ServerError, True),
        (503, refused(503, "Service Unavailable"), ServerError, True),
        (503, refused(503, "maintenance"), ServiceBusyError, False),
        (502, HTML, UnexpectedResponseError, True),
        (200, HTML, UnexpectedResponseError, True),
        (200, "", UnexpectedResponseError, True),
        (200, '{"code": 0, "msg": "Succ', UnexpectedResponseError, True),
        (200, "[" * 100_000, UnexpectedResponseError, True),
        (200, [], UnexpectedResponseError, True),
        (200, {"status": "ok"}, UnexpectedResponseError, True),
        (200, refused("ok"), UnexpectedResponseError, True),
        (200, refused(0.5), UnexpectedResponseError, True),
        (200, refused(False), UnexpectedResponseError, True),
        (200, '{"code": Infinity, "msg": "", "data": {}}', UnexpectedResponseError, True),
        (200, {"msg": "Success", "data": {}}, UnexpectedResponseError, True),
        (200, refused(0, "Success"), UnexpectedResponseError, True),
        (200, refused(0, "Success", {}), UnexpectedResponseError, True),
        (200, refused(0, "Success", {"img_uuid": "  "}), UnexpectedResponseError, True),
        (200, refused(0, "Success", {"img_uuid": "a\x00b"}), UnexpectedResponseError, True),
        (200, refused(0, "Success", {"img_uuid": "x" * 129}), UnexpectedResponseError, True),
        (404, HTML, UnexpectedResponseError, False),
        (404, {"code": "NOT_FOUND", "message": "no Route matched"}, UnexpectedResponseError, False),
        (408, HTML, UnexpectedResponseError, True),
        (499, "", UnexpectedResponseError, True),
        (302, HTML, UnexpectedResponseError, True),
        (302, refused(0, "Moved"), UnexpectedResponseError, True),
        (303, HTML, UnexpectedResponseError, True),
    ],
)
def test_a_submit_that_was_not_accepted_ends_in_the_error_that_fits(
    status: int, body: Any, error: type[GoEnhanceError], maybe_accepted: bool
) -> None:
    with pytest.raises(GoEnhanceError) as raised:
        read_submission(answered(body, status))
    assert type(raised.value) is error
    assert raised.value.maybe_accepted is maybe_accepted
    assert raised.value.http_status == status
    assert "connection 'c'" in str(raised.value) or "submit" in str(raised.value)


@pytest.mark.parametrize(
    "msg",
    [
        "No face was found in source_img; your credits were returned",
        "No face detected, credits refunded",
        "no valid token",
        "The picture is not balanced",
    ],
)
def test_words_about_credits_do_not_make_a_bad_pair_an_empty_account(msg: str) -> None:
    with pytest.raises(BadRequestError, match="declined"):
        read_submission(answered(refused(1, msg)))


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("success", JobState.SUCCEEDED),
        ("SUCCESS", JobState.SUCCEEDED),
        ("completed", JobState.SUCCEEDED),
        (" Completed ", JobState.SUCCEEDED),
        ("failed", JobState.FAILED),
        ("FAILED", JobState.FAILED),
        ("pending", JobState.RUNNING),
        ("processing", JobState.RUNNING),
        ("WAITING", JobState.RUNNING),
        ("reviewing", JobState.RUNNING),
        ("", JobState.RUNNING),
    ],
)
def test_a_status_is_read_whatever_its_case_and_an_unknown_one_is_still_running(
    status: str, state: JobState
) -> None:
    job = read_job(answered(refused(0, "Success", {"img_uuid": UUID, "status": status})), UUID)
    assert job.state is state


@pytest.mark.parametrize(
    ("data", "links"),
    [
        ({"json": [{"type": "image", "value": SIGNED}]}, (SIGNED,)),
        (
            {"json": [{"value": "https://a/1.jpg"}, {"value": "https://a/2.jpg"}]},
            ("https://a/1.jpg", "https://a/2.jpg"),
        ),
        ({"json": json.dumps([{"type": "image", "value": SIGNED}])}, (SIGNED,)),
        ({"json": None, "img_url": SIGNED}, (SIGNED,)),
        ({"json": [{"value": "https://a/1.jpg"}], "img_url": SIGNED}, ("https://a/1.jpg",)),
        ({"json": "[broken", "img_url": ""}, ()),
        ({"json": ["text", {"value": 7}, {"value": ""}]}, ()),
        ({"json": {"value": SIGNED}}, (SIGNED,)),
        ({}, ()),
    ],
)
def test_the_links_of_a_finished_job_are_found(data: dict[str, Any], links: tuple[str, ...]) -> None:
    job = read_job(answered(refused(0, "Success", {"img_uuid": UUID, "status": "success", **data})), UUID)
    assert job.links == links


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (refused(0, "Success", {"status": "failed", "error": "no face"}), "no face"),
        (refused(0, "Success", {"status": "failed", "error": {"message": "no face"}}), "no face"),
        (refused(0, "no face", {"status": "failed"}), "no face"),
        # A failed job that is spoken of under a non-zero code is a failed job, not an unknown one.
        (refused(1, "no face", {"status": "failed"}), "no face"),
        (refused(0, "Success", {"status": "failed"}), None),
        (refused(0, "ok", {"status": "failed", "error": "  "}), None),
        (
            refused(0, "Success", {"status": "failed", "error": f"see {SIGNED}"}),
            "see " + SIGNED.split("?")[0] + "?...",
        ),
    ],
)
def test_the_reason_of_a_failed_job_is_found_wherever_it_stands(body: Any, reason: str | None) -> None:
    body["data"]["img_uuid"] = UUID
    job = read_job(answered(body), UUID)
    assert (job.state, job.reason) == (JobState.FAILED, reason)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, refused(0, "Success", {"img_uuid": "another", "status": "success"}), UnexpectedResponseError),
        (200, refused(0, "Success", {"img_uuid": UUID}), UnexpectedResponseError),
        (200, refused(0, "Success", {"img_uuid": UUID, "status": 3}), UnexpectedResponseError),
        (200, refused(0, "Success", None), UnexpectedResponseError),
        (200, refused(0, "Success", {}), UnexpectedResponseError),
        (200, refused(0, "Success", []), UnexpectedResponseError),
        (200, refused(0, "Job not found", None), JobNotFoundError),
        (200, refused(0, "Job not found", {}), JobNotFoundError),
        (200, refused(404, "Job not found"), JobNotFoundError),
        (404, refused(404, "Job not found"), JobNotFoundError),
        (404, {"message": "no Route matched with those values"}, UnexpectedResponseError),
        (404, HTML, UnexpectedResponseError),
        (200, refused(1001, "system maintenance, try again later"), ServiceBusyError),
        (500, refused(500, "", {"img_uuid": UUID, "status": "success"}), ServerError),
    ],
)
def test_what_does_not_tell_the_state_of_the_job_asked_for_is_an_error_that_names_it(
    status: int, body: Any, error: type[GoEnhanceError]
) -> None:
    with pytest.raises(GoEnhanceError) as raised:
        read_job(answered(body, status), UUID)
    assert type(raised.value) is error
    assert raised.value.img_uuid == UUID


def test_odd_times_of_a_job_are_left_out() -> None:
    data = {"img_uuid": UUID, "status": "success", "start_time": 17, "end_time": "2026-11-22T10:56:00.338Z"}
    job = read_job(answered(refused(0, "Success", data)), UUID)
    assert (job.started_at, job.ended_at) == (None, "2026-11-22T10:56:00.338Z")


@pytest.mark.parametrize(
    ("data", "credits_"),
    [({"count": 4207}, (4207, None)), ({"count": "12", "queueLimit": 3}, (12, 3)), ({"count": 0}, (0, None))],
)
def test_the_balance_is_read(data: Any, credits_: tuple[int, int | None]) -> None:
    read = read_credits(answered(refused(0, "success", data)))
    assert (read.count, read.queue_limit) == credits_


def test_a_balance_that_is_missing_is_not_zero() -> None:
    with pytest.raises(UnexpectedResponseError, match=r"data\.count"):
        read_credits(answered(refused(0, "success", {})))


@pytest.mark.parametrize(
    "body",
    [
        refused(1, f"cannot fetch {SIGNED}"),
        json.dumps({"code": 0, "msg": "", "data": {"img_uuid": UUID, "json": [{"value": SIGNED}]}}),
        '{"json":[{"value":"' + SIGNED.replace("/", "\\/") + '"',
        f"<a href='{SIGNED}'>here</a>",
        json.dumps({SIGNED: 1}),
    ],
)
def test_no_message_carries_the_signature_of_a_link(body: Any) -> None:
    with pytest.raises(GoEnhanceError) as raised:
        read_job(answered(body), UUID)
    shown = f"{raised.value} {raised.value!r} {raised.value.msg} {pickle.dumps(raised.value)!r}"
    assert "deadbeef" not in shown


def test_a_job_does_not_show_its_links() -> None:
    data = {"img_uuid": UUID, "status": "success", "json": [{"value": SIGNED}]}
    job = read_job(answered(refused(0, "Success", data)), UUID)
    assert job.links == (SIGNED,)
    assert "deadbeef" not in f"{job} {job!r}"


def test_the_vendors_words_are_cut_and_made_printable_before_they_reach_a_row() -> None:
    with pytest.raises(BadRequestError) as raised:
        read_submission(answered(refused(1, "no\x00 face\n" + "x" * 5000 + "\ud800")))
    assert raised.value.msg is not None
    assert len(raised.value.msg) == 300
    assert raised.value.msg.startswith("no face xxx")
    raised.value.msg.encode()


def test_a_body_is_utf_8_whatever_it_says_and_never_shows_our_token() -> None:
    assert text_of("\ufeff{}".encode(), "sk-secret") == "{}"
    assert text_of(b"\xff{}", "sk-secret") == "\ufffd{}"
    assert text_of(b"Authorization: Bearer sk-secret", "sk-secret") == "Authorization: Bearer ***"


def test_an_error_survives_the_way_from_one_process_to_another() -> None:
    with pytest.raises(RateLimitedError) as raised:
        read_submission(answered(refused(429, "slow down"), 429, retry_after="7"))
    copy = pickle.loads(pickle.dumps(raised.value))
    assert type(copy) is RateLimitedError
    assert (str(copy), copy.retry_after, copy.http_status) == (str(raised.value), 7.0, 429)
