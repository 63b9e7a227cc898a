# SPDX-License-Identifier: Apache-2.0
"""
The steps a row takes while it is submitted, written so that many fit into one transaction.

Each is a conditional update: it moves a row only from the state, and only for the claimant, that it expects. Running
one twice is harmless, which is what lets a transaction be repeated after its connection was cut during COMMIT.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from .database import IN_LIST
from .states import Status

log = logging.getLogger(__name__)

MESSAGE_LENGTH = 2000


@dataclass(frozen=True, slots=True)
class Claimant:
    """
    Who moves the rows.

    :param name: this execution of this attempt, e.g. ``swap[3] try 2 0192...``; unlike every other
    :param account: fingerprint of the account that pays
    :param max_tries: the task instance's ``max_tries``, which tells a clear from a retry later
    """

    name: str
    account: str | None = None
    max_tries: int | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """
    Take a row, and commit the intent to submit it. Granted to one attempt only.

    :param from_status: the state the row was seen in; if it has moved since, the claim is not granted
    """

    swap_id: str
    from_status: Status = Status.PLANNED


@dataclass(frozen=True, slots=True)
class Accepted:
    """Record the job that a claimed row became."""

    swap_id: str
    img_uuid: str
    cost: int | None = None


@dataclass(frozen=True, slots=True)
class NotSent:
    """Give a claimed row back: its POST surely was not accepted, and another attempt may send it."""

    swap_id: str
    error_code: str
    message: str


@dataclass(frozen=True, slots=True)
class Declined:
    """Fail a claimed row: GoEnhance said no to this very pair, so nothing was paid and no retry helps."""

    swap_id: str
    error_code: str
    message: str


@dataclass(frozen=True, slots=True)
class OutcomeUnknown:
    """Record that a claimed row's POST may have been accepted, and that nobody knows."""

    swap_id: str
    error_code: str
    message: str


Transition = Claim | Accepted | NotSent | Declined | OutcomeUnknown


def apply(
    connection: sa.Connection, swaps: sa.Table, who: Claimant, steps: Sequence[Transition]
) -> list[bool]:
    """
    Take steps in one transaction: outcomes first, then claims.

    :return: for each step, in order, whether the row now stands where the step put it
    """
    now = dt.datetime.now(dt.UTC)
    _apply_accepted(connection, swaps, who, [s for s in steps if isinstance(s, Accepted)], now)
    _apply_not_accepted(connection, swaps, who, steps, now)
    _apply_claims(connection, swaps, who, [s for s in steps if isinstance(s, Claim)], now)
    found = _look(connection, swaps, {step.swap_id for step in steps})
    results = []
    for step in steps:
        row = found.get(step.swap_id)
        done = row is not None and _stands(row, step, who)
        if isinstance(step, Accepted) and not done:
            _keep_orphan(connection, swaps, step, row)
        results.append(done)
    return results


def _apply_accepted(
    connection: sa.Connection, swaps: sa.Table, who: Claimant, steps: list[Accepted], now: dt.datetime
) -> None:
    if not steps:
        return
    # From `unknown` as well: a slow attempt that was given up on may still learn its job's name.
    connection.execute(
        sa.update(swaps)
        .where(
            swaps.c.swap_id == sa.bindparam("the_id"),
            swaps.c.claimed_by == who.name,
            swaps.c.status.in_([Status.SUBMITTING.value, Status.UNKNOWN.value]),
        )
        .values(
            status=Status.SUBMITTED.value,
            img_uuid=sa.bindparam("the_uuid"),
            cost=sa.bindparam("the_cost"),
            submitted_at=now,
            error_code=None,
            error_message=None,
        ),
        [{"the_id": s.swap_id, "the_uuid": s.img_uuid, "the_cost": s.cost} for s in steps],
    )


_NOT_ACCEPTED: dict[type[Any], tuple[Status, int]] = {
    NotSent: (Status.PLANNED, -1),
    Declined: (Status.FAILED, -1),
    OutcomeUnknown: (Status.UNKNOWN, 0),
}


def _apply_not_accepted(
    connection: sa.Connection,
    swaps: sa.Table,
    who: Claimant,
    steps: Sequence[Transition],
    now: dt.datetime,
) -> None:
    for kind, (status, correction) in _NOT_ACCEPTED.items():
        rows = [
            {"the_id": s.swap_id, "the_code": s.error_code, "the_message": s.message[:MESSAGE_LENGTH]}
            for s in steps
            if isinstance(s, kind)
        ]
        if not rows:
            continue
        connection.execute(
            sa.update(swaps)
            .where(
                swaps.c.swap_id == sa.bindparam("the_id"),
                swaps.c.claimed_by == who.name,
                swaps.c.status == Status.SUBMITTING.value,
            )
            .values(
                status=status.value,
                attempts=swaps.c.attempts + correction,
                error_code=sa.bindparam("the_code"),
                error_message=sa.bindparam("the_message"),
                finished_at=None if status is Status.PLANNED else now,
            ),
            rows,
        )


def _apply_claims(
    connection: sa.Connection, swaps: sa.Table, who: Claimant, steps: list[Claim], now: dt.datetime
) -> None:
    for status in {step.from_status for step in steps}:
        ids = [step.swap_id for step in steps if step.from_status is status]
        for some in _slices(ids):
            connection.execute(
                sa.update(swaps)
                .where(swaps.c.swap_id.in_(some), swaps.c.status == status.value)
                .values(
                    status=Status.SUBMITTING.value,
                    claimed_by=who.name,
                    claimed_at=now,
                    account=who.account,
                    max_tries=who.max_tries,
                    attempts=swaps.c.attempts + 1,
                    # An earlier, paid job stays on record when its row is submitted again.
                    former_uuids=_with_former(swaps, swaps.c.img_uuid),
                    img_uuid=None,
                    result_uri=None,
                    result_sha256=None,
                    finished_at=None,
                    error_code=None,
                    error_message=None,
                )
            )


def _with_former(swaps: sa.Table, img_uuid: Any) -> sa.ColumnElement[Any]:
    return sa.case(
        (sa.type_coerce(img_uuid, sa.String).is_(None), swaps.c.former_uuids),
        (swaps.c.former_uuids.is_(None), img_uuid),
        else_=swaps.c.former_uuids + " " + img_uuid,
    )


def _look(connection: sa.Connection, swaps: sa.Table, ids: Iterable[str]) -> dict[str, Any]:
    columns = (swaps.c.swap_id, swaps.c.status, swaps.c.img_uuid, swaps.c.claimed_by, swaps.c.former_uuids)
    found: dict[str, Any] = {}
    for some in _slices(list(ids)):
        for row in connection.execute(sa.select(*columns).where(swaps.c.swap_id.in_(some))):
            found[row.swap_id] = row
    return found


def _stands(row: Any, step: Transition, who: Claimant) -> bool:
    if isinstance(step, Accepted):
        return bool(row.img_uuid == step.img_uuid)
    if row.claimed_by != who.name:
        return False
    if isinstance(step, Claim):
        return bool(row.status == Status.SUBMITTING.value)
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


def _slices(ids: list[str]) -> Iterable[list[str]]:
    return (ids[start : start + IN_LIST] for start in range(0, len(ids), IN_LIST))
