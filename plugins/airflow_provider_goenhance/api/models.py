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
# `failed` is documented. No other status is known to be final, so any other one is waited for until the deadline.
_DONE = frozenset({"success", "completed"})
_FAILED = frozenset({"failed"})


def state_of(status: str | None) -> JobState:
    """
    Return the state for a job status, ignoring case.

    :param status: as GoEnhance sent it, e.g. ``success``, ``completed``, ``failed``, ``pending``, ``WAITING``
    :return: ``RUNNING`` for every status that is not known to be final
    """
    word = (status or "").strip().lower()
    if word in _DONE:
        return JobState.SUCCEEDED
    if word in _FAILED:
        return JobState.FAILED
    return JobState.RUNNING


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
    :param links: signed links of the finished pictures, in the order of the response; secrets, so kept out of ``repr``
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
        """The state that :attr:`status` stands for."""
        return state_of(self.status)


@dataclass(frozen=True, slots=True)
class Credits:
    """
    The account's balance.

    :param count: credits left
    :param queue_limit: jobs run at the same time (undocumented ``queueLimit``, ``None`` where absent)
    """

    count: int
    queue_limit: int | None = None
