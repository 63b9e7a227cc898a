# SPDX-License-Identifier: Apache-2.0
"""
Taking the steps of :mod:`.transitions`, many in one transaction.

Each is a conditional update: it moves a row only from the state, and only for the claimant, that it expects. Running
one twice is harmless, which is what lets a transaction be repeated after its connection was cut during COMMIT.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Hashable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, cast

import sqlalchemy as sa

from .bulk_update import GivenUpdate, given_columns, is_given
from .database import IN_LIST
from .states import Status
from .transitions import (
    Accepted,
    Claim,
    ClaimOwner,
    Declined,
    NotSent,
    OutcomeUnknown,
    Transition,
    storable,
)

log = logging.getLogger(__name__)

#: What a step that was not accepted makes of its row, and by how much it corrects ``attempts``.
_NOT_ACCEPTED: dict[type[Any], tuple[Status, int]] = {
    NotSent: (Status.PLANNED, -1),
    Declined: (Status.FAILED, -1),
    OutcomeUnknown: (Status.UNKNOWN, 0),
}
_OWNER = sa.bindparam("owner", type_=sa.String)


def apply(
    connection: sa.Connection, swaps: sa.Table, owner: ClaimOwner, steps: Sequence[Transition]
) -> list[bool]:
    """
    Take steps in one transaction: outcomes first, then claims.

    :return: for each step, in order, whether the row now stands where the step put it; of two claims of one row only
        the first is granted
    """
    moved = _move(connection, swaps, owner, steps)
    unsure = {step.swap_id for step in steps if (type(step), step.swap_id) not in moved}
    found = _look(connection, swaps, unsure)
    claimed: set[str] = set()
    results = []
    for step in steps:
        done = (type(step), step.swap_id) in moved or _stands(found.get(step.swap_id), step, owner)
        if isinstance(step, Claim):
            done = done and step.swap_id not in claimed
            claimed.add(step.swap_id)
        elif isinstance(step, Accepted) and not done:
            _keep_orphan(connection, swaps, step, found.get(step.swap_id))
        results.append(done)
    return results


def _move(
    connection: sa.Connection, swaps: sa.Table, owner: ClaimOwner, steps: Sequence[Transition]
) -> set[tuple[type[Any], str]]:
    now = dt.datetime.now(dt.UTC)
    moved: set[tuple[type[Any], str]] = set()
    kinds: tuple[type[Any], ...] = (Accepted, *_NOT_ACCEPTED, Claim)
    for kind in kinds:
        rows = [_values(step) for step in steps if type(step) is kind]
        if not rows:
            continue
        fixed: dict[str, Any] = {"owner": owner.name, "now": now}
        if kind is Claim:
            fixed |= {"account": owner.account, "max_tries": owner.max_tries}
        statement = _statement(swaps, connection.dialect, cast("Hashable", kind))
        ids = statement.execute(connection, rows, **fixed)
        moved.update((kind, swap_id) for swap_id in ids)
    return moved


def _values(step: Transition) -> dict[str, Any]:
    if isinstance(step, Accepted):
        return {"swap_id": step.swap_id, "img_uuid": step.img_uuid, "cost": step.cost}
    if isinstance(step, Claim):
        return {"swap_id": step.swap_id, "status": step.from_status.value, "attempts": step.attempts}
    return {
        "swap_id": step.swap_id,
        "error_code": step.error_code,
        "error_message": storable(step.message),
    }


@lru_cache(maxsize=64)
def _statement(swaps: sa.Table, dialect: sa.Dialect, kind: Hashable) -> GivenUpdate:
    if kind is Accepted:
        update = _accepted(swaps, dialect.name)
    elif kind is Claim:
        update = _claim(swaps, dialect.name)
    else:
        update = _not_accepted(swaps, dialect.name, *_NOT_ACCEPTED[cast("type[Any]", kind)])
    return GivenUpdate(dialect, update, swaps.c.swap_id)


def _accepted(swaps: sa.Table, dialect: str) -> sa.Update:
    c = swaps.c
    given = given_columns(dialect, c.swap_id, c.img_uuid, c.cost)
    return (
        sa.update(swaps)
        .where(
            is_given(dialect, c.swap_id, given),
            c.claimed_by == _OWNER,
            # From `unknown` as well: a slow attempt that was given up on may still learn its job's name.
            sa.or_(c.status == Status.SUBMITTING.value, c.status == Status.UNKNOWN.value),
        )
        .values(
            status=Status.SUBMITTED.value,
            img_uuid=given["img_uuid"],
            cost=given["cost"],
            submitted_at=sa.bindparam("now", type_=c.submitted_at.type),
            finished_at=None,
            error_code=None,
            error_message=None,
        )
    )


def _not_accepted(swaps: sa.Table, dialect: str, status: Status, correction: int) -> sa.Update:
    c = swaps.c
    given = given_columns(dialect, c.swap_id, c.error_code, c.error_message)
    now = sa.bindparam("now", type_=c.finished_at.type)
    return (
        sa.update(swaps)
        .where(
            is_given(dialect, c.swap_id, given),
            c.claimed_by == _OWNER,
            c.status == Status.SUBMITTING.value,
        )
        .values(
            status=status.value,
            attempts=c.attempts + correction,
            error_code=given["error_code"],
            error_message=given["error_message"],
            finished_at=None if status is Status.PLANNED else now,
        )
    )


def _claim(swaps: sa.Table, dialect: str) -> sa.Update:
    c = swaps.c
    given = given_columns(dialect, c.swap_id, c.status, c.attempts)
    return (
        sa.update(swaps)
        .where(
            is_given(dialect, c.swap_id, given),
            c.status == given["status"],
            c.attempts == given["attempts"],
        )
        # In this order: MySQL reads a column that was set before with its new value.
        .ordered_values(
            # An earlier, paid job stays on record when its row is submitted again.
            (c.former_uuids, _with_former(swaps, c.img_uuid)),
            (c.img_uuid, None),
            (c.status, Status.SUBMITTING.value),
            (c.attempts, c.attempts + 1),
            (c.claimed_by, _OWNER),
            (c.claimed_at, sa.bindparam("now", type_=c.claimed_at.type)),
            (c.account, sa.bindparam("account", type_=sa.String)),
            (c.max_tries, sa.bindparam("max_tries", type_=sa.Integer)),
            (c.cost, None),
            (c.result_uri, None),
            (c.result_sha256, None),
            (c.submitted_at, None),
            (c.finished_at, None),
            (c.error_code, None),
            (c.error_message, None),
        )
    )


def _with_former(swaps: sa.Table, img_uuid: Any) -> sa.ColumnElement[Any]:
    return sa.case(
        (sa.type_coerce(img_uuid, sa.String).is_(None), swaps.c.former_uuids),
        (swaps.c.former_uuids.is_(None), img_uuid),
        else_=swaps.c.former_uuids + " " + img_uuid,
    )


def _look(connection: sa.Connection, swaps: sa.Table, ids: Iterable[str]) -> dict[str, Any]:
    c = swaps.c
    columns = (c.swap_id, c.status, c.img_uuid, c.claimed_by, c.former_uuids, c.attempts)
    found: dict[str, Any] = {}
    for some in _slices(sorted(ids)):
        for row in connection.execute(sa.select(*columns).where(c.swap_id.in_(some))):
            found[row.swap_id] = row
    return found


def _stands(row: Any, step: Transition, owner: ClaimOwner) -> bool:
    if row is None:
        return False
    if isinstance(step, Accepted):
        return bool(row.img_uuid == step.img_uuid)
    if row.claimed_by != owner.name:
        return False
    if isinstance(step, Claim):
        return bool(row.status == Status.SUBMITTING.value and row.attempts == step.attempts + 1)
    return bool(row.status == _NOT_ACCEPTED[type(step)][0].value)


def _keep_orphan(connection: sa.Connection, swaps: sa.Table, step: Accepted, row: Any) -> None:
    """Keep the name of a paid job whose row has meanwhile gone to another attempt."""
    log.error(
        "The job %s was accepted, and bills, but its row %s has gone to another attempt: kept in former_uuids.",
        step.img_uuid,
        step.swap_id,
    )
    if row is None or step.img_uuid in (row.former_uuids or "").split():
        return
    connection.execute(
        sa.update(swaps)
        .where(swaps.c.swap_id == step.swap_id)
        .values(former_uuids=_with_former(swaps, sa.literal(step.img_uuid)))
    )


def _slices(ids: list[str]) -> Iterator[list[str]]:
    return (ids[start : start + IN_LIST] for start in range(0, len(ids), IN_LIST))
