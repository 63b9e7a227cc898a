# SPDX-License-Identifier: Apache-2.0
"""Settle submits whose outcome is unknown, on the word of a person who knows: for the command line and the page."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ..exceptions import GoEnhanceError
from ..results.resolution import Billed, NotBilled, Resolution, ResolutionStep, WrittenOff
from ..results.row_version import changes_since
from ..results.run_rows import RunRows
from ..results.settlement import owner_of_job, settle
from ..results.states import Status

if TYPE_CHECKING:
    import sqlalchemy as sa

    from ..api.account import Account
    from ..results.ledger import Ledger, RunKey
    from ..results.swap import Swap

log = logging.getLogger(__name__)

#: Rows that an error names.
NAMED_ROWS = 5
#: Length of the columns.
MAX_UUID = 128
MAX_NAME = 250


class ResolutionError(ValueError):
    """A submit cannot be settled in this way. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Selection:
    """
    The rows that a person means: their ids, or a run with some of its pairs.

    :param swap_ids: primary keys
    :param key: a run
    :param pair_ids: pairs of that run; none of them means all of the run's unknown submits
    """

    swap_ids: Sequence[str] = ()
    key: RunKey | None = None
    pair_ids: Sequence[str] = ()


def resolve_unknown(
    ledger: Ledger,
    selection: Selection,
    resolution: Resolution | str,
    *,
    by: str,
    img_uuid: str | None = None,
    note: str | None = None,
    seen: Mapping[str, str] | None = None,
) -> list[Swap]:
    """
    Settle unknown submits: all rows of a selection, or none.

    ``not_billed`` returns them to ``planned``: a clear or a new run sends the pairs. ``billed`` records the job that
    the submit became: a clear, the collect operator or a new run collects its picture. ``written_off`` fails them: a
    new run sends the pairs, and may pay for them a second time. Rows ``held`` because of them are free at their next
    look.

    :param by: who says so; stored with the row
    :param img_uuid: the UUID of the job, for ``billed``
    :param note: what it is based on; stored with the row
    :param seen: ``swap_id`` -> version (:func:`~..results.row_version.version_of`) of each row as the person saw it; a
        row that was sent again since then is refused. Default: what is there now is settled
    :return: the rows as they are now
    :raises ResolutionError: when a row does not exist, is not ``unknown``, is not as it was seen, or is not clearly
        named; nothing is changed
    """
    wanted = _resolution(resolution)
    by, note = by.strip(), (note or "").strip() or None
    if not by:
        raise ResolutionError("by must name who settles the submit; got an empty text.")
    img_uuid = _checked_uuid(wanted, img_uuid)
    # The steps name the submits of these very rows: one that is sent from here on is not settled by them.
    rows = select_unknown(ledger, selection, seen)
    if img_uuid is not None and len(rows) != 1:
        raise ResolutionError(
            f"{img_uuid} is one job, and {len(rows)} rows are selected: {_named(rows)}. Select the row of that job."
        )
    at = dt.datetime.now(dt.UTC).replace(microsecond=0)
    steps = [_step(row, wanted, by[:MAX_NAME], at, img_uuid, note) for row in rows]

    def work(connection: sa.Connection) -> list[Swap]:
        if img_uuid is not None:
            _refuse_job_of_another(owner_of_job(connection, ledger.swaps, img_uuid), img_uuid, rows[0])
        settled = settle(connection, ledger.swaps, steps)
        _refuse_half(rows, settled)
        return settled

    settled = ledger.database.run(work)
    for row in settled:
        log.info("%s of run %s: %s, says %s.", row.label, row.run_id, wanted, by)
    return settled


def select_unknown(ledger: Ledger, selection: Selection, seen: Mapping[str, str] | None = None) -> list[Swap]:
    """
    Return the unknown submits that a selection names.

    :param seen: their versions as they were seen, see :func:`resolve_unknown`
    :raises ResolutionError: when one of them does not exist, is not ``unknown``, is not as it was seen, or is not
        clearly named
    """
    if selection.swap_ids:
        rows = _by_ids(ledger, selection.swap_ids)
    elif selection.key is not None:
        rows = _of_run(ledger, selection.key, selection.pair_ids)
    else:
        raise ResolutionError("No row is selected: name swap_ids, or a run with its Dag.")
    if seen is not None and (changed := changes_since(rows, seen)):
        raise ResolutionError(changed)
    others = [row for row in rows if row.status is not Status.UNKNOWN]
    if others:
        raise ResolutionError(
            f"{_named(others, with_status=True)}: only a submit whose outcome is unknown can be settled. "
            "Nothing was changed."
        )
    return rows


