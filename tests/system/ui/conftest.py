# SPDX-License-Identifier: Apache-2.0
"""One Airflow, one sandbox and one browser for the tests of the UI."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from include.sandbox.process import SandboxProcess
from tests.system.real_airflow import ROOT, RealAirflow, wait_until
from tests.system.ui.pages import BATCH, CHROMIUM, MARKUP, PAIRS, SINGLE, run, sign_in, write_manifest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("manifests")


@pytest.fixture(scope="session")
def sandbox(browser: Browser, manifests: Path) -> Iterator[SandboxProcess]:
    with SandboxProcess(engine="mesh", job_seconds=0.5, public=manifests) as sandbox:
        pairs = [
            (name, sandbox.image(one), sandbox.image(other), "autumn") for name, (one, other) in PAIRS.items()
        ]
        write_manifest(manifests / "pairs.csv", pairs)
        # Its first pair was never asked for, the others have pictures.
        again = [(f"again-{name}", *rest) for name, *rest in pairs[:2]]
        new = ("new", sandbox.image("collins_closeup.jpg"), sandbox.image("hopper_evening.jpg"), "winter")
        write_manifest(manifests / "tonight.csv", [new, *again])
        unanswered = (
            "not-answered",
            sandbox.image("hopper_grey.jpg"),
            sandbox.image("collins_warm.jpg"),
            "autumn",
        )
        write_manifest(manifests / "one.csv", [unanswered])
        long = "x" * 1900
        hostile = [
            ("hostile", "javascript:alert(1)", "../admin", MARKUP),
            ("own-paths", "/api/v2/connections", "//evil.example/a.jpg", "autumn"),
            (
                MARKUP,
                f"https://evil.example/{long}.jpg",
                "data:image/svg+xml,<svg onload=alert(1)>",
                "autumn",
            ),
            ("p" * 2000, pairs[0][1], "file:///etc/passwd", "autumn"),
        ]
        write_manifest(manifests / "hostile.csv", hostile)
        yield sandbox


@pytest.fixture(scope="session")
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
    with RealAirflow(folder / "airflow", ROOT / "dags", settings) as airflow:
        for dag in (BATCH, SINGLE):
            wait_until(lambda dag=dag: airflow.api.dag(dag) is not None, seconds=90, what=f"the Dag {dag}")
            airflow.api.unpause(dag)
        for run_id, name in (("first", "pairs"), ("hostile", "hostile")):
            manifest = f"{sandbox.url}/public/{name}.csv"
            run(airflow, run_id, {"manifest": manifest, "allowed_failure_share": 1})
        yield airflow


@pytest.fixture
def admin(browser: Browser, airflow: RealAirflow) -> Iterator[Page]:
    """The list of runs, as an administrator sees it by itself, outside of Airflow's frame."""
    page = sign_in(browser, airflow, "admin", "goenhance/runs")
    yield page
    page.context.close()


@pytest.fixture
def ui(browser: Browser, airflow: RealAirflow) -> Iterator[Page]:
    """Airflow's own UI, as an administrator sees it."""
    page = sign_in(browser, airflow, "admin", "dags", viewport={"width": 1440, "height": 900})
    yield page
    page.context.close()
