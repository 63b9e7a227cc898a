# SPDX-License-Identifier: Apache-2.0
"""Take the steps of :mod:`.transitions` in the results table: conditional updates of many rows in one transaction."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.dml import ReturningUpdate

from . import bulk_update
from .bounds import fit
from .budgets import within_budgets
from .clock import database_time
from .columns import UtcDateTime
from .database import IN_LIST
from .pair_keys import claim_pairs
from .plan_transitions import Repeated
from .transition_memory import former_job, is_taken
from .transition_rules import Append, DatabaseTimePlus, FromOwner, FromRow, FromStep, Now, Plus, Rule
from .transitions import (
    Accepted,
    Claim,
    ClaimOwner,
    Declined,
    NotSent,
    OutcomeUnknown,
    Step,
    Transition,
)

#: Results of POSTs first: they release what the claims of the same commit may then have.
_ORDER: tuple[type[Transition], ...] = (Accepted, NotSent, Declined, OutcomeUnknown, Claim)


def apply(
    connection: sa.Connection, swaps: sa.Table, owner: ClaimOwner, steps: Sequence[Transition]
) -> list[bool]:
    """
    Take the steps of a claim owner in one transaction: results of POSTs first, then claims.

    Locks are taken in the same order by everyone: the pairs' keys, then the budgets, then rows of the results
    table.

    :return: for each step, in order, whether the row is now where the step puts it; of two claims of one row, or of
        one pair, only the first is granted
    """
    allowed = claim_pairs(connection, swaps, owner, steps)
    some = steps if all(allowed) else list(itertools.compress(steps, allowed))
    affordable = within_budgets(connection, swaps, owner, some)
    some = some if all(affordable) else list(itertools.compress(some, affordable))
    taken = iter(_apply(connection, swaps, owner, some))
    within = iter([may and next(taken) for may in affordable])
    return [may and next(within) for may in allowed]


def _apply(
    connection: sa.Connection, swaps: sa.Table, owner: ClaimOwner, steps: Sequence[Transition]
) -> list[bool]:
    """Take steps; return for each whether the row is now where the step puts it."""
    moved = _update_by_kind(connection, swaps, owner, steps)
    unsure = {step.swap_id for step in steps if (type(step), step.swap_id) not in moved}
    rows = _read(connection, swaps, unsure)
    claimed: set[str] = set()
    results = []
    for step in steps:
        row = rows.get(step.swap_id)
        done = (type(step), step.swap_id) in moved or (row is not None and is_taken(row, step, owner))
        if isinstance(step, Claim):
            done = done and step.swap_id not in claimed
            claimed.add(step.swap_id)
        elif isinstance(step, Accepted) and not done:
            former = former_job(row, step)
            if former is not None:
                update(connection, swaps, [former])
        results.append(done)
    return results


def update(connection: sa.Connection, swaps: sa.Table, steps: Sequence[Step]) -> None:
    """Take steps that anyone may take, each where its row allows it."""
    by_rule: dict[Rule, list[Step]] = {}
    for step in steps:
        by_rule.setdefault(step.rule, []).append(step)
    now = dt.datetime.now(dt.UTC)
    for rule, some in by_rule.items():
        statement = _statement(swaps, rule)
        bulk_update.execute_many(connection, statement, _rows(swaps, rule, some), _fixed(rule, None, now))


def update_rows(connection: sa.Connection, swaps: sa.Table, step: type[Repeated], ids: Sequence[str]) -> int:
    """Take a step that is the same for many rows, each where its row allows it; return how many rows took it."""
    statement = _derive(swaps, step.rule, {})
    fixed = _fixed(step.rule, None, dt.datetime.now(dt.UTC))
    return sum(
        connection.execute(statement.where(swaps.c.swap_id.in_(some)), fixed).rowcount
        for some in _slices(ids)
    )


def _update_by_kind(
    connection: sa.Connection, swaps: sa.Table, owner: ClaimOwner, steps: Sequence[Transition]
) -> set[tuple[type[Transition], str]]:
    """Return kind and key of the steps that were certainly taken just now."""
    now = dt.datetime.now(dt.UTC)
    dialect = connection.dialect.name
    moved: set[tuple[type[Transition], str]] = set()
    for kind in _ORDER:
        some = [step for step in steps if type(step) is kind]
        if not some:
            continue
        rule = kind.rule
        rows, fixed = _rows(swaps, rule, some), _fixed(rule, owner, now)
        if bulk_update.reads_json(dialect):
            keys = [step.swap_id for step in some]
            statement = _json_statement(swaps, rule, dialect)
            taken = bulk_update.execute_json(connection, statement, keys, rows, fixed)
            moved.update((kind, swap_id) for swap_id in taken)
        else:
            bulk_update.execute_many(connection, _statement(swaps, rule), rows, fixed)
    return moved


def _rows(swaps: sa.Table, rule: Rule, steps: Sequence[Step]) -> list[dict[str, Any]]:
    sources = [(source, swaps.c[column]) for source, column in rule.step_columns().items()]
    return [{source.field: fit(source.of(step), column) for source, column in sources} for step in steps]


def _fixed(rule: Rule, owner: ClaimOwner | None, now: dt.datetime) -> dict[str, Any]:
    fixed: dict[str, Any] = {f"owner_{name}": getattr(owner, name) for name in rule.owner_fields()}
    return fixed | {"now": now} if rule.needs_time() else fixed


@lru_cache(maxsize=64)
def _statement(swaps: sa.Table, rule: Rule) -> sa.Update:
    """Return the UPDATE of one row."""
    cells = bulk_update.parameter_cells(_columns(swaps, rule))
    return _derive(swaps, rule, cells).where(swaps.c.swap_id == cells["swap_id"])


@lru_cache(maxsize=64)
def _json_statement(swaps: sa.Table, rule: Rule, dialect: str) -> ReturningUpdate[Any]:
    """Return the UPDATE of all rows in a JSON text."""
    cells = bulk_update.json_cells(dialect, _columns(swaps, rule))
    key = swaps.c.swap_id
    matches = bulk_update.key_matches(dialect, key, cells["swap_id"])
    return _derive(swaps, rule, cells).where(matches).returning(key)


def _columns(swaps: sa.Table, rule: Rule) -> dict[str, sa.Column[Any]]:
    return {source.field: swaps.c[column] for source, column in rule.step_columns().items()}


def _derive(swaps: sa.Table, rule: Rule, cells: bulk_update.Cells) -> sa.Update:
    """Return the UPDATE that a rule describes, without the condition on the key."""

    def sql(source: Any, column: sa.Column[Any]) -> Any:
        return _expression(swaps, source, column, cells)

    c = swaps.c
    conditions = [
        # Not IN (...): SQLAlchemy expands its list only for a single execution, not for `executemany`.
        sa.or_(*(c.status == status for status in sorted(rule.from_status)))
        if isinstance(rule.from_status, frozenset)
        else c.status == sql(rule.from_status, c.status)
    ]
    conditions += [c[name] == sql(source, c[name]) for name, source in rule.guards.items()]
    # NULL also counts as different; SQL's != would not match it.
    conditions += [
        sa.or_(c[name].is_(None), c[name] != sql(source, c[name])) for name, source in rule.unless.items()
    ]
    # In the rule's order: MySQL reads a column that was set before with its new value.
    assignments = [(c[name], sql(source, c[name])) for name, source in rule.writes.items()]
    return sa.update(swaps).where(*conditions).ordered_values(*assignments)


def _expression(swaps: sa.Table, source: Any, column: sa.Column[Any], cells: bulk_update.Cells) -> Any:
    now = sa.bindparam("now", type_=UtcDateTime)
    match source:
        case FromStep():
            cell = cells[source.field]
            return sa.func.coalesce(cell, now, type_=column.type) if source.or_now else cell
        case FromOwner():
            return sa.bindparam(f"owner_{source.field}", type_=column.type)
        case FromRow():
            return swaps.c[source.column]
        case Plus():
            return column + source.number
        case Append():
            word = _expression(swaps, source.word, column, cells)
            return sa.case(
                (sa.type_coerce(word, sa.String).is_(None), column),
                (column.is_(None), word),
                else_=column + " " + word,
            )
        case Now():
            return now
        case DatabaseTimePlus():
            return database_time(sa.bindparam(f"owner_{source.seconds.field}", type_=sa.Float))
        case None:
            return None
        case _:
            return sa.literal(source, column.type)


def _read(connection: sa.Connection, swaps: sa.Table, ids: Iterable[str]) -> dict[str, Any]:
    c = swaps.c
    columns = (c.swap_id, c.status, c.img_uuid, c.claimed_by, c.former_uuids, c.attempts)
    found: dict[str, Any] = {}
    for some in _slices(sorted(ids)):
        for row in connection.execute(sa.select(*columns).where(c.swap_id.in_(some))):
            found[row.swap_id] = row
    return found


def _slices(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + IN_LIST] for start in range(0, len(ids), IN_LIST))
