# SPDX-License-Identifier: Apache-2.0
"""What a person does in Airflow's own pages: a connection, the trigger forms, and the pages in Airflow's tabs."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from include.sandbox.process import SandboxProcess
from tests.system.real_airflow import RealAirflow, wait_until
from tests.system.ui.pages import BATCH, PAIRS, SINGLE, all_pictures_are_there, picture, rows_of, runs

if TYPE_CHECKING:
    from playwright.sync_api import FrameLocator, Page


class Clicks:
    """Clicks of a person, counted."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.count = 0

    def __call__(self, selector: str) -> None:
        self._page.locator(selector).last.click(timeout=120_000)
        self.count += 1


def frame_of(page: Page) -> FrameLocator:
    """Return the page inside Airflow's tab, once it shows something."""
    frame = page.frame_locator("iframe")
    frame.locator("#runs .run, #rows [data-row], .empty").first.wait_for(timeout=120_000)
    return frame


#: The page of a Dag has a tab of the same name, until the page of its new run is there.
TAB_OF_A_RUN = "a[href*='/runs/'][href$='plugin/face-swap-rows']"
UNFINISHED = ", ".join(
    f"[data-row][data-status={status}]" for status in ("planned", "submitting", "submitted")
)


def has_picture(frame: FrameLocator) -> bool:
    """Return whether the first thumbnail of a result is loaded."""
    thumbnail = frame.locator("#rows img[data-of=result]").first
    return thumbnail.count() > 0 and bool(
        thumbnail.evaluate("image => image.complete && image.naturalWidth > 0")
    )


def run_in_address(page: Page) -> str:
    """Return the run whose page is open."""
    from urllib.parse import unquote

    page.wait_for_url("**/runs/*")
    return unquote(urlsplit(page.url).path.rpartition("/")[2])


def test_a_connection_is_made_in_the_form_and_tested(
    ui: Page, airflow: RealAirflow, sandbox: SandboxProcess
) -> None:
    address = urlsplit(sandbox.url)
    ui.goto(f"{airflow.ports.airflow_url}/connections")
    ui.get_by_role("button", name="Add Connection").first.click()
    ui.fill("[name=connection_id]", "goenhance_new")
    ui.locator("[role=dialog] [role=combobox]").first.click()
    ui.keyboard.type("goenhance")
    ui.locator("[role=option]:has-text('goenhance')").first.click()
    ui.fill("[role=dialog] [name=host]", f"http://{address.hostname}")
    ui.fill("[role=dialog] [name=password]", sandbox.token)
    ui.fill("[role=dialog] [name=port]", str(address.port))
    picture(ui, "form-connection.png")
    ui.locator("[role=dialog] button:has-text('Save')").click()
    with ui.expect_response("**/api/v2/connections/test") as response:
        ui.locator("tr:has-text('goenhance_new') [aria-label='Test Connection']").click(timeout=120_000)
    said = response.value.json()
    assert said["status"] is True, said
    assert "credits" in said["message"]


def test_three_clicks_lead_from_trigger_to_the_picture_of_one_pair(
    ui: Page, airflow: RealAirflow, sandbox: SandboxProcess
) -> None:
    ui.goto(f"{airflow.ports.airflow_url}/dags/{SINGLE}")
    click = Clicks(ui)
    click("button:has-text('Trigger')")
    ui.fill("[name=element_source_img]", sandbox.image("hopper_closeup.jpg"))
    ui.fill("[name=element_reference_img]", sandbox.image("collins_phone.jpg"))
    ui.fill("[name=element_pair_id]", "by-form")
    ui.keyboard.press("Tab")
    picture(ui, "form-single.png")
    click("[role=dialog] button:has-text('Trigger')")
    run_id = run_in_address(ui)
    click(TAB_OF_A_RUN)
    frame = frame_of(ui)
    # Without another click: the page follows the run.
    wait_until(lambda: has_picture(frame), seconds=120, what="the picture of the single Dag")
    assert click.count == 3
    assert rows_of(airflow, run_id)["by-form"]["status"] == "succeeded"


