# SPDX-License-Identifier: Apache-2.0
"""The JSON file beside a picture."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_goenhance.pictures.formats.xmp import DIGITAL_SOURCE_TYPE
from airflow_provider_goenhance.pictures.sidecar import SwapFacts, sidecar_for
from airflow_provider_goenhance.pictures.verify import Picture


def _sidecar(facts: SwapFacts, **changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "run_id": "run",
        "pair_id": "pair ü",
        "sha256": "aa",
        "size": 7,
        "delivered_sha256": "bb",
        "mark": "marked",
        "claim": False,
        "system": "GoEnhance",
    }
    content = sidecar_for(facts, Picture("jpeg", ".jpg", 3, 4), **arguments | changes)
    parsed: dict[str, Any] = json.loads(content)
    return parsed


def test_a_sidecar_tells_where_a_picture_came_from() -> None:
    facts = SwapFacts(
        img_uuid="u-1",
        source_img="https://cdn.example.org/face.jpg?w=100",
        reference_img="https://cdn.example.org/scene.jpg?X-Amz-Signature=SECRET&X-Amz-Expires=9",
        consent_ref="crm/77",
        submitted_at=datetime(2026, 11, 22, 2, 0, tzinfo=UTC),
        finished_at=datetime(2026, 11, 22, 4, 0, tzinfo=timezone(timedelta(hours=1))),
    )
    assert _sidecar(facts) == {
        "version": 1,
        "run_id": "run",
        "pair_id": "pair ü",
        "img_uuid": "u-1",
        "source_img": "https://cdn.example.org/face.jpg?w=100",
        "reference_img": "https://cdn.example.org/scene.jpg",
        "consent_ref": "crm/77",
        "submitted_at": "2026-11-22T02:00:00.000+00:00",
        "finished_at": "2026-11-22T03:00:00.000+00:00",
        "collected_at": None,
        "picture": {
            "kind": "jpeg",
            "width": 3,
            "height": 4,
            "size": 7,
            "sha256": "aa",
            "sha256_delivered": "bb",
        },
        "provenance": {
            "DigitalSourceType": DIGITAL_SOURCE_TYPE,
            "AISystemUsed": "GoEnhance",
            "xmp": "marked",
            "c2pa": "none",
        },
    }


@pytest.mark.parametrize(
    ("mark", "claim", "xmp", "c2pa"),
    [
        ("left_whole", False, "left_whole", "kept"),
        ("left_whole", True, "left_whole", "signed"),
        ("marked", True, "marked", "signed"),
        (None, False, "switched_off", "none"),
    ],
)
def test_a_sidecar_tells_what_the_file_itself_says(mark: Any, claim: bool, xmp: str, c2pa: str) -> None:
    provenance = _sidecar(SwapFacts(), mark=mark, claim=claim)["provenance"]
    assert (provenance["xmp"], provenance["c2pa"]) == (xmp, c2pa)
