# SPDX-License-Identifier: Apache-2.0
"""
Events from the trigger to the task that it resumes: small, without links, and validated on arrival.

The metadata database stores an event, and MySQL's TEXT holds 64 KiB. So no list in it grows with the batch: an event
names the jobs that have ended or those that still run, whichever are fewer, and neither if there are too many.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ..api.wait_outcome import WaitOutcome
from ..exceptions import AuthenticationError, ErrorCode, WaitFailedError
from ..redaction import excerpt

_RETRY = "The jobs continue at GoEnhance: a retry re-attaches to them and pays nothing."
#: The most bytes that the UUIDs of an event take as JSON: 500 of the usual length ...
LISTED_BYTES = 20_000
#: ... and each of its mappings from UUIDs to reasons or numbers.
MAPPED_BYTES = 8_000
#: Longest reason in an event, in characters.
REASON_LENGTH = 500

T = TypeVar("T")


class EventStatus(enum.StrEnum):
    """Why the wait ended."""

    FINISHED = "finished"  #: All jobs have ended, or the deadline has passed.
    HANDED_OVER = "handed_over"  #: Some jobs have ended, and the wait for the others goes on.
    UNREADABLE = "results_unreadable"  #: The triggerer cannot read the rows in the results table.
    TOKEN_REFUSED = ErrorCode.TOKEN_REFUSED.value
    ERROR = "error"


class Listed(enum.StrEnum):
    """Which jobs an event lists."""

    RUNNING = "running"  #: Those that still run; all others have ended.
    ENDED = "ended"  #: Those that have ended; all others still run.
    NONE = "none"  #: Too many to list: ask GoEnhance about each.


@dataclass(slots=True)
class Resumed:
    """
    What a task learns from the event that resumes it.

    :param outcome: what is known of the jobs; its lists are complete only as :meth:`complete` returns it
    :param listed: which jobs are listed
    :param carried: what the task has given the trigger to carry; ``None`` from a trigger of an earlier release
    :param jobs: how many jobs the trigger has waited for; ``None`` from a trigger of an earlier release
    :param unreadable: why the triggerer cannot read the rows, else ``None``
    """

    outcome: WaitOutcome
    listed: Listed = Listed.RUNNING
    carried: dict[str, Any] | None = None
    jobs: int | None = None
    unreadable: str | None = None

    def complete(self, img_uuids: Collection[str], ask: Callable[[list[str]], WaitOutcome]) -> WaitOutcome:
        """
        Return the outcome with the list of the jobs that still run.

        :param img_uuids: the jobs that the task waits for
        :param ask: polls jobs once
        """
        outcome = self.outcome
        known = {*outcome.failed, *outcome.declined}
        if self.listed is Listed.ENDED:
            known |= set(outcome.succeeded)
            outcome.running = [uuid for uuid in img_uuids if uuid not in known]
        elif self.listed is Listed.NONE:
            asked = ask([uuid for uuid in img_uuids if uuid not in known])
            outcome.running = asked.running
            outcome.failed |= asked.failed
            outcome.last_error = asked.last_error
            outcome.doubted = asked.doubted | outcome.doubted
        return outcome


def event_of(
    outcome: WaitOutcome, carried: Mapping[str, Any] | None = None, *, most_bytes: int = LISTED_BYTES
) -> dict[str, Any]:
    """
    Return the event for a wait that ended, or whose ended jobs are handed over.

    Jobs that succeeded are listed only where those that still run are too many. What does not fit of the failed ones is
    left out: the task asks for each job that has ended anyway. What does not fit of the jobs that GoEnhance does not
    know counts as running, and comes with a later event.

    :param carried: what the task has given the trigger to carry
    :param most_bytes: the most bytes that the listed UUIDs take
    """
    failed = fitting_values({uuid: _short(reason) for uuid, reason in outcome.failed.items()})
    declined = fitting_values({uuid: _short(message) for uuid, message in outcome.declined.items()})
    left = _without(outcome.declined, declined)
    running, ended = [*outcome.running, *left], [*outcome.succeeded, *_without(outcome.failed, failed)]
    listed, uuids = _fewer(running, ended, most_bytes)
    handed_over = outcome.handed_over or (bool(left) and not outcome.running)
    doubts = fitting_values(outcome.doubts)
    return {
        "status": (EventStatus.HANDED_OVER if handed_over else EventStatus.FINISHED).value,
        "jobs": len(running) + len(ended) + len(failed) + len(declined),
        "listed": listed.value,
        "failed": failed,
        "declined": declined,
        "running": uuids if listed is Listed.RUNNING else [],
        "ended": uuids if listed is Listed.ENDED else [],
        "doubted": {uuid: count for uuid, (count, _) in doubts.items()},
        "doubted_since": {uuid: since for uuid, (_, since) in doubts.items()},
        "last_error": excerpt(outcome.last_error) if outcome.last_error else None,
        "carried": _plain(carried),
    }


def event_of_error(
    error: BaseException, carried: Mapping[str, Any] | None = None, *, unreadable: bool = False
) -> dict[str, Any]:
    """
    Return the event for a wait that an error ended.

    :param carried: what the task has given the trigger to carry
    :param unreadable: whether the triggerer cannot read the results table
    """
    status = EventStatus.TOKEN_REFUSED if isinstance(error, AuthenticationError) else EventStatus.ERROR
    status = EventStatus.UNREADABLE if unreadable else status
    return {
        "status": status.value,
        "message": excerpt(str(error)) or type(error).__name__,
        "carried": _plain(carried),
    }


def resumed_by(event: Any) -> Resumed:
    """
    Parse an event, or raise the error that it stands for, as a wait in the worker would have raised it.

    :param event: the payload of the trigger's event
    :raises AuthenticationError: when the trigger's token was refused
    :raises WaitFailedError: when the trigger failed or sent an invalid event; a retry may help
    """
    if not isinstance(event, dict):
        raise _broken(f"The trigger resumed this task without an event ({event!r}).")
    status = event.get("status")
    if status in {EventStatus.FINISHED, EventStatus.HANDED_OVER}:
        return _resumed(event)
    message = str(event.get("message") or event)
    if status == EventStatus.UNREADABLE:
        return Resumed(WaitOutcome(handed_over=True), Listed.NONE, _carried(event), unreadable=message)
    if status == EventStatus.TOKEN_REFUSED:
        raise AuthenticationError(message)
    if status == EventStatus.ERROR:
        raise _broken(f"The wait for the jobs failed in the triggerer: {message}")
    raise _broken(f"The trigger sent an event with the unknown status {status!r}.")


def fitting_uuids(img_uuids: Iterable[str], most_bytes: int) -> list[str]:
    """Return the first UUIDs that take at most this many bytes as JSON."""
    fitting: list[str] = []
    for img_uuid in img_uuids:
        most_bytes -= _size(img_uuid)
        if most_bytes < 0:
            break
        fitting.append(img_uuid)
    return fitting


def _fewer(running: list[str], ended: list[str], most_bytes: int) -> tuple[Listed, list[str]]:
    listed, uuids = (Listed.RUNNING, running) if len(running) <= len(ended) else (Listed.ENDED, ended)
    return (listed, uuids) if len(fitting_uuids(uuids, most_bytes)) == len(uuids) else (Listed.NONE, [])


def fitting_values(values: Mapping[str, T]) -> dict[str, T]:
    """Return as much of a mapping as fits."""
    fitting: dict[str, T] = {}
    left = MAPPED_BYTES
    for img_uuid, value in values.items():
        left -= _size(img_uuid) + _size(value)
        if left < 0:
            break
        fitting[img_uuid] = value
    return fitting


def _without(values: Iterable[str], others: Collection[str]) -> list[str]:
    return [uuid for uuid in values if uuid not in others]


def _plain(carried: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if carried is None else dict(carried)


def _size(value: object) -> int:
    return len(json.dumps(value)) + 2


def _short(text: str) -> str:
    return text if len(text) <= REASON_LENGTH else text[: REASON_LENGTH - 3] + "..."


def _resumed(event: dict[str, Any]) -> Resumed:
    failed, declined, running = event.get("failed"), event.get("declined"), event.get("running")
    ended = event.get("ended", [])
    well_formed = (
        isinstance(failed, dict)
        and isinstance(declined, dict)
        and isinstance(running, list)
        and isinstance(ended, list)
        and event.get("listed", Listed.RUNNING) in set(Listed)
    )
    if not well_formed:
        # Jobs missing here would be taken for succeeded ones.
        raise _broken("The trigger sent an event without the lists of failed, declined and running jobs.")
    outcome = WaitOutcome(
        succeeded=list(ended),
        failed=dict(failed or {}),
        declined=dict(declined or {}),
        running=list(running or []),
        # Absent from the events of an earlier release.
        doubted=dict(event.get("doubted") or {}),
        doubted_since=dict(event.get("doubted_since") or {}),
        last_error=event.get("last_error"),
        handed_over=event["status"] == EventStatus.HANDED_OVER,
    )
    # Absent from the events of an earlier release, which list the jobs that run.
    listed = Listed(event.get("listed", Listed.RUNNING))
    return Resumed(outcome, listed, _carried(event), event.get("jobs"))


def _carried(event: dict[str, Any]) -> dict[str, Any] | None:
    carried = event.get("carried")
    return carried if isinstance(carried, dict) else None


def _broken(message: str) -> WaitFailedError:
    return WaitFailedError(f"{message} {_RETRY}")
