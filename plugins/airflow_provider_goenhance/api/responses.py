# SPDX-License-Identifier: Apache-2.0
"""
Read the responses of GoEnhance, for the sync hook and the async client.

The envelope is ``{"code": 0, "msg": "...", "data": {...}}``; a non-zero ``code`` inside HTTP 200 is an error.
Documented failures are HTTP and ``code`` 401 with ``Token Error`` and 500 with an empty ``msg``
(https://docs.goenhance.ai/api-reference); everything else is read defensively.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from ..exceptions import (
    AuthenticationError,
    BadRequestError,
    GoEnhanceError,
    OutOfCreditsError,
    RateLimitedError,
    ServerError,
    UnexpectedResponseError,
)
from ..redaction import excerpt, without_token
from .models import Credits, Job, JobState, Submission, state_of
from .redirects import redirect_error
from .retry_after import parse_retry_after

#: The longest ``img_uuid`` that is accepted, characters: the width of the column.
_LONGEST_IMG_UUID = 128

# The words must be close together, so that "no face found; credits returned" does not stop a whole batch.
_OUT_OF_CREDITS = re.compile(
    r"\b(insufficient|not enough|no|no more|out of|run out of)\s+(\w+\s+)?(credits?|balance)\b"
    r"|\b(insufficient|not enough)\s+(\w+\s+)?tokens?\b"
    r"|\b(credits?|balance)\s+(\w+\s+){0,2}(insufficient|not enough|too low|exhausted|run out|ran out|used up)\b",
    re.IGNORECASE,
)
# In an HTTP 4xx response the vendor's own code may be more specific than the status.
_TELLING_CODES = frozenset({401, 402, 403, 429})


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


def _parsed(body: str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _envelope(answer: RawAnswer) -> dict[str, Any] | None:
    body = _parsed(answer.body)
    return body if isinstance(body, dict) and ("code" in body or "data" in body) else None


def _as_int(value: Any) -> int | None:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        return None
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _begins(body: str) -> str:
    """Describe an unexpected body, without revealing a link in it."""
    parsed = _parsed(body)
    if isinstance(parsed, dict):
        return f"is an object with the keys {excerpt(', '.join(map(str, parsed)), 120) or 'none'}"
    return f"begins {excerpt(body, 120)!r}" if body.strip() else "is empty"


def _refusal(answer: RawAnswer, code: int | None, msg: str) -> GoEnhanceError:
    """Return the error for a response that is not a success."""
    said = f"HTTP {answer.status}" + (f", code {code}" if code not in {None, answer.status} else "")
    msg = excerpt(msg)
    said += f", {msg!r}" if msg else ""
    details: dict[str, Any] = {"http_status": answer.status, "code": code, "msg": msg}
    by_status = answer.status >= 500 or (answer.status >= 400 and code not in _TELLING_CODES)
    number = answer.status if by_status else code
    if number in {401, 403}:
        return AuthenticationError(
            f"GoEnhance refused the API token of {answer.account} ({said}). "
            f"Put a valid key into the connection's password field. This {answer.what} was not carried out and cost "
            "nothing.",
            **details,
        )
    if number == 402 or (not _is_server_fault(number) and number != 429 and _OUT_OF_CREDITS.search(msg)):
        return OutOfCreditsError(
            f"The GoEnhance account of {answer.account} is out of credits ({said}). "
            "Top it up, then retry or clear the task: it sends the rows not sent yet.",
            **details,
        )
    if number == 429:
        return RateLimitedError(
            f"GoEnhance rate-limits {answer.account} ({said}) on {answer.what}.",
            retry_after=parse_retry_after(answer.retry_after, answer.date),
            **details,
        )
    if _is_server_fault(number):
        return ServerError(f"GoEnhance answered the {answer.what} with a server error ({said}).", **details)
    return BadRequestError(f"GoEnhance declined the {answer.what} ({said}).", **details)


def _is_server_fault(number: int | None) -> bool:
    # Vendor codes above the range of HTTP statuses are business codes, not server faults.
    return number is not None and 500 <= number < 600


def _not_goenhance(answer: RawAnswer, why: str, **details: Any) -> UnexpectedResponseError:
    return UnexpectedResponseError(
        f"The response to the {answer.what} of {answer.account} did not come from GoEnhance: {why} "
        f"(HTTP {answer.status}, the body {_begins(answer.body)}). Check the connection's host and any proxy.",
        http_status=answer.status,
        maybe_accepted=not 400 <= answer.status < 500,
        **details,
    )


def _data_of(answer: RawAnswer) -> dict[str, Any]:
    if 300 <= answer.status < 400:
        raise redirect_error(answer)
    envelope = _envelope(answer)
    if envelope is None:
        # Without an envelope only these are unambiguous; a bare 404 or 502 comes from some other server.
        if answer.status in {401, 429, 500}:
            raise _refusal(answer, None, "")
        raise _not_goenhance(answer, "no JSON envelope with `code` and `data`")
    code = _as_int(envelope.get("code"))
    if code is None and answer.status < 400:
        # Neither success nor failure: a submit with this response may have been accepted.
        raise _not_goenhance(answer, "`code` is not a number")
    if answer.status >= 300 or code != 0:
        raise _refusal(answer, code, str(envelope.get("msg") or ""))
    data = envelope.get("data")
    if not isinstance(data, dict):
        raise _not_goenhance(answer, "`data` is not an object", code=code)
    return data


def read_submission(answer: RawAnswer) -> Submission:
    """
    Read the response to a submit.

    An ``img_uuid`` counts whatever else the response says: the job exists, and may be billed.

    :raises GoEnhanceError: of the class that fits; ``maybe_accepted`` says whether a job may run nevertheless
    """
    envelope = _envelope(answer)
    data = envelope.get("data") if envelope else None
    if isinstance(data, dict) and (img_uuid := _img_uuid(data.get("img_uuid"))):
        return Submission(img_uuid=img_uuid, cost=_as_int(data.get("cost")))
    _data_of(answer)
    raise _not_goenhance(answer, "`data.img_uuid` is missing", code=0)


def _img_uuid(value: Any) -> str | None:
    """Return the value as an ``img_uuid``; ``None`` if neither the table nor a URL could hold it."""
    img_uuid = value.strip() if isinstance(value, str) else ""
    return img_uuid if img_uuid.isprintable() and 0 < len(img_uuid) <= _LONGEST_IMG_UUID else None


def _links(data: dict[str, Any]) -> tuple[str, ...]:
    items = data.get("json")
    if isinstance(items, str):
        # Described as a JSON column in one place, so a string is accepted too.
        items = _parsed(items)
    values = (
        [item.get("value") for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    )
    links = tuple(value for value in values if isinstance(value, str) and value)
    # `img_url` is in the vendor's schema but in no example, so it is only a fallback.
    fallback = data.get("img_url")
    return links or ((fallback,) if isinstance(fallback, str) and fallback else ())


def _reason(data: dict[str, Any]) -> str | None:
    for key in ("error", "reason", "message", "fail_reason", "error_message"):
        value = data.get(key)
        if isinstance(value, dict):
            value = value.get("message") or json.dumps(value)
        if isinstance(value, str) and value.strip():
            return excerpt(value)
    return None


def _reason_of(data: dict[str, Any], msg: Any) -> str | None:
    """Return why a job failed: from its data, else from the envelope's ``msg``."""
    reason = _reason(data)
    if reason or not isinstance(msg, str) or state_of(data.get("status")) is not JobState.FAILED:
        return reason
    return excerpt(msg) if msg.strip().lower() not in {"", "success", "ok"} else None


