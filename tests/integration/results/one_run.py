# SPDX-License-Identifier: Apache-2.0
"""
One run of some pairs, as a swap task does it: plan, submit, wait, collect. In a thread, or as a process of its own.

Usage: one_run.py URL SANDBOX_PORT TOKEN RUN_ID FOLDER JSON_OPTIONS
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[3]
    sys.path[:0] = [str(root), str(root / "plugins")]

import sqlalchemy as sa

from airflow_provider_goenhance.api.account import Account
from airflow_provider_goenhance.execution.attempt import Attempt
from airflow_provider_goenhance.execution.planning import plan_rows
from airflow_provider_goenhance.manifest.validate import check_pairs
from airflow_provider_goenhance.pictures.collector import StorageOptions
from airflow_provider_goenhance.results.database import ResultsDatabase
from airflow_provider_goenhance.results.ledger import Ledger, RunKey
from airflow_provider_goenhance.results.recovery import Policies
from airflow_provider_goenhance.results.stores import TableStore
from airflow_provider_goenhance.results.swap import Swap
from airflow_provider_goenhance.results.transitions import ClaimOwner


class OneRun:
    """
    A run with a connection of its own to the results table, like another process.

    :param url: where the results table is
    :param port: the sandbox's
    :param token: the sandbox's
    :param run_id: of the run
    :param folder: where pictures are stored
    :param pairs: numbers of the pairs; a number that is there twice is the same pair in two rows
    :param policies: see :class:`.recovery.Policies`
    """

    def __init__(
        self,
        url: str | sa.URL,
        port: int,
        token: str,
        run_id: str,
        folder: Path,
        *,
        pairs: Sequence[int],
        concurrency: int = 4,
        wait: bool = True,
        timeout: float = 60.0,
        claim_seconds: float = 600.0,
        **policies: Any,
    ) -> None:
        self.ledger = Ledger(ResultsDatabase(url, name="the test's database"))
        self.key = RunKey("dag", run_id)
        self.account = Account(
            "goenhance_default",
            token,
            f"http://127.0.0.1:{port}",
            max_concurrency=concurrency,
            submit_attempts=2,
            get_attempts=2,
        )
        self.policies = Policies(**policies)
        self.wait = wait
        self.timeout = timeout
        self.claim_seconds = claim_seconds
        self.options = StorageOptions(str(folder), run_id)
        picture = f"http://127.0.0.1:{port}/images/"
        self.pairs = [
            {
                "pair_id": f"p{place}",
                "source_img": f"{picture}source-{number}.jpg",
                "reference_img": f"{picture}scene.jpg",
            }
            for place, number in enumerate(pairs)
        ]
        self.tries = 0

    def plan(self) -> None:
        """Plan the rows."""
        rows = plan_rows(
            check_pairs(self.pairs, location="a test"),
            self.key,
            "swap",
            known_in=self.ledger,
            account=self.account.fingerprint,
            reuse=self.policies.reuse == "succeeded",
            on_unknown_submit=self.policies.on_unknown_submit,
        )
        self.ledger.plan(self.key, rows, task_id="swap")

    def attempt(self) -> list[Swap]:
        """Submit, wait and collect; return the rows."""
        self.tries += 1
        task_key = f"swap[{self.key.run_id}] "
        attempt = Attempt(
            account=self.account,
            store=TableStore(self.ledger, self.rows),
            owner=ClaimOwner(
                f"{task_key}try {self.tries} {os.getpid()}",
                self.account.fingerprint,
                1,
                self.claim_seconds,
                task_key=task_key,
            ),
            policies=self.policies,
            storage_options=self.options,
            poll_interval=0.05,
            timeout=self.timeout,
        )
        return attempt.rounds(wait=self.wait, first_look=True, submitted=lambda _rows: None, defer=None)

    def run(self) -> list[Swap]:
        """Plan and make the first attempt."""
        self.plan()
        return self.attempt()

    def rows(self) -> list[Swap]:
        """Return the rows as they are."""
        return self.ledger.of_run(self.key)

    def close(self) -> None:
        """Close the connections."""
        self.ledger.database.close()


if __name__ == "__main__":
    url, port, token, run_id, folder, options = sys.argv[1:]
    print("begins", flush=True)
    OneRun(url, int(port), token, run_id, Path(folder), **json.loads(options)).run()
