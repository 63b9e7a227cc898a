# SPDX-License-Identifier: Apache-2.0
"""The results page of a real Airflow in a real browser, from log-in to review."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from include.sandbox.process import SandboxProcess
from tests.system.real_airflow import ROOT, RealAirflow, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

DAG = "goenhance_face_swap_batch"
MARKUP = "<script>alert(1)</script>"
PICTURES = ROOT / "docs" / "pictures"
PAIRS = {
    "collins-on-hopper": ("collins.jpg", "hopper.jpg"),
    "hopper-on-collins": ("hopper.jpg", "collins.jpg"),
    "coffee-has-no-face": ("coffee.jpg", "hopper.jpg"),
}


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("manifests")


@pytest.fixture(scope="module")
def sandbox(manifests: Path) -> Iterator[SandboxProcess]:
    with SandboxProcess(engine="mesh", job_seconds=0.5, public=manifests) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def airflow(
    tmp_path_factory: pytest.TempPathFactory, sandbox: SandboxProcess, manifests: Path
) -> Iterator[RealAirflow]:
    folder = tmp_path_factory.mktemp("page")
    account = {"conn_type": "goenhance", "host": sandbox.url, "password": sandbox.token}
    results = {"conn_type": "sqlite", "host": str(folder / "results.db")}
    settings = {
        "AIRFLOW__GOENHANCE__STORAGE": str(folder / "swaps"),
        "AIRFLOW__GOENHANCE__BATCH_SCHEDULE": "",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,vera:viewer",
        "AIRFLOW_CONN_GOENHANCE_DEFAULT": json.dumps(account),
        "AIRFLOW_CONN_GOENHANCE_RESULTS": json.dumps(results),
    }
    pairs = [
        (name, sandbox.image(one), sandbox.image(other), "autumn") for name, (one, other) in PAIRS.items()
    ]
    write(manifests / "pairs.csv", pairs)
    write(manifests / "hostile.csv", [("hostile", "javascript:alert(1)", "../admin", MARKUP)])
    with RealAirflow(folder / "airflow", ROOT / "dags", settings) as airflow:
        wait_until(lambda: airflow.api.dag(DAG) is not None, seconds=90, what="the batch Dag")
        airflow.api.unpause(DAG)
        for run_id, name in (("first", "pairs"), ("hostile", "hostile")):
            manifest = f"{sandbox.url}/public/{name}.csv"
            run(airflow, run_id, {"manifest": manifest, "allowed_failure_share": 1})
        yield airflow


def write(path: Path, pairs: list[tuple[str, str, str, str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("pair_id", "source_img", "reference_img", "campaign"), *pairs])


def run(airflow: RealAirflow, run_id: str, conf: dict[str, Any]) -> None:
    airflow.api.trigger(DAG, run_id, conf)
    wait_until(lambda: is_over(airflow, run_id), seconds=240, what=f"the end of {run_id}")


def is_over(airflow: RealAirflow, run_id: str) -> bool:
    return airflow.api.run_state(DAG, run_id) not in {"queued", "running"}


def rows_of(airflow: RealAirflow, run_id: str = "first") -> dict[str, dict[str, Any]]:
    results = json.loads(airflow.environment["AIRFLOW_CONN_GOENHANCE_RESULTS"])["host"]
    with sqlite3.connect(results) as database:
        database.row_factory = sqlite3.Row
        found = database.execute("SELECT * FROM goenhance_swaps WHERE run_id = ?", (run_id,))
        return {row["pair_id"]: dict(row) for row in found}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with playwright_api.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"],
        )
        yield browser
        browser.close()


def logged_in(browser: Browser, airflow: RealAirflow, user: str, path: str, **options: Any) -> Page:
    """Open a page as a user who is signed out: the log-in comes first, and leads back."""
    context = browser.new_context(
        **{"viewport": {"width": 1280, "height": 800}, "color_scheme": "null", **options}
    )
    page = context.new_page()
    # A dialog of the browser would mean that markup of a manifest ran.
    page.on("dialog", lambda dialog: pytest.fail(f"a dialog opened: {dialog.message}"))
    page.goto(f"{airflow.ports.airflow_url}/goenhance/{path}")
    page.wait_for_selector("input[name=username]", timeout=60_000)
    page.fill("input[name=username]", user)
    page.fill("input[name=password]", json.loads(airflow.paths.passwords.read_text())[user])
    page.click("button[type=submit]")
    page.wait_for_url("**/goenhance/**", timeout=60_000)
    return page


@pytest.fixture
def admin(browser: Browser, airflow: RealAirflow) -> Iterator[Page]:
    page = logged_in(browser, airflow, "admin", "runs")
    yield page
    page.context.close()


def open_rows(page: Page, query: str = "") -> None:
    """Open the rows of the run by two clicks, or by their address."""
    if query:
        page.goto(f"{page.url.split('/goenhance/')[0]}/goenhance/swaps?dag_id={DAG}&run_id=first&{query}")
    else:
        page.click("a:text-is('first')")
    page.wait_for_selector("#rows [data-row]", timeout=30_000)


def picture(page: Page, name: str) -> None:
    """Keep a picture of the page for the documentation, once all of its pictures are there."""
    wait_until(
        lambda: bool(
            page.evaluate(
                "() => [...document.images].every(image => image.complete || image.offsetParent === null"
                " || image.getBoundingClientRect().top > innerHeight)"
            )
        ),
        seconds=30,
        what="all pictures",
    )
    page.screenshot(path=PICTURES / name)


def test_one_click_leads_from_the_runs_to_a_run_and_another_to_its_picture(admin: Page) -> None:
    picture(admin, "page-runs.png")
    open_rows(admin)
    assert admin.locator("#rows [data-row]").count() == len(PAIRS)
    assert admin.get_by_text("1 failed: see").is_visible()
    picture(admin, "page-rows.png")
    admin.click("#rows [data-row] a[data-open] >> nth=0")
    admin.wait_for_selector("dialog#viewer[open] img:visible", timeout=30_000)
    shown = admin.locator("dialog#viewer[open] img:visible").first
    wait_until(
        lambda: bool(shown.evaluate("image => image.naturalWidth > 200")),
        seconds=30,
        what="the large picture",
    )


def test_a_key_flips_between_source_reference_and_result(admin: Page) -> None:
    open_rows(admin)
    admin.click("#rows [data-row] a[data-open] >> nth=0")
    admin.wait_for_selector("dialog#viewer[open] img:visible", timeout=30_000)
    pressed = []
    for key in ("1", "2", "3"):
        admin.keyboard.press(key)
        pressed.append(admin.locator("#viewer [aria-pressed=true]").inner_text())
    assert [name.split()[0] for name in pressed] == ["Source", "Reference", "Result"]


def test_a_picture_is_rejected_and_that_is_undone_by_keyboard(admin: Page, airflow: RealAirflow) -> None:
    open_rows(admin)
    admin.click("#rows [data-row] a[data-open] >> nth=0")
    admin.wait_for_selector("dialog#viewer[open] img:visible", timeout=30_000)
    admin.keyboard.press("x")
    wait_until(
        lambda: rows_of(airflow)["collins-on-hopper"]["review"] == "rejected", seconds=20, what="the review"
    )
    row = rows_of(airflow)["collins-on-hopper"]
    assert (row["reviewed_by"], row["status"], bool(row["result_uri"])) == ("admin", "succeeded", True)
    picture(admin, "page-review.png")
    admin.click("#viewer [data-action=undo]")
    wait_until(lambda: rows_of(airflow)["collins-on-hopper"]["review"] is None, seconds=20, what="the undo")


def test_a_filter_shows_the_failures_with_their_reason(admin: Page) -> None:
    open_rows(admin)
    admin.click("a[href*='status=failed']")
    wait_until(lambda: admin.locator("#rows [data-row]").count() == 1, seconds=30, what="the filtered rows")
    assert "no face" in admin.inner_text("#rows")


def test_exactly_the_tasks_of_the_chosen_rows_are_cleared_after_a_dry_run(
    admin: Page, airflow: RealAirflow, sandbox: SandboxProcess
) -> None:
    before = len(sandbox.submissions())
    open_rows(admin, "status=failed")
    admin.check("#rows [data-row] input[data-choose]")
    admin.click("#toolbar [data-action=clear]")
    admin.wait_for_selector("dialog#confirm[open]", timeout=30_000)
    said = admin.inner_text("#confirm")
    assert "swap" in said
    assert "report" in said
    assert "plan" not in said
    assert said.count("swap [") == 1, "the run has a task for each pair"
    admin.click("#confirm [data-yes]")
    admin.wait_for_selector("dialog#confirm:not([open])", state="attached", timeout=30_000)
    wait_until(lambda: is_over(airflow, "first"), seconds=120, what="the end of the cleared tasks")
    assert len(sandbox.submissions()) == before, "a clear pays for nothing again"


def test_the_failures_are_run_again_as_a_run_of_their_own(admin: Page, airflow: RealAirflow) -> None:
    open_rows(admin)
    before = set(runs(airflow))
    admin.click("[data-action=again]:not([data-statuses])")
    admin.wait_for_selector("dialog#confirm[open]", timeout=30_000)
    assert "1 row" in admin.inner_text("#confirm")
    admin.click("#confirm [data-yes]")
    wait_until(lambda: len(set(runs(airflow)) - before) == 1, seconds=60, what="the new run")
    (new,) = set(runs(airflow)) - before
    wait_until(lambda: is_over(airflow, new), seconds=240, what="the end of the new run")
    assert set(rows_of(airflow, new)) == {"coffee-has-no-face"}


def runs(airflow: RealAirflow) -> list[str]:
    with sqlite3.connect(airflow.paths.metadata) as database:
        return [name for (name,) in database.execute("SELECT run_id FROM dag_run WHERE dag_id = ?", (DAG,))]


def test_the_rows_are_downloaded_as_csv(admin: Page, tmp_path: Path) -> None:
    open_rows(admin)
    with admin.expect_download(timeout=30_000) as download:
        admin.click("a[href*='rows.csv']")
    download.value.save_as(tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(newline="") as file:
        assert {row["pair_id"] for row in csv.DictReader(file)} == set(PAIRS)


def test_markup_in_a_manifest_is_text_on_the_page(admin: Page) -> None:
    admin.click("a:has-text('hostile')")
    admin.wait_for_selector("#rows [data-row]", timeout=30_000)
    assert MARKUP in admin.inner_text("body")
    assert admin.evaluate("() => document.querySelectorAll('script:not([src])').length") == 0
    assert admin.locator("a[href^='javascript:'], img[src^='javascript:']").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_colours_of_the_reader(
    browser: Browser, airflow: RealAirflow, scheme: str
) -> None:
    page = logged_in(browser, airflow, "admin", "runs", color_scheme=scheme)
    colour = page.evaluate("() => getComputedStyle(document.body).color")
    parts = [int(number) for number in re.findall(r"\d+", colour)[:3]]
    assert (sum(parts) < 300) == (scheme == "light"), "dark letters on a light page, and the reverse"
    page.context.close()


def test_the_rows_fit_a_phone(browser: Browser, airflow: RealAirflow) -> None:
    page = logged_in(browser, airflow, "admin", "runs", viewport={"width": 390, "height": 800})
    open_rows(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.context.close()


def test_a_viewer_sees_the_pictures_and_can_do_nothing(browser: Browser, airflow: RealAirflow) -> None:
    page = logged_in(browser, airflow, "vera", "runs")
    open_rows(page)
    assert page.locator("#rows img").count() >= len(PAIRS)
    for action in ("clear", "again", "reject", "settle"):
        assert page.locator(f"[data-action={action}]").count() == 0
    swap_id = page.get_attribute("#rows [data-row]", "data-row")
    status = page.evaluate(
        """([dag_id, swap_id]) => fetch(`actions/review?dag_id=${dag_id}`, {
            method: "POST",
            headers: {"Content-Type": "application/json"},
            body: JSON.stringify({swap_ids: [swap_id], review: "rejected"}),
        }).then(answer => answer.status)""",
        [DAG, swap_id],
    )
    assert status == 403
    page.context.close()
