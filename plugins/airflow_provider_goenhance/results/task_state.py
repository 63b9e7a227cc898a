# SPDX-License-Identifier: Apache-2.0
"""
One swap without a results table: its row lives in Airflow's task state store (3.3 and later).

That store has no conditional update, but it belongs to one task instance, of which Airflow runs one attempt at a time;
what the results table proves by SQL is decided here in Python, on the same transitions.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Protocol

from ..exceptions import SubmitOutcomeUnknownError
from .outcome import ABANDONED, Outcome, may_be_recorded
from .states import Status
from .stores import abandoned
from .swap import Swap
from .transitions import Accepted, Claim, ClaimOwner, Declined, NotSent, OutcomeUnknown, Transition, storable

log = logging.getLogger(__name__)

STATE_KEY = "goenhance_swap"
_NOT_ACCEPTED = {NotSent: Status.PLANNED, Declined: Status.FAILED, OutcomeUnknown: Status.UNKNOWN}


class StateStore(Protocol):
    """What is used of ``context["task_state_store"]``."""

    def get(self, key: str) -> Any:
        """Return the value, ``None`` if there is none."""

    def set(self, key: str, value: Any) -> None:
        """Store a JSON value."""


class MemoryStateStore:
    """Stands in on cores without a task state store: good for one execution, forgotten afterwards."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        """Return the value, ``None`` if there is none."""
        return self._values.get(key)

    def set(self, key: str, value: Any) -> None:
        """Keep a value for this execution."""
        self._values[key] = value


class TaskStateStore:
    """
    The one row of a single swap.

    :param store: ``context["task_state_store"]``
    :param planned: the row to begin with; a stored row for other pictures is not adopted, but kept as former job
    """

    def __init__(self, store: StateStore, planned: Swap) -> None:
        self._store = store
        self._planned = planned

    def load(self) -> list[Swap]:
        """Return the row as it stands now."""
        return [self._row()]

    def settle(self, owner: ClaimOwner, task_key: str) -> int:
        """Make the row ``unknown`` if an ended execution left it in ``submitting``."""
        return self._give_up(abandoned(self.load(), owner, task_key))

    def abandon(self, owner: ClaimOwner) -> int:
        """Make the row ``unknown`` if this very execution has it in ``submitting``: it is being killed."""
        return self._give_up(
            [
                swap
                for swap in self.load()
                if swap.status is Status.SUBMITTING and swap.claimed_by == owner.name
            ]
        )

    def _give_up(self, left: list[Swap]) -> int:
        for swap in left:
            self._save(
                dataclasses.replace(
                    swap,
                    status=Status.UNKNOWN,
                    error_code=SubmitOutcomeUnknownError.error_code,
                    error_message=ABANDONED,
                    finished_at=dt.datetime.now(dt.UTC),
                )
            )
        return len(left)

    @contextmanager
    def writer(self, owner: ClaimOwner) -> Iterator[TaskStateWriter]:
        """Open a writer."""
        yield TaskStateWriter(self, owner)

    def record_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """Write down what became of the job."""
        for outcome in outcomes:
            row = self._row()
            if row.img_uuid != outcome.img_uuid or not may_be_recorded(row, outcome):
                continue
            self._save(
                dataclasses.replace(
                    row,
                    status=outcome.status,
                    error_code=outcome.error_code,
                    error_message=storable(outcome.error_message),
                    result_uri=outcome.result_uri,
                    result_sha256=outcome.result_sha256,
                    finished_at=outcome.finished_at or dt.datetime.now(dt.UTC),
                )
            )

    def step(self, step: Transition, owner: ClaimOwner) -> bool:
        """Take one step; return whether the row now stands where the step put it."""
        row = self._row()
        if isinstance(step, Claim):
            if row.status is not step.from_status or row.attempts != step.attempts:
                return (
                    row.status is Status.SUBMITTING
                    and row.claimed_by == owner.name
                    and row.attempts == step.attempts + 1
                )
            self._save(_claimed(row, owner))
            return True
        moved = _moved(row, step) if row.claimed_by == owner.name else None
        if moved is not None:
            self._save(moved)
            return True
        if isinstance(step, Accepted):
            return self._stands_or_is_orphan(row, step)
        return row.claimed_by == owner.name and row.status is _NOT_ACCEPTED[type(step)]

    def _stands_or_is_orphan(self, row: Swap, step: Accepted) -> bool:
        if row.img_uuid == step.img_uuid:
            return True
        log.error(
            "The job %s was accepted, and bills, but its row %s has gone to another attempt: kept in former_uuids.",
            step.img_uuid,
            step.swap_id,
        )
        if step.img_uuid not in (row.former_uuids or "").split():
            former = " ".join(filter(None, [row.former_uuids, step.img_uuid]))
            self._save(dataclasses.replace(row, former_uuids=former))
        return False

    def _row(self) -> Swap:
        text = self._store.get(STATE_KEY)
        if not text:
            return self._planned
        stored = _decode(text)
        if stored.pair_fingerprint == self._planned.pair_fingerprint:
            return stored
        # The task was given other pictures since: a new swap, whose row still knows the old job.
        former = " ".join(filter(None, [stored.former_uuids, stored.img_uuid]))
        return dataclasses.replace(self._planned, former_uuids=former or None)

    def _save(self, swap: Swap) -> None:
        self._store.set(STATE_KEY, _encode(swap))


class TaskStateWriter:
    """Takes steps at once, in the calling thread: Airflow's store is not to be used from another one."""

    def __init__(self, store: TaskStateStore, owner: ClaimOwner) -> None:
        self._store = store
        self._who = owner

    def write_all(self, requests: Sequence[Sequence[Transition]]) -> list[Future[list[bool]]]:
        """Take steps; the futures are done when this returns."""
        return [self._write(steps) for steps in requests]

    def _write(self, steps: Sequence[Transition]) -> Future[list[bool]]:
        future: Future[list[bool]] = Future()
        try:
            future.set_result([self._store.step(step, self._who) for step in steps])
        except Exception as error:  # noqa: BLE001  whoever waits for the future gets it
            future.set_exception(error)
        return future


