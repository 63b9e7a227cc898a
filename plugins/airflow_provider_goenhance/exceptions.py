# SPDX-License-Identifier: Apache-2.0
"""
One error tree for everything that can go wrong with a swap, arranged by cause.

Each class says two things about itself that the rest of the package relies on:

``maybe_accepted``
    whether GoEnhance may have taken (and charged for) the POST that ended in this error;
``retryable``
    whether the same call can be expected to go better later, with nothing changed by a person.

Plain ``RuntimeError``/``ValueError`` bases, as newer providers prefer: Airflow's retries, or the retry policy in
:mod:`airflow_provider_goenhance.retry_policy`, decide what happens next, not the class of the base.
"""

from __future__ import annotations

from typing import Any


class GoEnhanceError(RuntimeError):
    """
    Base of everything this package raises about GoEnhance.

    :param message: what happened, to what, and what to do next
    :param http_status: HTTP status of the answer, if there was one
    :param code: the vendor's ``code`` inside the answer, if there was one
    :param msg: the vendor's ``msg`` inside the answer, if there was one
    :param img_uuid: the job concerned, where known
    """

    error_code: str = "goenhance_error"
    maybe_accepted: bool = False
    retryable: bool = False

    def __init__(
        self,
        message: str,
        *,
        http_status: int | None = None,
        code: int | None = None,
        msg: str | None = None,
        img_uuid: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.http_status = http_status
        self.code = code
        self.msg = msg
        self.img_uuid = img_uuid

    def __reduce__(self) -> tuple[Any, ...]:
        # Airflow pickles task errors; keyword-only arguments need help to survive that.
        return (_rebuild, (type(self), self.message, self._details()))

    def _details(self) -> dict[str, Any]:
        return {
            "http_status": self.http_status,
            "code": self.code,
            "msg": self.msg,
            "img_uuid": self.img_uuid,
        }


def _rebuild(cls: type[GoEnhanceError], message: str, details: dict[str, Any]) -> GoEnhanceError:
    return cls(message, **details)


class AuthenticationError(GoEnhanceError):
    """The API token was refused (HTTP or vendor code 401)."""

    error_code = "token_refused"


class BadRequestError(GoEnhanceError):
    """GoEnhance answered that it will not do this (4xx, or a non-zero ``code`` inside HTTP 200)."""

    error_code = "bad_request"


class OutOfCreditsError(GoEnhanceError):
    """The account has no credits left."""

    error_code = "out_of_credits"


class RateLimitedError(GoEnhanceError):
    """
    Too many requests (HTTP or vendor code 429).

    :param retry_after: seconds the vendor asks to wait, ``None`` if it does not say
    """

    error_code = "rate_limited"
    retryable = True

    def __init__(self, message: str, *, retry_after: float | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.retry_after = retry_after

    def _details(self) -> dict[str, Any]:
        return {**super()._details(), "retry_after": self.retry_after}


class UnreachableError(GoEnhanceError):
    """No connection was made, so nothing was sent: refused, no such host, TLS or proxy handshake failed."""

    error_code = "unreachable"
    retryable = True


class TaskEndedError(UnreachableError):
    """The task was killed before this was sent: nothing left this machine."""

    error_code = "task_ended"


class ConnectionLostError(GoEnhanceError):
    """The connection broke, or no answer came in time, after the request may have been sent."""

    error_code = "connection_lost"
    maybe_accepted = True
    retryable = True


class ServerError(GoEnhanceError):
    """GoEnhance answered with a server error (5xx, or vendor code 500 and up)."""

    error_code = "server_error"
    maybe_accepted = True
    retryable = True


class UnexpectedResponseError(GoEnhanceError):
    """
    The answer is not GoEnhance's: HTML, broken JSON, no envelope, or no ``img_uuid`` where one must be.

    :param maybe_accepted: ``False`` where the status alone says that the request went no further (4xx, redirect)
    """

    error_code = "not_goenhance_answer"
    retryable = True

    def __init__(self, message: str, *, maybe_accepted: bool = True, **details: Any) -> None:
        super().__init__(message, **details)
        self.maybe_accepted = maybe_accepted

    def _details(self) -> dict[str, Any]:
        return {**super()._details(), "maybe_accepted": self.maybe_accepted}


class SubmitOutcomeUnknownError(GoEnhanceError):
    """A submit may have been accepted, and paid for, but its ``img_uuid`` never reached us."""

    error_code = "submit_outcome_unknown"
    maybe_accepted = True


class JobFailedError(GoEnhanceError):
    """GoEnhance ran the job and reports that it failed."""

    error_code = "job_failed"


class JobTimedOutError(GoEnhanceError):
    """The job was still running when the time allowed for waiting was over. It goes on, and bills, at GoEnhance."""

    error_code = "job_timed_out"
    retryable = True


class WaitFailedError(GoEnhanceError):
    """The wait for jobs broke off in the triggerer. Nothing is decided; a retry takes it up again."""

    error_code = "wait_failed"
    retryable = True


class CollectError(GoEnhanceError):
    """
    A finished picture could not be fetched, was not a picture, or could not be kept.

    :param error_code: which of these, in one word of code, e.g. ``not_an_image``
    """

    error_code = "collect_failed"
    retryable = True

    def __init__(self, message: str, *, error_code: str = "collect_failed", **details: Any) -> None:
        super().__init__(message, **details)
        self.error_code = error_code

    def _details(self) -> dict[str, Any]:
        return {**super()._details(), "error_code": self.error_code}


class LinkExpiredError(CollectError):
    """The signed link to the picture was refused (HTTP 401, 403, 404 or 410): ask for a new one."""

    def __init__(self, message: str, *, error_code: str = "link_expired", **details: Any) -> None:
        super().__init__(message, error_code=error_code, **details)


class BatchFailedError(GoEnhanceError):
    """More swaps of a batch or a run went wrong than its ``allowed_failure_share`` permits."""

    error_code = "too_many_failures"


class ManifestError(ValueError):
    """The manifest cannot be used: missing, empty, wrong columns, not UTF-8. Names the file, and row and column."""


class ResultsTableError(RuntimeError):
    """The results table cannot be used; the message names the connection and the cause."""
