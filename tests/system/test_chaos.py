# SPDX-License-Identifier: Apache-2.0
"""
A night in which everything dies: workers, the triggerer, database connections. Nothing may be paid twice or lost.

Tasks are also ended in order, by SIGTERM and by their ``execution_timeout``, and GoEnhance limits the rate in between:
neither may leave a row ``unknown`` that was never accepted.

`CHAOS_PAIRS` and `CHAOS_KILLS` make it longer; `CHAOS_SEED` repeats a run's choices.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from airflow_provider_goenhance.execution.submit import slots_for
from include.sandbox.process import SandboxProcess
from tests.system.postgres import connection_of, postgres_database
from tests.system.real_airflow import RealAirflow, wait_until

PAIRS = int(os.environ.get("CHAOS_PAIRS", "1200"))
KILLS = int(os.environ.get("CHAOS_KILLS", "20"))
SEED = int(os.environ.get("CHAOS_SEED", "20261122"))
TRIGGERER_KILLS = 2
CUTS = 5
TERMINATIONS = 10
PAUSES = 10
CONCURRENCY = 4
TASK_SLOTS = 4
TERMINAL = {"succeeded", "failed", "unknown", "rejected", "reused"}


@pytest.fixture
def results_database() -> Iterator[sa.Engine]:
    """A real PostgreSQL of this test's own."""
    with postgres_database() as start:
        yield start()


def write_manifest(path: Path, pairs: int) -> None:
    """Write pairs that differ by their query only; in load mode the sandbox does not fetch them."""
    lines = ["pair_id,source_img,reference_img"]
    lines += [
        f"p{n:05d},http://127.0.0.1:9/face.jpg?n={n},http://127.0.0.1:9/scene.jpg?n={n}" for n in range(pairs)
    ]
    path.write_text("\n".join(lines) + "\n")


