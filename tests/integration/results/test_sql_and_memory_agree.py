# SPDX-License-Identifier: Apache-2.0
"""The SQL and the in-memory version of every transition agree, on every database and from any row whatsoever."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from airflow_provider_goenhance.results.inspection_transitions import Inspected
from airflow_provider_goenhance.results.outcome_transitions import Outcome, WaitedAgain
from airflow_provider_goenhance.results.plan_transitions import Relinked
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap
from airflow_provider_goenhance.results.transition_memory import apply_to, is_taken
from airflow_provider_goenhance.results.transition_sql import apply, update
from airflow_provider_goenhance.results.transitions import (
    Abandoned,
    Accepted,
    Claim,
    ClaimOwner,
    Declined,
    FormerJob,
    NotSent,
    OutcomeUnknown,
    Step,
    Transition,
)
from tests.integration.results.databases import TestDatabase
from tests.swaps import planned

T = TypeVar("T")
ID = planned(0).swap_id
THEN = dt.datetime(2026, 11, 1, 8, tzinfo=dt.UTC)
TIMES = ("claimed_at", "claim_expires_at", "submitted_at", "finished_at")

names = st.sampled_from(("first", "second"))
jobs = st.sampled_from(("job-1", "job-2"))
codes = st.sampled_from(("job_failed", "job_timed_out", "unreachable"))
texts = st.text(max_size=20)
times = st.sampled_from((None, THEN))
uris = st.sampled_from(((), ("file:///2",), ("file:///2", "file:///3")))

costs = st.none() | st.integers(0, 3) | st.sampled_from((2**31, 3_000_000_000, -(2**70)))
#: Among them the vendor's worst: the first moment and the last one.
ends = times | st.sampled_from(
    (dt.datetime(1, 1, 1, tzinfo=dt.UTC), dt.datetime(9999, 12, 31, tzinfo=dt.UTC))
)

any_row = st.builds(
    planned,
    st.just(0),
    status=st.sampled_from(Status),
    img_uuid=st.none() | jobs,
    former_uuids=st.none() | jobs | st.just("job-1 job-2"),
    attempts=st.integers(0, 2),
    cost=st.none() | st.integers(0, 3),
    account=st.none() | names,
    error_code=st.none() | codes,
    error_message=st.none() | st.just("An earlier message."),
    result_uri=st.sampled_from((None, None, "file:///kept")),
    result_sha256=st.none() | st.just("0" * 64),
    quality=st.none() | st.just("ok"),
    quality_score=st.none() | st.just(1.5),
    additional_result_uris=uris,
    claimed_by=st.none() | names,
    max_tries=st.none() | st.integers(0, 3),
    planned_at=st.just(THEN),
    claimed_at=times,
    claim_expires_at=times,
    submitted_at=times,
    finished_at=times,
)
#: Left to chance, hardly any row would have the job and the state that an outcome is about.
row_with_a_job = st.builds(
    dataclasses.replace,
    any_row,
    status=st.sampled_from(
        (Status.SUBMITTED, Status.FAILED, Status.FAILED, Status.SUCCEEDED, Status.UNKNOWN)
    ),
    img_uuid=st.just("job-1"),
    error_code=codes,
    result_uri=st.sampled_from((None, None, None, "file:///kept")),
)
owners = st.builds(ClaimOwner, names, st.none() | names, st.none() | st.integers(0, 3))
submit_steps = st.one_of(
    st.builds(
        Claim,
        st.just(ID),
        st.sampled_from(Status),
        st.integers(0, 2),
        max_tries=st.none() | st.integers(0, 1),
    ),
    st.builds(Accepted, st.just(ID), jobs, costs),
    st.builds(NotSent, st.just(ID), codes, texts),
    st.builds(Declined, st.just(ID), codes, texts),
    st.builds(OutcomeUnknown, st.just(ID), codes, texts),
)
outcomes = st.builds(
    Outcome,
    st.just(ID),
    st.sampled_from(("job-1", "job-1", "job-1", "job-2")),
    st.sampled_from((Status.SUCCEEDED, Status.FAILED)),
    error_code=st.none() | codes,
    error_message=st.none() | texts,
    result_uri=st.none() | st.just("file:///new"),
    result_sha256=st.none() | st.just("1" * 64),
    finished_at=ends,
    additional_result_uris=uris,
)
other_steps = st.builds(FormerJob, st.just(ID), jobs) | st.builds(Abandoned, st.just(ID), names) | outcomes
other_steps |= st.builds(WaitedAgain, st.just(ID), jobs)
other_steps |= st.builds(
    Inspected,
    st.just(ID),
    jobs,
    st.none() | st.just("0" * 64),
    st.none() | st.just("blank"),
    st.none() | st.just(0.25),
    st.none() | st.just('{"rest": 0.5}'),
    st.none() | st.just("file:///t.webp"),
)
other_steps |= st.builds(Relinked, st.just(ID), texts, texts)

many = settings(
    max_examples=100,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
)


def stored_after(database: TestDatabase, row: Swap, step: Callable[[sa.Connection], T]) -> tuple[Swap, T]:
    """Take a step of a table with this row alone, and forget it all again."""
    with database.engine.connect() as connection:
        transaction = connection.begin()
        connection.execute(database.swaps.delete())
        connection.execute(database.swaps.insert(), row.to_row())
        result = step(connection)
        stored = connection.execute(sa.select(database.swaps)).mappings().one()
        transaction.rollback()
    return Swap.from_row(stored), result


def comparable(swap: Swap) -> dict[str, Any]:
    """All columns; the time of the transition, which differs, as a word."""
    values = dataclasses.asdict(swap)
    return values | {
        name: values[name] if values[name] in {None, THEN} else "the time of the transition" for name in TIMES
    }


def in_memory(row: Swap, step: Step, owner: ClaimOwner | None = None) -> Swap:
    return apply_to(row, step, owner, dt.datetime.now(dt.UTC)) or row


def test_a_step_of_a_submit_leaves_the_same_row(database: TestDatabase) -> None:
    @many
    @given(row=any_row, step=submit_steps, owner=owners)
    def agree(row: Swap, step: Transition, owner: ClaimOwner) -> None:
        stored, (taken,) = stored_after(database, row, lambda c: apply(c, database.swaps, owner, [step]))
        expected = in_memory(row, step, owner)
        if isinstance(step, Accepted) and not is_taken(expected, step, owner):
            # Its row belongs to another: the paid job is kept beside it.
            known = (row.former_uuids or "").split()
            expected = row if step.img_uuid in known else in_memory(row, FormerJob(ID, step.img_uuid))
        assert comparable(stored) == comparable(expected)
        assert taken == is_taken(stored, step, owner)

    agree()


def check_other_step(database: TestDatabase, row: Swap, step: Step) -> None:
    stored, _ = stored_after(database, row, lambda c: update(c, database.swaps, [step]))
    assert comparable(stored) == comparable(in_memory(row, step))


def test_any_other_step_leaves_the_same_row(database: TestDatabase) -> None:
    @many
    @given(row=any_row, step=other_steps)
    def agree(row: Swap, step: Step) -> None:
        check_other_step(database, row, step)

    agree()


def test_an_outcome_leaves_the_same_row(database: TestDatabase) -> None:
    @many
    @given(row=row_with_a_job, step=outcomes)
    def agree(row: Swap, step: Outcome) -> None:
        check_other_step(database, row, step)

    agree()
