# SPDX-License-Identifier: Apache-2.0
"""
A worker process: submits the batch to a vendor that is a file, and prints a line when it is done.

Usage: submitter.py URL VENDOR_FILE TRY SECONDS_PER_POST [MOST_POSTS]

After MOST_POSTS the vendor answers no more: a worker that is to be killed does not end by itself before.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "plugins"))

from airflow_provider_goenhance.api.models import Submission
from airflow_provider_goenhance.execution.submit import submit_swaps
from airflow_provider_goenhance.results.database import ResultsDatabase
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.recovery import Action, Policies, decide
from airflow_provider_goenhance.results.stores import TableStore
from airflow_provider_goenhance.results.transitions import ClaimOwner

CONCURRENCY = 16


def main(url: str, vendor: str, number: str, seconds: float, most_posts: int | None = None) -> None:
    ledger = Ledger(ResultsDatabase(url, name="the test's database"))
    store = TableStore(ledger, lambda: ledger.of_run(RunKey("dag", "run"), batch=0))
    # Processes that are to run beside each other are different tasks; one that follows a dead one is its next try.
    task_key = f"swap[{number.split('.')[0]}] "
    owner = ClaimOwner(f"{task_key}try {number} {os.getpid()}", "account", 1)
    accepted = os.open(vendor, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    posts = 0

    async def post(source_img: str, _reference_img: str) -> Submission:
        nonlocal posts
        posts += 1
        if most_posts is not None and posts > most_posts:
            await asyncio.Event().wait()
        await asyncio.sleep(seconds / 2)
        job = f"job-{os.getpid()}-{Path(source_img).stem}"
        os.write(
            accepted, f"{source_img} {job}\n".encode()
        )  # one write with O_APPEND: never torn, never lost
        await asyncio.sleep(seconds / 2)
        return Submission(job, 1)

    store.mark_abandoned(owner, task_key)
    due = [swap for swap in store.load() if decide(swap, Policies(), max_tries=1) is Action.SUBMIT]
    with store.writer(owner) as writer:
        print("begins", flush=True)
        report = asyncio.run(submit_swaps(post, writer, due, concurrency=CONCURRENCY))
    print(f"submitted {len(report.submitted)} elsewhere {report.taken_elsewhere}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]), *map(int, sys.argv[5:]))
