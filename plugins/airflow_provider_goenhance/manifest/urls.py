# SPDX-License-Identifier: Apache-2.0
"""Check whether a picture's URL can be sent to GoEnhance."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import SplitResult, urlsplit

from ..exceptions import ErrorCode
from ..redaction import short_url

MAX_URL_LENGTH = 2048

# Fast path: nearly all URLs of a manifest match. url_problem decides on the others, and a test makes sure that it
# finds no problem in a URL that matches here.
PLAIN_URL = re.compile(
    r"https?://(?=[^/]{1,63}/)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*(?::[1-9][0-9]{0,3})?/[!-~]{0,1900}"
)

# Zs, Zl, Zp: spaces and line separators; Cc: control characters; Cf: invisible ones, such as a byte order mark;
# Cs: surrogates, which no file contains but a value from another task may.
_UNSAFE_CATEGORIES = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf", "Cs"})


def url_problem(url: str) -> tuple[str, str] | None:
    """
    Return what is wrong with a trimmed URL.

    :returns: an error code and a predicate for the column's name as subject; ``None`` for a usable URL
    """
    if not url:
        return ErrorCode.MISSING_VALUE, "is blank"
    if len(url) > MAX_URL_LENGTH:
        return ErrorCode.TOO_LONG, f"is {len(url)} characters long, more than {MAX_URL_LENGTH}"
    if found := _unsafe_character(url):
        return ErrorCode.UNSAFE_CHARACTERS, f"has {found} inside: {short_url(url)}"
    if not url.lower().startswith(("http://", "https://")):
        return ErrorCode.NOT_HTTP_URL, f"is not an http:// or https:// URL: {short_url(url)}"
    return _authority_problem(url)


def _authority_problem(url: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        return ErrorCode.BAD_HOST, f"has no usable host ({error}): {short_url(url)}"
    if "@" in parts.netloc:
        return (
            ErrorCode.CREDENTIALS_IN_URL,
            f"carries a user name or password, which would be sent on: {short_url(url)}",
        )
    if not parts.hostname:
        return ErrorCode.NO_HOST, f"names no host: {short_url(url)}"
    if not _usable(parts):
        return ErrorCode.BAD_HOST, f"has no usable host or port: {short_url(url)}"
    return None


def _usable(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    try:
        if ":" not in host:  # otherwise it is an IPv6 address, which urlsplit has checked
            host.encode("idna")
        port = parts.port
    except ValueError:
        return False
    return port is None or port > 0


def _unsafe_character(url: str) -> str:
    for character in url:
        if unicodedata.category(character) in _UNSAFE_CATEGORIES:
            if character == " ":
                return "a space (write %20)"
            if character in "\r\n":
                return "a line break (is a quote missing?)"
            return f"the character U+{ord(character):04X}"
    return ""