def confirm_job(
    rows: Sequence[Swap], img_uuid: str, account: Account, get_job: Callable[[str], object]
) -> None:
    """
    Ask GoEnhance for a job before it is recorded: a mistyped UUID would hide that the submit is not settled.

    :param account: the account that ``get_job`` asks
    :raises ResolutionError: when the account is another one, or GoEnhance does not confirm the job
    """
    if foreign := [row for row in rows if row.account != account.fingerprint]:
        raise ResolutionError(
            f"{foreign[0].label} was sent for another account ({foreign[0].account}) than that of {account}. Name the "
            "connection of that account, or record the job without asking GoEnhance. Nothing was changed."
        )
    try:
        get_job(img_uuid)
    except GoEnhanceError as error:
        raise ResolutionError(
            f"GoEnhance does not confirm the job {img_uuid}: {error} Nothing was changed. Check the UUID, or record it "
            "without asking GoEnhance."
        ) from None


def unknown_submits(
    ledger: Ledger, *, dag_id: str | None = None, run_id: str | None = None, account: str | None = None
) -> Iterator[Swap]:
    """Yield the unknown submits of all runs, or of some, in the order in which they were sent, in bounded memory."""
    import sqlalchemy as sa

    from ..results.swap import Swap

    c = ledger.swaps.c
    where = [c.status == Status.UNKNOWN]
    named = ((c.dag_id, dag_id), (c.run_id, run_id), (c.account, account))
    where += [column == value for column, value in named if value is not None]

    def query(last: dict[str, Any] | None, timed: bool) -> sa.Select[Any]:
        found = sa.select(ledger.swaps).where(
            *where, c.claimed_at.is_not(None) if timed else c.claimed_at.is_(None)
        )
        number = sa.func.coalesce(c.row_number, 0)
        if last:
            here = last["row_number"] or 0
            later = sa.or_(number > here, sa.and_(number == here, c.swap_id > last["swap_id"]))
            if timed:
                sent = last["claimed_at"]
                later = sa.or_(c.claimed_at > sent, sa.and_(c.claimed_at == sent, later))
            found = found.where(later)
        return found.order_by(c.claimed_at, number, c.swap_id)

    for timed in (True, False):
        yield from map(Swap.from_row, ledger.database.stream(partial(query, timed=timed)))


def _resolution(value: Resolution | str) -> Resolution:
    try:
        return Resolution(value)
    except ValueError:
        known = ", ".join(map(repr, map(str, Resolution)))
        raise ResolutionError(f"resolution must be one of {known}; got {str(value)!r}.") from None


def _checked_uuid(resolution: Resolution, img_uuid: str | None) -> str | None:
    given = (img_uuid or "").strip()
    if resolution is not Resolution.BILLED:
        if given:
            raise ResolutionError(
                f"img_uuid names the job of a billed submit; got it with {resolution!s}. Omit it, or settle the submit "
                "as billed."
            )
        return None
    if not given:
        raise ResolutionError(
            "A billed submit needs the img_uuid of its job, from the vendor's console. Without it the picture cannot "
            "be collected: settle the submit as written_off."
        )
    if len(given) > MAX_UUID or len(given.split()) != 1 or not given.isprintable():
        raise ResolutionError(
            f"img_uuid must be one UUID of at most {MAX_UUID} characters; got {given[:MAX_UUID]!r}."
        )
    return given


def _refuse_job_of_another(owner: Swap | None, img_uuid: str, row: Swap) -> None:
    if owner is None or (owner.swap_id == row.swap_id and owner.img_uuid == img_uuid):
        return  # The second is this very step, whose transaction runs again.
    whose = "an earlier submit of the same row" if owner.swap_id == row.swap_id else _name(owner)
    raise ResolutionError(
        f"The job {img_uuid} is already that of {whose}. Check the UUID in the vendor's console; nothing was changed."
    )


