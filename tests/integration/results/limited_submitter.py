# SPDX-License-Identifier: Apache-2.0
"""
A task in a process of its own: submits its rows to a sandbox, within its account's limits, and prints what it did.

Usage: limited_submitter.py OPTIONS, a JSON object with the fields of ``main``.

It prints ``ready`` once everything is imported, and begins when it reads a line.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "plugins"))

from airflow_provider_goenhance.api.account import Account
from airflow_provider_goenhance.execution.submit_round import submit_round
from airflow_provider_goenhance.execution.task_loop import TaskLoop
from airflow_provider_goenhance.results.clock import claim_seconds
from airflow_provider_goenhance.results.database import ResultsDatabase
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.stores import TableStore
from airflow_provider_goenhance.results.transitions import ClaimOwner
from tests.swaps import planned


def main(url: str, sandbox: str, token: str, task: int, run: str, rows: int, **limits: Any) -> None:
    ledger = Ledger(ResultsDatabase(url, name="the test's database"))
    key = RunKey("dag", run)
    own = [
        planned(task * 10_000 + number, run_id=run, task_id=f"swap{task}", batch=task)
        for number in range(rows)
    ]
    account = Account("goenhance_test", token, sandbox, **limits)
    store = TableStore(ledger, lambda: ledger.of_run(key, task_id=f"swap{task}"))
    owner = ClaimOwner(
        f"swap[{task}] try 1",
        account.fingerprint,
        1,
        claim_seconds(account.request_timeout, account.submit_attempts),
    )
    print("ready", flush=True)
    sys.stdin.readline()
    ledger.plan(key, own, task_id=f"swap{task}")
    report = submit_round(account, store, owner, store.load(), loop=TaskLoop())
    print(f"submitted {len(report.submitted)} stopped_by {report.stopped_by}", flush=True)
    ledger.database.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    main(**json.loads(sys.argv[1]))
