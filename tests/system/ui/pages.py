# SPDX-License-Identifier: Apache-2.0
"""What the browser tests share: manifests, runs, rows, a signed-in browser, and pictures for the documentation."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.real_airflow import ROOT, RealAirflow, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Frame, Page

CHROMIUM = shutil.which("chromium")
BATCH, SINGLE = "goenhance_face_swap_batch", "goenhance_face_swap_single"
MARKUP = "<script>alert(1)</script>"
PAIRS = {
    "collins-on-hopper": ("collins.jpg", "hopper.jpg"),
    "hopper-on-collins": ("hopper.jpg", "collins.jpg"),
    "coffee-has-no-face": ("coffee.jpg", "hopper.jpg"),
}
#: The folder for the documentation's pictures, which `make docs-pictures` names. Without it none is written.
DOCS_PICTURES = os.environ.get("GOENHANCE_DOCS_PICTURES")


def write_manifest(path: Path, pairs: list[tuple[str, str, str, str]]) -> None:
    """Write a manifest with a label."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("pair_id", "source_img", "reference_img", "campaign"), *pairs])


def run(airflow: RealAirflow, run_id: str, conf: dict[str, Any], dag: str = BATCH) -> None:
    """Run a Dag to its end."""
    airflow.api.trigger(dag, run_id, conf)
    wait_until(lambda: is_over(airflow, run_id, dag), seconds=240, what=f"the end of {run_id}")


def is_over(airflow: RealAirflow, run_id: str, dag: str = BATCH) -> bool:
    """Return whether a run has ended."""
    return airflow.api.run_state(dag, run_id) not in {"queued", "running"}


def runs(airflow: RealAirflow, dag: str = BATCH) -> list[str]:
    """Return the ids of a Dag's runs."""
    with sqlite3.connect(airflow.paths.metadata) as database:
        return [name for (name,) in database.execute("SELECT run_id FROM dag_run WHERE dag_id = ?", (dag,))]


def rows_of(airflow: RealAirflow, run_id: str = "first") -> dict[str, dict[str, Any]]:
    """Return the rows of a run in the results table, by their pair ids."""
    results = json.loads(airflow.environment["AIRFLOW_CONN_GOENHANCE_RESULTS"])["host"]
    with sqlite3.connect(results) as database:
        database.row_factory = sqlite3.Row
        found = database.execute("SELECT * FROM goenhance_swaps WHERE run_id = ?", (run_id,))
        return {row["pair_id"]: dict(row) for row in found}


def sign_in(browser: Browser, airflow: RealAirflow, user: str, path: str, **options: Any) -> Page:
    """Open a page as a user who is signed out: the log-in comes first, and leads back."""
    context = browser.new_context(
        # "null" leaves the colours to Airflow's own theme.
        **{"viewport": {"width": 1280, "height": 800}, "color_scheme": "null", **options}
    )
    context.set_default_timeout(120_000)
    page = context.new_page()
    # A dialog of the browser would mean that markup of a manifest ran.
    page.on("dialog", lambda dialog: pytest.fail(f"a dialog opened: {dialog.message}"))
    page.goto(f"{airflow.ports.airflow_url}/{path}")
    page.wait_for_selector("input[name=username]")
    page.fill("input[name=username]", user)
    page.fill("input[name=password]", json.loads(airflow.paths.passwords.read_text())[user])
    page.click("button[type=submit]")
    page.wait_for_url(f"**/{path.partition('?')[0]}**")
    return page


def open_rows(page: Page, query: str = "") -> None:
    """Open the rows of the first run by a click in the list of runs, or by their address."""
    if query:
        page.goto(f"{page.url.split('/goenhance/')[0]}/goenhance/swaps?dag_id={BATCH}&run_id=first&{query}")
    else:
        page.click("a:text-is('first')")
    page.wait_for_selector("#rows [data-row]")


def open_view(page: Page, pair_id: str) -> None:
    """Open the larger view of a row."""
    page.click(f"#rows a[data-open]:has-text('{pair_id}')")
    page.wait_for_selector("dialog#viewer[open] #viewer-title")
    wait_until(
        lambda: page.inner_text("#viewer-title") == pair_id, seconds=90, what=f"the larger view of {pair_id}"
    )


def all_pictures_are_there(page: Page | Frame) -> None:
    """Wait until all pictures in sight are loaded and drawn; those of a frame are asked for in the frame."""
    wait_until(
        lambda: bool(
            page.evaluate(
                "async () => { const seen = [...document.images].filter(image => image.offsetParent !== null"
                " && image.getBoundingClientRect().top < innerHeight);"
                " if (!seen.every(image => image.complete)) return false;"
                " await Promise.all(seen.map(image => image.decode().catch(() => null))); return true; }"
            )
        ),
        seconds=90,
        what="all pictures",
    )


def picture(page: Page, name: str) -> None:
    """Keep a picture of a page for the documentation, if it is asked for, with few colours to be small."""
    if not DOCS_PICTURES:
        return
    from PIL import Image

    path = ROOT / DOCS_PICTURES / name
    page.screenshot(path=path)
    with Image.open(path) as image:
        few = image.convert("RGB").quantize(
            256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.FLOYDSTEINBERG
        )
    few.save(path, optimize=True)
