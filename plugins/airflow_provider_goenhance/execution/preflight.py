# SPDX-License-Identifier: Apache-2.0
"""Check the pictures of a plan before anything is paid, and note on its rows what was found."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..detection import RULES
from ..inputs.checked import CheckedPictures
from ..inputs.findings import Finding, Preflight, Rules, as_json, change_of, findings_of
from ..inputs.preflight import PictureCheck
from ..picture_address import is_private
from ..results.preflight_transitions import InputChecked, InputRejected
from ..results.run_rows import RunRows
from ..results.run_summary import warned_of
from ..results.states import Status
from .messages import pluralize
from .task_loop import TaskLoop

if TYPE_CHECKING:
    from ..inputs.preflight import Checks
    from ..inputs.shrink import PictureRole
    from ..results.ledger import Ledger, RunKey
    from ..results.preflight_transitions import PreflightStep
    from ..results.swap import Swap

log = logging.getLogger(__name__)

#: Distinct pictures above which none is checked: it would take longer than the plan.
MOST_PICTURES = 20_000
#: Findings that the log names.
NAMED_FINDINGS = 10


@dataclass(frozen=True, slots=True)
class PreflightOptions:
    """
    How the pictures are checked.

    :param mode: ``warn``, or ``reject`` the rows of pictures that cannot be used
    :param face_check: whether faces are looked for
    :param rules: what counts as wrong
    """

    mode: Preflight
    face_check: bool = False
    rules: Rules = field(default_factory=Rules)


class DistinctPictures:
    """
    Takes note of the pictures of planned rows, each once.

    :param most: no more than this many are checked; 0 takes note of none
    """

    def __init__(self, most: int = MOST_PICTURES) -> None:
        #: Each with what it is in the pairs; one that is both is a reference, for which the rules are stricter.
        self.addresses: dict[str, PictureRole] = {}
        self._most = most

    @property
    def too_many(self) -> bool:
        """Return whether there are more than are checked."""
        return len(self.addresses) > self._most

    def add(self, rows: Iterable[Swap]) -> None:
        """Take note of the pictures of the rows that would be sent."""
        if self.too_many or not self._most:
            return
        for row in rows:
            if row.status is Status.PLANNED:
                # Private ones are looked up in their stores by the plan itself.
                if not is_private(row.source_img):
                    self.addresses.setdefault(row.source_img, "source")
                if not is_private(row.reference_img):
                    self.addresses[row.reference_img] = "reference"


def check_pictures(pictures: DistinctPictures, ledger: Ledger, options: PreflightOptions) -> Checks | None:
    """Check the pictures of a plan, log how that went, and return what was found; ``None`` if none was checked."""
    if options.mode == "off" or not pictures.addresses:
        return None
    if pictures.too_many:
        log.info(
            "The pictures are not checked before they are sent: the plan has more than %d distinct ones.",
            MOST_PICTURES,
        )
        return None
    since = time.monotonic()
    check = PictureCheck(CheckedPictures(ledger.database, RULES), faces=options.face_check)
    checks = TaskLoop().run(lambda: check.check(pictures.addresses))
    log.info(
        "Checked %s in %.1f s, of which %d known from an earlier check%s.",
        pluralize(len(checks.seen), "distinct picture"),
        time.monotonic() - since,
        checks.known,
        f"; {checks.unchecked} not checked, because their server did not answer in time"
        if checks.unchecked
        else "",
    )
    return checks


def note_findings(
    checks: Checks, ledger: Ledger, key: RunKey, task_id: str, options: PreflightOptions
) -> None:
    """Write what was found on the planned rows of a run, reject those that the options reject, and log how many."""
    notes = _Notes()
    for page in RunRows(ledger.database, key, task_id=task_id, statuses=[Status.PLANNED]).pages():
        ledger.take(list(_steps(page, checks, options, notes)))
    notes.log()


def log_findings(pictures: DistinctPictures, checks: Checks, options: PreflightOptions) -> None:
    """Log what was found, for a dry run, which has no rows."""
    notes = _Notes()
    for address, role in pictures.addresses.items():
        notes.add(findings_of(address, role, checks.of(address), options.rules))
    notes.log_named()


@dataclass(slots=True)
class _Notes:
    """The first findings by name, and how many rows have any."""

    named: dict[str, None] = field(default_factory=dict)
    warned: int = 0
    rejected: int = 0
    changed: int = 0

    def add(self, findings: Iterable[Finding]) -> None:
        for one in findings:
            if len(self.named) <= NAMED_FINDINGS:
                self.named[one.message] = None

    def log(self) -> None:
        self.log_named()
        if self.changed:
            log.info(
                "%s pictures that are shrunk or converted before they are sent; the rows say which.",
                pluralize(self.changed, "pair has", "pairs have"),
            )
        if self.warned or self.rejected:
            log.warning(
                "The check of the pictures warns about %s and rejected %s; the rows have the reasons.",
                pluralize(self.warned, "pair"),
                pluralize(self.rejected, "pair"),
            )

    def log_named(self) -> None:
        for message in list(self.named)[:NAMED_FINDINGS]:
            log.warning("%s", message)
        if len(self.named) > NAMED_FINDINGS:
            log.warning("... and more.")


def _steps(
    rows: Iterable[Swap], checks: Checks, options: PreflightOptions, found_so_far: _Notes
) -> Iterator[PreflightStep]:
    for row in rows:
        found = _findings(row, checks, options)
        found_so_far.add(found)
        warnings = as_json(found)
        fatal = next((one for one in found if one.rejects), None) if options.mode == "reject" else None
        if fatal is not None and not row.attempts:
            found_so_far.rejected += 1
            yield InputRejected(row.swap_id, fatal.code, f"{fatal.message} Never sent.", warnings)
            continue
        found_so_far.warned += bool(found)
        changes = _changes(row, checks, options.rules)
        # A row that was prepared before says what was done.
        notes = row.input_notes if row.attempts or row.staged_uris else changes
        found_so_far.changed += bool(changes)
        if (warnings, notes) != (row.input_warnings, row.input_notes):
            yield InputChecked(row.swap_id, warnings, notes)


def _places(row: Swap) -> tuple[tuple[str, PictureRole], ...]:
    return (row.source_img, "source"), (row.reference_img, "reference")


def _changes(row: Swap, checks: Checks, rules: Rules) -> str | None:
    """Return what will be done to the pictures of a row before they are sent."""
    changes = (change_of(address, role, checks.of(address), rules) for address, role in _places(row))
    return "; ".join(change for change in changes if change) or None


def _findings(row: Swap, checks: Checks, options: PreflightOptions) -> list[Finding]:
    return [
        one
        for address, role in _places(row)
        for one in findings_of(address, role, checks.of(address), options.rules)
    ]


def precision_line(rows: RunRows) -> str | None:
    """Return one sentence on how many of the warnings came true; ``None`` if there was none."""
    warned, failed = warned_of(rows)
    if not warned:
        return None
    return f"The check before paying warned about {pluralize(warned, 'pair')}, of which {failed} failed."
