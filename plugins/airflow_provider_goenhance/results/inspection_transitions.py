# SPDX-License-Identifier: Apache-2.0
"""The transition of a row whose kept picture was looked at: its quality, and its thumbnails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .states import Status
from .transition_rules import FromStep, Rule

#: What a look writes; a row that reuses the picture has the same.
INSPECTED = (
    "quality",
    "quality_score",
    "quality_figures",
    "thumbnail_uri",
    "source_thumbnail_uri",
    "reference_thumbnail_uri",
)


@dataclass(frozen=True, slots=True)
class Inspected:
    """
    Record what the look at a kept picture has found. The row keeps its status, whatever that is.

    :param img_uuid: the job that the picture is of: a row that was sent again meanwhile is left alone
    :param result_sha256: the picture
    """

    rule: ClassVar[Rule] = Rule(
        from_status=frozenset({Status.SUCCEEDED}),
        guards={"img_uuid": FromStep("img_uuid"), "result_sha256": FromStep("result_sha256")},
        writes={name: FromStep(name) for name in INSPECTED},
    )

    swap_id: str
    img_uuid: str
    result_sha256: str | None
    quality: str | None = None
    quality_score: float | None = None
    quality_figures: str | None = None
    thumbnail_uri: str | None = None
    source_thumbnail_uri: str | None = None
    reference_thumbnail_uri: str | None = None
