# SPDX-License-Identifier: Apache-2.0
"""Which pictures that GoEnhance could fetch by itself are looked at before a submit."""

from __future__ import annotations

import asyncio

import pytest

from airflow_provider_goenhance.inputs import rework as module
from airflow_provider_goenhance.inputs.prepare import Picture
from airflow_provider_goenhance.inputs.rework import FitRework
from airflow_provider_goenhance.inputs.stores import Found

from .photos import encoded, photo

PNG = encoded(photo(64, 48), "PNG")
LINK = "https://images.example/face.jpg"


@pytest.mark.parametrize(
    ("url", "role", "noted", "looked_at"),
    [
        (LINK, "source", False, False),
        (LINK, "source", True, True),
        (LINK, "reference", True, True),
        ("https://images.example/face.heic?size=large", "reference", False, True),
    ],
)
def test_a_public_picture_of_a_batch_is_looked_at_only_for_a_reason(
    url: str, role: str, noted: bool, looked_at: bool
) -> None:
    rework = FitRework("source", follows_links="noted")
    assert rework.applies_to(url, role, warned=noted) is looked_at  # type: ignore[arg-type]


def test_a_single_swap_looks_at_its_public_pictures_because_no_plan_has() -> None:
    assert FitRework("source", follows_links="all").applies_to(LINK, "source", warned=False)


def test_without_a_staging_storage_no_public_picture_is_looked_at() -> None:
    assert not FitRework("all").applies_to("https://images.example/face.heic", "source", warned=True)


def test_what_is_remembered_of_pictures_does_not_grow_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIT_REMEMBERED", 10)
    rework, reads = FitRework("source"), 0

    async def read() -> bytes:
        nonlocal reads
        reads += 1
        await asyncio.sleep(0)
        return PNG

    async def prepare(number: int) -> None:
        picture = Picture("source", f"/faces/{number}.png", Found("version", len(PNG)), read)
        assert await rework(picture) is None

    async def run() -> None:
        await asyncio.gather(*(prepare(number % 50) for number in range(200)))

    asyncio.run(run())

    assert reads == 50, "each is read once"
    assert len(rework._fit) == 10
    assert rework._locks == {}
