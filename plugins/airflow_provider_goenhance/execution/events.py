# SPDX-License-Identifier: Apache-2.0
"""Events from the trigger to the task that it resumes: small, without links, and validated on arrival."""

from __future__ import annotations

import enum
from typing import Any

from ..api.polling import WaitOutcome
from ..exceptions import AuthenticationError, ErrorCode, WaitFailedError
from ..redaction import excerpt

_RETRY = "The jobs continue at GoEnhance: a retry re-attaches to them and pays nothing."


class EventStatus(enum.StrEnum):
    """Why the wait ended."""

    FINISHED = "finished"
    TOKEN_REFUSED = ErrorCode.TOKEN_REFUSED.value
    ERROR = "error"


def event_of(outcome: WaitOutcome) -> dict[str, Any]:
    """
    Return the event for a wait that ended.

    Jobs that succeeded are not listed: they are those in none of the lists.
    """
    return {
        "status": EventStatus.FINISHED.value,
        "failed": outcome.failed,
        "declined": outcome.declined,
        "running": outcome.running,
        "doubted": outcome.doubted,
        "last_error": outcome.last_error,
    }


def event_of_error(error: BaseException) -> dict[str, Any]:
    """Return the event for a wait that an error ended."""
    status = EventStatus.TOKEN_REFUSED if isinstance(error, AuthenticationError) else EventStatus.ERROR
    return {"status": status.value, "message": excerpt(str(error)) or type(error).__name__}


def outcome_of(event: Any) -> WaitOutcome:
    """
    Parse an event, or raise the error that it stands for, as a wait in the worker would have raised it.

    :param event: the payload of the trigger's event
    :raises AuthenticationError: when the trigger's token was refused
    :raises WaitFailedError: when the trigger failed or sent an invalid event; a retry may help
    """
    if not isinstance(event, dict):
        raise _broken(f"The trigger resumed this task without an event ({event!r}).")
    status = event.get("status")
    if status == EventStatus.FINISHED:
        return _finished(event)
    message = str(event.get("message") or event)
    if status == EventStatus.TOKEN_REFUSED:
        raise AuthenticationError(message)
    if status == EventStatus.ERROR:
        raise _broken(f"The wait for the jobs failed in the triggerer: {message}")
    raise _broken(f"The trigger sent an event with the unknown status {status!r}.")


def _finished(event: dict[str, Any]) -> WaitOutcome:
    failed, declined, running = event.get("failed"), event.get("declined"), event.get("running")
    if not (isinstance(failed, dict) and isinstance(declined, dict) and isinstance(running, list)):
        # Jobs missing here would be taken for succeeded ones.
        raise _broken(
            "The trigger sent a finished event without the lists of failed, declined and running jobs."
        )
    return WaitOutcome(
        failed=dict(failed),
        declined=dict(declined),
        running=list(running),
        # Absent from the events of an older triggerer.
        doubted=dict(event.get("doubted") or {}),
        last_error=event.get("last_error"),
    )


def _broken(message: str) -> WaitFailedError:
    return WaitFailedError(f"{message} {_RETRY}")
