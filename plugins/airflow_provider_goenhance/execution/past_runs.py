# SPDX-License-Identifier: Apache-2.0
"""The rows of an earlier run as a manifest: ``run:<dag_id>/<run_id>``."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from ..exceptions import ManifestError
from ..manifest.consent import expiry_text
from ..manifest.tables import spool_pairs
from ..redaction import unsigned_link
from ..results.latest_runs import latest_runs
from ..results.ledger import RunKey
from ..results.run_rows import RunRows
from ..results.states import Review, Status
from .messages import pluralize

if TYPE_CHECKING:
    from ..manifest.source import Source
    from ..results.ledger import Ledger
    from ..results.swap import Swap

log = logging.getLogger(__name__)

PREFIX = "run:"
#: The rows that a new run can do something about. A rejected row would be rejected again.
STATUSES = (Status.FAILED, Status.UNKNOWN, Status.HELD, Status.PLANNED)
#: Among the statuses: rows whose pictures a reviewer rejected. A ``rejected`` row is one that was never sent.
REJECTED_BY_REVIEWER = "rejected_by_reviewer"
#: Runs that a message names.
NAMED_RUNS = 5


def names_run(location: str) -> bool:
    """Return whether the location of a manifest is a run."""
    return location.strip().startswith(PREFIX)


def location_of(key: RunKey) -> str:
    """Return the location of a run's rows as a manifest."""
    return f"{PREFIX}{key.dag_id}/{key.run_id}"


class RowChoice(NamedTuple):
    """
    The rows of an earlier run that are read.

    :param statuses: rows in one of these states
    :param reviews: and rows whose pictures have one of these reviews
    """

    statuses: tuple[Status, ...] = STATUSES
    reviews: tuple[Review, ...] = ()

    def __str__(self) -> str:
        first, last = map(str, self.statuses), [REJECTED_BY_REVIEWER] if self.reviews else []
        return _listed([*first, *last])


def open_run(ledger: Ledger, location: str, choice: RowChoice, reader: RunKey) -> Source:
    """
    Return rows of an earlier run as a manifest, in bounded memory.

    They keep their pair_ids, keys, consent references and labels, and the links that they had, and are numbered from
    1 in the order of their manifest.

    :param location: ``run:<dag_id>/<run_id>``; all behind the first slash is the run's id, as it is or URL-encoded
    :param choice: which rows
    :param reader: the run that reads
    :raises ManifestError: when there is no such run, or it has no such rows
    """
    key = _key(ledger, location)
    if key == reader:
        raise ManifestError(
            f"manifest {location} is the run that reads it: name an earlier run, or clear the swap tasks of this one"
        )
    rows = rows_of(ledger, key, choice)
    source = spool_pairs(_pairs(rows, location), location_of(key))
    counts = ledger.counts(key)
    if not any(counts[status] for status in choice.statuses) and not rows.exists():
        raise ManifestError(
            f"manifest {location} has no row that is {choice}: the run has {_counted(counts)}. "
            "Nothing is left to do, or name other statuses"
        )
    rejected = 0 if Status.REJECTED in choice.statuses else counts[Status.REJECTED]
    if rejected:
        log.warning(
            "%s of %s %s left out: correct and feed back the failures.csv of the run.",
            pluralize(rejected, "rejected row"),
            location,
            "is" if rejected == 1 else "are",
        )
    return source


def rows_of(ledger: Ledger, key: RunKey, choice: RowChoice) -> RunRows:
    """Return the chosen rows of a run, without those that count no more."""
    return RunRows(ledger.database, key, statuses=choice.statuses, or_reviews=choice.reviews, counted=True)


def read_statuses(value: object) -> RowChoice:
    """
    Read the argument ``statuses``, as a list or a text with commas between them; the usual ones if it is blank.

    :raises ValueError: when one of them is neither a status nor :data:`REJECTED_BY_REVIEWER`
    """
    names = _names(value)
    if not names:
        return RowChoice()
    known = {str(status): status for status in Status}
    for name in names:
        if name not in known and name != REJECTED_BY_REVIEWER:
            raise ValueError(
                f"statuses must be some of {', '.join([*known, REJECTED_BY_REVIEWER])}; got {name!r}."
            )
    chosen = tuple(known[name] for name in dict.fromkeys(names) if name in known)
    return RowChoice(chosen, (Review.REJECTED,) if REJECTED_BY_REVIEWER in names else ())


def _names(value: object) -> list[str]:
    words = value.strip("[]").split(",") if isinstance(value, str) else value
    if words is None:
        return []
    if not isinstance(words, list | tuple | set | frozenset):
        raise ValueError(f"statuses must be a list of statuses; got {value!r}.")  # noqa: TRY004  as for all arguments
    names = [name for word in words if (name := str(word).strip(" '\""))]
    return [] if names == ["None"] else names


def _key(ledger: Ledger, location: str) -> RunKey:
    """Return the run that a location names."""
    dag_id, slash, run_id = location.strip().removeprefix(PREFIX).partition("/")
    if not (dag_id and slash and run_id):
        raise ManifestError(
            f"manifest {location} names no run: it must be {PREFIX}<dag_id>/<run_id>, such as "
            f"{PREFIX}goenhance_face_swap_batch/scheduled__2026-11-27T02:00:00+00:00"
        )
    keys = [RunKey(dag_id, run_id), RunKey(unquote(dag_id), unquote(run_id))]
    for key in dict.fromkeys(keys):
        if RunRows(ledger.database, key).exists():
            return key
    runs = latest_runs(ledger.database, dag_id=keys[1].dag_id, limit=NAMED_RUNS)
    latest = [run.run_id for run in runs]
    known = (
        f"the latest runs with rows are {', '.join(latest)}" if latest else "that Dag has no runs with rows"
    )
    raise ManifestError(
        f"manifest {location}: the results table ({ledger.database.name}) has no row of that run; {known}. Check the "
        "ids of Dag and run, and results_conn_id"
    )


def _pairs(rows: RunRows, location: str) -> Iterator[Sequence[str]]:
    signed = 0
    for row in rows:
        if row.erased_at:
            continue
        signed += _is_signed(row)
        yield (
            row.source_img,
            row.reference_img,
            row.pair_id,
            row.consent_ref or "",
            row.source_key or "",
            row.reference_key or "",
            expiry_text(row.consent_expires),
            row.labels or "",
        )
    if signed:
        log.warning(
            "%s of %s signed links. If they have expired, GoEnhance cannot fetch the pictures, and the jobs fail: feed "
            "back the failures.csv of the run with new links instead. Pairs that need no new submit need no new link.",
            pluralize(signed, "row"),
            f"{location} {'has' if signed == 1 else 'have'}",
        )


def _is_signed(row: Swap) -> bool:
    return any(unsigned_link(link) != link for link in (row.source_img, row.reference_img))


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def _counted(counts: dict[Status, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count) or "no rows that count"
