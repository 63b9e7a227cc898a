# SPDX-License-Identifier: Apache-2.0
"""
One reading of GoEnhance's answers, shared by the sync hook and the async client.

The envelope is ``{"code": 0, "msg": "...", "data": {...}}``; a non-zero ``code`` inside HTTP 200 is an error.
Documented failures are HTTP and ``code`` 401 with ``Token Error`` and 500 with an empty ``msg``
(https://docs.goenhance.ai/api-reference); everything else here is read defensively.
"""

from __future__ import annotations

import email.utils
import json
import re
import time
from dataclasses import dataclass
from typing import Any

from ..exceptions import (
    BadRequestError,
    GoEnhanceError,
    NotGoEnhanceAnswerError,
    OutOfCreditsError,
    RateLimitedError,
    ServerError,
    TokenRefusedError,
)
from .models import Credits, Job, Submission

#: A longer wait than this is not waited out inside one call.
MAX_RETRY_AFTER = 3600.0

_OUT_OF_CREDITS = re.compile(
    r"\b(credits?|balance|tokens?)\b.*\b(insufficient|not enough|exhausted|run out|used up)\b"
    r"|\b(insufficient|not enough|no|out of)\b.*\b(credits?|balance|tokens?)\b",
    re.IGNORECASE,
)
_QUERY = re.compile(r"(https?://[^\s?\"'<>]+)\?[^\s\"'<>]*")


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """
    An HTTP answer before anything is made of it.

    :param status: HTTP status
    :param body: the body, as text
    :param retry_after: the ``Retry-After`` header, as it came
    :param what: the call, for messages, e.g. ``"submit"``
    :param account: where it was asked, for messages: connection id and host
    """

    status: int
    body: str
    retry_after: str | None
    what: str
    account: str


def without_query(text: str) -> str:
    """Return the text with the query of every URL in it removed: a signed link's query is a secret."""
    return _QUERY.sub(r"\1?...", text)


def parse_retry_after(value: str | None) -> float | None:
    """
    Return the seconds that a ``Retry-After`` header asks for: a number of seconds or an HTTP date.

    :return: between 0 and :data:`MAX_RETRY_AFTER`; ``None`` when absent or unreadable
    """
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError):
            return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER) if seconds == seconds else None


def _envelope(answer: RawAnswer) -> dict[str, Any] | None:
    try:
        body = json.loads(answer.body)
    except ValueError:
        return None
    return body if isinstance(body, dict) and ("code" in body or "data" in body) else None


