# SPDX-License-Identifier: Apache-2.0
"""
Errors by cause. Their ``error_code`` values are listed in :mod:`airflow_provider_goenhance.error_codes`.

The rest of the package relies on two attributes of each class:

``maybe_accepted``
    whether GoEnhance may have accepted (and charged for) the POST that ended in this error;
``retryable``
    whether the same call may succeed later although no person has changed anything, and costs nothing twice.

An error that may have been accepted is not retryable. The same error of a free call is: the client says which call it
was, see :meth:`GoEnhanceError.of_free_call`. A task that records its submits may also be retried, because it holds back
what has no known outcome.

The bases are plain ``RuntimeError`` and ``ValueError``, as in newer providers: Airflow's retries, or the policy in
:mod:`airflow_provider_goenhance.retry_policy`, decide whether to try again.
"""

from __future__ import annotations

from typing import Any, Self

from .error_codes import ErrorCode as ErrorCode


class GoEnhanceError(RuntimeError):
    """
    Base of all errors about GoEnhance.

    :param message: what happened, to what, and what to do next
    :param http_status: HTTP status of the answer, if there was one
    :param code: the vendor's ``code`` inside the answer, if there was one
    :param msg: the vendor's ``msg`` inside the answer, if there was one
    :param img_uuid: the job concerned, where known
    """

    error_code: str = ErrorCode.GOENHANCE_ERROR
    maybe_accepted: bool = False
    retryable: bool = False
    #: What GoEnhance answered to a submit of unknown outcome, without secrets: for the row, not for messages.
    answer_text: str | None = None

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
        # Airflow pickles task errors, and pickle alone would drop the keyword-only arguments.
        kept = {"maybe_accepted": self.maybe_accepted, "retryable": self.retryable}
        return (_rebuild, (type(self), self.message, self._details()), kept)

    def of_free_call(self) -> Self:
        """Return this error as that of a call that cost nothing, which is repeated instead."""
        if self.maybe_accepted:
            self.maybe_accepted, self.retryable = False, True
        return self

    def of_paid_call(self) -> Self:
        """Return this error as that of a submit, which is not repeated where it may have been accepted."""
        if self.maybe_accepted:
            self.retryable = False
        return self

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

    error_code = ErrorCode.TOKEN_REFUSED


class BadRequestError(GoEnhanceError):
    """GoEnhance declined the request (4xx, or a non-zero ``code`` inside HTTP 200)."""

    error_code = ErrorCode.BAD_REQUEST


class ConsentExpiredError(GoEnhanceError):
    """The consent of the person shown has expired; nothing was sent."""

    error_code = ErrorCode.CONSENT_EXPIRED


class JobNotFoundError(BadRequestError):
    """GoEnhance says that it does not know the job. Believed only when it has said so for some time."""

    error_code = ErrorCode.JOB_NOT_FOUND


class OutOfCreditsError(GoEnhanceError):
    """The account has no credits left."""

    error_code = ErrorCode.OUT_OF_CREDITS


