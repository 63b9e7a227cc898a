# SPDX-License-Identifier: Apache-2.0
"""The results page of a real Airflow in a real browser, from log-in to review."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from include.sandbox.process import SandboxProcess
from tests.system.real_airflow import RealAirflow, wait_until
from tests.system.ui.pages import (
    BATCH,
    MARKUP,
    PAIRS,
    all_pictures_are_there,
    is_over,
    open_rows,
    open_view,
    picture,
    rows_of,
    run,
    runs,
    sign_in,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

#: The rules of WCAG 2.1 A and AA, and axe's own best practices.
AXE = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}}


def test_one_click_leads_from_the_runs_to_a_run_and_another_to_its_picture(admin: Page) -> None:
    open_rows(admin)
    assert admin.locator("#rows [data-row]").count() == len(PAIRS)
    assert admin.get_by_text("1 failed: see").is_visible()
    all_pictures_are_there(admin)
    picture(admin, "page-rows.png")
    admin.click("#rows [data-row] a[data-open] >> nth=0")
    admin.wait_for_selector("dialog#viewer[open] img:visible")
    shown = admin.locator("dialog#viewer[open] img:visible").first
    wait_until(
        lambda: bool(shown.evaluate("image => image.naturalWidth > 200")),
        seconds=90,
        what="the large picture",
    )


def test_the_rows_are_shown_as_pictures(admin: Page) -> None:
    open_rows(admin, "view=grid")
    assert admin.locator("#rows .card").count() == len(PAIRS)
    all_pictures_are_there(admin)
    picture(admin, "page-grid.png")


def test_a_key_flips_between_source_reference_and_result(admin: Page) -> None:
    open_rows(admin)
    open_view(admin, "collins-on-hopper")
    pressed = []
    for key in ("1", "2", "3"):
        admin.keyboard.press(key)
        pressed.append(admin.locator("#viewer .flip-tabs [aria-pressed=true]").inner_text())
    assert [name.split()[0] for name in pressed] == ["Source", "Reference", "Result"]


def test_a_picture_is_rejected_and_that_is_undone_by_keyboard(admin: Page, airflow: RealAirflow) -> None:
    def review() -> object:
        return rows_of(airflow)["collins-on-hopper"]["review"]

    open_rows(admin)
    assert admin.locator("text=Swap the rejected picture again").count() == 0
    open_view(admin, "collins-on-hopper")
    admin.keyboard.press("x")
    wait_until(lambda: review() == "rejected", seconds=90, what="the review")
    row = rows_of(airflow)["collins-on-hopper"]
    assert (row["reviewed_by"], row["status"], bool(row["result_uri"])) == ("admin", "succeeded", True)
    admin.wait_for_selector("#viewer [data-action=reject][aria-pressed=true]")
    admin.wait_for_selector("text=Swap the rejected picture again", state="attached")
    all_pictures_are_there(admin)
    picture(admin, "page-review.png")

    admin.keyboard.press("u")
    wait_until(lambda: review() is None, seconds=90, what="the undo")
    admin.wait_for_selector("#viewer [data-action=reject][aria-pressed=false]")
    admin.keyboard.press("a")
    wait_until(lambda: review() == "approved", seconds=90, what="the approval")
    admin.keyboard.press("n")
    wait_until(
        lambda: admin.inner_text("#viewer-title") == "hopper-on-collins",
        seconds=90,
        what="the next picture without a review",
    )
    admin.keyboard.press("ArrowLeft")
    wait_until(
        lambda: admin.inner_text("#viewer-title") == "collins-on-hopper", seconds=90, what="the one before"
    )
    admin.wait_for_selector("#viewer [data-action=approve][aria-pressed=true]")
    admin.keyboard.press("u")
    wait_until(lambda: review() is None, seconds=90, what="the undo")


def test_a_page_that_is_no_longer_true_does_nothing_and_shows_what_has_changed(
    browser: Browser, admin: Page, airflow: RealAirflow
) -> None:
    def review() -> object:
        return rows_of(airflow)["collins-on-hopper"]["review"]

    open_rows(admin)
    open_view(admin, "collins-on-hopper")
    other = sign_in(browser, airflow, "admin", "goenhance/runs")
    open_rows(other)
    open_view(other, "collins-on-hopper")
    other.keyboard.press("a")
    wait_until(lambda: review() == "approved", seconds=90, what="the other person's review")
    other.context.close()

    admin.keyboard.press("x")
    admin.wait_for_selector("dialog#confirm[open]")
    assert "was approved by admin since you looked at it" in admin.inner_text("#confirm")
    assert review() == "approved"
    admin.click("#confirm [data-no]")
    admin.wait_for_selector("#viewer [data-action=approve][aria-pressed=true]")
    # Twice without a pause: the second press is about what the first one has made.
    admin.keyboard.press("x")
    admin.keyboard.press("u")
    wait_until(lambda: review() is None, seconds=90, what="the undo")
    assert not admin.is_visible("dialog#confirm")


def test_a_row_is_offered_only_what_can_be_done_with_it(admin: Page) -> None:
    open_rows(admin)
    open_view(admin, "collins-on-hopper")
    offered = {"approve": True, "reject": True, "undo": False, "clear": True, "settle": False}
    assert {name: admin.is_visible(f"#viewer [data-action={name}]") for name in offered} == offered
    admin.keyboard.press("Escape")
    open_view(admin, "coffee-has-no-face")
    offered = {"approve": False, "reject": False, "undo": False, "clear": True, "settle": False}
    assert {name: admin.is_visible(f"#viewer [data-action={name}]") for name in offered} == offered


def test_a_filter_shows_the_failures_with_their_reason(admin: Page) -> None:
    open_rows(admin)
    admin.click("a[href*='status=failed']")
    wait_until(lambda: admin.locator("#rows [data-row]").count() == 1, seconds=90, what="the filtered rows")
    assert "no face" in admin.inner_text("#rows")


def test_exactly_the_tasks_of_the_chosen_rows_are_cleared_after_a_dry_run(
    admin: Page, airflow: RealAirflow, sandbox: SandboxProcess
) -> None:
    before = len(sandbox.submissions())
    open_rows(admin, "status=failed")
    admin.check("#rows [data-row] input[data-choose]")
    admin.click("#toolbar [data-action=clear]")
    admin.wait_for_selector("dialog#confirm[open]")
    said = admin.inner_text("#confirm")
    assert "swap" in said
    assert "report" in said
    assert "plan" not in said
    assert said.count("swap [") == 1, "the run has a task for each pair"
    admin.click("#confirm [data-yes]")
    admin.wait_for_selector("dialog#confirm:not([open])", state="attached")
    wait_until(lambda: is_over(airflow, "first"), seconds=120, what="the end of the cleared tasks")
    assert len(sandbox.submissions()) == before, "a clear pays for nothing again"


def test_the_failures_are_run_again_as_a_run_of_their_own(admin: Page, airflow: RealAirflow) -> None:
    open_rows(admin)
    before = set(runs(airflow))
    admin.click("[data-action=again]:not([data-statuses])")
    admin.wait_for_selector("dialog#confirm[open]")
    assert "1 row" in admin.inner_text("#confirm")
    admin.click("#confirm [data-yes]")
    wait_until(lambda: len(set(runs(airflow)) - before) == 1, seconds=60, what="the new run")
    (new,) = set(runs(airflow)) - before
    wait_until(lambda: is_over(airflow, new), seconds=240, what="the end of the new run")
    assert set(rows_of(airflow, new)) == {"coffee-has-no-face"}
    # The run's id has a plus sign and colons.
    admin.click("#confirm a")
    admin.wait_for_selector("#rows [data-row]")
    assert admin.locator("#rows [data-row]").count() == 1


def test_an_unknown_submit_is_settled(admin: Page, airflow: RealAirflow, sandbox: SandboxProcess) -> None:
    sandbox.put_faults(submit=[{"kind": "disconnect", "when": "after", "count": 1}])
    run(
        airflow,
        "with+unknown",
        {"manifest": f"{sandbox.url}/public/one.csv", "allowed_failure_share": 1},
    )
    assert rows_of(airflow, "with+unknown")["not-answered"]["status"] == "unknown"
    # By its address: the list of runs may be some seconds old.
    admin.goto(f"{airflow.ports.airflow_url}/goenhance/swaps?dag_id={BATCH}&run_id=with%2Bunknown")
    admin.wait_for_selector("#rows [data-row]")
    open_view(admin, "not-answered")
    admin.click("#viewer [data-action=settle]")
    admin.wait_for_selector("dialog#confirm[open]")
    assert "Settle the unknown submit" in admin.inner_text("#confirm")
    assert "not-answered, sent " in admin.inner_text("#confirm")
    admin.click("#confirm [data-yes]")
    assert admin.is_visible("#confirm"), "nothing is settled until somebody says what is known"
    assert not admin.is_visible("#confirm [name=img_uuid]")
    admin.check("#confirm input[value=written_off]")
    admin.fill("#confirm input[name=note]", "not in the console")
    admin.click("#confirm [data-yes]")
    wait_until(
        lambda: rows_of(airflow, "with+unknown")["not-answered"]["status"] == "failed",
        seconds=90,
        what="the settlement",
    )
    row = rows_of(airflow, "with+unknown")["not-answered"]
    assert (row["resolution"], row["resolved_by"]) == ("written_off", "admin")
    admin.wait_for_selector("#viewer [data-action=settle]", state="hidden")


def test_the_rows_are_downloaded_as_csv(admin: Page, tmp_path: Path) -> None:
    open_rows(admin)
    with admin.expect_download(timeout=120_000) as download:
        admin.click("a[href*='rows.csv']")
    download.value.save_as(tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(newline="") as file:
        assert {row["pair_id"] for row in csv.DictReader(file)} == set(PAIRS)


def test_a_hostile_manifest_is_text_and_loads_nothing(admin: Page, airflow: RealAirflow) -> None:
    asked: list[str] = []
    errors: list[str] = []
    admin.on("request", lambda request: asked.append(request.url))
    admin.on("pageerror", lambda error: errors.append(str(error)))
    admin.on(
        "console",
        # A thumbnail that cannot be had is a 404, which browsers write to the console.
        lambda message: (
            errors.append(message.text)
            if message.type == "error" and "404 (Not Found)" not in message.text
            else None
        ),
    )
    admin.click("a:text-is('hostile')")
    admin.wait_for_selector("#rows [data-row]")
    for view in ("table", "grid"):
        admin.goto(f"{airflow.ports.airflow_url}/goenhance/swaps?dag_id={BATCH}&run_id=hostile&view={view}")
        admin.wait_for_selector("#rows [data-row]")
        assert MARKUP in admin.inner_text("body")
        assert admin.evaluate("() => document.querySelectorAll('script:not([src])').length") == 0
        assert admin.evaluate("document.documentElement.scrollWidth <= innerWidth")
        count = admin.locator("#rows [data-row]").count()
        assert count >= 3
        for number in range(count):
            admin.click(f"#rows [data-row] >> nth={number} >> a[data-open] >> nth=0")
            admin.wait_for_selector("dialog#viewer[open]")
            admin.wait_for_load_state("networkidle")
            admin.keyboard.press("Escape")

    assert {urlsplit(url).netloc for url in asked} == {urlsplit(airflow.ports.airflow_url).netloc}
    assert {urlsplit(url).path.split("/")[1] for url in asked} == {"goenhance"}
    assert errors == []


def _theme(page: Page, airflow: RealAirflow, theme: str) -> None:
    """Choose the colours in Airflow's own UI, as a person does by its menu."""
    page.goto(airflow.ports.airflow_url)
    page.evaluate("theme => localStorage.setItem('theme', theme)", theme)
    page.reload()


