# SPDX-License-Identifier: Apache-2.0
"""
Cut secrets out of texts and URLs: the only module that does.

A token, the query of a signed link and the user part of a URL are secrets. Which function to use:

- :func:`excerpt`: a text of unknown origin, for a message or a row
- :func:`answer_text`: a whole response, for a row that a person compares with the vendor's console
- :func:`redact_urls`: a text that may contain URLs, at full length
- :func:`label_value`: the value of a column that travels with a row
- :func:`without_token`: a text that may echo the API token
- :func:`redact_link`: a picture's link that must stay usable where it is not signed
- :func:`unsigned_link`: the link of a manifest's row in a file that is written for a person
- :func:`link_name`: a picture's link in a message, as host and file name
- :func:`short_url`: a possibly malformed URL in a message
- :func:`mask_user`: a malformed URL that is recorded as it is
- :func:`redact_location`: a manifest's location, which is also its name
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

from .picture_address import is_private
from .url_identity import is_signed, url_identity

#: Shorter tokens are not cut out of responses: they would take innocent text with them.
SHORTEST_TOKEN = 6
#: Maximum length of a foreign text in a message or a row, characters.
LONGEST_EXCERPT = 300
#: Maximum length of a response on a row, bytes.
LONGEST_ANSWER = 2000
#: Maximum length of a URL in a message, characters.
LONGEST_URL = 80

_SCHEME = r"[a-z][a-z0-9+.-]{0,15}:(?:\\?/){2}"
# JSON may escape the slashes of a link, and a page may show it cut: everything after the `?` goes.
_LINK = re.compile(rf"({_SCHEME}[^\s?#\"'<>]*)[?#][^\s\"'<>]*", re.IGNORECASE)
# The query of a link without scheme and host, such as a request line or a relative redirect.
_QUERY = re.compile(r"\?(?=[^\s\"'<>?=]{1,64}=)[^\s\"'<>]*")
_USER = re.compile(rf"({_SCHEME})[^\s/?#\"'<>]+@", re.IGNORECASE)
_PASSWORD = re.compile(r"(?<=://)([^/?#@:]*):[^/?#]*@")
# The part of a URL before its query or fragment, with or without a scheme. In a cell of a spreadsheet such as `#N/A`,
# `#NAME?` or `see #4` neither begins there.
_BEFORE_QUERY = re.compile(r"[^?#]*://[^?#]*|[^\s?#]*[/.:][^\s?#]*(?=[?#])|[^?#]*(?=[?#][^\s?#=]{1,64}=)")
_SIGNED_QUERY = re.compile(
    r"(^|[&;?_-])(sig|sign|signature|token|expires?|credential|policy|(api)?key|ak|auth|secret|password)([&=_-]|$)",
    re.IGNORECASE,
)

# What signs a link, where it does not stand in one that is recognized: escaped, percent-encoded, or quoted alone.
_SIGNATURE = re.compile(
    r"(?<![a-z0-9])(x-(?:amz|goog)-(?:signature|credential|security-token)|sig|signature|googleaccessid|awsaccesskeyid)"
    r"(=|%(?:25)?3d|\\u003d)[\w%.~+/:-]{8,}",
    re.IGNORECASE,
)
# "Bearer xyz", "sk-...", and the value of a field or header whose name says that it is a secret.
_BEARER = re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE)
_KEY = re.compile(r"\bsk-[\w-]{6,}")
_SECRET_FIELD = re.compile(
    r"([\"']?[\w-]{0,40}(?:token|secret|password|passwd|api[_-]?key|authorization|cookie|signature|credential)[\w-]{0,20}[\"']?"
    r"\s{0,4}[:=]\s{0,4})(\"[^\"]*\"?|'[^']*'?|[^\s,;}\"']+)",
    re.IGNORECASE,
)


def redact_urls(text: str) -> str:
    """
    Return the text with the query, fragment, user and password of every URL in it removed.

    The query of a signed link is a secret, and so is the user part of a proxy's address.
    """
    without_queries = _QUERY.sub("?...", _LINK.sub(r"\1?...", text))
    return _USER.sub(r"\1", _SIGNATURE.sub(r"\1\2***", without_queries))


def label_value(text: str) -> str:
    """
    Return the value of a manifest's label without the user parts of the URLs in it.

    A value that is a link as a whole is returned as :func:`redact_link` does.
    """
    if "://" not in text:
        return text
    if text.lower().startswith(("http://", "https://")) and not any(map(str.isspace, text)):
        text = redact_link(text) or text
    return _USER.sub(r"\1", text)


def without_token(text: str, token: str) -> str:
    """Return the text with the token masked: a debugging page may echo the request."""
    return text.replace(token, "***") if len(token) >= SHORTEST_TOKEN else text


def excerpt(text: str, longest: int = LONGEST_EXCERPT) -> str:
    """Return the text as one printable line without secrets, at most ``longest`` characters."""
    # Cut before redacting as well: a hostile text must not keep the event loop busy.
    shown = redact_urls(text[: 4 * longest])
    flat = " ".join("".join(char if char.isprintable() else " " for char in shown).split())
    return flat if len(flat) <= longest else flat[: longest - 3] + "..."


def answer_text(body: str) -> str:
    """Return a response as one printable line without links' queries, tokens and keys, at most 2000 bytes."""
    text = body[: 4 * LONGEST_ANSWER]
    for pattern, instead in ((_BEARER, r"\1 ***"), (_KEY, "***"), (_SECRET_FIELD, r"\1***")):
        text = pattern.sub(instead, text)
    shown = excerpt(text, LONGEST_ANSWER)
    return shown.encode()[:LONGEST_ANSWER].decode(errors="ignore")