class RateLimitedError(GoEnhanceError):
    """
    Too many requests (HTTP or vendor code 429).

    :param retry_after: seconds that GoEnhance asks to wait, ``None`` if unspecified
    """

    error_code = ErrorCode.RATE_LIMITED
    retryable = True

    def __init__(self, message: str, *, retry_after: float | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.retry_after = retry_after

    def _details(self) -> dict[str, Any]:
        return {**super()._details(), "retry_after": self.retry_after}


class ServiceBusyError(GoEnhanceError):
    """GoEnhance refused the request for a reason that passes and is not the pair: busy, maintenance, a wrong path."""

    error_code = ErrorCode.SERVICE_BUSY
    retryable = True


class JobLimitReachedError(GoEnhanceError):
    """The account has as many jobs under way as its connection allows, and the task does not wait for room."""

    error_code = ErrorCode.JOB_LIMIT_REACHED
    retryable = True


class UnreachableError(GoEnhanceError):
    """No connection was made, so nothing was sent: refused, unknown host, failed TLS or proxy handshake."""

    error_code = ErrorCode.UNREACHABLE
    retryable = True


class TaskEndedError(UnreachableError):
    """The task was stopped before this was sent."""

    error_code = ErrorCode.TASK_ENDED


class ConnectionLostError(GoEnhanceError):
    """The connection broke, or no answer came in time, after the request may have been sent."""

    error_code = ErrorCode.CONNECTION_LOST
    maybe_accepted = True


class ServerError(GoEnhanceError):
    """GoEnhance answered with a server error or time-out: 5xx, 408 or 499, such a ``code``, or words that say so."""

    error_code = ErrorCode.SERVER_ERROR
    maybe_accepted = True


class UnexpectedResponseError(GoEnhanceError):
    """
    The answer did not come from GoEnhance: HTML, broken JSON, no envelope, or a submit without ``img_uuid``.

    :param maybe_accepted: ``False`` where the HTTP status rules it out (4xx)
    """

    error_code = ErrorCode.NOT_GOENHANCE_ANSWER
    maybe_accepted = True

    def __init__(self, message: str, *, maybe_accepted: bool = True, **details: Any) -> None:
        super().__init__(message, **details)
        self.maybe_accepted, self.retryable = maybe_accepted, not maybe_accepted

    def _details(self) -> dict[str, Any]:
        return {**super()._details(), "maybe_accepted": self.maybe_accepted}


class SubmitOutcomeUnknownError(GoEnhanceError):
    """A submit may have been accepted and paid for, but its ``img_uuid`` was not received."""

    error_code = ErrorCode.SUBMIT_OUTCOME_UNKNOWN
    maybe_accepted = True


class PairHeldError(GoEnhanceError):
    """
    A pair was not sent, because of another submit of the same pair. Nothing was paid.

    :param error_code: the exact cause, e.g. ``in_flight``
    """

    error_code: str = ErrorCode.UNKNOWN_SUBMIT

    def __init__(self, message: str, *, error_code: str = ErrorCode.UNKNOWN_SUBMIT, **details: Any) -> None:
        super().__init__(message, **details)
        self.error_code = error_code

    def _details(self) -> dict[str, Any]:
        return {**super()._details(), "error_code": self.error_code}


class JobFailedError(GoEnhanceError):
    """GoEnhance reports that the job failed."""

    error_code = ErrorCode.JOB_FAILED


class JobTimedOutError(GoEnhanceError):
    """The job was still running when the wait timed out. It keeps running, and billing, at GoEnhance."""

    error_code = ErrorCode.JOB_TIMED_OUT
    retryable = True


class WaitFailedError(GoEnhanceError):
    """The wait for jobs ended early in the triggerer. A retry waits again and pays nothing."""

    error_code = ErrorCode.WAIT_FAILED
    retryable = True


class CollectError(GoEnhanceError):
    """
    A finished picture could not be downloaded, verified or stored.

    :param error_code: the exact cause, e.g. ``not_an_image``
    """

    error_code: str = ErrorCode.COLLECT_FAILED
    retryable = True

    def __init__(self, message: str, *, error_code: str = ErrorCode.COLLECT_FAILED, **details: Any) -> None:
        super().__init__(message, **details)
        self.error_code = error_code

    def _details(self) -> dict[str, Any]:
        return {**super()._details(), "error_code": self.error_code}


class LinkExpiredError(CollectError):
    """The signed link to the picture was refused (HTTP 401, 403, 404 or 410); a new one is needed."""

    def __init__(self, message: str, *, error_code: str = ErrorCode.LINK_EXPIRED, **details: Any) -> None:
        super().__init__(message, error_code=error_code, **details)


class InputError(GoEnhanceError):
    """
    An input picture of one pair cannot be sent: it is not there, not allowed, or no picture. Nothing was paid.

    :param error_code: the exact cause, e.g. ``input_not_found``
    """

    error_code: str = ErrorCode.INPUT_UNUSABLE
    #: Copies that were made of the other picture of the pair: somebody has to remove them.
    staged_uris: tuple[str, ...] = ()

    def __init__(self, message: str, *, error_code: str = ErrorCode.INPUT_UNUSABLE, **details: Any) -> None:
        super().__init__(message, **details)
        self.error_code = error_code

    def _details(self) -> dict[str, Any]:
        return {**super()._details(), "error_code": self.error_code}


class InputUnavailableError(InputError):
    """An input picture of one pair cannot be read at the moment. Its row stays planned, and a retry checks again."""

    retryable = True

    def __init__(
        self, message: str, *, error_code: str = ErrorCode.INPUT_UNREACHABLE, **details: Any
    ) -> None:
        super().__init__(message, error_code=error_code, **details)


class InputStoreError(GoEnhanceError):
    """
    A store of input pictures cannot be used: no permission, no credentials, a missing package. Nothing was sent.

    :param error_code: the exact cause, e.g. ``link_too_short``
    """

    error_code: str = ErrorCode.INPUT_STORE

    def __init__(self, message: str, *, error_code: str = ErrorCode.INPUT_STORE, **details: Any) -> None:
        super().__init__(message, **details)
        self.error_code = error_code

    def _details(self) -> dict[str, Any]:
        return {**super()._details(), "error_code": self.error_code}


class InputStoreUnavailableError(InputStoreError):
    """A store of input pictures cannot be reached at the moment. A retry checks again."""

    retryable = True

    def __init__(
        self, message: str, *, error_code: str = ErrorCode.INPUT_STORE_UNAVAILABLE, **details: Any
    ) -> None:
        super().__init__(message, error_code=error_code, **details)


class BatchFailedError(GoEnhanceError):
    """More swaps of a batch or a run failed than its ``allowed_failure_share`` permits."""

    error_code = ErrorCode.TOO_MANY_FAILURES


class BudgetReachedError(GoEnhanceError):
    """A budget had no room for some pairs, and ``on_budget_reached="fail"`` says that this is a failure."""

    error_code = ErrorCode.BUDGET_REACHED


class SuspiciousPictureError(GoEnhanceError):
    """Kept pictures are suspicious, and ``on_suspicious="fail"`` says that this is a failure. Nothing is paid again."""

    error_code = ErrorCode.SUSPICIOUS_PICTURE


class NotApprovedError(GoEnhanceError):
    """A person refused what a run would cost, or nobody answered in time. Nothing was sent."""

    error_code = ErrorCode.NOT_APPROVED


class ManifestError(ValueError):
    """The manifest cannot be used: missing, empty, wrong columns, not UTF-8."""

    retryable = False


class ManifestUnavailableError(ManifestError):
    """The manifest cannot be read at the moment: a server error, a lost connection. A retry reads it again."""

    retryable = True


class ResultsTableError(RuntimeError):
    """The results table cannot be used; the message names the connection and the cause."""
