# SPDX-License-Identifier: Apache-2.0
"""The JSON file beside a picture that says where it came from, for readers of files and of audits."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from airflow_provider_goenhance.pictures.formats.xmp import DIGITAL_SOURCE_TYPE

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_provider_goenhance.pictures.formats.mark import MarkOutcome
    from airflow_provider_goenhance.pictures.verify import Picture

SIDECAR_VERSION = 1

_SIGNED = re.compile(
    r"(^|[&;?_-])(sig|sign|signature|token|expires?|credential|policy|(api)?key|ak|auth|secret|password)([&=_-]|$)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class SwapFacts:
    """
    What the caller knows of a swap and the sidecar tells.

    :param img_uuid: the job at GoEnhance
    :param source_img: link of the picture that gave the face
    :param reference_img: link of the picture that received it
    :param consent_ref: where the consent of the person shown is filed
    :param submitted_at: when the swap was submitted
    :param finished_at: when the job was seen to be finished
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
    Give the sidecar of one kept picture as UTF-8 JSON.

    :param facts: what is known of the swap
    :param picture: what the file is
    :param run_id: run
    :param pair_id: pair
    :param sha256: hex digest of the kept file
    :param size: bytes of the kept file
    :param delivered_sha256: hex digest of the file as GoEnhance delivered it
    :param mark: what became of the mark; ``None`` if marking was switched off
    :param claim: whether we signed a C2PA claim
    :param system: the AI system used
    """
    content: dict[str, Any] = {
        "version": SIDECAR_VERSION,
        "run_id": run_id,
        "pair_id": pair_id,
        "img_uuid": facts.img_uuid,
        "source_img": without_signature(facts.source_img),
        "reference_img": without_signature(facts.reference_img),
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


def without_signature(link: str | None) -> str | None:
    """Give a link without user part, fragment, and without its query if that looks like a signature."""
    if link is None:
        return None
    try:
        parts = urlsplit(link)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return None
    query = "" if _SIGNED.search(parts.query) else parts.query
    return urlunsplit((parts.scheme, host, parts.path, query, ""))


def _utc(moment: datetime | None) -> str | None:
    from datetime import UTC

    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds")
