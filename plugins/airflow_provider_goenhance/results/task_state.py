# SPDX-License-Identifier: Apache-2.0
"""
One swap without a results table: its row is kept in Airflow's task state store (3.3 and later).

That store has no conditional update, but it belongs to one task instance, of which Airflow runs one attempt at a time:
the transitions that the results table takes in SQL are taken in memory here.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from .stores import Written, abandoned_rows, claimed_rows
from .swap import Swap, pair_fingerprint
from .transition_memory import apply_to, is_taken, late_job
from .transitions import Abandoned, Accepted, ClaimOwner, Step, Transition

if TYPE_CHECKING:
    from .inspection_transitions import Inspected
    from .ledger import Ledger
    from .outcome_transitions import Outcome

STATE_KEY = "goenhance_swap"
_TIMES = tuple(field.name for field in dataclasses.fields(Swap) if field.type == "dt.datetime | None")


class StateStore(Protocol):
    """The part of ``context["task_state_store"]`` that is used."""

    def get(self, key: str) -> Any:
        """Return the value, ``None`` if there is none."""

    def set(self, key: str, value: Any) -> None:
        """Store a JSON value."""


class MemoryStateStore:
    """A store for Airflow versions without a task state store: it lasts for one execution."""

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
    :param planned: the row to begin with; the job of a stored row for other pictures is kept as a former job
    """

    ledger: Ledger | None = None

    def __init__(self, store: StateStore, planned: Swap) -> None:
        self._store = store
        self._planned = planned

    def load(self) -> list[Swap]:
        """Return the row as it is now."""
        return [self._row()]

    def mark_abandoned(self, owner: ClaimOwner, task_key: str) -> int:
        """Make the row ``unknown`` if an ended execution left it in ``submitting``."""
        return self._make_unknown(abandoned_rows(self.load(), owner, task_key, dt.datetime.now(dt.UTC)))

    def mark_killed(self, owner: ClaimOwner) -> int:
        """Make the row ``unknown`` if this very execution has it in ``submitting``: it is being killed."""
        return self._make_unknown(claimed_rows(self.load(), owner))

    def _make_unknown(self, rows: list[Swap]) -> int:
        for row in rows:
            self._take(Abandoned.of(row))
        return len(rows)

    @contextmanager
    def writer(self, owner: ClaimOwner) -> Iterator[TaskStateWriter]:
        """Open a writer."""
        yield TaskStateWriter(self, owner)

    def record_outcomes(self, outcomes: Sequence[Outcome], _account: str | None = None, /) -> None:
        """Record what became of the job."""
        for outcome in outcomes:
            self._take(outcome)

    def record_inspections(self, inspections: Sequence[Inspected], /) -> None:
        """Record what the look at the kept picture has found."""
        for inspection in inspections:
            self._take(inspection)

    def hold_for_budget(self, swap_ids: Sequence[str], message: str) -> None:
        """Do nothing: without a results table there are no budgets."""

    def record_price(self, account: str, price: int) -> None:
        """Do nothing: without a results table nobody would read it."""

    def take(self, step: Transition, owner: ClaimOwner) -> bool:
        """Take one step; return whether the row is now where the step puts it."""
        if self._take(step, owner):
            return True
        row = self._row()
        done = is_taken(row, step, owner)
        if isinstance(step, Accepted) and not done:
            former = late_job(row, step, owner)
            if former is not None:
                self._take(former)
        return done

    def _take(self, step: Step, owner: ClaimOwner | None = None) -> bool:
        after = apply_to(self._row(), step, owner, dt.datetime.now(dt.UTC))
        if after is None:
            return False
        self._store.set(STATE_KEY, _encode(after))
        return True

    def _row(self) -> Swap:
        text = self._store.get(STATE_KEY)
        if not text:
            return self._planned
        stored = _decode(text)
        # Release 0.1.0 took the fingerprint of signed URLs as they were.
        fingerprints = {stored.pair_fingerprint, pair_fingerprint(stored.source_img, stored.reference_img)}
        is_same = self._planned.pair_fingerprint in fingerprints
        # An object that was overwritten since is no reason to forget the job of the one before.
        if is_same or _addresses(stored) == _addresses(self._planned):
            # The links of the attempt before may have expired.
            return dataclasses.replace(
                stored,
                source_img=self._planned.source_img,
                reference_img=self._planned.reference_img,
                pair_fingerprint=self._planned.pair_fingerprint if is_same else stored.pair_fingerprint,
            )
        # The task has other pictures now: a new swap, whose row still knows the old job.
        former = " ".join(filter(None, [stored.former_uuids, stored.img_uuid]))
        return dataclasses.replace(self._planned, former_uuids=former or None)


class TaskStateWriter:
    """Takes steps at once, in the calling thread."""

    def __init__(self, store: TaskStateStore, owner: ClaimOwner) -> None:
        self._store = store
        self._owner = owner

    def write_all(self, requests: Sequence[Sequence[Transition]]) -> Future[list[Written]]:
        """Take steps; the future is done when this returns."""
        done: Future[list[Written]] = Future()
        done.set_result([self._write(steps) for steps in requests])
        return done

    def _write(self, steps: Sequence[Transition]) -> Written:
        try:
            return [self._store.take(step, self._owner) for step in steps]
        except Exception as error:  # noqa: BLE001  the slot that waits must receive it
            return error


def _addresses(swap: Swap) -> str:
    """Return the identity of a row's addresses, whatever is there now."""
    return pair_fingerprint(
        swap.source_img, swap.reference_img, source_key=swap.source_key, reference_key=swap.reference_key
    )


def _encode(swap: Swap) -> str:
    return json.dumps(swap.to_row(), default=dt.datetime.isoformat)


def _decode(text: str) -> Swap:
    row = json.loads(text)
    for name in _TIMES:
        row[name] = dt.datetime.fromisoformat(row[name]) if row.get(name) else None
    for name in ("additional_result_uris", "staged_uris"):
        row[name] = tuple(row.get(name) or ())
    return Swap.from_row(row)
