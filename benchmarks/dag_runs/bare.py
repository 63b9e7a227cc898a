# SPDX-License-Identifier: Apache-2.0
"""What an engineer writes without this package: one function with aiohttp. The Dag of the peers uses it too."""

from __future__ import annotations

import asyncio
import csv
import sys
from pathlib import Path
from typing import Any

import aiohttp


async def swap_all(
    manifest: str, url: str, token: str, at_once: int, pictures: str | None = None
) -> list[str]:
    """
    Submit every pair of a CSV file, ``at_once`` at a time, and return the UUIDs.

    :param pictures: wait for each job as well, and download its picture into this folder
    """
    with open(manifest, newline="") as file:  # noqa: ASYNC230, PTH123
        pairs = list(csv.DictReader(file))
    slots = asyncio.Semaphore(at_once)
    connector = aiohttp.TCPConnector(limit=at_once)
    headers = {"Authorization": f"Bearer {token}"}

    async with aiohttp.ClientSession(url, headers=headers, connector=connector) as session:

        async def call(method: str, path: str, **options: Any) -> dict[str, Any]:
            async with slots, session.request(method, path, **options) as answer:
                answer.raise_for_status()
                data: dict[str, Any] = (await answer.json())["data"]
                return data

        async def swap(pair: dict[str, str]) -> str:
            args = {"source_img": pair["source_img"], "reference_img": pair["reference_img"]}
            body = {"type": "mx-image-face-swap", "args": args}
            img_uuid = str((await call("POST", "/api/v1/imagefaceswap/generate", json=body))["img_uuid"])
            if pictures is None:
                return img_uuid
            while True:
                await asyncio.sleep(5)
                job = await call("GET", "/api/v1/jobs/detail", params={"img_uuid": img_uuid})
                if job["status"] == "success":
                    break
            async with slots, session.get(job["json"][0]["value"]) as answer:
                answer.raise_for_status()
                Path(pictures, f"{img_uuid}.jpg").write_bytes(await answer.read())  # noqa: ASYNC240
            return img_uuid

        return await asyncio.gather(*(swap(pair) for pair in pairs))


if __name__ == "__main__":
    MANIFEST, URL, TOKEN, AT_ONCE, *REST = sys.argv[1:]
    print(len(asyncio.run(swap_all(MANIFEST, URL, TOKEN, int(AT_ONCE), *REST))))
