# SPDX-License-Identifier: Apache-2.0
"""
Errors by cause, and the list of all ``error_code`` values.

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

import enum
from typing import Any, Self


class ErrorCode(enum.StrEnum):
    """Every value of the ``error_code`` column. The comment above each says what it means and what to do."""

    # -- the account and the service --

    #: A GoEnhance error of no more specific kind: read the message.
    GOENHANCE_ERROR = "goenhance_error"
    #: GoEnhance refused the API token: put a valid key into the connection's password field, then clear the task.
    TOKEN_REFUSED = "token_refused"  # noqa: S105  not a secret
    #: The account has no credits left: top it up, then clear the task.
    OUT_OF_CREDITS = "out_of_credits"
    #: Too many requests for this account: a later retry sends the rest; lower the limits of the connection.
    RATE_LIMITED = "rate_limited"
    #: GoEnhance takes no submits at the moment, or the path is wrong: a retry sends the rest.
    SERVICE_BUSY = "service_busy"
    #: No connection was made, so nothing was sent: check host, proxy and network; a retry goes on.
    UNREACHABLE = "unreachable"
    #: The task was stopped before this pair was sent: clear the task to send it.
    TASK_ENDED = "task_ended"
    #: The connection broke after the request may have been sent: a status call is repeated, a submit is not.
    CONNECTION_LOST = "connection_lost"
    #: GoEnhance answered with a server error: a retry repeats what cannot have been paid for.
    SERVER_ERROR = "server_error"
    #: The answer did not come from GoEnhance: check the connection's host and any proxy.
    NOT_GOENHANCE_ANSWER = "not_goenhance_answer"

    # -- the pair and its job --

    #: GoEnhance declined the request, and nothing was paid: correct the pair, then clear the task.
    BAD_REQUEST = "bad_request"
    #: The submit may have been accepted and paid for: check the vendor's console, then decide on a resubmit.
    SUBMIT_OUTCOME_UNKNOWN = "submit_outcome_unknown"
    #: GoEnhance ran the job and it failed: check the two pictures; ``failed_job_resubmits`` pays for another try.
    JOB_FAILED = "job_failed"
    #: The job still ran when the wait ended: a retry waits again and pays nothing.
    JOB_TIMED_OUT = "job_timed_out"
    #: GoEnhance does not know the job, although it was paid for: contact the vendor with the ``img_uuid``.
    JOB_NOT_FOUND = "job_not_found"
    #: The wait ended early in the triggerer: a retry waits again and pays nothing.
    WAIT_FAILED = "wait_failed"
    #: More pairs failed than ``allowed_failure_share`` permits: read the reasons of the rows.
    TOO_MANY_FAILURES = "too_many_failures"
    #: The row left the manifest before it was sent: put it back and plan again to send it.
    WITHDRAWN = "withdrawn"

    # -- the picture: the job is paid for, and a retry collects the picture without paying again --

    #: The picture was not collected, for a reason of no more specific kind: read the message.
    COLLECT_FAILED = "collect_failed"
    #: The finished job has no link to a picture: retry, then contact the vendor with the ``img_uuid``.
    NO_LINK = "no_link"
    #: The link to the picture is not an http(s) URL: contact the vendor with the ``img_uuid``.
    BAD_LINK = "bad_link"
    #: The signed link was refused: a retry asks for a new one.
    LINK_EXPIRED = "link_expired"
    #: The download failed: a retry downloads it again.
    DOWNLOAD_FAILED = "download_failed"
    #: The download took too long: a retry downloads it again.
    DOWNLOAD_TIMED_OUT = "download_timed_out"
    #: The link redirects too often: retry, then contact the vendor.
    REDIRECT_LOOP = "redirect_loop"
    #: The link redirects to an address that is not safe to follow: contact the vendor.
    UNSAFE_REDIRECT = "unsafe_redirect"
    #: The file is larger than the limit for one picture: look at it in the vendor's console.
    TOO_LARGE = "too_large"
    #: The file is not a picture of a known format: look at it in the vendor's console.
    NOT_AN_IMAGE = "not_an_image"
    #: The picture is incomplete or damaged: a retry downloads it again.
    TRUNCATED_IMAGE = "truncated_image"
    #: The picture has more pixels than the limit: look at it in the vendor's console.
    TOO_MANY_PIXELS = "too_many_pixels"
    #: The picture could not be stored: check the storage, its connection and its free space, then retry.
    NOT_KEPT = "not_kept"
    #: The C2PA claim could not be signed: check the connection that ``signing_conn_id`` names, then retry.
    NOT_SIGNED = "not_signed"
    #: The C2PA claim in the picture cannot be read: retry; without ``signing_conn_id`` no claim is needed.
    CLAIM_UNREADABLE = "claim_unreadable"

    # -- the row of the manifest: never sent, nothing paid; correct the row and start a new run --

    #: A required value is blank: fill it in.
    MISSING_VALUE = "missing_value"
    #: The row has more values than the header has columns: quote values that contain a comma.
    TOO_MANY_VALUES = "too_many_values"
    #: The row, or a value of it, is not what its format promises, such as a line of JSON: correct it.
    UNREADABLE_ROW = "unreadable_row"
    #: The value is too long: shorten it.
    TOO_LONG = "too_long"
    #: The value contains a space, a control character or the like: remove or encode it.
    UNSAFE_CHARACTERS = "unsafe_characters"
    #: The value is not an http:// or https:// URL: use one.
    NOT_HTTP_URL = "not_http_url"
    #: The URL has no host: complete it.
    NO_HOST = "no_host"
    #: The host or port of the URL is not usable: correct it.
    BAD_HOST = "bad_host"
    #: The URL begins with two schemes, such as ``http://https://``: remove one.
    TWO_SCHEMES = "two_schemes"
    #: The cell holds two URLs: put one URL in each cell.
    TWO_URLS = "two_urls"
    #: The URL contains a user name or password, which GoEnhance would see: use a URL without them.
    CREDENTIALS_IN_URL = "credentials_in_url"
    #: Source and reference are the same picture: use two.
    SAME_PICTURE = "same_picture"
    #: An earlier row has the same ``pair_id``: each row needs its own.
    DUPLICATE_PAIR_ID = "duplicate_pair_id"
    #: The run requires a ``consent_ref`` and the row has none: fill it in.
    NO_CONSENT = "no_consent"


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


class BatchFailedError(GoEnhanceError):
    """More swaps of a batch or a run failed than its ``allowed_failure_share`` permits."""

    error_code = ErrorCode.TOO_MANY_FAILURES


class ManifestError(ValueError):
    """The manifest cannot be used: missing, empty, wrong columns, not UTF-8."""

    retryable = False


class ManifestUnavailableError(ManifestError):
    """The manifest cannot be read at the moment: a server error, a lost connection. A retry reads it again."""

    retryable = True


class ResultsTableError(RuntimeError):
    """The results table cannot be used; the message names the connection and the cause."""
