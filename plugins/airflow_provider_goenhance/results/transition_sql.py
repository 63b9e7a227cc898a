# SPDX-License-Identifier: Apache-2.0
"""Take the steps of :mod:`.transitions` in the results table: conditional updates of many rows in one transaction."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from . import bulk_update
from .bounds import bound_of
from .budgets import within_budgets
from .clock import database_time
from .columns import UtcDateTime
from .database import IN_LIST
from .input_transitions import InputsChanged, InputsFailed, InputsStaged
from .late_transitions import AcceptedAfterAll
from .pair_keys import claim_pairs
from .plan_transitions import PlanStep, Repeated
from .resend_transitions import NotSentAgain
from .states import Status
from .transition_memory import is_taken, late_job
from .transition_rules import (
    Append,
    AsReadUnlessPlanned,
    DatabaseTimePlus,
    FromOwner,
    FromRow,
    FromStep,
    Now,
    Plus,
    Rule,
)
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
_ORDER: tuple[type[Transition], ...] = (
    Accepted,
    NotSent,
    NotSentAgain,
    Declined,
    OutcomeUnknown,
    InputsFailed,
    InputsChanged,
    InputsStaged,
    Claim,
)
#: Rare, and with values that JSON does not have.
_ROW_BY_ROW: frozenset[type[Transition]] = frozenset({NotSentAgain, InputsStaged})


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
    by_kind: dict[type[Transition], list[Transition]] = {}
    for step in steps:
        by_kind.setdefault(type(step), []).append(step)
    unsure = _update_by_kind(connection, swaps, owner, by_kind)
    if not unsure:
        return [True] * len(steps)
    rows = _read(connection, swaps, {step.swap_id for kind in unsure for step in by_kind[kind]})
    claimed: set[str] = set()
    results = []
    for step in steps:
        row = rows.get(step.swap_id)
        done = type(step) not in unsure or (row is not None and is_taken(row, step, owner))
        if isinstance(step, Claim):
            done = done and step.swap_id not in claimed
            claimed.add(step.swap_id)
        elif isinstance(step, Accepted) and not done:
            late = late_job(row, step, owner)
            if late is not None:
                update(connection, swaps, [late])
            done = isinstance(late, AcceptedAfterAll)
        results.append(done)
    return results


def update(connection: sa.Connection, swaps: sa.Table, steps: Sequence[Step]) -> None:
    """Take steps that anyone may take, each where its row allows it."""
    by_rule: dict[Rule, list[Step]] = {}
    # In the order of their ids, so that two tasks which report the same jobs do not wait for each other's rows.
    for step in sorted(steps, key=attrgetter("swap_id")):
        by_rule.setdefault(step.rule, []).append(step)
    now = dt.datetime.now(dt.UTC)
    for rule, some in by_rule.items():
        values = _values_of(swaps, rule)
        bulk_update.execute_many(
            connection, _statement(swaps, rule), values.names, values.rows(some), values.fixed(None, now)
        )


def update_rows(connection: sa.Connection, swaps: sa.Table, step: type[Repeated], ids: Sequence[str]) -> int:
    """Take a step that is the same for many rows, each where its row allows it; return how many rows took it."""
    return sum(update_where(connection, swaps, step, swaps.c.swap_id.in_(some)) for some in _slices(ids))


def update_where(
    connection: sa.Connection, swaps: sa.Table, step: type[Repeated], *conditions: sa.ColumnElement[bool]
) -> int:
    """Take a step that is the same for all rows that meet some conditions; return how many rows took it."""
    fixed = _values_of(swaps, step.rule).fixed(None, dt.datetime.now(dt.UTC))
    return connection.execute(_derive(swaps, step.rule, {}).where(*conditions), fixed).rowcount


def update_from(connection: sa.Connection, swaps: sa.Table, step: type[PlanStep], table: sa.Table) -> int:
    """
    Take a step whose values are in the columns of another table, where it changes a row; return how many rows took it.

    :param table: has the fields of the step as columns of the same names
    """
    columns = _columns(swaps, step.rule)
    cells: bulk_update.Cells = {field: table.c[field] for field in columns}
    changes = sa.or_(
        *(column != cells[field] for field, column in columns.items() if column is not swaps.c.swap_id)
    )
    statement = _derive(swaps, step.rule, cells).where(swaps.c.swap_id == table.c.swap_id, changes)
    fixed = _values_of(swaps, step.rule).fixed(None, dt.datetime.now(dt.UTC))
    return connection.execute(statement, fixed).rowcount


def _update_by_kind(
    connection: sa.Connection,
    swaps: sa.Table,
    owner: ClaimOwner,
    by_kind: Mapping[type[Transition], Sequence[Transition]],
) -> set[type[Transition]]:
    """Take steps; return the kinds of which it is not certain that each step was taken just now."""
    now = dt.datetime.now(dt.UTC)
    dialect = connection.dialect
    unsure: set[type[Transition]] = set()
    for kind in _ORDER:
        some = by_kind.get(kind)
        if not some:
            continue
        values = _values_of(swaps, kind.rule)
        rows, fixed = values.rows(some), values.fixed(owner, now)
        updated = -1
        if bulk_update.reads_json(dialect.name) and kind not in _ROW_BY_ROW:
            updated = _json_update(swaps, kind.rule, dialect).execute(connection, rows, fixed).rowcount
        else:
            bulk_update.execute_many(connection, _statement(swaps, kind.rule), values.names, rows, fixed)
        # A row counts once, even if two of the steps are for it.
        if updated != len(some):
            unsure.add(kind)
    return unsure


class _Values:
    """
    Reads the values of a rule's statement from its steps and from the claim owner.

    :ivar names: names of the values that differ from row to row, the primary key first
    """

    def __init__(self, swaps: sa.Table, rule: Rule) -> None:
        columns = rule.step_columns()
        self.names = tuple(source.field for source in columns)
        self._readers = [_reader(source, swaps.c[column]) for source, column in columns.items()]
        self._owner_fields = rule.owner_fields()
        self._needs_time = rule.needs_time()

    def rows(self, steps: Sequence[Step]) -> list[tuple[Any, ...]]:
        """Return the values of each step, in the order of the names."""
        readers = self._readers
        return [tuple([read(step) for read in readers]) for step in steps]

    def fixed(self, owner: ClaimOwner | None, now: dt.datetime) -> dict[str, Any]:
        """Return the parameters that are the same for all rows."""
        fixed: dict[str, Any] = {f"owner_{name}": getattr(owner, name) for name in self._owner_fields}
        return fixed | {"now": now} if self._needs_time else fixed


def _reader(source: FromStep, column: sa.Column[Any]) -> Callable[[Step], Any]:
    """Return the function that reads the value for a column from a step."""
    bound = bound_of(column)
    read: Callable[[Step], Any] = attrgetter(source.field) if type(source) is FromStep else source.of
    if bound is None:
        return read

    def bounded(step: Step) -> Any:
        value = read(step)
        return None if value is None else bound(value)

    return bounded


#: Made once for a rule: to look through its sources takes longer than to update a row.
_values_of = lru_cache(maxsize=64)(_Values)


@lru_cache(maxsize=64)
def _statement(swaps: sa.Table, rule: Rule) -> sa.Update:
    """Return the UPDATE of one row."""
    cells = bulk_update.parameter_cells(_columns(swaps, rule))
    return _derive(swaps, rule, cells).where(swaps.c.swap_id == cells["swap_id"])


@lru_cache(maxsize=32)
def _json_update(swaps: sa.Table, rule: Rule, dialect: sa.Dialect) -> bulk_update.JsonStatement:
    """Return the UPDATE of all rows in a JSON text."""
    cells = bulk_update.json_cells(dialect.name, _columns(swaps, rule))
    matches = bulk_update.key_matches(dialect.name, swaps.c.swap_id, cells["swap_id"])
    return bulk_update.JsonStatement(_derive(swaps, rule, cells).where(matches), dialect)


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
    conditions += [_guard(c, c[name], source, sql(source, c[name])) for name, source in rule.guards.items()]
    # NULL also counts as different; SQL's != would not match it.
    conditions += [
        sa.or_(c[name].is_(None), c[name] != sql(source, c[name])) for name, source in rule.unless.items()
    ]
    # In the rule's order: MySQL reads a column that was set before with its new value.
    assignments = [(c[name], sql(source, c[name])) for name, source in rule.writes.items()]
    return sa.update(swaps).where(*conditions).ordered_values(*assignments)


def _guard(columns: Any, column: sa.Column[Any], source: Any, value: Any) -> sa.ColumnElement[bool]:
    equal: sa.ColumnElement[bool] = column == value
    if isinstance(source, AsReadUnlessPlanned):
        return sa.or_(columns.status == Status.PLANNED, column.is_not_distinct_from(value))
    return equal


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
        case None | ():
            # In the statement's text: each bound parameter costs a few microseconds whenever it is executed.
            return sa.null()
        case _:
            return sa.literal(source, column.type)


def _read(connection: sa.Connection, swaps: sa.Table, ids: Iterable[str]) -> dict[str, Any]:
    c = swaps.c
    columns = (
        c.swap_id,
        c.status,
        c.img_uuid,
        c.claimed_by,
        c.former_uuids,
        c.attempts,
        c.error_code,
        c.pair_fingerprint,
        c.staged_uris,
        c.input_notes,
        c.resolution,
    )
    found: dict[str, Any] = {}
    for some in _slices(sorted(ids)):
        for row in connection.execute(sa.select(*columns).where(c.swap_id.in_(some))):
            found[row.swap_id] = row
    return found


def _slices(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + IN_LIST] for start in range(0, len(ids), IN_LIST))
