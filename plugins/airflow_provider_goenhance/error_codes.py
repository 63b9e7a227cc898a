# SPDX-License-Identifier: Apache-2.0
"""All values of the ``error_code`` column."""

from __future__ import annotations

import enum


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
    #: The account has as many jobs under way as ``max_jobs`` allows: a retry sends the rest once some have ended.
    JOB_LIMIT_REACHED = "job_limit_reached"
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
    #: An earlier submit of the same pair has an unknown outcome, so this row was not sent: settle that submit.
    UNKNOWN_SUBMIT = "unknown_submit"
    #: Another task has the same pair in flight, so this row was not sent: a retry or clear checks again.
    IN_FLIGHT = "in_flight"
    #: A reviewer rejected the picture of the same pair, so this row was not sent: undo that, or ask for a new swap.
    PICTURE_REJECTED = "picture_rejected"
    #: A person wrote off a submit that may have been paid for: a new run sends the pair again.
    WRITTEN_OFF = "written_off"
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
    #: A budget does not cover the pair, so it was not sent: raise the budget and clear the task, or start a new run.
    BUDGET_REACHED = "budget_reached"
    #: The pair was erased, so it is not sent again: a new ``source_key`` names it a new pair, where that is allowed.
    ERASED = "erased"
    #: The pair's picture was deleted by retention, so it was not sent: ``reuse="never"`` pays for it again.
    PICTURE_DELETED = "picture_deleted"
    #: The consent has expired, so the pair was not sent: renew it and correct ``consent_expires``.
    CONSENT_EXPIRED = "consent_expired"
    #: What the run would cost was not approved, so nothing was sent: clear the plan task to be asked again.
    NOT_APPROVED = "not_approved"

    # -- the input pictures, if they are private: not sent, nothing paid --

    #: The object or file is not there: put it there or correct the row, then clear the task or start a new run.
    INPUT_NOT_FOUND = "input_not_found"
    #: The local file is outside of the folders of ``[goenhance] input_folders``, or the store refuses this one object:
    #: move it, add its folder, or give the connection the permissions that the message names.
    INPUT_NOT_ALLOWED = "input_not_allowed"
    #: The input cannot be sent as it is, for example because it is no picture: replace it.
    INPUT_UNUSABLE = "input_unusable"
    #: The object was overwritten since its row was submitted: start a new run, which swaps it as another picture.
    INPUT_CHANGED = "input_changed"
    #: The store of an input cannot be used: give the connection the permission that the message names, then clear.
    INPUT_STORE = "input_store"
    #: The store of an input cannot be reached at the moment: a retry checks again.
    INPUT_STORE_UNAVAILABLE = "input_store_unavailable"
    #: A link could not be signed for long enough: lengthen the life of the credentials, or lower ``timeout``.
    LINK_TOO_SHORT = "link_too_short"
    #: The input has to be staged, and no ``staging`` is set: set one, then clear the task.
    NO_STAGING = "no_staging"

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

    #: A kept picture is suspicious, and ``on_suspicious="fail"``: look at it, approve or reject it, and clear the task.
    SUSPICIOUS_PICTURE = "suspicious_picture"

    # -- a picture of the pair, checked before anything is sent: nothing paid; replace the picture, start a new run --

    #: The picture cannot be fetched from here, such as HTTP 404: correct its link, or make it readable.
    INPUT_UNREACHABLE = "input_unreachable"
    #: What is at the picture's address is no picture, such as an HTML page: correct the link.
    INPUT_NOT_AN_IMAGE = "input_not_an_image"
    #: The picture is larger than GoEnhance takes, and was not shrunk: make it smaller, or allow ``shrink``.
    INPUT_TOO_LARGE = "input_too_large"
    #: The picture is damaged and cannot be decoded: replace it.
    INPUT_UNREADABLE = "input_unreadable"
    #: The picture has a format for which there is no decoder here: install the one that is named, or convert it.
    INPUT_NO_DECODER = "input_no_decoder"
    #: Two independent detectors found no face in the picture: use another one, or ``preflight="warn"``.
    NO_FACE = "no_face"

    # -- the row of the manifest: never sent, nothing paid; correct the row and start a new run --

    #: A required value is blank: fill it in.
    MISSING_VALUE = "missing_value"
    #: The row has more values than the header has columns: quote values that contain a comma.
    TOO_MANY_VALUES = "too_many_values"
    #: The row, or a value of it, is not what its format promises, such as a line of JSON: correct it.
    UNREADABLE_ROW = "unreadable_row"
    #: A row of ``failures.csv`` or ``rejected.csv`` has a link without its signature: put in one that is signed again.
    SIGNATURE_REMOVED = "signature_removed"
    #: The value is too long: shorten it.
    TOO_LONG = "too_long"
    #: The value contains a space, a control character or the like: remove or encode it.
    UNSAFE_CHARACTERS = "unsafe_characters"
    #: The value is no address of a picture: use an http(s):// URL, an object in s3://, gs:// or abfs://, or a file.
    NOT_HTTP_URL = "not_http_url"
    #: The URL has no host, or no bucket: complete it.
    NO_HOST = "no_host"
    #: The address names a bucket or folder instead of a picture: complete it.
    NO_OBJECT = "no_object"
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
    #: The value is not a date: write it as ``2027-03-31``.
    BAD_DATE = "bad_date"
