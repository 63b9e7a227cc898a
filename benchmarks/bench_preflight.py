# SPDX-License-Identifier: Apache-2.0
"""
Plan a manifest whose pictures are checked first: seconds without the check, with it, and with the face check.

10,000 rows with 500 distinct pictures, which a local server holds: crops of the sample pictures, each with its own
content. Each plan is a process of its own. The first plan knows no picture; the second one does, as on the next night:
it asks for each picture again and searches none. The server may answer with a delay, as one on the internet does.

``python benchmarks/bench_preflight.py [--rows 10000] [--pictures 500] [--delay 0.05] [--json FILE]``
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench_plan import TaskInstance

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "include" / "images"
SIDE = 1600


def pictures(count: int) -> list[bytes]:
    """Return pictures of a usual size that all differ; a quarter of them shows no face."""
    import random

    from PIL import Image, ImageOps

    chance = random.Random(5)
    faces = [
        "collins.jpg",
        "hopper.jpg",
        "crew.jpg",
        "hopper_tilted.jpg",
        "collins_warm.jpg",
        "portrait_wall.jpg",
    ]
    found = []
    for number in range(count):
        name = chance.choice(["coffee.jpg", "rocket.jpg"]) if number % 4 == 3 else chance.choice(faces)
        picture = ImageOps.exif_transpose(Image.open(IMAGES / name)).convert("RGB")
        scale = SIDE / max(picture.size)
        picture = picture.resize((round(picture.width * scale), round(picture.height * scale)))
        picture.putpixel((0, 0), (number % 256, number // 256, 0))
        out = io.BytesIO()
        picture.save(out, "JPEG", quality=85)
        found.append(out.getvalue() + b"%d" % number)
    return found


async def serve(count: int, delay: float) -> None:
    from aiohttp import web

    held = pictures(count)

    async def get(request: web.Request) -> web.Response:
        await asyncio.sleep(delay)
        number = int(request.match_info["number"])
        body, headers = held[number], {"ETag": f'"{number}"', "Content-Type": "image/jpeg"}
        wanted = request.http_range
        if wanted.stop is None:
            return web.Response(body=body, headers=headers)
        part = body[wanted.start : wanted.stop]
        headers["Content-Range"] = f"bytes {wanted.start}-{wanted.start + len(part) - 1}/{len(body)}"
        return web.Response(body=part, status=206, headers=headers)

    app = web.Application()
    app.router.add_get("/{number}.jpg", get)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


def plan_here(manifest: str, run_id: str, preflight: str, face_check: str) -> dict[str, float]:
    from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator

    operator = GoEnhancePlanOperator(
        task_id="plan",
        manifest=manifest,
        check_account=False,
        retries=0,
        preflight=preflight,
        face_check=face_check,
    )
    since, used = time.perf_counter(), time.process_time()
    operator.execute({"ti": TaskInstance(run_id)})  # type: ignore[arg-type]
    return {
        "seconds": round(time.perf_counter() - since, 2),
        "processor": round(time.process_time() - used, 2),
    }


def measure(folder: Path, manifest: Path, run_id: str, preflight: str, face_check: str) -> dict[str, Any]:
    account = {"conn_type": "goenhance", "host": "http://127.0.0.1", "port": 9, "password": "sk-bench"}
    results = {"conn_type": "sqlite", "host": str(folder / "results.db")}
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW_CONN_GOENHANCE_DEFAULT": json.dumps(account),
        "AIRFLOW_CONN_GOENHANCE_RESULTS": json.dumps(results),
        "AIRFLOW__GOENHANCE__STORAGE": str(folder / "kept"),
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "PYTHONPATH": str(ROOT / "plugins"),
    }
    command = [sys.executable, __file__, "--measure", str(manifest), run_id, preflight, face_check]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    with sqlite3.connect(folder / "results.db") as database:
        query = "SELECT count(*), count(input_warnings) FROM goenhance_swaps WHERE run_id = ?"
        found["rows"], found["warned"] = database.execute(query, (run_id,)).fetchone()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--delay", type=float, default=0.05, help="seconds before the server answers")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.pictures, options.delay))
        return
    if options.measure:
        print(json.dumps(plan_here(*options.measure)))
        return
    result: dict[str, Any] = {"rows": options.rows, "pictures": options.pictures, "delay": options.delay}
    command = [
        sys.executable,
        __file__,
        "--serve",
        "--pictures",
        str(options.pictures),
        "--delay",
        str(options.delay),
    ]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdout is not None
        port = int(server.stdout.readline())
        manifest = Path(folder) / "pairs.csv"
        sources = options.pictures // 5
        with manifest.open("w") as file:
            file.write("pair_id,source_img,reference_img\n")
            for row in range(options.rows):
                source, reference = (
                    row % sources,
                    sources + (row * 7 + row // sources) % (options.pictures - sources),
                )
                link = f"http://127.0.0.1:{port}"
                file.write(f"pair-{row:06d},{link}/{source}.jpg,{link}/{reference}.jpg\n")
        for name, preflight, face_check in (
            ("without", "off", "False"),
            ("with", "warn", "False"),
            ("with, again", "warn", "False"),
            ("with faces", "warn", "True"),
            ("with faces, again", "warn", "True"),
        ):
            found = measure(Path(folder), manifest, f"run-{name}", preflight, face_check)
            result[name] = found
            print(
                f"{name:<20}{found['seconds']:>8.2f} s{found['processor']:>8.2f} s CPU"
                f"{found['warned']:>8} of {found['rows']} rows warned of"
            )
        server.stdin.close()  # type: ignore[union-attr]
    if options.json:
        options.json.write_text(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
