# SPDX-License-Identifier: Apache-2.0
"""Rows of the results table, for tests of every kind."""

from __future__ import annotations

from typing import Any

from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap, pair_fingerprint, swap_id_for


def planned(number: int, *, run_id: str = "run", **values: Any) -> Swap:
    """Return a planned row."""
    source, reference = f"http://pictures.example/{number}.jpg", "http://pictures.example/scene.jpg"
    fingerprint = pair_fingerprint(source, reference)
    fields: dict[str, Any] = {
        "swap_id": swap_id_for("dag", run_id, "swap", f"p{number}", fingerprint),
        "dag_id": "dag",
        "run_id": run_id,
        "task_id": "swap",
        "batch": 0,
        "row_number": number + 1,
        "pair_id": f"p{number}",
        "source_img": source,
        "reference_img": reference,
        "pair_fingerprint": fingerprint,
        "status": Status.PLANNED,
    }
    return Swap(**{**fields, **values})
