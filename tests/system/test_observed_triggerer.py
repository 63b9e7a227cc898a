# SPDX-License-Identifier: Apache-2.0
"""A real triggerer shows how many jobs wait, and says how far a run is that misses its deadline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from include.sandbox.process import SandboxProcess
from tests.integration.operators.udp_statsd import UdpStatsd
from tests.system.real_airflow import RealAirflow, wait_until

pytest.importorskip("statsd", reason="the StatsD client is not installed")

#: Long enough for the run to miss its deadline, 60 seconds after it was queued, while its jobs run.
JOB_SECONDS = 90.0


def test_a_triggerer_shows_its_waiting_jobs_and_a_missed_deadline(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(
        "pair_id,source_img,reference_img\n"
        + "".join(f"p{n},https://example.com/{n}.jpg,https://example.com/scene.jpg\n" for n in range(3))
    )
    results = {"conn_type": "sqlite", "host": str(tmp_path / "results.db")}
    with (
        UdpStatsd() as statsd,
        SandboxProcess(engine="none", job_seconds=JOB_SECONDS) as sandbox,
        RealAirflow(
            tmp_path / "airflow",
            Path(__file__).parent / "dags",
            {
                "AIRFLOW__METRICS__STATSD_ON": "True",
                "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
                "AIRFLOW__METRICS__STATSD_PORT": str(statsd.port),
                "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
                "AIRFLOW__GOENHANCE__STORAGE": str(tmp_path / "swaps"),
                "AIRFLOW_VAR_GOENHANCE_MANIFEST": str(manifest),
                "AIRFLOW_CONN_GOENHANCE_RESULTS": json.dumps(results),
                "AIRFLOW_CONN_GOENHANCE_DEFAULT": json.dumps(
                    {"conn_type": "goenhance", "host": sandbox.url, "password": sandbox.token}
                ),
            },
        ) as airflow,
    ):
        wait_until(lambda: airflow.api.dag("observed_swaps") is not None, seconds=60, what="the Dag")
        airflow.api.trigger("observed_swaps", "observed", {})

        def said() -> str:
            logs = airflow.paths.component_logs.glob("triggerer-*.log")
            return "".join(log.read_text(errors="replace") for log in logs)

        wait_until(lambda: "has missed its deadline" in said(), seconds=180, what="the missed deadline")
        wait_until(
            lambda: airflow.api.run_state("observed_swaps", "observed") not in {"queued", "running"},
            seconds=240,
            what="the end of the run",
        )
        state = airflow.api.run_state("observed_swaps", "observed")
        shown = statsd.of("goenhance.jobs.waiting", kind="g", until=2)
        submits = statsd.sums("goenhance.submits")

    assert state == "success"
    assert "Run observed of Dag observed_swaps has missed its deadline: 3 pairs are not done." in said()
    assert all(tags.startswith(",dag_id=observed_swaps,hostname=") for tags in shown)
    values = [value for series in shown.values() for value in series]
    assert (max(values), values[-1]) == (3.0, 0.0)
    assert submits == {",dag_id=observed_swaps,outcome=accepted": 3.0}
