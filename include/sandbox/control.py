# SPDX-License-Identifier: Apache-2.0
"""The control endpoints: ledger, switches, reset, sample pictures, health. Local only, so without a token."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import FileResponse, JSONResponse, Response

from .endpoints import picture
from .jobs import LOAD_MODE_NOTE, ledger_entry
from .switches import SwitchError, Switches
from .wire import envelope

if TYPE_CHECKING:
    from .state import Sandbox

router = APIRouter(tags=["sandbox"])

_REFUSED: dict[int | str, dict[str, Any]] = {
    400: {"description": "A switch does not exist or its value is invalid; `msg` names it."}
}
_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"description": "The picture does not exist."}}


def _sandbox(request: Request) -> Sandbox:
    sandbox: Sandbox = request.app.state.sandbox
    return sandbox


@router.get("/sandbox/submissions")
async def submissions(
    request: Request,
    after: Annotated[int, Query(ge=0, le=2**53, description="only later sequence numbers")] = 0,
    limit: Annotated[int | None, Query(ge=0, le=2**53)] = None,
) -> Response:
    """Return the ledger: every accepted submit, oldest first, to compare with a client's records."""
    jobs = (job for job in list(_sandbox(request).jobs.values()) if job.sequence > after)
    return JSONResponse([ledger_entry(job) for job in islice(jobs, limit)])


@router.get("/sandbox/traffic")
async def traffic(request: Request) -> Response:
    """Return when each submit arrived and was answered, accepted or not, to check a client's limits."""
    submits = list(request.app.state.traffic.submits)
    return JSONResponse(
        [{"received_at": each.received_at, "answered_at": each.answered_at} for each in submits]
    )


@router.get("/sandbox/faults", response_model=Switches)
async def faults(request: Request) -> Response:
    """Return all switches, and how often each fault has struck."""
    return JSONResponse(_sandbox(request).live_switches().model_dump())


@router.put(
    "/sandbox/faults",
    response_model=Switches,
    responses=_REFUSED,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/SwitchChanges"}}},
        }
    },
)
async def change_faults(request: Request) -> Response:
    """Change switches; those that are not in the body keep their values."""
    try:
        changes = await request.json()
    except (ValueError, RecursionError):
        return envelope(400, "the switches must be a JSON object", status=400)
    try:
        switches = _sandbox(request).change_switches(changes)
    except SwitchError as error:
        return envelope(400, str(error), status=400)
    return JSONResponse(switches.model_dump())


@router.post("/sandbox/reset")
async def reset(request: Request) -> Response:
    """Delete all jobs and pictures, and restore the initial balance and switches."""
    _sandbox(request).reset()
    request.app.state.traffic.submits.clear()
    return JSONResponse({"status": "reset"})


@router.get("/sandbox/overview")
async def overview(request: Request, limit: Annotated[int, Query(ge=0, le=200)] = 12) -> Response:
    """Return the data of the live page: counts, switches that differ from their defaults, latest jobs."""
    sandbox = _sandbox(request)
    latest = list(islice(reversed(sandbox.jobs.values()), limit))
    return JSONResponse(
        {
            "token": sandbox.settings.token,
            "engine": sandbox.settings.engine,
            "credits": sandbox.credits,
            "accepted": len(sandbox.jobs),
            "queued": sandbox.runner.queued,
            "running": sandbox.runner.running,
            "switches": _changed(sandbox.switches),
            "jobs": [ledger_entry(job) | {"picture": job.state == "success"} for job in latest],
        }
    )


@router.get("/sandbox/pictures/{img_uuid}", responses=_NOT_FOUND, response_class=Response)
async def kept_picture(request: Request, img_uuid: str) -> Response:
    """Serve a job's result to the live page, without faults and without a signed link."""
    sandbox = _sandbox(request)
    job = sandbox.jobs.get(img_uuid)
    if job is None or job.state != "success":
        return envelope(404, "no such result", status=404)
    return picture(sandbox, job)


@router.get("/images")
async def images(request: Request) -> Response:
    """Return the names of the sample pictures."""
    folder = _sandbox(request).settings.images
    names = sorted(path.name for path in folder.iterdir() if path.is_file()) if folder else []
    return JSONResponse(names)


@router.head("/images/{name}", include_in_schema=False)
@router.get("/images/{name}", responses=_NOT_FOUND, response_class=Response)
async def image(request: Request, name: Annotated[str, Path(pattern=r"^[\w][\w.-]*$")]) -> Response:
    """Serve a sample picture, as the image host of a real batch would."""
    folder = _sandbox(request).settings.images
    if folder is None or not (folder / name).is_file():
        return envelope(404, "no such picture", status=404)
    return FileResponse(folder / name)


@router.head("/public/{path:path}", include_in_schema=False)
@router.get("/public/{path:path}", responses=_NOT_FOUND, response_class=Response)
async def public_file(request: Request, path: str) -> Response:
    """Serve a file of the public folder, as the web server of a team would."""
    folder = _sandbox(request).settings.public
    file = (folder / path).resolve() if folder is not None else None
    if folder is None or file is None or not (file.is_relative_to(folder.resolve()) and file.is_file()):
        return envelope(404, "no such file", status=404)
    return FileResponse(file)


@router.get("/health")
async def health(request: Request) -> Response:
    """Return 200 as soon as the sandbox accepts submits."""
    sandbox = _sandbox(request)
    answer: dict[str, Any] = {"status": "ok", "engine": sandbox.settings.engine}
    if sandbox.settings.engine == "none":
        answer["note"] = LOAD_MODE_NOTE
    return JSONResponse(answer)


def _changed(switches: Switches) -> dict[str, Any]:
    plain = Switches()
    names = [name for name in Switches.model_fields if getattr(switches, name) != getattr(plain, name)]
    return switches.model_dump(include=set(names) - {"credits"}, exclude_defaults=True)
