# SPDX-License-Identifier: Apache-2.0
"""What the trigger tells the task that it wakes: small, without links, and checked on arrival."""

from __future__ import annotations

import enum
from typing import Any

from ..api.polling import WaitOutcome
from ..exceptions import GoEnhanceError, TokenRefusedError


class EventStatus(enum.StrEnum):
    """Why the wait ended."""

    FINISHED = "finished"
    TOKEN_REFUSED = "token_refused"  # noqa: S105  not a secret
    ERROR = "error"


def event_of(outcome: WaitOutcome) -> dict[str, Any]:
    """
    Return the event for a wait that came to its end.

    Jobs that succeeded are not listed: they are those in none of the other lists.
    """
    return {
        "status": EventStatus.FINISHED.value,
        "failed": outcome.failed,
        "declined": outcome.declined,
        "running": outcome.running,
        "last_error": outcome.last_error,
    }


def event_of_error(error: BaseException) -> dict[str, Any]:
    """Return the event for a wait that could not go on."""
    status = EventStatus.TOKEN_REFUSED if isinstance(error, TokenRefusedError) else EventStatus.ERROR
    return {"status": status.value, "message": str(error) or type(error).__name__}


def outcome_of(event: Any) -> WaitOutcome:
    """
    Read an event, and raise what it stands for as the class that a worker would have raised.

    :param event: what the trigger sent
    :raises TokenRefusedError: when the trigger's token was refused
    :raises GoEnhanceError: when the trigger failed, or sent nothing that makes sense
    """
    if not isinstance(event, dict):
        raise GoEnhanceError(
            f"The trigger resumed this task without an event ({event!r}). The jobs go on at GoEnhance: "
            "a retry re-attaches to them and pays nothing."
        )
    status = event.get("status")
    if status == EventStatus.FINISHED:
        return WaitOutcome(
            failed=dict(event.get("failed") or {}),
            declined=dict(event.get("declined") or {}),
            running=list(event.get("running") or []),
            last_error=event.get("last_error"),
        )
    message = str(event.get("message") or event)
    if status == EventStatus.TOKEN_REFUSED:
        raise TokenRefusedError(message)
    if status == EventStatus.ERROR:
        raise GoEnhanceError(
            f"The wait for the jobs failed in the triggerer: {message} The jobs go on at GoEnhance: "
            "a retry re-attaches to them and pays nothing."
        )
    raise GoEnhanceError(f"The trigger sent an event with the unknown status {status!r}: {event}")
