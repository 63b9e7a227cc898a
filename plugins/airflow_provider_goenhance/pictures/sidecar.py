# SPDX-License-Identifier: Apache-2.0
"""The JSON file beside a picture that documents its origin."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..redaction import redact_link
from .formats.xmp import DIGITAL_SOURCE_TYPE

if TYPE_CHECKING:
    from datetime import datetime

    from .formats.mark import MarkOutcome
    from .verify import Picture

SIDECAR_VERSION = 1


@dataclass(frozen=True)
class SwapFacts:
    """
    Facts about a swap that go into the sidecar.

    :param img_uuid: the job at GoEnhance
    :param source_img: link of the picture with the face
    :param reference_img: link of the picture that received it
    :param consent_ref: reference of the shown person's consent
    :param submitted_at: when the swap was submitted
    :param finished_at: when the job finished
    :param collected_at: when the picture was fetched
    """

    img_uuid: str | None = None
    source_img: str | None = None
    reference_img: str | None = None
    consent_ref: str | None = None
    submitted_at: datetime | None = None
    finished_at: datetime | None = None
    collected_at: datetime | None = None


def sidecar_for(
    facts: SwapFacts,
    picture: Picture,
    *,
    run_id: str,
    pair_id: str,
    sha256: str,
    size: int,
    delivered_sha256: str,
    mark: MarkOutcome | None,
    claim: bool,
    system: str,
) -> bytes:
    """
    Return the sidecar of one kept picture as UTF-8 JSON.

    :param facts: facts about the swap
    :param picture: format and size of the picture
    :param run_id: run
    :param pair_id: pair
    :param sha256: hex digest of the kept file
    :param size: bytes of the kept file
    :param delivered_sha256: hex digest of the file as GoEnhance delivered it
    :param mark: outcome of marking; ``None`` if marking is switched off
    :param claim: whether a C2PA claim was signed
    :param system: the AI system used
    """
    content: dict[str, Any] = {
        "version": SIDECAR_VERSION,
        "run_id": run_id,
        "pair_id": pair_id,
        "img_uuid": facts.img_uuid,
        "source_img": redact_link(facts.source_img),
        "reference_img": redact_link(facts.reference_img),
        "consent_ref": facts.consent_ref,
        "submitted_at": _utc(facts.submitted_at),
        "finished_at": _utc(facts.finished_at),
        "collected_at": _utc(facts.collected_at),
        "picture": {
            "kind": picture.kind,
            "width": picture.width,
            "height": picture.height,
            "size": size,
            "sha256": sha256,
            "sha256_delivered": delivered_sha256,
        },
        "provenance": {
            "DigitalSourceType": DIGITAL_SOURCE_TYPE,
            "AISystemUsed": system,
            "xmp": mark or "switched_off",
            "c2pa": "signed" if claim else ("kept" if mark == "left_whole" else "none"),
        },
    }
    return (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode()


def _utc(moment: datetime | None) -> str | None:
    from datetime import UTC

    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds")
