# SPDX-License-Identifier: Apache-2.0
"""A job: the accepted submit, its state, and its representation in job detail and the ledger."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from .wire import IMAGE_FACE_SWAP_MODEL, JOB_TYPE, iso_time

if TYPE_CHECKING:
    from .switches import Switches

State = Literal["queued", "running", "success", "failed"]
LOAD_MODE_NOTE = "sandbox load mode (--engine none): no picture was fetched and no face was swapped"


@dataclass(slots=True)
class Job:
    """An accepted submit. `sequence` is its place in the ledger; times are Unix seconds."""

    sequence: int
    img_uuid: str
    source_img: str
    reference_img: str
    accepted_at: float
    cost: int
    engine: str
    seconds: float
    fate: str = ""
    fate_reason: str = ""
    state: State = "queued"
    ended_at: float | None = None
    result_path: str = ""
    media_type: str = ""
    link_from: int = 0
    link_until: int = 0
    error: str = ""
    refunded: bool = False
    processing_at: float | None = None

    @property
    def ended(self) -> bool:
        """Whether the job is in a terminal state."""
        return self.state in {"success", "failed"}

    def name_result(self, extension: str) -> None:
        """Set the result path. As with the vendor, it contains the date and not the img_uuid."""
        day = time.strftime("%Y/%m/%d", time.gmtime())
        self.result_path = f"user/{day}/{uuid.uuid4()}_0.{extension}"


def new_img_uuid(switches: Switches) -> str:
    """Return the id of a new job, in the form of the current switches."""
    unique = uuid.uuid4()
    return str(unique) if switches.img_uuid == "uuid" else str(10**17 + unique.int % 10**17)


def shown_img_uuid(job: Job) -> str | int:
    """Return the id as the responses show it: one of digits is a JSON number."""
    return int(job.img_uuid) if job.img_uuid.isdigit() else job.img_uuid


JOB_COLUMNS = tuple(f.name for f in fields(Job) if f.name != "processing_at")


def status_word(job: Job, switches: Switches, now: float) -> str:
    """Return the status that job detail shows for a job under the current switches."""
    if job.state == "queued":
        return switches.waiting_word
    if job.state == "running":
        started = job.processing_at is not None and now >= job.processing_at
        word = (switches.unknown_status or "processing") if started else "pending"
    else:
        word = switches.success_word if job.state == "success" else "failed"
    return word.upper() if switches.status_case == "upper" else word


def job_data(job: Job, switches: Switches, link: str | None, now: float) -> dict[str, Any]:
    """
    Return the `data` of a job detail response.

    Fields and their order follow the examples of docs.goenhance.ai/api-reference/tasks/detail. `error`, `img_url` and
    `sandbox` are additions of the sandbox, documented in docs/sandbox.md.
    """
    data: dict[str, Any] = {
        "img_uuid": shown_img_uuid(job),
        "status": status_word(job, switches, now),
        "type": JOB_TYPE,
        "start_time": iso_time(job.accepted_at),
    }
    if job.ended_at is not None:
        data["end_time"] = iso_time(job.ended_at)
    data["model_id"] = IMAGE_FACE_SWAP_MODEL
    data["json"] = [{"type": "image", "value": link}] if link else None
    data["job_type"] = JOB_TYPE
    if link and switches.show_img_url:
        data["img_url"] = link
    if job.state == "failed" and switches.failed_body == "error":
        data["error"] = job.error
    if job.engine == "none":
        data["sandbox"] = LOAD_MODE_NOTE
    return data


def no_such_job(now: float) -> dict[str, Any]:
    """
    Return the `data` of a job detail response about an unknown UUID.

    It has the fields that clients read, so that none of them breaks or waits forever, but it names no job: a client
    that looks for the job it asked about does not take it for that job's failure.
    """
    return {
        "img_uuid": "",
        "status": "failed",
        "type": JOB_TYPE,
        "start_time": iso_time(now),
        "model_id": IMAGE_FACE_SWAP_MODEL,
        "json": [],
        "job_type": JOB_TYPE,
    }


def ledger_entry(job: Job) -> dict[str, Any]:
    """Return a job as an entry of GET /sandbox/submissions."""
    return {
        "sequence": job.sequence,
        "img_uuid": job.img_uuid,
        "source_img": job.source_img,
        "reference_img": job.reference_img,
        "accepted_at": iso_time(job.accepted_at),
        "cost": job.cost,
        "refunded": job.refunded,
        "state": job.state,
        "error": job.error or None,
        "ended_at": iso_time(job.ended_at) if job.ended_at is not None else None,
    }
