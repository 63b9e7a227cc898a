# SPDX-License-Identifier: Apache-2.0
"""Take the steps of :mod:`.transitions` in memory, as :mod:`.transition_sql` takes them in the results table."""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging
from typing import Any

from .bounds import fit
from .late_transitions import AcceptedAfterAll, FormerJob
from .resolution import Resolution
from .schema import swaps_table
from .states import Status
from .swap import Swap
from .transition_rules import (
    Append,
    AsReadUnlessPlanned,
    DatabaseTimePlus,
    FromOwner,
    FromRow,
    FromStep,
    Now,
    Plus,
)
from .transitions import Accepted, ClaimOwner, Step

log = logging.getLogger(__name__)


def is_allowed(row: Swap, step: Step, owner: ClaimOwner | None = None) -> bool:
    """Return whether a row may take a step, as the SQL condition does."""
    rule = step.rule

    def value(source: Any) -> Any:
        return _value(source, row, step, owner)

    return (
        row.status
        in (rule.from_status if isinstance(rule.from_status, frozenset) else {value(rule.from_status)})
        and all(
            getattr(row, column) == value(source) or _may_have_any(row, source)
            for column, source in rule.guards.items()
        )
        and all(getattr(row, column) != value(source) for column, source in rule.unless.items())
    )


def _may_have_any(row: Swap, source: Any) -> bool:
    return isinstance(source, AsReadUnlessPlanned) and row.status is Status.PLANNED


def is_taken(row: Any, step: Step, owner: ClaimOwner) -> bool:
    """
    Return whether a row already is where a step would put it.

    :param row: a :class:`.swap.Swap`, or a row of the table
    """
    return all(
        getattr(row, column) == _value(source, row, step, owner)
        for column, source in step.rule.taken_if.items()
    )


def apply_to(swap: Swap, step: Step, owner: ClaimOwner | None, now: dt.datetime) -> Swap | None:
    """
    Return the row after a step, ``None`` where the row may not take it.

    :param owner: the execution that takes the step; ``None`` for steps that anyone may take
    """
    if not is_allowed(swap, step, owner):
        return None
    values = {
        column: _value(source, swap, step, owner, now, column) for column, source in step.rule.writes.items()
    }
    return dataclasses.replace(swap, **values)


def late_job(row: Any, step: Accepted, owner: ClaimOwner) -> FormerJob | AcceptedAfterAll | None:
    """
    Return the step that keeps a paid job whose row has moved on, and log the job.

    :param row: the row as it is now, ``None`` where there is none
    :return: ``None`` where the row has the job already
    """
    if row is not None and (late := accepted_after_all(row, step, owner)) is not None:
        log.error(
            "The job %s was accepted although its row %s was settled as %s: the row has the job now, and is not sent "
            "again.",
            step.img_uuid,
            step.swap_id,
            row.resolution,
        )
        return late
    log.error(
        "The job %s was accepted and will be billed, but another attempt now owns its row %s. Its UUID is kept in "
        "former_uuids.",
        step.img_uuid,
        step.swap_id,
    )
    if row is None or step.img_uuid in (row.former_uuids or "").split():
        return None
    return FormerJob(step.swap_id, step.img_uuid)


def accepted_after_all(row: Any, step: Accepted, owner: ClaimOwner) -> AcceptedAfterAll | None:
    """Return the step of a row whose submit was settled before its answer came, ``None`` for another row."""
    if row.claimed_by != owner.name or row.img_uuid or not _was_settled(row):
        return None
    return AcceptedAfterAll(
        step.swap_id, Status(row.status), row.attempts, owner.name, step.img_uuid, step.cost
    )


def _was_settled(row: Any) -> bool:
    if row.status == Status.PLANNED:
        return bool(row.resolution == Resolution.NOT_BILLED)
    return bool(row.status == Status.FAILED and row.error_code == Resolution.WRITTEN_OFF)


def _value(
    source: Any, row: Any, step: Any, owner: Any, now: dt.datetime | None = None, column: str = ""
) -> Any:
    """
    Return the value behind a source.

    :param row: the row before the transition
    :param column: the column that the value is for
    """
    match source:
        case FromStep():
            value = source.of(step)
            value = _fit(value, column) if column else value
            return now if value is None and source.or_now else value
        case FromOwner():
            return getattr(owner, source.field)
        case FromRow():
            return getattr(row, source.column)
        case Plus():
            return getattr(row, column) + source.number
        case Append():
            words = (getattr(row, column), _value(source.word, row, step, owner))
            return " ".join(filter(None, words)) or None
        case Now():
            return now
        case DatabaseTimePlus():
            return now + dt.timedelta(seconds=getattr(owner, source.seconds.field)) if now else None
        case _:
            return source


def _fit(value: Any, column: str) -> Any:
    # A status is compared by identity: it must not become plain text.
    return value if isinstance(value, Status) else fit(value, swaps_table().c[column])