def _claimed(row: Swap, owner: ClaimOwner) -> Swap:
    former = " ".join(filter(None, [row.former_uuids, row.img_uuid])) or None
    return dataclasses.replace(
        row,
        status=Status.SUBMITTING,
        claimed_by=owner.name,
        claimed_at=dt.datetime.now(dt.UTC),
        account=owner.account,
        max_tries=owner.max_tries,
        attempts=row.attempts + 1,
        former_uuids=former,
        img_uuid=None,
        cost=None,
        result_uri=None,
        result_sha256=None,
        submitted_at=None,
        error_code=None,
        error_message=None,
        finished_at=None,
    )


def _moved(row: Swap, step: Accepted | NotSent | Declined | OutcomeUnknown) -> Swap | None:
    if isinstance(step, Accepted):
        if row.status not in {Status.SUBMITTING, Status.UNKNOWN}:
            return None
        return dataclasses.replace(
            row,
            status=Status.SUBMITTED,
            img_uuid=step.img_uuid,
            cost=step.cost,
            submitted_at=dt.datetime.now(dt.UTC),
            finished_at=None,
            error_code=None,
            error_message=None,
        )
    if row.status is not Status.SUBMITTING:
        return None
    status = _NOT_ACCEPTED[type(step)]
    return dataclasses.replace(
        row,
        status=status,
        attempts=row.attempts - (0 if status is Status.UNKNOWN else 1),
        error_code=step.error_code,
        error_message=storable(step.message),
        finished_at=None if status is Status.PLANNED else dt.datetime.now(dt.UTC),
    )


def _encode(swap: Swap) -> str:
    return json.dumps(swap.to_row(), default=dt.datetime.isoformat)


def _decode(text: str) -> Swap:
    row = json.loads(text)
    for name in ("planned_at", "claimed_at", "submitted_at", "finished_at"):
        row[name] = dt.datetime.fromisoformat(row[name]) if row.get(name) else None
    return Swap.from_row(row)