def read_job(answer: RawAnswer, img_uuid: str) -> Job:
    """
    Read the response to a detail call.

    :param img_uuid: the job that was requested; a response about another one is an error
    :raises GoEnhanceError: of the class that fits
    """
    envelope = _envelope(answer) or {}
    data: Any = envelope.get("data")
    if not (answer.status < 300 and _describes(data, img_uuid)):
        try:
            data = _data_of(answer)
        except GoEnhanceError as error:
            error.img_uuid = img_uuid
            raise
    named = data.get("img_uuid")
    if named is not None and named != img_uuid:
        raise _not_goenhance(answer, f"it describes a different job; expected {img_uuid}", img_uuid=img_uuid)
    status = data.get("status")
    if not isinstance(status, str):
        raise _not_goenhance(answer, "`data.status` is missing", img_uuid=img_uuid)
    return Job(
        img_uuid=img_uuid,
        status=status,
        links=_links(data),
        reason=_reason_of(data, envelope.get("msg")),
        started_at=_text(data.get("start_time")),
        ended_at=_text(data.get("end_time")),
    )


def _describes(data: Any, img_uuid: str) -> bool:
    # A named job is read whatever `code` is beside it: a failed one may have its reason there.
    return isinstance(data, dict) and data.get("img_uuid") == img_uuid and isinstance(data.get("status"), str)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def read_credits(answer: RawAnswer) -> Credits:
    """
    Read the response to the credits call (https://docs.goenhance.ai/api-reference/credits/tokens).

    :raises GoEnhanceError: of the class that fits
    """
    data = _data_of(answer)
    count = _as_int(data.get("count"))
    if count is None:
        raise _not_goenhance(answer, "`data.count` is missing", code=0)
    return Credits(count=count, queue_limit=_as_int(data.get("queueLimit")))