def _refuse_half(rows: Sequence[Swap], settled: Sequence[Swap]) -> None:
    """Raise an error if rows have moved since they were read; the transaction is rolled back then."""
    moved = {swap.swap_id for swap in settled}
    left = [row for row in rows if row.swap_id not in moved]
    if left:
        raise ResolutionError(
            f"{_named(left)} changed at the same moment. Nothing was settled; look at the rows again."
        )


def _step(
    row: Swap, resolution: Resolution, by: str, at: dt.datetime, img_uuid: str | None, note: str | None
) -> ResolutionStep:
    because = f" ({note})" if note else ""
    said = f"{by} said at {at:%Y-%m-%d %H:%M} UTC that"
    before = f" Before: {row.error_message}" if row.error_message else ""
    if img_uuid is not None:
        return Billed(row.swap_id, row.attempts, row.claimed_at, by, at, img_uuid, note)
    if resolution is Resolution.NOT_BILLED:
        message = f"{said} this submit was not billed{because}; the pair may be sent again.{before}"
        return NotBilled(row.swap_id, row.attempts, row.claimed_at, by, at, message, note)
    message = f"{said} this submit is written off{because}; a new run may send the pair.{before}"
    return WrittenOff(row.swap_id, row.attempts, row.claimed_at, by, at, message, note)


def _by_ids(ledger: Ledger, swap_ids: Sequence[str]) -> list[Swap]:
    ids = list(dict.fromkeys(swap_ids))
    rows = ledger.by_ids(ids)
    missing = set(ids) - {row.swap_id for row in rows}
    if missing:
        raise ResolutionError(
            f"The results table ({ledger.database.name}) has no row {', '.join(sorted(missing)[:NAMED_ROWS])}. "
            "`airflow goenhance unknowns` lists the swap_id of each unknown submit."
        )
    return rows


def _of_run(ledger: Ledger, key: RunKey, pair_ids: Sequence[str]) -> list[Swap]:
    where = f"run {key.run_id!r} of Dag {key.dag_id!r}"
    if not RunRows(ledger.database, key).exists():
        raise ResolutionError(f"The results table ({ledger.database.name}) has no rows of {where}.")
    if not pair_ids:
        # Few, however large the run: a task stops after some unknown submits in a row.
        unknown = ledger.of_run(key, statuses=[Status.UNKNOWN])
        if not unknown:
            raise ResolutionError(f"No submit of {where} has an unknown outcome; there is nothing to settle.")
        return unknown
    found = list(RunRows(ledger.database, key, pair_ids=pair_ids))
    return [
        _only([row for row in found if row.pair_id == pair_id], pair_id, where)
        for pair_id in dict.fromkeys(pair_ids)
    ]


def _only(rows: Sequence[Swap], pair_id: str, where: str) -> Swap:
    """Return the row of a pair: its unknown one where several tasks of the run, or rows of the manifest, have it."""
    if not rows:
        raise ResolutionError(f"There is no pair {pair_id!r} in {where}.")
    meant = [row for row in rows if row.status is Status.UNKNOWN] or list(rows)
    if len(meant) > 1:
        ids = ", ".join(f"{row.swap_id} (task {row.task_id}, {row.status})" for row in meant[:NAMED_ROWS])
        raise ResolutionError(
            f"The pair {pair_id!r} has {len(meant)} rows in {where}: {ids}. Select one by its swap_id."
        )
    return meant[0]


def _name(row: Swap, *, with_status: bool = False) -> str:
    name = f"{row.label} of run {row.run_id!r} of Dag {row.dag_id!r}"
    return f"{name} is {row.status}" if with_status else name


def _named(rows: Sequence[Swap], *, with_status: bool = False) -> str:
    names = "; ".join(_name(row, with_status=with_status) for row in rows[:NAMED_ROWS])
    return names + (f"; and {len(rows) - NAMED_ROWS} more" if len(rows) > NAMED_ROWS else "")