def cut_connections(engine: sa.Engine) -> int:
    """Cut every other connection to the results database."""
    with engine.connect() as connection:
        cut = connection.execute(
            sa.text(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
        )
        return int(cut.scalar_one())


def rows_of(engine: sa.Engine) -> list[dict[str, object]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(sa.text("SELECT * FROM goenhance_swaps")).mappings()]


def sent_share(engine: sa.Engine) -> float:
    """Return the share of the rows that is no longer planned."""
    with engine.connect() as connection:
        query = "SELECT avg(CASE WHEN status = 'planned' THEN 0.0 ELSE 1.0 END) FROM goenhance_swaps"
        return float(connection.execute(sa.text(query)).scalar_one())


def planned_all(engine: sa.Engine, pairs: int) -> bool:
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("goenhance_swaps"):
            return False
        count = connection.execute(sa.text("SELECT count(*) FROM goenhance_swaps")).scalar_one()
        return int(count) >= pairs


@pytest.mark.parametrize(
    ("pairs", "kills"), [(PAIRS, KILLS), (PAIRS // 3, 0)], ids=["killed", "only told to end"]
)
def test_a_night_of_kills_pays_no_pair_twice_and_loses_no_job(
    tmp_path: Path, results_database: sa.Engine, capsys: pytest.CaptureFixture[str], pairs: int, kills: int
) -> None:
    """Without a SIGKILL, no row is left whose outcome was not learned: SIGTERM and time-outs end a task in order."""
    manifest = tmp_path / "manifest.csv"
    write_manifest(manifest, pairs)
    cuts_due, triggerer_kills_due = (CUTS, TRIGGERER_KILLS) if kills else (0, 0)
    chance = random.Random(SEED)
    killed: Counter[str] = Counter()
    cuts = pauses = 0
    with (
        SandboxProcess(
            engine="none", job_seconds=3.0, state_dir=tmp_path / "sandbox", credits=10**6
        ) as sandbox,
        RealAirflow(
            tmp_path / "airflow",
            Path(__file__).parent / "dags",
            {
                "AIRFLOW__CORE__PARALLELISM": str(TASK_SLOTS),
                "AIRFLOW__GOENHANCE__STORAGE": str(tmp_path / "swaps"),
                "AIRFLOW_VAR_GOENHANCE_MANIFEST": str(manifest),
                "AIRFLOW_CONN_GOENHANCE_RESULTS": connection_of(results_database.url),
                "AIRFLOW_CONN_GOENHANCE_DEFAULT": json.dumps(
                    {
                        "conn_type": "goenhance",
                        "host": sandbox.url,
                        "password": sandbox.token,
                        # A short timeout: the share of a killed task is free that much sooner.
                        "extra": {"max_concurrency": CONCURRENCY, "request_timeout": 20},
                    }
                ),
            },
        ) as airflow,
    ):
        # Slow enough that kills hit submits under way.
        slow = {"kind": "slow", "seconds": 0.8}
        sandbox.put_faults(submit=slow)
        wait_until(lambda: airflow.api.dag("chaos_swaps") is not None, seconds=60, what="the Dag")
        airflow.api.trigger("chaos_swaps", "chaos", {})
        wait_until(lambda: planned_all(results_database, pairs), seconds=180, what="a planned run")

        began = time.monotonic()
        while airflow.api.run_state("chaos_swaps", "chaos") in {"queued", "running"}:
            if time.monotonic() - began > 2400:
                left = Counter(row["status"] for row in rows_of(results_database))
                raise AssertionError(f"the run did not come to an end: {dict(left)}, {dict(killed)}")
            time.sleep(chance.uniform(0.5, 1.5))
            # Spread over the run, so that kills hit submits under way, and not only tasks that begin.
            due = min(1.0, 0.05 + sent_share(results_database) / 0.75)
            hits = killed["task"] + killed["worker"]
            if hits < kills * due and (hit := airflow.kill_a_worker(chance)):
                killed[hit] += 1
            # Pauses of the rate limit, so that tasks are also ended while their rows wait for the end of one. Not all
            # night: they slow the account down, and these come however slow it is.
            limited = {"kind": "rate_limited", "retry_after": 2, "count": CONCURRENCY}
            may_pause = pauses < PAUSES * due and chance.random() < 0.3
            pauses += may_pause
            sandbox.put_faults(submit=[limited, slow] if may_pause else slow)
            if killed["terminated"] < TERMINATIONS * due and airflow.terminate_a_task(chance):
                killed["terminated"] += 1
            # A part of the night's kills before each.
            if cuts < cuts_due and hits * (CUTS + 1) >= kills * (cuts + 1):
                cuts += bool(cut_connections(results_database))
            if killed["triggerer"] < triggerer_kills_due and hits * 3 >= kills * (killed["triggerer"] + 1):
                airflow.restart("triggerer")
                killed["triggerer"] += 1
        state = airflow.api.run_state("chaos_swaps", "chaos")
        accepted = sandbox.submissions()
        rows = rows_of(results_database)

    by_pair = {(row["source_img"], row["reference_img"]): row for row in rows}
    known = {str(row["img_uuid"]) for row in rows if row["img_uuid"]}
    for row in rows:
        known.update(str(row["former_uuids"] or "").split())
    times_accepted = Counter((job["source_img"], job["reference_img"]) for job in accepted)
    twice = {pair: count for pair, count in times_accepted.items() if count > 1}
    unknown_to_us = [job for job in accepted if job["img_uuid"] not in known]
    uncovered = [
        job
        for job in unknown_to_us
        if by_pair[job["source_img"], job["reference_img"]]["status"] != "unknown"
    ]
    statuses = Counter(str(row["status"]) for row in rows)
    never_accepted = [
        row
        for row in rows
        if row["status"] == "unknown" and not times_accepted[row["source_img"], row["reference_img"]]
    ]
    hits = killed["task"] + killed["worker"]
    with capsys.disabled():
        print(
            f"\nchaos: pairs={pairs} tasks killed={killed['task']} workers killed={killed['worker']} "
            f"tasks told to end={killed['terminated']} triggerer killed={killed['triggerer']} "
            f"database cuts={cuts} pauses={pauses} seconds={time.monotonic() - began:.0f}\n"
            f"chaos: accepted={len(accepted)} accepted more than once={len(twice)} "
            f"accepted but known to no row={len(unknown_to_us)} (of those not in `unknown`: {len(uncovered)}) "
            f"unknown but never accepted={len(never_accepted)} "
            f"rows={dict(statuses)}"
        )
    assert hits >= kills
    assert killed["terminated"] >= TERMINATIONS
    assert killed["triggerer"] >= triggerer_kills_due
    assert cuts >= cuts_due
    assert state == "success"
    assert len(rows) == pairs
    assert twice == {}
    assert uncovered == []
    # Only SIGKILL leaves rows whose outcome nobody learned: at most the claims of each task that it hit.
    assert len(unknown_to_us) <= hits * slots_for(CONCURRENCY)
    assert statuses["unknown"] <= hits * slots_for(CONCURRENCY)
    assert len(never_accepted) <= hits * slots_for(CONCURRENCY)
    assert [row["pair_id"] for row in rows if row["status"] not in TERMINAL] == []
