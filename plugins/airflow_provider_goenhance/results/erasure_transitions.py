# SPDX-License-Identifier: Apache-2.0
"""The transitions of rows whose content is erased, or whose pictures are deleted because they are old."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..exceptions import ErrorCode
from .states import Status
from .transition_rules import NOW, AsReadUnlessPlanned, FromStep, Rule

#: The states of rows that a task or the vendor may still work on, or that are not settled: they are not erased.
IN_FLIGHT = frozenset({Status.SUBMITTING, Status.SUBMITTED, Status.UNKNOWN})
#: The states of rows that were not sent yet. Erased, they are never sent.
_UNSENT = frozenset({Status.PLANNED, Status.HELD})
#: What the row says instead of its reason, which may quote a link.
ERASED_MESSAGE = "Erased on request: what is left of the row is what a bill needs."

THUMBNAILS = ("thumbnail_uri", "source_thumbnail_uri", "reference_thumbnail_uri")
#: Columns that may name a person or a picture, and are emptied. Two of them, and ``pair_id``, become salted hashes.
EMPTIED = (
    "consent_ref",
    "source_key",
    "reference_key",
    "source_version",
    "reference_version",
    "staged_uris",
    "labels",
    "result_uri",
    "result_sha256",
    "additional_result_uris",
    "quality_figures",
    *THUMBNAILS,
    "resolution_note",
    "review_note",
    "input_notes",
    "input_warnings",
    "consent_expires",
)
HASHED = ("pair_id", "source_img", "reference_img")


@dataclass(frozen=True, slots=True)
class Erased:
    """
    Erase what names a person or a picture from a row. Times, credits, the job's UUID and the state stay.

    :param from_status: its state as it was read; a row that has moved since is left alone
    :param status: ``rejected`` for a row that was not sent yet, else the same
    """

    rule: ClassVar[Rule] = Rule(
        from_status=FromStep("from_status"),
        guards={
            "attempts": FromStep("attempts"),
            # A picture that was collected since is still in storage.
            "result_uri": AsReadUnlessPlanned("result_uri"),
        },
        writes={
            **dict.fromkeys(EMPTIED),
            **{name: FromStep(name) for name in HASHED},
            "status": FromStep("status"),
            "error_code": FromStep("error_code"),
            "error_message": ERASED_MESSAGE,
            "picture_deleted_at": NOW,
            "erased_at": NOW,
        },
    )

    swap_id: str
    from_status: Status
    attempts: int
    result_uri: str | None
    pair_id: str
    source_img: str
    reference_img: str
    status: Status
    error_code: str | None


@dataclass(frozen=True, slots=True)
class PictureDeleted:
    """Record that the pictures of a row were deleted because they are old."""

    rule: ClassVar[Rule] = Rule(
        from_status=frozenset({Status.SUCCEEDED, Status.REUSED}),
        guards={"result_uri": FromStep("result_uri")},
        writes={
            "result_uri": None,
            "additional_result_uris": None,
            **dict.fromkeys(THUMBNAILS),
            "picture_deleted_at": NOW,
        },
    )

    swap_id: str
    result_uri: str


ErasureStep = Erased | PictureDeleted


def status_after(status: Status) -> Status:
    """Return the state of an erased row."""
    return Status.REJECTED if status in _UNSENT else status


def code_after(status: Status, error_code: str | None) -> str | None:
    """Return the error code of an erased row."""
    return ErrorCode.ERASED if status in _UNSENT else error_code
