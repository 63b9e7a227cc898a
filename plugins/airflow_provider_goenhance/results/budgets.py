# SPDX-License-Identifier: Apache-2.0
"""
Budgets: how many pairs, and how many credits, a run or a day of an account may pay for at most.

A claim is counted in the transaction that grants it, so before its POST, and with the budgets' rows locked: whatever
the workers do at the same moment, no budget is exceeded. A POST that was certainly not accepted gives back what it
reserved. One whose outcome is unknown does not: it counts as spent until somebody says otherwise. If its answer comes
after that, it counts again.

Order of locks, here and wherever a budget is changed: budgets in the order of their ids, then the swaps.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from .account_tables import AccountTables, account_tables, insert_missing
from .bounds import LARGEST
from .database import IN_LIST
from .resend_transitions import NotSentAgain
from .spending import Amount, Caps, Reached, Scope, Spending, day_scope, run_scope, today
from .transition_memory import accepted_after_all, is_allowed
from .transitions import Accepted, Claim, ClaimOwner, Declined, NotSent, Step, Transition

if TYPE_CHECKING:
    from .database import ResultsDatabase


def within_budgets(
    connection: sa.Connection, swaps: sa.Table, owner: ClaimOwner, steps: Sequence[Transition]
) -> list[bool]:
    """
    Count the steps of a claim owner, before they are taken in this transaction.

    Only steps that their rows will take are counted, so that a transaction which runs twice counts once.

    :return: for each step whether it may be taken; only a claim may not, for which there is no room
    """
    spending = owner.spending
    if spending is None:
        return [True] * len(steps)
    _learn_price(spending, steps)
    if not spending:
        return [True] * len(steps)
    spending.day = today()
    spending.days.add(spending.day)
    limits = spending.scopes(spending.day)
    book = _Book(connection, account_tables(swaps.name, swaps.schema))
    # What was reserved yesterday is given back to yesterday.
    scopes = [scope for day in spending.days for scope in spending.scopes(day)]
    book.lock(scopes, add=[scope for scope, caps in limits.items() if caps])
    rows = _reservations(connection, swaps, [step.swap_id for step in steps])
    for step in steps:
        if (row := rows.get(step.swap_id)) is not None and not isinstance(step, Claim):
            _count_result(book, owner, spending, row, step)
    granted = _grant(book, limits, owner, spending, steps, rows)
    book.write()
    return granted


def _grant(
    book: _Book,
    limits: Mapping[Scope, Caps],
    owner: ClaimOwner,
    spending: Spending,
    steps: Sequence[Transition],
    rows: Mapping[str, Any],
) -> list[bool]:
    """Count the claims for which there is room; return for each step whether it may be taken."""
    counted: set[str] = set()

    def may(step: Transition) -> bool:
        row = rows.get(step.swap_id)
        if not isinstance(step, Claim) or row is None or not is_allowed(row, step, owner):
            # What the row does not take need not be counted, and may be what the first run of the transaction took.
            return True
        if step.swap_id in counted:
            return False
        if (reached := book.first_reached(limits, spending.price)) is not None:
            spending.refused.add(step.swap_id)
            spending.reached = reached
            return False
        spending.refused.discard(step.swap_id)
        counted.add(step.swap_id)
        book.add(limits, 1, spending.price or 0)
        return True

    return [may(step) for step in steps]


def _learn_price(spending: Spending, steps: Sequence[Transition]) -> None:
    """Take the price that the answers to some POSTs name for that of the next ones."""
    costs = [step.cost for step in steps if isinstance(step, Accepted) and step.cost and step.cost > 0]
    if costs:
        spending.price = min(costs[-1], LARGEST)


def _correction(row: Any, step: Transition) -> tuple[int, int]:
    """Return by how much the result of a POST changes the pairs and the credits that are counted."""
    reserved = row.reserved_cost or 0
    match step:
        case NotSent() | NotSentAgain() | Declined():
            return -1, -reserved
        case Accepted() if step.cost is not None:
            return 0, min(max(0, step.cost), LARGEST) - reserved
        case _:
            return 0, 0


def _count_result(book: _Book, owner: ClaimOwner, spending: Spending, row: Any, step: Transition) -> None:
    """Count the result of a POST, if its row takes it."""
    is_late = isinstance(step, Accepted) and accepted_after_all(row, step, owner) is not None
    if isinstance(step, Accepted) and is_late and row.reserved_day is None:
        _count_again(book, spending, row, step)
    elif is_late or is_allowed(row, step, owner):
        book.add(scopes_of([row]), *_correction(row, step))


def _count_again(book: _Book, spending: Spending, row: Any, step: Accepted) -> None:
    """Count a job whose reservation was given back, because its submit was settled before its answer came."""
    claimed = row.claimed_at.date().isoformat() if row.claimed_at else ""
    day = claimed if claimed in spending.days else today()
    cost = spending.price or 0 if step.cost is None else min(max(0, step.cost), LARGEST)
    book.add(spending.scopes(day), 1, cost)


def give_back(connection: sa.Connection, swaps: sa.Table, steps: Sequence[Step]) -> None:
    """
    Give back what rows have reserved, because their submits were not accepted after all.

    Call it in the transaction that takes the steps, and before it takes them: budgets are locked before swaps. The
    reservations are removed from the rows, so that a transaction which runs twice gives back once.

    :param steps: the steps that say so; only those that their rows will take count
    """
    ids = [step.swap_id for step in steps]
    scopes = list(scopes_of(_reservations(connection, swaps, ids, lock=False).values()))
    if not scopes:
        return
    book = _Book(connection, account_tables(swaps.name, swaps.schema))
    book.lock(scopes)
    rows = _reservations(connection, swaps, ids)
    given: list[str] = []
    for step in steps:
        row = rows.pop(step.swap_id, None)
        if row is not None and row.reserved_day is not None and is_allowed(row, step):
            book.add(scopes_of([row]), -1, -(row.reserved_cost or 0))
            given.append(step.swap_id)
    for some in _slices(given):
        nothing = {"reserved_cost": None, "reserved_day": None}
        connection.execute(sa.update(swaps).where(swaps.c.swap_id.in_(some)).values(nothing))
    book.write()


class _Book:
    """The counters of some budgets, locked for one transaction."""

    def __init__(self, connection: sa.Connection, shared: AccountTables) -> None:
        self._connection = connection
        self._table = shared.budgets
        self.used: dict[str, Amount] = {}
        self._before: dict[str, Amount] = {}

    def lock(self, scopes: Sequence[Scope], *, add: Sequence[Scope] = ()) -> None:
        """
        Lock the rows of some budgets in the order of their ids, and read them.

        :param add: those that are added where they are missing. Others are not counted: a budget that somebody limits
            later begins with all that was spent before, see :func:`open_budgets`
        """
        ids = sorted({scope.budget_id for scope in scopes})
        self.used = self._read(ids)
        missing = [scope for scope in add if scope.budget_id not in self.used]
        if missing:
            _add_missing(self._connection, self._table, dict.fromkeys(missing, Amount()))
            self.used = self._read(ids)
        self._before = dict(self.used)

    def _read(self, ids: list[str]) -> dict[str, Amount]:
        c = self._table.c
        query = sa.select(c.budget_id, c.pairs, c.cost).where(c.budget_id.in_(ids)).order_by(c.budget_id)
        return {
            row.budget_id: Amount(row.pairs, row.cost)
            for row in self._connection.execute(query.with_for_update())
        }

    def first_reached(self, limits: Mapping[Scope, Caps], price: int | None) -> Reached | None:
        """Return a budget that has no room for another pair, ``None`` if all have."""
        for scope, limit in limits.items():
            if limit and not limit.room(used := self.used[scope.budget_id], price):
                return Reached(scope.title, limit, used, price)
        return None

    def add(self, scopes: Iterable[Scope], pairs: int, cost: int) -> None:
        """Change some counters."""
        for scope in scopes:
            if scope.budget_id in self.used:
                self.used[scope.budget_id] = self.used[scope.budget_id].plus(pairs, cost)

    def write(self) -> None:
        """Write the counters that have changed."""
        c = self._table.c
        for key, amount in sorted(self.used.items()):
            if amount != self._before[key]:
                values = {"pairs": amount.pairs, "cost": amount.cost}
                self._connection.execute(sa.update(self._table).where(c.budget_id == key).values(values))


def _add_missing(connection: sa.Connection, budgets: sa.Table, used: Mapping[Scope, Amount]) -> None:
    """Add the rows of some budgets; one that another transaction has added is left as it is."""
    for scope, amount in sorted(used.items()):
        insert_missing(connection, budgets, {**scope._asdict(), **amount._asdict()})


def _reservations(
    connection: sa.Connection, swaps: sa.Table, swap_ids: Sequence[str], *, lock: bool = True
) -> dict[str, Any]:
    """Return rows by primary key, with what decides about their next step and what they have reserved."""
    c = swaps.c
    columns = (
        c.swap_id, c.dag_id, c.run_id, c.account, c.status, c.attempts, c.claimed_at, c.claimed_by, c.max_tries, c.cost,
        c.reserved_cost,
        c.reserved_day,
        c.img_uuid, c.resolution, c.error_code,
    )  # fmt: skip
    found: dict[str, Any] = {}
    for some in _slices(sorted(set(swap_ids))):
        query = sa.select(*columns).where(c.swap_id.in_(some)).order_by(c.swap_id)
        query = query.with_for_update() if lock else query
        found |= {row.swap_id: row for row in connection.execute(query)}
    return found


def scopes_of(rows: Iterable[Any]) -> Iterator[Scope]:
    """Yield the budgets that rows have reserved in."""
    for row in rows:
        if row.reserved_day is not None:
            yield run_scope(row.dag_id, row.run_id)
            yield day_scope(row.account or "", row.reserved_day)


def open_budgets(database: ResultsDatabase, spending: Spending) -> None:
    """Add the limited budgets of a run and of today that are missing, with what was spent before they were set."""
    amounts, missing = _amounts(database, spending)
    limits = spending.scopes(today())
    used = {scope: amounts[scope] for scope in missing if limits.get(scope)}
    if used:
        database.run(lambda connection: _add_missing(connection, database.shared.budgets, used))


def used_so_far(database: ResultsDatabase, spending: Spending) -> list[tuple[Scope, Caps, Amount]]:
    """Return the limited budgets of a run and of today, with what is reserved and spent."""
    amounts, _ = _amounts(database, spending)
    return [(scope, caps, amounts[scope]) for scope, caps in spending.scopes(today()).items() if caps]


def _amounts(database: ResultsDatabase, spending: Spending) -> tuple[dict[Scope, Amount], list[Scope]]:
    """
    Return what is reserved and spent, and the budgets that are not in their table yet.

    For these, submits that were made without a budget count, as far as the results table has them. That of a day reads
    all its rows.
    """
    day = today()
    of_run, of_day = scopes = list(spending.scopes(day))
    budgets = database.shared.budgets.c
    query = sa.select(budgets.budget_id, budgets.pairs, budgets.cost).where(
        budgets.budget_id.in_([scope.budget_id for scope in scopes])
    )
    known = {row["budget_id"]: Amount(row["pairs"], row["cost"]) for row in database.read(query)}
    missing = [scope for scope in scopes if scope.budget_id not in known]
    c = database.swaps.c
    midnight = dt.datetime.combine(dt.date.fromisoformat(day), dt.time(), dt.UTC)
    where = {
        of_run: [c.dag_id == spending.key.dag_id, c.run_id == spending.key.run_id],
        of_day: [c.account == spending.account, c.claimed_at >= midnight],
    }
    amounts = {scope: known[scope.budget_id] for scope in scopes if scope not in missing}
    return amounts | {scope: _spent(database, where[scope], spending.price) for scope in missing}, missing


def _spent(database: ResultsDatabase, where: list[sa.ColumnElement[bool]], price: int | None) -> Amount:
    c = database.swaps.c
    pairs, cost = sa.func.sum(c.attempts), sa.func.sum(sa.func.coalesce(c.cost, c.reserved_cost, price or 0))
    query = sa.select(pairs.label("pairs"), cost.label("cost")).where(*where, c.attempts > 0)
    (row,) = database.read(query)
    return Amount(int(row["pairs"] or 0), int(row["cost"] or 0))


def _slices(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    return (keys[start : start + IN_LIST] for start in range(0, len(keys), IN_LIST))
