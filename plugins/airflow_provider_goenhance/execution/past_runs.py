# SPDX-License-Identifier: Apache-2.0
"""The rows of an earlier run as a manifest: ``run:<dag_id>/<run_id>``."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote

from ..exceptions import ManifestError
from ..manifest.tables import spool_pairs
from ..redaction import unsigned_link
from ..results.ledger import RunKey
from ..results.run_rows import RunRows
from ..results.states import Status
from .messages import pluralize

if TYPE_CHECKING:
    from ..manifest.source import Source
    from ..results.ledger import Ledger
    from ..results.swap import Swap

log = logging.getLogger(__name__)

PREFIX = "run:"
#: The rows that a new run can do something about. A rejected row would be rejected again.
STATUSES = (Status.FAILED, Status.UNKNOWN, Status.HELD, Status.PLANNED)
#: Runs that a message names.
NAMED_RUNS = 5


def names_run(location: str) -> bool:
    """Return whether the location of a manifest is a run."""
    return location.strip().startswith(PREFIX)


def location_of(key: RunKey) -> str:
    """Return the location of a run's rows as a manifest."""
    return f"{PREFIX}{key.dag_id}/{key.run_id}"


def open_run(ledger: Ledger, location: str, statuses: Collection[Status], reader: RunKey) -> Source:
    """
    Return rows of an earlier run as a manifest, in bounded memory.

    They keep their pair_ids, keys, consent references and labels, and the links that they had, and are numbered from
    1 in the order of their manifest.

    :param location: ``run:<dag_id>/<run_id>``; all behind the first slash is the run's id, as it is or URL-encoded
    :param statuses: only rows in one of these states; none for :data:`STATUSES`
    :param reader: the run that reads
    :raises ManifestError: when there is no such run, or it has no such rows
    """
    key = _key(ledger, location)
    if key == reader:
        raise ManifestError(
            f"manifest {location} is the run that reads it: name an earlier run, or clear the swap tasks of this one"
        )
    statuses = statuses or STATUSES
    rows = RunRows(ledger.database, key, statuses=statuses, counted=True)
    source = spool_pairs(_pairs(rows, location), location_of(key))
    counts = ledger.counts(key)
    if not any(counts[status] for status in statuses):
        raise ManifestError(
            f"manifest {location} has no row that is {_listed(statuses)}: the run has {_counted(counts)}. "
            "Nothing is left to do, or name other statuses"
        )
    rejected = 0 if Status.REJECTED in statuses else counts[Status.REJECTED]
    if rejected:
        log.warning(
            "%s of %s %s left out: correct and feed back the failures.csv of the run.",
            pluralize(rejected, "rejected row"),
            location,
            "is" if rejected == 1 else "are",
        )
    return source


def read_statuses(value: object) -> list[Status]:
    """
    Read the argument ``statuses``: some statuses, as a list or a text with commas between them; none if it is blank.

    :raises ValueError: when one of them is no status
    """
    words = value.strip("[]").split(",") if isinstance(value, str) else value
    if words is None:
        return []
    if not isinstance(words, list | tuple | set | frozenset):
        raise ValueError(f"statuses must be a list of statuses; got {value!r}.")  # noqa: TRY004  as for all arguments
    names = [name for word in words if (name := str(word).strip(" '\""))]
    if names == ["None"]:
        return []
    known = {str(status): status for status in Status}
    for name in names:
        if name not in known:
            raise ValueError(f"statuses must be some of {', '.join(known)}; got {name!r}.")
    return [known[name] for name in dict.fromkeys(names)]


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
    latest = ledger.latest_runs(keys[1].dag_id, NAMED_RUNS)
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
        signed += _is_signed(row)
        yield (
            row.source_img,
            row.reference_img,
            row.pair_id,
            row.consent_ref or "",
            row.source_key or "",
            row.reference_key or "",
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


def _listed(statuses: Collection[Status]) -> str:
    *first, last = map(str, statuses)
    return f"{', '.join(first)} or {last}" if first else last


def _counted(counts: dict[Status, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count) or "no rows that count"