def _as_int(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _excerpt(text: str) -> str:
    flat = " ".join(without_query(text).split())
    return flat if len(flat) <= 120 else flat[:117] + "..."


def _refusal(answer: RawAnswer, code: int | None, msg: str) -> GoEnhanceError:
    """Return the error that an answer other than success stands for."""
    said = f"HTTP {answer.status}" + (f", code {code}" if code not in {None, answer.status} else "")
    said += f", {_excerpt(msg)!r}" if msg else ""
    details: dict[str, Any] = {"http_status": answer.status, "code": code, "msg": without_query(msg)}
    number = answer.status if answer.status >= 400 else code
    if number in {401, 403}:
        return TokenRefusedError(
            f"GoEnhance refused the API token of {answer.account} ({said}). "
            "Put a valid key into the connection's password field; nothing was sent or paid with this one.",
            **details,
        )
    if number == 402 or (not _is_server_fault(number) and number != 429 and _OUT_OF_CREDITS.search(msg)):
        return OutOfCreditsError(
            f"The GoEnhance account of {answer.account} is out of credits ({said}). "
            "Top it up, then retry or clear the task: rows not yet sent go on from there.",
            **details,
        )
    if number == 429:
        return RateLimitedError(
            f"GoEnhance limits the rate of {answer.account} ({said}) on {answer.what}.",
            retry_after=parse_retry_after(answer.retry_after),
            **details,
        )
    if _is_server_fault(number):
        return ServerError(f"GoEnhance answered the {answer.what} with a server error ({said}).", **details)
    return BadRequestError(f"GoEnhance declined the {answer.what} ({said}).", **details)


def _is_server_fault(number: int | None) -> bool:
    # Vendor codes above the range of HTTP statuses are business codes, not server faults.
    return number is not None and 500 <= number < 600


def _not_goenhance(answer: RawAnswer, why: str, **details: Any) -> NotGoEnhanceAnswerError:
    return NotGoEnhanceAnswerError(
        f"The answer to the {answer.what} of {answer.account} is not GoEnhance's: {why} "
        f"(HTTP {answer.status}, begins {_excerpt(answer.body)!r}). A proxy, or a wrong host in the connection?",
        http_status=answer.status,
        maybe_accepted=not 300 <= answer.status < 500,
        **details,
    )


def _data_of(answer: RawAnswer) -> dict[str, Any]:
    envelope = _envelope(answer)
    if envelope is None:
        # Without an envelope only these mean the same whoever answers; a bare 404 or 502 is some other server's.
        if answer.status in {401, 429, 500}:
            raise _refusal(answer, None, "")
        raise _not_goenhance(answer, "no JSON envelope with `code` and `data`")
    code = _as_int(envelope.get("code"))
    if answer.status >= 300 or code != 0:
        raise _refusal(answer, code, str(envelope.get("msg") or ""))
    data = envelope.get("data")
    if not isinstance(data, dict):
        raise _not_goenhance(answer, "`data` is not an object", code=code)
    return data


def read_submission(answer: RawAnswer) -> Submission:
    """
    Read the answer to a submit.

    An ``img_uuid`` counts whatever surrounds it: a job that has a name was taken, and may be billed.

    :raises GoEnhanceError: of the class that fits; ``maybe_accepted`` says whether a job may run all the same
    """
    envelope = _envelope(answer)
    data = envelope.get("data") if envelope else None
    if isinstance(data, dict) and isinstance(data.get("img_uuid"), str) and data["img_uuid"].strip():
        return Submission(img_uuid=data["img_uuid"].strip(), cost=_as_int(data.get("cost")))
    _data_of(answer)
    raise _not_goenhance(answer, "`data.img_uuid` is missing", code=0)


def _links(data: dict[str, Any]) -> tuple[str, ...]:
    items = data.get("json")
    if isinstance(items, str):
        # Seen described as a JSON column; harmless to accept either form.
        try:
            items = json.loads(items)
        except ValueError:
            items = None
    values = (
        [item.get("value") for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    )
    links = tuple(value for value in values if isinstance(value, str) and value)
    # `img_url` is in the vendor's schema but in no example: only a fallback.
    fallback = data.get("img_url")
    return links or ((fallback,) if isinstance(fallback, str) and fallback else ())


def _reason(data: dict[str, Any]) -> str | None:
    for key in ("error", "reason", "message", "fail_reason", "error_message"):
        value = data.get(key)
        if isinstance(value, dict):
            value = value.get("message") or json.dumps(value)
        if isinstance(value, str) and value.strip():
            return _excerpt(value)
    return None


def read_job(answer: RawAnswer, img_uuid: str) -> Job:
    """
    Read the answer to a detail call.

    :param img_uuid: the job that was asked for; an answer about another one is not believed
    :raises GoEnhanceError: of the class that fits
    """
    try:
        data = _data_of(answer)
    except GoEnhanceError as error:
        error.img_uuid = img_uuid
        raise
    named = data.get("img_uuid")
    if named is not None and named != img_uuid:
        raise _not_goenhance(answer, f"it is about another job than {img_uuid}", img_uuid=img_uuid)
    status = data.get("status")
    if not isinstance(status, str):
        raise _not_goenhance(answer, "`data.status` is missing", img_uuid=img_uuid)
    return Job(
        img_uuid=img_uuid,
        status=status,
        links=_links(data),
        reason=_reason(data),
        started_at=data.get("start_time"),
        ended_at=data.get("end_time"),
    )


def read_credits(answer: RawAnswer) -> Credits:
    """
    Read the answer to the credits call (https://docs.goenhance.ai/api-reference/credits/tokens).

    :raises GoEnhanceError: of the class that fits
    """
    data = _data_of(answer)
    count = _as_int(data.get("count"))
    if count is None:
        raise _not_goenhance(answer, "`data.count` is missing", code=0)
    return Credits(count=count, queue_limit=_as_int(data.get("queueLimit")))