def test_a_run_of_another_manifest_is_triggered_and_followed_to_its_pictures(
    ui: Page, airflow: RealAirflow, sandbox: SandboxProcess
) -> None:
    sandbox.put_faults(job_seconds=8.0)
    try:
        ui.goto(f"{airflow.ports.airflow_url}/dags/{BATCH}")
        ui.locator("button:has-text('Trigger')").last.click(timeout=120_000)
        ui.fill("[name=element_manifest]", f"{sandbox.url}/public/tonight.csv")
        ui.keyboard.press("Tab")
        picture(ui, "form-batch.png")
        ui.locator("[role=dialog] button:has-text('Trigger')").last.click()
        run_id = run_in_address(ui)
        click = Clicks(ui)
        click(TAB_OF_A_RUN)
        frame = frame_of(ui)
        # Nothing is clicked or loaded again while the run goes on.
        seen: set[str] = set()

        def finished() -> bool:
            seen.add(frame.locator("body").inner_text(timeout=120_000))
            return has_picture(frame) and frame.locator(UNFINISHED).count() == 0

        wait_until(finished, seconds=240, what="the pictures of the run")
        assert any("% finished" in text for text in seen), "the page has shown the run while it went on"
        click_in = frame.locator("#rows a[data-open]").first
        click_in.click()
        frame.locator("dialog#viewer[open] img:visible").first.wait_for(timeout=120_000)
        assert click.count + 1 == 2, "two clicks from the run to its picture"
    finally:
        sandbox.put_faults(job_seconds=0.5)
    assert len(rows_of(airflow, run_id)) == 3


def test_the_tabs_of_a_dag_a_run_and_a_task_show_what_is_theirs(ui: Page, airflow: RealAirflow) -> None:
    url = airflow.ports.airflow_url
    ui.goto(f"{url}/dags/{BATCH}")
    ui.locator("a[href$='plugin/face-swap-runs']").click(timeout=120_000)
    frame = frame_of(ui)
    assert frame.locator("#runs .run").count() == min(20, len(runs(airflow)))
    assert SINGLE not in frame.locator("#runs").inner_text()

    ui.goto(f"{url}/dags/{BATCH}/runs/first")
    ui.locator("a[href$='plugin/face-swap-rows']").click(timeout=120_000)
    frame = frame_of(ui)
    assert frame.locator("#rows [data-row]").count() == len(PAIRS)
    all_pictures_are_there(ui.frames[-1])
    picture(ui, "page-tab.png")

    ui.goto(f"{url}/dags/{BATCH}/runs/first/tasks/swap/mapped/1")
    ui.locator("a[href$='plugin/face-swap-task']").click(timeout=120_000)
    frame = frame_of(ui)
    assert frame.locator("#rows [data-row]").count() == 1
    # Not mapped: Airflow leaves {MAP_INDEX} as it is.
    ui.goto(f"{url}/dags/{BATCH}/runs/first/tasks/report/plugin/face-swap-task")
    frame_of(ui)


def test_a_link_leads_out_of_the_tab_to_the_log_of_the_task(ui: Page, airflow: RealAirflow) -> None:
    ui.goto(f"{airflow.ports.airflow_url}/dags/{BATCH}/runs/first/plugin/face-swap-rows")
    frame = frame_of(ui)
    frame.locator("#rows a[data-open]").first.click()
    frame.locator("#viewer a:has-text('Log of its task')").click(timeout=120_000)
    ui.wait_for_url("**/runs/first/tasks/swap/mapped/*")


@pytest.mark.parametrize("run_id", ["manual__2026-11-28T01:02:03+00:00"])
def test_a_run_whose_id_has_a_plus_sign_has_a_tab(
    ui: Page, airflow: RealAirflow, sandbox: SandboxProcess, run_id: str
) -> None:
    from tests.system.ui.pages import run

    if run_id not in runs(airflow):
        manifest = f"{sandbox.url}/public/pairs.csv"
        run(airflow, run_id, {"manifest": manifest, "limit": 1, "allowed_failure_share": 1})
    ui.goto(f"{airflow.ports.airflow_url}/plugin/face-swaps")
    frame = frame_of(ui)
    frame.locator(f"a:text-is('{run_id}')").click(timeout=120_000)
    frame.locator("#rows [data-row]").first.wait_for(timeout=120_000)
    frame.locator("a:has-text('Airflow: ')").click()
    ui.wait_for_url("**/runs/manual__*")
    ui.locator("a[href$='plugin/face-swap-rows']").click(timeout=120_000)
    wait_until(
        lambda: frame_of(ui).locator("#rows [data-row]").count() == 1,
        seconds=60,
        what="the row in the run's tab",
    )