def _axe(page: Any) -> list[str]:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options=AXE)
    return [
        f"{violation['id']}: {node['html'][:200]} {node['failureSummary']}"
        for violation in found.response["violations"]
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_has_the_colours_of_airflows_theme(ui: Page, airflow: RealAirflow, theme: str) -> None:
    _theme(ui, airflow, theme)
    ui.goto(f"{airflow.ports.airflow_url}/dags/{BATCH}/runs/first/plugin/face-swap-rows")
    frame = ui.frame_locator("iframe")
    frame.locator("#rows [data-row]").first.wait_for(timeout=120_000)
    colour = frame.locator("body").evaluate("body => getComputedStyle(body).color")
    parts = [int(number) for number in re.findall(r"\d+", colour)[:3]]
    assert (sum(parts) < 300) == (theme == "light"), "dark letters on a light page, and the reverse"
    if theme == "dark":
        all_pictures_are_there(ui.frames[-1])
        picture(ui, "page-dark.png")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wrong(browser: Browser, airflow: RealAirflow, scheme: str) -> None:
    pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    page = sign_in(browser, airflow, "admin", "goenhance/runs", color_scheme=scheme)
    found = {"runs": _axe(page)}
    open_rows(page)
    page.check("#rows [data-row] input[data-choose] >> nth=0")
    found["rows"] = _axe(page)
    open_view(page, "collins-on-hopper")
    all_pictures_are_there(page)
    found["larger view"] = _axe(page)
    page.keyboard.press("Escape")
    page.click("#toolbar [data-action=clear]")
    page.wait_for_selector("dialog#confirm[open]")
    found["confirmation"] = _axe(page)
    page.keyboard.press("Escape")
    open_rows(page, "view=grid&status=failed")
    found["pictures"] = _axe(page)
    page.context.close()
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_the_rows_fit_a_phone(browser: Browser, airflow: RealAirflow) -> None:
    page = sign_in(browser, airflow, "admin", "goenhance/runs", viewport={"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    open_rows(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    all_pictures_are_there(page)
    picture(page, "page-phone.png")
    open_view(page, "collins-on-hopper")
    assert page.evaluate(
        "() => { const view = document.querySelector('#viewer');"
        " return view.scrollWidth <= view.clientWidth; }"
    )
    page.context.close()


def test_a_viewer_sees_the_pictures_and_can_do_nothing(browser: Browser, airflow: RealAirflow) -> None:
    page = sign_in(browser, airflow, "vera", "goenhance/runs")
    open_rows(page)
    assert page.locator("#rows img").count() >= len(PAIRS)
    for action in ("clear", "again", "reject", "settle"):
        assert page.locator(f"[data-action={action}]").count() == 0
    swap_id = page.get_attribute("#rows [data-row]", "data-row")
    status = page.evaluate(
        """([dag_id, swap_id]) => fetch(`actions/review?dag_id=${dag_id}`, {
            method: "POST",
            headers: {"Content-Type": "application/json"},
            body: JSON.stringify({rows: {[swap_id]: "as seen"}, review: "rejected"}),
        }).then(answer => answer.status)""",
        [BATCH, swap_id],
    )
    assert status == 403
    page.context.close()


def test_a_mailed_link_leads_through_the_log_in_to_its_rows(browser: Browser, airflow: RealAirflow) -> None:
    path = f"goenhance/swaps?dag_id={BATCH}&run_id=first&status=failed&view=grid"
    page = sign_in(browser, airflow, "vera", path)
    page.wait_for_selector("#rows [data-row]")
    assert page.locator("#rows [data-row]").count() == 1
    assert json.dumps(page.url).endswith(f'{path}"')
    page.context.close()
