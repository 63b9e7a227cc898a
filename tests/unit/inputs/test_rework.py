# SPDX-License-Identifier: Apache-2.0
"""Which pictures that GoEnhance could fetch by itself are looked at before a submit."""

from __future__ import annotations

import pytest

from airflow_provider_goenhance.inputs.rework import FitRework

LINK = "https://images.example/face.jpg"


@pytest.mark.parametrize(
    ("url", "role", "warned", "looked_at"),
    [
        (LINK, "source", False, False),
        (LINK, "source", True, True),
        (LINK, "reference", True, False),
        ("https://images.example/face.heic?size=large", "reference", False, True),
    ],
)
def test_a_public_picture_is_looked_at_only_for_a_reason(
    url: str, role: str, warned: bool, looked_at: bool
) -> None:
    rework = FitRework("source", follows_links=True)
    assert rework.applies_to(url, role, warned=warned) is looked_at  # type: ignore[arg-type]


def test_without_a_staging_storage_no_public_picture_is_looked_at() -> None:
    assert not FitRework("all").applies_to("https://images.example/face.heic", "source", warned=True)
