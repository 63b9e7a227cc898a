# SPDX-License-Identifier: Apache-2.0
"""
The results page on runs of up to a million rows: milliseconds of the server and growth of its memory, for each request.

Each database is measured in a process of its own, which serves the page as Airflow's API server does, without a network
and with a user who may see everything. It begins with nothing counted. The table holds two nights of the same pairs.
``python benchmarks/bench_page.py [--rows N] [--sqlite-rows N] [--json FILE]``
"""

from __future__ import annotations

import argparse
import html
import json
import logging
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in ("", "plugins", "benchmarks")]

from bench_report import DAG, DIALECTS, FILL, RUN, databases

from airflow_provider_goenhance.results.database import ResultsDatabase

BEFORE = "scheduled__2026-11-26T02:00:00+00:00"
#: What a request may take, milliseconds and MB.
MOST_MS, MOST_MB = 300, 50
ROUNDS = 5


def fill(database: ResultsDatabase, rows: int, picture: str) -> None:
    """Write the rows of two nights, the second as it is at its end."""
    words = DIALECTS[database.engine.dialect.name]
    words = words | {"numbers": words["numbers"].format(last=rows - 1)}
    for run in (BEFORE, RUN):
        statement = FILL.format(dag=DAG, run=run, picture=picture, account="bench", **words)
        with database.engine.begin() as connection:
            connection.exec_driver_sql(
                statement.replace("%", "%%") if "psycopg2" in str(database.url) else statement, {}
            )
    if database.engine.dialect.name == "postgresql":
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE goenhance_swaps")
            connection.exec_driver_sql("CHECKPOINT")


class Page:
    """The page as the API server serves it, and what each request took."""

    def __init__(self) -> None:
        from airflow.api_fastapi import app as airflow_app
        from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
        from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
        from airflow.models.dag import DagModel
        from airflow.models.revoked_token import RevokedToken
        from fastapi import FastAPI
        from fastapi.testclient import TestClient

        from airflow_provider_goenhance.web import rows, runs
        from airflow_provider_goenhance.web.app import create_app

        airflow_app._AuthManagerState.instance = SimpleAuthManager()
        DagModel.get_team_name = staticmethod(lambda dag_id: None)  # type: ignore[assignment,method-assign]
        RevokedToken.is_revoked = staticmethod(lambda jti: False)  # type: ignore[assignment,method-assign]
        rows.states_of = runs.states_of = lambda keys: {}
        rows.caps_of_runs = runs.caps_of_runs = lambda tasks: {}
        server = FastAPI()
        server.mount("/goenhance", create_app())
        self._client = TestClient(server)
        user = SimpleAuthManagerUser(username="bench", role="viewer")
        self._headers = {"Authorization": f"Bearer {airflow_app.get_auth_manager().generate_jwt(user)}"}
        self.times: dict[str, list[float]] = {}
        self.cpu: dict[str, list[float]] = {}
        self.database_cpu: dict[str, list[float]] = {}
        self.growth: dict[str, float] = {}
        self._postmaster = _postmaster()
        # The first request of a server imports the database's driver and connects; the clocks start after it.
        self._client.get("/goenhance/swaps?dag_id=none&run_id=none", headers=self._headers)

    def get(self, name: str, path: str, **query: Any) -> str:
        """Return a page, and note what it took."""
        before = _memory_mb()
        at_work = _server_cpu_ms(self._postmaster)
        start, busy = time.perf_counter(), time.process_time()
        answer = self._client.get(f"/goenhance/{path}", params=query, headers=self._headers)
        self.times.setdefault(name, []).append(1000 * (time.perf_counter() - start))
        self.cpu.setdefault(name, []).append(1000 * (time.process_time() - busy))
        self.database_cpu.setdefault(name, []).append(_server_cpu_ms(self._postmaster) - at_work)
        self.growth[name] = max(self.growth.get(name, 0.0), _memory_mb() - before)
        if answer.status_code != 200:
            raise SystemExit(f"{path}: {answer.status_code} {answer.text[:500]}")
        return answer.text


def _memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _postmaster() -> int | None:
    """Return the process id of the PostgreSQL server of the results table; ``None`` for another database."""
    from airflow_provider_goenhance.hooks.results import open_results

    database = open_results()
    if database.engine.dialect.name != "postgresql":
        return None
    with database.engine.connect() as connection:
        folder = connection.exec_driver_sql("SHOW data_directory").scalar_one()
    database.close()
    return int((Path(folder) / "postmaster.pid").read_text().split()[0])


def _server_cpu_ms(postmaster: int | None) -> float:
    """Return the processor time of a PostgreSQL server and of its backends, those that have ended included."""
    if postmaster is None or not Path("/proc").is_dir():
        return 0.0
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = stat.read_text().partition(" ")
        except OSError:
            continue
        fields = rest.rpartition(")")[2].split()
        if int(pid) == postmaster:
            ticks += sum(map(int, fields[11:15]))
        elif int(fields[1]) == postmaster:
            ticks += sum(map(int, fields[11:13]))
    return 1000 * ticks / os.sysconf("SC_CLK_TCK")


