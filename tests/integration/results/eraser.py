# SPDX-License-Identifier: Apache-2.0
"""
A process that erases, two rows at a time, and prints a line for each thing that is erased.

Usage: eraser.py URL SOURCE STORAGE
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "plugins"))

from airflow_provider_goenhance.execution.erase import Erasure
from airflow_provider_goenhance.results import erasures
from airflow_provider_goenhance.results.database import ResultsDatabase
from airflow_provider_goenhance.results.erasures import Kind, Selector
from airflow_provider_goenhance.results.ledger import Ledger


def main(url: str, source: str, storage: str) -> None:
    erasures.PAGE_ROWS = 2
    ledger = Ledger(ResultsDatabase(url, name="the test's database"))
    erasure = Erasure(ledger, Selector(Kind.SOURCE, source), storages=[storage])
    for item in erasure.erase(by="dpo@example.com"):
        print(item.kind, item.done, flush=True)
        # One at a time, so that whoever kills this process does so between two of them, or in one.
        sys.stdin.readline()
    print(f"left over {erasure.left_over}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
