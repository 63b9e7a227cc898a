# SPDX-License-Identifier: Apache-2.0
"""Requests and responses of the GoEnhance API as plain values."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

DEFAULT_BASE_URL = "https://api.goenhance.ai"
SUBMIT_PATH = "/api/v1/imagefaceswap/generate"
DETAIL_PATH = "/api/v1/jobs/detail"
CREDITS_PATH = "/api/v1/user/tokens"

#: ``type`` of the submit's body, from the vendor's OpenAPI document of the call.
FACE_SWAP_TYPE = "mx-image-face-swap"


def submit_body(source_img: str, reference_img: str) -> dict[str, Any]:
    """
    Return the JSON body of a face swap submit.

    :param source_img: URL of the picture with the face
    :param reference_img: URL of the target picture that keeps its scene
    """
    return {"args": {"reference_img": reference_img, "source_img": source_img}, "type": FACE_SWAP_TYPE}


class JobState(enum.Enum):
    """State of a job, derived from the vendor's ``status``; see :func:`state_of`."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


# The vendor's pages contradict each other: the schema says `success`, the prose `completed`; examples show `success`.
# `failed` is documented. Each word is compared without case, blanks and punctuation.
_DONE = frozenset({"success", "completed"})
_FAILED = frozenset({"failed", "failure", "fail"})
# Undocumented words. They end a job only together with what proves it: a link, or an end time.
_PERHAPS_DONE = frozenset({
    "complete", "done", "finish", "finished", "generated", "ok", "ready", "succeed", "succeeded", "successful",
    "successfully",
})  # fmt: skip
_PERHAPS_FAILED = frozenset({
    "aborted", "canceled", "cancelled", "cancel", "error", "errored", "rejected", "terminated",
})  # fmt: skip
_PERHAPS_OVER = frozenset({
    "blocked", "closed", "deleted", "ended", "expired", "killed", "nsfw", "refused", "removed", "stopped", "timedout",
    "timeout",
})  # fmt: skip
_RUNNING = frozenset({
    "", "accepted", "active", "created", "generating", "inprogress", "inqueue", "init", "new", "pending", "preparing",
    "processing", "queued", "queueing", "queuing", "retrying", "running", "scheduled", "started", "starting",
    "submitted", "uploading", "waiting", "working",
})  # fmt: skip


def _plain(status: str | None) -> str:
    return "".join(char for char in (status or "").lower() if char.isalnum())


def state_of(status: str | None, *, has_link: bool = False, has_ended: bool = False) -> JobState:
    """
    Return the state for a job status, ignoring case, blanks and punctuation.

    A job that is called failed can be paid for again, and one that is called running is asked about again for free:
    an undocumented word needs proof. With a link to a picture the job has one, and is never called failed for a word
    such as ``error`` or ``expired``.

    :param status: as GoEnhance sent it, e.g. ``success``, ``completed``, ``failed``, ``pending``, ``WAITING``
    :param has_link: whether the job has a link
    :param has_ended: whether the job has an end time
    :return: ``RUNNING`` for every status that is not known to be final
    """
    word = _plain(status)
    if word in _DONE:
        return JobState.SUCCEEDED
    if word in _FAILED:
        return JobState.FAILED
    if has_link and word in _PERHAPS_DONE | _PERHAPS_FAILED | _PERHAPS_OVER:
        return JobState.SUCCEEDED
    if has_link and has_ended and word not in _RUNNING:
        return JobState.SUCCEEDED
    return JobState.FAILED if has_ended and word in _PERHAPS_FAILED else JobState.RUNNING


@dataclass(frozen=True, slots=True)
class Submission:
    """
    An accepted submit.

    :param img_uuid: the job's id
    :param cost: credits it cost, if the response says so (undocumented for face swaps, seen on other endpoints)
    """

    img_uuid: str
    cost: int | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """
    One job, as the detail call describes it.

    :param img_uuid: the job's id
    :param status: as GoEnhance sent it
    :param links: links of the finished pictures, the most likely picture first; secrets, so kept out of ``repr``
    :param reason: why it failed, if the response says so (no such field is documented)
    :param started_at: ISO 8601 UTC, as GoEnhance sent it
    :param ended_at: ISO 8601 UTC, as GoEnhance sent it
    """

    img_uuid: str
    status: str
    links: tuple[str, ...] = field(default=(), repr=False)
    reason: str | None = None
    started_at: str | None = None
    ended_at: str | None = None

    @property
    def state(self) -> JobState:
        """The state that :attr:`status` stands for, together with the links and the end time."""
        return state_of(self.status, has_link=bool(self.links), has_ended=self.ended_at is not None)

    @property
    def ended_unclearly(self) -> bool:
        """Whether the job has an end time, but a status that does not say how it ended."""
        running = self.ended_at is not None and self.state is JobState.RUNNING
        return running and _plain(self.status) not in _RUNNING


@dataclass(frozen=True, slots=True)
class Credits:
    """
    The account's balance.

    :param count: credits left
    :param queue_limit: jobs run at the same time (undocumented ``queueLimit``, ``None`` where absent)
    """

    count: int
    queue_limit: int | None = None