def _next(page: str) -> str | None:
    found = re.search(r'rel="next" href="[^"]*?after=([^"&]+)', page)
    return html.unescape(found.group(1)) if found else None


def measure() -> None:
    """Print the figures of each kind of request, beginning with nothing counted."""
    logging.disable(logging.CRITICAL)
    page = Page()
    run = {"dag_id": DAG, "run_id": RUN}
    first = page.get("first page, nothing counted", "swaps", **run)
    start = time.perf_counter()
    counting = 0
    while "Counting, " in page.get("counts, while counting", "swaps", **run, fragment="figures"):
        counting += 1
    counted = time.perf_counter() - start
    for _ in range(20):
        page.get("counts of labels", "swaps", **run, fragment="figures")
    for _ in range(ROUNDS):
        first = page.get("first page", "swaps", **run)
        page.get("next page", "swaps", **run, after=_next(first))
        for name, query in {
            "filter: failed": {"status": "failed"},
            "filter: unknown (1 in 1,000)": {"status": "unknown"},
            "filter: none such": {"status": "held"},
            "filter: reason": {"reason": "job_failed"},
            "filter: label": {"label": "campaign=winter"},
            "search: pair id": {"q": "pair-77777"},
            "search: many pair ids": {"q": "pair-"},
            "search: no such pair id": {"q": "nothing"},
            "search: address": {"q": "http://127.0.0.1:9/catalogue/faces/2026/11/7"},
            "search: no such address": {"q": "https://nothing"},
            "search in a filter": {"q": "pair-9", "status": "failed"},
            "sort: problems first": {"order": "problems"},
            "sort: pair id": {"order": "pair"},
            "sort: pair id, in a filter": {"order": "pair", "status": "unknown"},
            "pictures": {"view": "grid"},
            "figures alone": {"fragment": "figures"},
        }.items():
            page.get(name, "swaps", **run, **query)
        page.get("changes since the run before", "changes", **run)
        page.get("task", "swaps", **run, task_id="swap", map_index="17")
        page.get("runs", "runs")
    figures = {
        name: {
            "ms": round(statistics.median(times)),
            "slowest_ms": round(max(times)),
            # Of the API server alone, whatever else the machine does.
            "cpu_ms": round(statistics.median(page.cpu[name])),
            "slowest_cpu_ms": round(max(page.cpu[name])),
            # Of the database server, in steps of 10 ms; SQLite works in the API server.
            "database_cpu_ms": round(statistics.median(page.database_cpu[name])),
            "slowest_database_cpu_ms": round(max(page.database_cpu[name])),
            "requests": len(times),
            "mb": round(page.growth[name], 1),
        }
        for name, times in page.times.items()
    }
    print(json.dumps({"requests": figures, "counted_in_s": round(counted, 1), "counting_requests": counting}))


def bench(rows: int, sqlite_rows: int, folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with databases(folder, sorted({rows, sqlite_rows})) as made:
        for name, size, url, connection in made:
            if size != (rows if name == "PostgreSQL" else sqlite_rows):
                continue
            database = ResultsDatabase(url, name=name)
            fill(database, size, (folder / "swap.jpg").as_uri())
            database.close()
            environment = os.environ | {
                "AIRFLOW_HOME": str(folder / "airflow"),
                "AIRFLOW__API_AUTH__JWT_SECRET": "a secret of this benchmark" * 4,
                "AIRFLOW_CONN_GOENHANCE_RESULTS": json.dumps(connection),
            }
            done = subprocess.run(
                [sys.executable, __file__, "--measure"],
                capture_output=True,
                text=True,
                env=environment,
                check=False,
            )
            if done.returncode:
                raise SystemExit(done.stderr[-4000:] + done.stdout[-2000:])
            figures = json.loads(done.stdout.splitlines()[-1])
            found.append({"database": name, "rows": size, **figures})
            _show(found[-1])
    return found


def _show(result: dict[str, Any]) -> None:
    print(
        f"{result['database']}, {result['rows']:,} rows: counted in {result['counted_in_s']} s "
        f"by {result['counting_requests']} requests"
    )
    for name, figures in result["requests"].items():
        late = "  <- over" if figures["slowest_ms"] > MOST_MS or figures["mb"] > MOST_MB else ""
        print(
            f"  {name:<32} {figures['ms']:>5} ms, slowest {figures['slowest_ms']:>5} ms "
            f"(processor {figures['cpu_ms']:>4}, {figures['slowest_cpu_ms']:>4}, of the database "
            f"{figures['database_cpu_ms']:>4}, {figures['slowest_database_cpu_ms']:>4}), "
            f"{figures['mb']:>5.1f} MB{late}",
            flush=True,
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="in PostgreSQL (%(default)s)")
    parser.add_argument("--sqlite-rows", type=int, default=100_000, help="in SQLite (%(default)s)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure()
        return 0
    print(f"{os.cpu_count()} processors shared with the database server (load: {os.getloadavg()[0]:.1f})")
    with tempfile.TemporaryDirectory(prefix="goenhance-bench-") as folder:
        results = bench(options.rows, options.sqlite_rows, Path(folder))
    if options.json:
        options.json.write_text(json.dumps({"benchmark": "page", "results": results}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