def redact_link(link: str | None) -> str | None:
    """
    Return a link without its user part and fragment, and without its query if that looks like a signature.

    :return: ``None`` for no link, and for one that cannot be parsed
    """
    if link is None or _is_object(link):
        return link
    try:
        parts = urlsplit(link)
    except ValueError:
        return None
    signed = is_signed(parts.query) or _SIGNED_QUERY.search(parts.query)
    query = "" if signed else parts.query
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, ""))


def unsigned_link(link: str) -> str:
    """
    Return a link, possibly a malformed one, without what signs it; byte for byte as it is if nothing does.

    Of a query that still looks like a secret then, nothing is left.
    """
    if ("?" not in link and "#" not in link) or _is_object(link):
        return link
    location, _, fragment = link.partition("#")
    address, _, query = location.partition("?")
    named = url_identity(location).partition("?")[2].split("&")
    kept = [part for part in query.split("&") if part in named]
    if _SIGNED_QUERY.search("&".join(kept)):
        kept = []
    if "&".join(kept) == query and not _SIGNED_QUERY.search(fragment):
        return link
    return f"{address}?{'&'.join(kept)}" if any(kept) else address


def _is_object(link: str) -> bool:
    """Return whether a link is the address of an object, in whose name ``?`` and ``#`` mean nothing."""
    return is_private(link) and not link.startswith("/")


def link_name(link: str) -> str:
    """Return the host and file name of a link, without its query, user part and path."""
    try:
        parts = urlsplit(link)
        host = parts.hostname or "an unnamed host"
    except ValueError:
        return "an address that cannot be read"
    last = parts.path.rsplit("/", 1)[-1][:80]
    return f"{host}/…/{last}" if last else host


def short_url(url: str) -> str:
    """
    Return a URL, possibly a malformed one, as a short printable text without user part, query and fragment.

    A text that is no URL is shown as it is: in ``#N/A`` or ``# first shoot`` the ``#`` begins no fragment.
    """
    text = mask_user(url)
    before = _BEFORE_QUERY.match(text)
    text = before[0] if before else redact_urls(text)
    if not text.isprintable():
        text = ascii(text)[1:-1]
    return text if len(text) <= LONGEST_URL else text[:LONGEST_URL] + "..."


def mask_user(url: str) -> str:
    """Mask everything before the last ``@`` of a URL: a malformed password may contain any character."""
    scheme, mark, rest = url.rpartition("://") if "@" not in url.partition("://")[0] else ("", "", url)
    before, at, after = rest.rpartition("@")
    return f"{scheme}{mark}***@{after}" if at and before else url


def redact_location(location: str) -> str:
    """
    Return a file's location without its password and, for a web address, without query and fragment.

    The user part of a storage URL stays: it names an Airflow connection. So do ``?`` and ``#`` in an object's key.
    """
    if location.lower().startswith(("http://", "https://")):
        location = re.split(r"[?#]", location, maxsplit=1)[0]
    return _PASSWORD.sub(r"\1:***@", location)
