# SPDX-License-Identifier: Apache-2.0
"""Several worker processes on one results table: at once, and one after the other's violent end."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa

from airflow_provider_goenhance.execution.submit import slots_for
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.states import Status
from tests.integration.results import submitter
from tests.integration.results.databases import TestDatabase
from tests.swaps import planned

KEY = RunKey("dag", "run")
ROWS = 300
SCRIPT = Path(__file__).with_name("submitter.py")


def start(url: sa.URL, vendor: Path, number: str, seconds: float, *most: str) -> subprocess.Popen[str]:
    shown = url.render_as_string(hide_password=False)
    return subprocess.Popen(
        [sys.executable, SCRIPT, shown, vendor, number, str(seconds), *most],
        stdout=subprocess.PIPE,
        text=True,
    )


def accepted_by(vendor: Path) -> list[tuple[str, str]]:
    if not vendor.exists():
        return []
    return [tuple(line.split()) for line in vendor.read_text().splitlines()]  # type: ignore[misc]


def wait_for_posts(vendor: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(accepted_by(vendor)) < count:
        assert time.monotonic() < deadline, f"{len(accepted_by(vendor))} posts, waited for {count}"
        time.sleep(0.002)


def plan(database: TestDatabase) -> Ledger:
    ledger = Ledger(database)
    ledger.plan(KEY, [planned(number) for number in range(ROWS)], task_id="swap")
    return ledger


def test_processes_that_submit_the_same_batch_at_once_post_each_row_once(
    database: TestDatabase, tmp_path: Path
) -> None:
    ledger, vendor = plan(database), tmp_path / "vendor"
    workers = [start(database.url, vendor, str(number), 0.01) for number in range(3)]
    said = [worker.communicate(timeout=120)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0], said
    posts = accepted_by(vendor)
    assert sorted(Counter(source for source, _ in posts).values()) == [1] * ROWS
    assert {row.img_uuid for row in ledger.of_run(KEY)} == {job for _, job in posts}


@pytest.mark.slow
def test_a_worker_that_is_killed_again_and_again_pays_for_no_row_twice_and_loses_none(
    database: TestDatabase, tmp_path: Path
) -> None:
    ledger, vendor = plan(database), tmp_path / "vendor"
    chance, kills = random.Random(3), 0
    while ledger.counts(KEY)[Status.PLANNED] or ledger.counts(KEY)[Status.SUBMITTING]:
        # The last one may finish: what it does not kill is what is left to recover.
        # Counted before it starts: it sends no more than 80.
        posts = len(accepted_by(vendor)) + chance.randint(1, 70)
        worker = start(database.url, vendor, f"0.{kills}", 0.02, *(["80"] if kills < 3 else []))
        assert worker.stdout is not None
        assert worker.stdout.readline() == "begins\n"
        if kills < 3:
            wait_for_posts(vendor, posts)
            worker.kill()
            kills += 1
        worker.communicate(timeout=120)
    assert kills == 3
    posts = accepted_by(vendor)
    assert max(Counter(source for source, _ in posts).values()) == 1
    rows = {row.source_img: row for row in ledger.of_run(KEY)}
    unknown = [row for row in rows.values() if row.status is Status.UNKNOWN]
    assert len(unknown) <= kills * slots_for(submitter.CONCURRENCY)
    for source, job in posts:
        assert rows[source].img_uuid == job or rows[source] in unknown
    assert {row.status for row in rows.values()} <= {Status.SUBMITTED, Status.UNKNOWN}
