# SPDX-License-Identifier: Apache-2.0
"""Collect the pictures of a job in a test: its links, and the call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_goenhance.pictures.collector import StorageOptions, collect_picture
from airflow_provider_goenhance.pictures.limits import CollectLimits
from airflow_provider_goenhance.pictures.sidecar import SwapFacts
from airflow_provider_goenhance.pictures.storage import KeptPicture

if TYPE_CHECKING:
    from typing import Any

    import aiohttp


class Links:
    """Returns links as GoEnhance would, and records how it was called."""

    def __init__(self, first: list[str], renewed: list[str] | None = None) -> None:
        self.first, self.renewed = first, renewed
        self.asked: list[bool] = []

    async def __call__(self, refresh: bool) -> list[str]:
        self.asked.append(refresh)
        return (self.renewed if refresh else self.first) or []


async def collect(
    session: aiohttp.ClientSession,
    links: Links,
    storage: Path,
    *,
    pair_id: str = "pair",
    facts: SwapFacts | None = None,
    limits: CollectLimits | None = None,
    **options: Any,
) -> list[KeptPicture]:
    how = StorageOptions(str(storage), "run", **({"retry_pause": 0.0} | options))
    return await collect_picture(session, links, how, pair_id=pair_id, facts=facts, limits=limits)
