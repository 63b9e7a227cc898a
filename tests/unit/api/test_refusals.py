# SPDX-License-Identifier: Apache-2.0
"""What a response that is not a success says: each decision as a table. Where it says too little, money decides."""

from __future__ import annotations

import pytest

from airflow_provider_goenhance.api.models import JobState, state_of
from airflow_provider_goenhance.api.refusals import Refusal, refusal_of, says_job_not_found

DECLINED, BUSY, UNKNOWN, TOKEN = Refusal.DECLINED, Refusal.BUSY, Refusal.UNKNOWN, Refusal.TOKEN


@pytest.mark.parametrize(
    ("status", "code", "msg", "said"),
    [
        # Of this pair.
        (400, 400, "source_img is not a URL", DECLINED),
        (422, 422, "no", DECLINED),
        (200, 1, "No face detected in source_img", DECLINED),
        (200, 10007, "No face found, please try again with another picture", DECLINED),
        (200, 1, "NSFW content detected", DECLINED),
        (200, 1, "image resolution is too large", DECLINED),
        (200, 1, "failed to download source image: timeout", DECLINED),
        (403, 403, "source_img: the host returned 403", DECLINED),
        (403, 403, "The picture violates the content policy", DECLINED),
        (403, 403, "forbidden url", DECLINED),
        (404, 404, "source_img not found", DECLINED),
        # Of the moment or of the endpoint.
        (200, 10001, "system busy, please try again later", BUSY),
        (200, 1001, "system maintenance, try again later", BUSY),
        (200, 1, "Face swap service is temporarily unavailable", BUSY),
        (200, 1, "Too many concurrent tasks", BUSY),
        (200, 1, "operate too frequently", BUSY),
        (200, 503, "server overloaded", BUSY),
        (503, 503, "system maintenance", BUSY),
        (404, 404, "", BUSY),
        (404, 404, "Not Found", BUSY),
        (405, 405, "Method Not Allowed", BUSY),
        (425, 425, "Too Early", BUSY),
        (200, 404, "route not found", BUSY),
        (403, 403, "blocked in your country", BUSY),
        # Open.
        (408, 408, "Request Timeout", UNKNOWN),
        (408, None, "", UNKNOWN),
        (499, 499, "", UNKNOWN),
        (200, 408, "", UNKNOWN),
        (200, -1, "timeout", UNKNOWN),
        (200, -1, "context deadline exceeded", UNKNOWN),
        (400, 400, "upstream request timed out", UNKNOWN),
        (200, 1, "internal server error", UNKNOWN),
        (200, 1, "duplicate request", UNKNOWN),
        (409, 409, "conflict", UNKNOWN),
        (200, 500, "system busy", UNKNOWN),
        (500, 500, "system busy, please try again later", UNKNOWN),
        (503, 503, "", UNKNOWN),
        (503, 503, "Service Unavailable", UNKNOWN),
        (504, 504, "maintenance", UNKNOWN),
        (200, 10042, "", UNKNOWN),
        (418, 418, "", UNKNOWN),
        # Of the account.
        (401, 401, "Token Error", TOKEN),
        (200, 401, "", TOKEN),
        (403, 403, "", TOKEN),
        (403, 403, "Forbidden", TOKEN),
        (403, 403, "API key has no permission for image face swap", TOKEN),
        (200, 1001, "Token Error", TOKEN),
        (400, 400, "Invalid API key", TOKEN),
        (200, -1, "your token has expired", TOKEN),
        (200, -1, "token无效", TOKEN),
        (200, 1, "Unauthorized", TOKEN),
        (200, 1, "Your account has been suspended", TOKEN),
        (200, 1, "not authorized to access the source image", DECLINED),
        (400, 400, "invalid token in image url", DECLINED),
        (200, 1, "Insufficient credits", Refusal.CREDITS),
        (200, 1, "余额不足", Refusal.CREDITS),
        (200, 1, "Please recharge", Refusal.CREDITS),
        (200, 1, "Please upgrade your plan", Refusal.CREDITS),
        (200, 1, "upgrade your plan to use images above 5 MB", DECLINED),
        (200, 1, "服务器繁忙", BUSY),
        (200, 1, "quota exceeded", BUSY),
        (200, 1, "You have reached the daily limit", BUSY),
        (200, 1, "Generation limit reached", BUSY),
        (413, 413, "file size limit exceeded", DECLINED),
        (200, 1, "Your plan has expired, please renew", Refusal.CREDITS),
        (200, 1, "free trial ended", Refusal.CREDITS),
        (200, 1, "quota not enough", Refusal.CREDITS),
        (200, 1, "no permission to use this api", TOKEN),
        (200, 1, "your IP is not in the whitelist", TOKEN),
        (200, 1, "Max concurrency reached", BUSY),
        (200, 1, "No available worker", BUSY),
        # A success under another code, without an img_uuid: it declines nothing.
        (200, 200, "ok", UNKNOWN),
        (200, 1, "Success", UNKNOWN),
        (200, 1, "job created", UNKNOWN),
        (200, 2, "Task is queued", UNKNOWN),
        (200, 1000, "任务排队中", UNKNOWN),
        (200, 1, "job not created", DECLINED),
        (200, 1, "the task could not be submitted", DECLINED),
        (200, 1, "unsuccessful", DECLINED),
        (200, 1, "only accepted in your country", DECLINED),
        (200, 1, "fail", DECLINED),
        (429, 429, "image queue", Refusal.RATE),
    ],
)
def test_the_answer_to_a_submit_is_read_for_what_it_says_about_money(
    status: int, code: int | None, msg: str, said: Refusal
) -> None:
    assert refusal_of(status, code, msg, paid=True) is said


