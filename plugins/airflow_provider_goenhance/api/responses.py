# SPDX-License-Identifier: Apache-2.0
"""
Read the responses of GoEnhance, for the sync hook and the async client.

The envelope is ``{"code": 0, "msg": "...", "data": {...}}``; a non-zero ``code`` inside HTTP 200 is an error.
Documented failures are HTTP and ``code`` 401 with ``Token Error`` and 500 with an empty ``msg``
(https://docs.goenhance.ai/api-reference); everything else is read defensively.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..exceptions import (
    AuthenticationError,
    BadRequestError,
    GoEnhanceError,
    JobNotFoundError,
    OutOfCreditsError,
    RateLimitedError,
    ServerError,
    ServiceBusyError,
    UnexpectedResponseError,
)
from ..redaction import answer_text, excerpt, without_token
from .fields import (
    as_int,
    as_object,
    cost_of,
    field,
    find_img_uuid,
    objects_in,
    parsed,
    same_job,
    status_of,
    text_field,
    time_of,
)
from .job_links import links_of
from .models import DEFAULT_BASE_URL, Credits, Job, JobState, Submission
from .redirects import redirect_error
from .refusals import Refusal, refusal_of, says_job_not_found
from .retry_after import parse_retry_after

# Statuses of other servers after which a submit may have been accepted: time-outs, and a client that was too early to
# hang up.
_MAYBE_ACCEPTED = frozenset({408, 409, 444, 460, 499})


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """
    An HTTP response that has not been interpreted.

    :param status: HTTP status
    :param body: the body as text
    :param retry_after: the ``Retry-After`` header, unparsed
    :param what: the call, for messages, e.g. ``"submit"``
    :param account: the account, for messages: connection id and host
    :param url: what was requested, without its query
    :param date: the ``Date`` header
    :param location: where a redirect points, never followed
    """

    status: int
    body: str
    retry_after: str | None
    what: str
    account: str
    url: str = ""
    date: str | None = None
    location: str | None = None


def text_of(body: bytes, token: str) -> str:
    """
    Return a body as text, read as UTF-8 whatever the headers say, with our token removed.

    :param body: the body, or as much of it as was read
    :param token: the token that was sent with the request
    """
    return without_token(body.decode("utf-8-sig", errors="replace"), token)


def _envelope(answer: RawAnswer) -> dict[str, Any] | None:
    body = parsed(answer.body)
    known = isinstance(body, dict) and any(field(body, name) is not None for name in ("code", "data"))
    return body if known or (isinstance(body, dict) and ("code" in body or "data" in body)) else None


def _msg_of(envelope: dict[str, Any]) -> str:
    return text_field(envelope, "msg", "message", "error", "error_msg", "detail")


def _begins(body: str) -> str:
    """Describe an unexpected body, without revealing a link in it."""
    value = parsed(body)
    if isinstance(value, dict):
        return f"is an object with the keys {excerpt(', '.join(map(str, value)), 120) or 'none'}"
    return f"begins {excerpt(body, 120)!r}" if body.strip() else "is empty"


def _refusal(answer: RawAnswer, code: int | None, msg: str, *, paid: bool) -> GoEnhanceError:
    """Return the error for a response that is not a success."""
    said = f"HTTP {answer.status}" + (f", code {code}" if code not in {None, answer.status} else "")
    shown = excerpt(msg)
    said += f", {shown!r}" if shown else ""
    details: dict[str, Any] = {"http_status": answer.status, "code": code, "msg": shown}
    kind = refusal_of(answer.status, code, msg, paid=paid)
    if kind is Refusal.TOKEN:
        return AuthenticationError(
            f"GoEnhance refused the API token of {answer.account} ({said}). "
            f"Put a valid key into the connection's password field. This {answer.what} was not carried out and cost "
            "nothing.",
            **details,
        )
    if kind is Refusal.CREDITS:
        return OutOfCreditsError(
            f"The GoEnhance account of {answer.account} is out of credits ({said}). "
            "Top it up, then retry or clear the task: it sends the rows not sent yet.",
            **details,
        )
    if kind is Refusal.RATE:
        return RateLimitedError(
            f"GoEnhance rate-limits {answer.account} ({said}) on {answer.what}.",
            retry_after=parse_retry_after(answer.retry_after, answer.date),
            **details,
        )
    return _OTHER_REFUSALS[kind](answer.what, answer.account, said, details)


def _busy(what: str, account: str, said: str, details: dict[str, Any]) -> GoEnhanceError:
    return ServiceBusyError(
        f"GoEnhance does not carry out the {what} of {account} now ({said}). The pair is not the cause: the service "
        "is busy or under maintenance, or the connection's host is not that of the API.",
        **details,
    )


def _server_error(what: str, _: str, said: str, details: dict[str, Any]) -> GoEnhanceError:
    return ServerError(f"GoEnhance answered the {what} with a server error ({said}).", **details)


def _declined(what: str, _: str, said: str, details: dict[str, Any]) -> GoEnhanceError:
    return BadRequestError(f"GoEnhance declined the {what} ({said}).", **details)


def _job_not_found(what: str, _: str, said: str, details: dict[str, Any]) -> GoEnhanceError:
    return JobNotFoundError(f"GoEnhance answered the {what} with 'job not found' ({said}).", **details)


_OTHER_REFUSALS = {
    Refusal.BUSY: _busy,
    Refusal.UNKNOWN: _server_error,
    Refusal.DECLINED: _declined,
    Refusal.NO_SUCH_JOB: _job_not_found,
}


def _not_goenhance(answer: RawAnswer, why: str, **details: Any) -> UnexpectedResponseError:
    return UnexpectedResponseError(
        f"The response to the {answer.what} of {answer.account} did not come from GoEnhance: {why} "
        f"(HTTP {answer.status}, the body {_begins(answer.body)}). Check the connection's host and any proxy.",
        http_status=answer.status,
        maybe_accepted=answer.status in _MAYBE_ACCEPTED or not 400 <= answer.status < 500,
        **details,
    )


def _data_of(answer: RawAnswer, *, paid: bool = False) -> dict[str, Any]:
    if 300 <= answer.status < 400:
        raise redirect_error(answer)
    envelope = _envelope(answer)
    if envelope is None:
        # Without an envelope only these are unambiguous; a bare 404 or 502 comes from some other server.
        if answer.status in {401, 402, 429, 500}:
            raise _refusal(answer, None, "", paid=paid)
        raise _not_goenhance(answer, "no JSON envelope with `code` and `data`")
    code = as_int(field(envelope, "code"))
    if code is None and (answer.status < 400 or answer.status in {404, 405}):
        # Neither success nor failure: a submit with this response may have been accepted. And a 404 without a number
        # is how other servers answer.
        raise _not_goenhance(answer, "`code` is not a number")
    if answer.status >= 300 or code != 0:
        raise _refusal(answer, code, _msg_of(envelope), paid=paid)
    data = as_object(field(envelope, "data"))
    if data is None:
        raise _not_goenhance(answer, "`data` is not an object", code=code)
    return data


def read_submission(answer: RawAnswer) -> Submission:
    """
    Read the response to a submit.

    An ``img_uuid`` counts whatever else the response says: the job exists, and may be billed.

    :raises GoEnhanceError: of the class that fits; ``maybe_accepted`` says whether a job may run nevertheless, and
        then ``answer_text`` is what the response said
    """
    if found := find_img_uuid(answer.body):
        img_uuid, data = found
        return Submission(img_uuid=img_uuid, cost=cost_of(field(data, "cost")))
    try:
        _data_of(answer, paid=True)
        raise _not_goenhance(answer, "`data.img_uuid` is missing", code=0)
    except GoEnhanceError as error:
        if error.maybe_accepted and answer.body.strip():
            error.answer_text = answer_text(answer.body)
        raise


def _reason(data: dict[str, Any]) -> str | None:
    for key in ("error", "reason", "message", "fail_reason", "error_message"):
        value = field(data, key)
        if isinstance(value, dict):
            value = text_field(value, "message", "msg", "reason") or str(value)
        if isinstance(value, str) and value.strip():
            return excerpt(value)
    return None


def read_job(answer: RawAnswer, img_uuid: str) -> Job:
    """
    Read the response to a detail call.

    :param img_uuid: the job that was requested; a response about another one is an error
    :raises JobNotFoundError: when the response says that GoEnhance does not know the job
    :raises GoEnhanceError: of the class that fits
    """
    envelope = _envelope(answer) or {}
    data = _described(answer, envelope, img_uuid)
    if data is None:
        try:
            data = _data_of(answer)
        except GoEnhanceError as error:
            error.img_uuid = img_uuid
            raise _without_data(error, envelope) from None
    named = field(data, "img_uuid")
    if named is not None and not same_job(named, img_uuid):
        raise _not_goenhance(answer, f"it describes a different job; expected {img_uuid}", img_uuid=img_uuid)
    status = status_of(field(data, "status"))
    if status is None:
        missing = _not_goenhance(answer, "`data.status` is missing", code=0, img_uuid=img_uuid)
        raise _without_data(missing, envelope)
    job = Job(
        img_uuid=img_uuid,
        status=status,
        links=links_of(data, answer.url or DEFAULT_BASE_URL),
        reason=_reason(data),
        started_at=time_of(field(data, "start_time")),
        ended_at=time_of(field(data, "end_time")),
    )
    if job.reason is None and job.state is JobState.FAILED:
        # A failed job may have its reason in the envelope.
        msg = _msg_of(envelope)
        return job if msg.strip().lower() in {"", "success", "ok"} else replace(job, reason=excerpt(msg))
    return job


def _described(answer: RawAnswer, envelope: dict[str, Any], img_uuid: str) -> dict[str, Any] | None:
    """Return the object that names and describes the job, wherever it stands, and whatever ``code`` is beside it."""
    if not 200 <= answer.status < 300:
        return None
    data = envelope.get("data")
    found = (
        [data]
        if isinstance(data, dict) and data.get("img_uuid") == img_uuid
        else objects_in(parsed(answer.body))
    )
    return next(
        (
            each
            for each in found
            if isinstance(field(each, "status"), str) and same_job(field(each, "img_uuid"), img_uuid)
        ),
        None,
    )


def _without_data(error: GoEnhanceError, envelope: dict[str, Any]) -> GoEnhanceError:
    """Return the error of a response without a job: another one if ``msg`` says that there is no such job."""
    msg = _msg_of(envelope)
    if error.code != 0 or not says_job_not_found(msg):
        return error
    said = f"HTTP {error.http_status}, code 0, {excerpt(msg)!r}"
    details = {"http_status": error.http_status, "code": 0, "msg": excerpt(msg), "img_uuid": error.img_uuid}
    return _job_not_found("status call", "", said, details)


def read_credits(answer: RawAnswer) -> Credits:
    """
    Read the response to the credits call (https://docs.goenhance.ai/api-reference/credits/tokens).

    :raises GoEnhanceError: of the class that fits
    """
    data = _data_of(answer)
    count = as_int(field(data, "count"))
    if count is None:
        raise _not_goenhance(answer, "`data.count` is missing", code=0)
    return Credits(count=count, queue_limit=as_int(field(data, "queueLimit")))
