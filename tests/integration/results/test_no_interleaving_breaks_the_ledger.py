# SPDX-License-Identifier: Apache-2.0
"""The invariants of the results table hold on SQLite and on Postgres, whatever happens in whatever order."""

from __future__ import annotations

import os

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.integration.results.databases import TestDatabase
from tests.integration.results.machine import machine_for

#: How many interleavings are tried; `make test-system` asks for many more, and for other ones each time.
EXAMPLES = int(os.environ.get("GOENHANCE_LEDGER_EXAMPLES", "0"))


def test_no_interleaving_of_crashes_retries_clears_and_zombies_breaks_an_invariant(
    database: TestDatabase,
) -> None:
    if database.url.get_backend_name() == "sqlite":
        sa.event.listen(database.engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))
        database.engine.dispose()
    run_state_machine_as_test(
        machine_for(database),
        settings=settings(
            max_examples=EXAMPLES or 8,
            stateful_step_count=60 if EXAMPLES else 40,
            derandomize=not EXAMPLES,
            # The quick suite says what broke; the long one takes the minutes to find the shortest way there.
            phases=list(Phase) if EXAMPLES else [Phase.generate],
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


pytestmark = [
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning"),
    pytest.mark.timeout(3600 if EXAMPLES else 600),
]