@pytest.mark.parametrize(
    "msg",
    [
        "Job not found",
        "JobNotFound",
        "TASK_NOT_FOUND",
        "task not found",
        "The task does not exist",
        "task not exist",
        "record not found",
        "img_uuid not found",
        "img_uuid c12b656c-747a-44fd-9c80-add79b0c52d5 doesn\u2019t exist",
        "no such job",
        "Unknown job",
        "unknown img_uuid",
        "The job with id 12 could not be found",
        "cannot find the task",
        "job no longer exists",
        "the given uuid is not known",
    ],
)
def test_a_message_that_says_so_is_about_the_job(msg: str) -> None:
    assert says_job_not_found(msg)
    assert refusal_of(200, 1, msg) is Refusal.NO_SUCH_JOB


@pytest.mark.parametrize(
    "msg",
    [
        "model not found",
        "user not found",
        "route not found",
        "user record not found",
        "no route matched",
        "unknown task type",
        "unknown job status",
        "unknown error while reading the job",
        "task queue not found",
        "job result not found",
        "unable to find a worker for the task",
        "job not found in cache, please try again later",
        "system maintenance",
        "img_uuid is required",
        "Success",
        "",
    ],
)
def test_a_message_about_anything_else_never_makes_a_job_lost(msg: str) -> None:
    assert not says_job_not_found(msg)
    assert refusal_of(200, 1, msg) is not Refusal.NO_SUCH_JOB
    assert refusal_of(500, 404, msg) is not Refusal.NO_SUCH_JOB


@pytest.mark.parametrize(
    ("status", "code", "msg", "found"),
    [
        (404, 404, "", False),
        (200, 404, "Not Found", False),
        (404, 404, "route not found", True),
        (404, 404, "no such model", True),
        (404, 404, "Function not found", True),
        (404, 404, "deployment could not be found", True),
        (404, 404, "default backend - 404", True),
        (404, 404, "system maintenance", True),
        (403, 403, "no permission to access this task", True),
        (400, 400, "bad request", True),
        (500, 500, "job not found", True),
    ],
)
def test_a_404_is_about_the_job_unless_its_words_are_about_something_else(
    status: int, code: int, msg: str, found: bool
) -> None:
    said = refusal_of(status, code, msg)
    assert (said is not Refusal.NO_SUCH_JOB) is found
    assert said is not TOKEN


@pytest.mark.parametrize("msg", ["job " + "1-" * 300, "unknown " * 80, "image a " * 80, "403 " * 150])
def test_a_hostile_message_is_read_at_once(msg: str) -> None:
    assert refusal_of(403, 403, msg) in Refusal
    assert refusal_of(400, 400, msg, paid=True) in Refusal


@pytest.mark.parametrize(
    ("status", "alone", "with_end", "with_link"),
    [
        ("success", "succeeded", "succeeded", "succeeded"),
        ("failed", "failed", "failed", "failed"),
        ("error", "running", "failed", "succeeded"),
        (" Cancelled ", "running", "failed", "succeeded"),
        ("canceled", "running", "failed", "succeeded"),
        ("done", "running", "running", "succeeded"),
        ("Finished", "running", "running", "succeeded"),
        ("expired", "running", "running", "succeeded"),
        ("timed_out", "running", "running", "succeeded"),
        ("archived", "running", "running", "running"),
        ("processing", "running", "running", "running"),
        ("IN PROGRESS", "running", "running", "running"),
    ],
)
def test_an_undocumented_status_ends_a_job_only_with_proof(
    status: str, alone: str, with_end: str, with_link: str
) -> None:
    assert state_of(status) is JobState(alone)
    assert state_of(status, has_ended=True) is JobState(with_end)
    assert state_of(status, has_link=True) is JobState(with_link)
