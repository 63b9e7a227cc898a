# SPDX-License-Identifier: Apache-2.0
"""Whether a picture's URL can be sent to GoEnhance, and how to show one that cannot."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import SplitResult, urlsplit

from ..exceptions import ErrorCode

MAX_URL_LENGTH = 2048
_LONGEST_SHOWN = 80

# Nearly all URLs of a manifest look like this; what does not is looked at by url_problem, which alone decides.
# (A test holds the two together: whatever matches here has no problem there.)
PLAIN_URL = re.compile(
    r"https?://(?=[^/]{1,63}/)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*(?::[1-9][0-9]{0,3})?/[!-~]{0,1900}"
)

# Zs, Zl, Zp: spaces and line separators; Cc: control characters; Cf: invisible ones, such as a byte order mark;
# Cs: halves of a character, which no file gives but a value from another task may.
_UNSAFE_CATEGORIES = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf", "Cs"})


def url_problem(url: str) -> tuple[str, str] | None:
    """
    Say what is wrong with a trimmed URL.

    :returns: a code and the rest of a sentence that begins with the column's name; ``None`` for a usable URL
    """
    if not url:
        return ErrorCode.MISSING_VALUE, "is blank"
    if len(url) > MAX_URL_LENGTH:
        return ErrorCode.TOO_LONG, f"is {len(url)} characters long, more than {MAX_URL_LENGTH}"
    if found := _unsafe_character(url):
        return ErrorCode.UNSAFE_CHARACTERS, f"has {found} inside: {shown_url(url)}"
    if not url.lower().startswith(("http://", "https://")):
        return ErrorCode.NOT_HTTP_URL, f"is not an http:// or https:// URL: {shown_url(url)}"
    return _authority_problem(url)


def _authority_problem(url: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        return ErrorCode.BAD_HOST, f"has no usable host ({error}): {shown_url(url)}"
    if "@" in parts.netloc:
        return (
            ErrorCode.CREDENTIALS_IN_URL,
            f"carries a user name or password, which would be sent on: {shown_url(url)}",
        )
    if not parts.hostname:
        return ErrorCode.NO_HOST, f"names no host: {shown_url(url)}"
    if not _usable(parts):
        return ErrorCode.BAD_HOST, f"has no usable host or port: {shown_url(url)}"
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


def without_secrets(url: str) -> str:
    """Blank out whatever stands before an ``@``, as a password that is not well formed may hold anything."""
    scheme, mark, rest = url.rpartition("://") if "@" not in url.partition("://")[0] else ("", "", url)
    before, at, after = rest.rpartition("@")
    return f"{scheme}{mark}***@{after}" if at and before else url


def shown_url(url: str) -> str:
    """Shorten a URL for a message: no secrets, no query, nothing that a log line could not hold."""
    text = re.split(r"[?#]", without_secrets(url), maxsplit=1)[0]
    if not text.isprintable():
        text = ascii(text)[1:-1]
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."
