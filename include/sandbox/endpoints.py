# SPDX-License-Identifier: Apache-2.0
"""The GoEnhance endpoints: submit, job detail, tokens, and result links."""

from __future__ import annotations

import sqlite3
import sys
import time
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import FileResponse, Response

from . import openapi
from .jobs import LOAD_MODE_NOTE, Job, job_data, no_such_job, shown_img_uuid
from .placeholder import load_picture, placeholder_picture
from .state import OutOfCreditsError, Sandbox
from .wire import (
    NO_JOB,
    BadSubmitError,
    carries_token,
    envelope,
    expired_link,
    no_credits,
    read_submit,
    token_error,
)

if TYPE_CHECKING:
    from .switches import Switches

router = APIRouter(tags=["GoEnhance"])


def _sandbox(request: Request) -> Sandbox:
    sandbox: Sandbox = request.app.state.sandbox
    return sandbox


def _refused(request: Request) -> bool:
    token = _sandbox(request).settings.token
    return not carries_token(request.headers.get("authorization"), token)


@router.post("/api/v1/imagefaceswap/generate", **openapi.SUBMIT)
async def submit(request: Request) -> Response:
    """Accept a pair as a paid job that cannot be cancelled. Each call creates another job."""
    if _refused(request):
        return token_error()
    sandbox = _sandbox(request)
    try:
        source_img, reference_img = read_submit(await request.body())
        job = await sandbox.accept(source_img, reference_img)
    except BadSubmitError as error:
        return _bad_request(str(error), sandbox.switches.bad_request)
    except sqlite3.Error as error:
        print(f"sandbox: a submit could not be recorded: {error}", file=sys.stderr)
        return envelope(500, "", status=500)
    except OutOfCreditsError:
        return no_credits(at_200=sandbox.switches.out_of_credits == "code_at_200")
    data: dict[str, str | int] = {"img_uuid": shown_img_uuid(job)}
    if sandbox.switches.show_cost:
        data["cost"] = job.cost
    return envelope(0, "Success", data)


@router.get("/api/v1/jobs/detail", **openapi.DETAIL)
async def detail(request: Request, img_uuid: Annotated[str, Query()] = "") -> Response:
    """Return a job: its status, and the link to its picture once it has finished."""
    if _refused(request):
        return token_error()
    sandbox = _sandbox(request)
    job = sandbox.jobs.get(img_uuid)
    if job is None:
        return _unknown_job(img_uuid, sandbox.switches)
    link = sandbox.link(job)
    if link is not None:
        link = f"{request.url.scheme}://{request.url.netloc}{link}"
    data = job_data(job, sandbox.switches, link, time.time())
    if job.state == "failed" and sandbox.switches.failed_body in {"msg", "code"}:
        return envelope(1 if sandbox.switches.failed_body == "code" else 0, job.error, data)
    return envelope(0, "Success", data)


@router.get("/api/v1/user/tokens", **openapi.TOKENS)
async def tokens(request: Request) -> Response:
    """Return the remaining credits."""
    if _refused(request):
        return token_error()
    sandbox = _sandbox(request)
    data = {"count": sandbox.credits}
    if sandbox.switches.show_queue_limit:
        # The only known client that reads the field assumes 3.
        data["queueLimit"] = sandbox.switches.queue_limit or 3
    return envelope(0, "success", data)


@router.head("/results/{result_path:path}", include_in_schema=False)
@router.get("/results/{result_path:path}", **openapi.RESULT)
async def result(request: Request, result_path: str) -> Response:
    """Serve a finished picture to the holder of a signed link."""
    sandbox = _sandbox(request)
    verdict, job = sandbox.check_link(result_path, request.url.query)
    if verdict == "tampered":
        return expired_link("The signature does not match")
    if verdict != "good":
        return expired_link("Request has expired")
    if job is None:
        return envelope(404, "no such result", status=404)
    return picture(sandbox, job)


def picture(sandbox: Sandbox, job: Job) -> Response:
    """Return a job's picture."""
    if job.engine == "none":
        given = sandbox.settings.load_picture
        data = (
            placeholder_picture(job.img_uuid, LOAD_MODE_NOTE)
            if given is None
            else load_picture(given, job.img_uuid, LOAD_MODE_NOTE)
        )
        return Response(data, media_type=job.media_type)
    path = sandbox.pictures / job.result_path
    if not path.is_file():
        return envelope(404, "the picture is missing from the state folder", status=404)
    return FileResponse(path, media_type=job.media_type)


def _bad_request(reason: str, answer: str) -> Response:
    match answer:
        case "http_500":
            return envelope(500, "", status=500)
        case "code_at_200":
            return envelope(400, reason, NO_JOB)
        case _:
            return envelope(400, reason, status=400)


def _unknown_job(img_uuid: str, switches: Switches) -> Response:
    match switches.unknown_job:
        case "http_404":
            return envelope(404, "Job not found", status=404)
        case "http_500":
            return envelope(500, "", status=500)
        case "null_data":
            return envelope(0, "Success", None)
        case "null_at_200":
            return envelope(404, "Job not found", None)
        case "code_at_200":
            return envelope(404, "Job not found", no_such_job(time.time()))
        case word:
            job = Job(0, img_uuid, "", "", time.time(), 0, "mesh", 0.0, state="running")
            if word == "failed":
                job.state = "failed"
            return envelope(0, "Success", job_data(job, switches, None, time.time()))
