# SPDX-License-Identifier: Apache-2.0
"""What a task logs while it has no place among the concurrent submits of its account."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_provider_goenhance.api.account import Account
from airflow_provider_goenhance.execution import waiting_lines
from airflow_provider_goenhance.results.lease_rows import Lease

ACCOUNT = Account("studio", "sk-secret", "https://api.example")
LEASE = Lease(slots=0, recorded=0, paused_seconds=0.0, pace=1.0, valid_until=0.0)


def test_a_pause_says_for_how_long_and_why() -> None:
    assert waiting_lines.paused(ACCOUNT, 29.6) == (
        "Connection 'studio' (https://api.example) is paused for 30 s more, after a 429."
    )


def test_an_expired_lease_names_the_account() -> None:
    assert "lease of this task in the limits of connection 'studio'" in waiting_lines.not_renewed(ACCOUNT)


@pytest.mark.parametrize(
    ("limit", "pace", "said"),
    [
        (32, 1.0, "all 32 concurrent submits of connection 'studio' (https://api.example)."),
        (32, 0.25, "all 8 concurrent submits of connection 'studio' (https://api.example) (32 once it has"),
        # However slow the account is, it keeps one.
        (
            4,
            0.1,
            "use the only concurrent submit of connection 'studio' (https://api.example) (4 once it has",
        ),
    ],
)
def test_used_slots_are_counted_at_the_pace_of_the_account(limit: int, pace: float, said: str) -> None:
    assert said in waiting_lines.all_slots_used(ACCOUNT, limit, pace)


@pytest.mark.parametrize(
    ("silent", "said"),
    [
        (0, ""),
        (1, " 1 of them belongs to tasks that no longer report, as after a kill, and will be free in 42 s."),
        (3, " 3 of them belong to tasks that no longer report, as after a kill, and will be free in 42 s."),
    ],
)
def test_slots_of_killed_tasks_are_named_with_when_they_are_free(silent: int, said: str) -> None:
    assert waiting_lines.silent_tasks(replace(LEASE, silent_slots=silent, silent_seconds=42.4)) == said
