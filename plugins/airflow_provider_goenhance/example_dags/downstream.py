# SPDX-License-Identifier: Apache-2.0
"""
### After a run

Starts when a run of face swaps is reported, and lists its pictures from the results table. The event carries the counts
of the run; the table has its rows.
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG, Asset, task

face_swaps = Asset("goenhance_face_swaps")

with DAG(
    dag_id="goenhance_downstream",
    description="List the pictures of every run that has been reported",
    schedule=[face_swaps],
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    tags=["goenhance", "face-swap", "example"],
    doc_md=__doc__,
    default_args={"owner": "goenhance", "retries": 2, "retry_delay": dt.timedelta(minutes=1)},
):

    @task
    def reported_runs(triggering_asset_events=None) -> list[dict[str, str]]:  # type: ignore[no-untyped-def]
        """Return the runs that have pictures."""
        events = [event for of_asset in (triggering_asset_events or {}).values() for event in of_asset]
        return [
            {"dag_id": event.extra["dag_id"], "run_id": event.extra["run_id"]}
            for event in events
            if event.extra["succeeded"] + event.extra["reused"]
        ]

    @task
    def pictures_of(run: dict[str, str]) -> int:
        """Log the address of each picture of a run, and return how many there are."""
        from airflow_provider_goenhance.hooks.results import open_ledger
        from airflow_provider_goenhance.results.ledger import RunKey
        from airflow_provider_goenhance.results.run_rows import RunRows
        from airflow_provider_goenhance.results.states import Status

        found = 0
        with open_ledger() as ledger:
            for swap in RunRows(
                ledger.database, RunKey(**run), statuses=[Status.SUCCEEDED, Status.REUSED], counted=True
            ):
                print(f"{swap.pair_id}: {swap.result_uri}")  # noqa: T201  the log of the task
                found += 1
        return found

    pictures_of.expand(run=reported_runs())
