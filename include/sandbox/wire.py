# SPDX-License-Identifier: Apache-2.0
"""The GoEnhance wire format: envelope, token check, submit body, times."""

from __future__ import annotations

import hmac
import json
import re
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

JOB_TYPE = "mx-image-face-swap"
IMAGE_FACE_SWAP_MODEL = "-1"
MAX_BODY_BYTES = 64 * 1024
MAX_URL_LENGTH = 2048
#: A scheme, in any case, and a host. Also the pattern of the OpenAPI document.
URL_PATTERN = r"^[Hh][Tt][Tt][Pp][Ss]?://[^\x00-\x20/?#:@][^\x00-\x20/?#]*(?![^/?#])"
_URL = re.compile(URL_PATTERN)
#: `data` of a submit that was not accepted, where the HTTP status is 200: with its field, as the vendor documents it.
NO_JOB = {"img_uuid": ""}


class BadSubmitError(ValueError):
    """The submit body is invalid; the message names the field."""


def envelope(code: int, msg: str, data: Any = ..., *, status: int = 200, **headers: str) -> Response:
    """Return a response in the format of all GoEnhance responses; `data` is omitted unless passed."""
    body: dict[str, Any] = {"code": code, "msg": msg}
    if data is not ...:
        body["data"] = data
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace")
    return Response(content, status, headers or None, "application/json")


def token_error() -> Response:
    """Return the documented 401 response."""
    return envelope(401, "Token Error", status=401)


def no_credits(*, at_200: bool) -> Response:
    """Return the out-of-credits response, with HTTP status 402 or inside HTTP 200."""
    if at_200:
        return envelope(402, "Insufficient credits", NO_JOB)
    return envelope(402, "Insufficient credits", status=402)


def expired_link(reason: str) -> Response:
    """Return the response of Tencent COS to an invalid link."""
    body = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>AccessDenied</Code><Message>{reason}</Message></Error>'
    return Response(body, 403, media_type="application/xml")


def carries_token(header: str | None, token: str) -> bool:
    """Return whether an Authorization header is `Bearer <token>`."""
    scheme, _, given = (header or "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


def read_submit(body: bytes) -> tuple[str, str]:
    """
    Return (source_img, reference_img) of a submit body.

    :param body: the request body, JSON as in the vendor's page "Image Face Swap API".
    :raises BadSubmitError: a field is invalid; the message names it.
    """
    if len(body) > MAX_BODY_BYTES:
        raise BadSubmitError(f"body: longer than {MAX_BODY_BYTES} bytes")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise BadSubmitError("body: not JSON") from None
    if not isinstance(document, dict):
        raise BadSubmitError("body: must be a JSON object")
    if document.get("type") != JOB_TYPE:
        raise BadSubmitError(f"type: must be {JOB_TYPE!r}")
    args = document.get("args")
    if not isinstance(args, dict):
        raise BadSubmitError("args: must be an object with source_img and reference_img")
    return _read_url(args, "source_img"), _read_url(args, "reference_img")


def _read_url(args: dict[str, Any], name: str) -> str:
    url = args.get(name)
    if not isinstance(url, str):
        raise BadSubmitError(f"args.{name}: must be a string")
    if not _URL.match(url):
        raise BadSubmitError(f"args.{name}: must be an http or https URL with a host")
    if len(url) > MAX_URL_LENGTH:
        raise BadSubmitError(f"args.{name}: longer than {MAX_URL_LENGTH} characters")
    try:
        url.encode()
    except UnicodeEncodeError:
        raise BadSubmitError(f"args.{name}: not valid Unicode") from None
    return url


def iso_time(seconds: float) -> str:
    """Format a Unix time as the vendor does: ISO 8601, UTC, milliseconds, Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
