# SPDX-License-Identifier: Apache-2.0
"""
Check whether the address of a picture can be used.

A usable http(s) URL is sent byte for byte as the manifest contains it: quoting it again could break its signature. An
object in a private store, or a local file, is sent as a signed link, see :mod:`..inputs`.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from urllib.parse import urlsplit

from ..exceptions import ErrorCode
from ..picture_address import PictureAddress, read_address
from ..redaction import short_url

MAX_URL_LENGTH = 2048

# Fast path: nearly all URLs of a manifest match. url_problem decides on the others, and a test makes sure that it
# finds no problem in a URL that matches here.
PLAIN_URL = re.compile(
    r"https?://(?!https?[:/])(?=[^/]{1,63}/)(?:[A-Za-z0-9-]+\.)*[A-Za-z-][A-Za-z0-9-]*(?::[1-9][0-9]{0,3})?"
    r"/(?!/)(?=.{0,1900}\Z)(?:[!#-9;-\[\]-~]++|:(?!//))*+"
)

# Zs, Zl, Zp: spaces and line separators; Cc: control characters; Cf: invisible ones, such as a byte order mark;
# Cs: surrogates, which no file contains but a value from another task may.
_UNSAFE_CATEGORIES = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf", "Cs"})

_VISIBLE_ASCII = re.compile(r"[!-~]*")

# A second URL behind a separator, or directly behind the first. Behind `/`, `=`, `:` or `&` it is a part of the
# first, as in the address of an image proxy; so it is where it is percent-encoded up to its scheme.
_SECOND_URL = re.compile(
    r"(?:[\s,;|\"<>\u3001\uff0c\uff1b\uff5c]|%(?:09|0a|0d|20))[a-z][a-z0-9+.-]*://|(?<!%[0-9a-f]{2})(?<=[a-z0-9._~-])https?://",
    re.IGNORECASE,
)
# `http://https://host`, and the same with the second colon or slashes lost.
_TWO_SCHEMES = re.compile(
    r"https?:/*(?:[a-z][a-z0-9+-]*://|https?(?=[:/%?#]|$)|(?:ftp|s3|gs)(?::/|//))", re.IGNORECASE
)
_AUTHORITY = re.compile(r"(?P<host>\[[0-9a-f:.]*\]|[^\[\]:]*)(?P<colon>:(?P<port>.*))?", re.IGNORECASE)
_ASCII_HOST = re.compile(r"[a-z0-9_.-]+", re.IGNORECASE)
_MOST_PORT = 65_535


def url_problem(url: str) -> tuple[str, str] | None:
    """
    Return what is wrong with a trimmed URL.

    :returns: an error code and a predicate for the column's name as subject; ``None`` for a usable URL
    """
    if not url:
        return ErrorCode.MISSING_VALUE, "is blank"
    if len(url) > MAX_URL_LENGTH:
        return ErrorCode.TOO_LONG, f"is {len(url)} characters long, more than {MAX_URL_LENGTH}"
    shown = short_url(url)
    if _TWO_SCHEMES.match(url):
        return ErrorCode.TWO_SCHEMES, f"begins with two schemes: {shown}"
    if (address := read_address(url)) is not None:
        return _object_problem(address, shown)
    if url.lower().startswith(("http://", "https://")):
        return _web_problem(url, shown) or _authority_problem(url, shown)
    if "://" in url and (found := _unsafe_character(url)):
        return ErrorCode.UNSAFE_CHARACTERS, f"has {found} inside: {shown}"
    return ErrorCode.NOT_HTTP_URL, f"is not an http:// or https:// URL: {shown}"


def _object_problem(address: PictureAddress, shown: str) -> tuple[str, str] | None:
    """Return what is wrong with the address of an object or a local file; their names may contain spaces."""
    if second := _SECOND_URL.search(address.uri, address.uri.find("://") + 3):
        quote = " (is a quote missing?)" if "\n" in second[0] or "\r" in second[0] else ""
        return ErrorCode.TWO_URLS, f"holds two URLs{quote}; put one URL in each cell: {shown}"
    if found := _unsafe_character(address.uri.replace(" ", "")):
        return ErrorCode.UNSAFE_CHARACTERS, f"has {found} inside: {shown}"
    if ":" in (address.conn_id or ""):
        return (
            ErrorCode.CREDENTIALS_IN_URL,
            f"carries a password; name an Airflow connection instead, as in s3://my_conn@bucket/key: {shown}",
        )
    if address.kind == "local" and not address.key.startswith("/"):
        return ErrorCode.BAD_HOST, f"is no absolute path on this machine: {shown}"
    if address.kind != "local" and not _usable_bucket(address.container):
        return ErrorCode.NO_HOST, f"names no bucket: {shown}"
    if not address.key or address.key.endswith("/"):
        return ErrorCode.NO_OBJECT, f"names a bucket or folder, not a picture: {shown}"
    return None


def _usable_bucket(name: str) -> bool:
    return bool(name) and not any(map(str.isspace, name))


def _web_problem(url: str, shown: str) -> tuple[str, str] | None:
    if second := _SECOND_URL.search(url, len("http://")):
        quote = " (is a quote missing?)" if "\n" in second[0] or "\r" in second[0] else ""
        return ErrorCode.TWO_URLS, f"holds two URLs{quote}; put one URL in each cell: {shown}"
    if not re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0].strip():
        return ErrorCode.NO_HOST, f"names no host: {shown}"
    if found := _unsafe_character(url):
        return ErrorCode.UNSAFE_CHARACTERS, f"has {found} inside: {shown}"
    if '"' in url:
        return ErrorCode.UNSAFE_CHARACTERS, f"has a double quote (write %22) inside: {shown}"
    if "\\" in re.split(r"[?#]", url, maxsplit=1)[0]:
        # A browser reads a backslash as a slash, other programs do not.
        return ErrorCode.UNSAFE_CHARACTERS, f"has a backslash (write / or %5C) inside: {shown}"
    return None


def _authority_problem(url: str, shown: str) -> tuple[str, str] | None:
    try:
        authority = urlsplit(url).netloc
    except ValueError as error:
        return ErrorCode.BAD_HOST, f"has no usable host ({error}): {shown}"
    if "@" in authority:
        return (
            ErrorCode.CREDENTIALS_IN_URL,
            f"carries a user name or password, which would be sent on: {shown}",
        )
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        return ErrorCode.BAD_HOST, f"has no usable host or port: {shown}"
    if not parts["host"]:
        return ErrorCode.NO_HOST, f"names no host: {shown}"
    if not _usable_host(parts["host"]):
        return ErrorCode.BAD_HOST, f"has no usable host or port: {shown}"
    if parts["colon"] and not parts["port"]:
        return ErrorCode.BAD_HOST, f"has no usable host or port (nothing follows the colon): {shown}"
    if parts["port"] and not _usable_port(parts["port"]):
        return ErrorCode.BAD_HOST, f"has no usable host or port (a port is 1 to {_MOST_PORT}): {shown}"
    return None


def _usable_host(host: str) -> bool:
    try:
        if host.startswith("["):
            return ipaddress.IPv6Address(host[1:-1]) is not None
        # The name that goes into the request for its address; a host of another script is sent as it is.
        name = host.encode("idna").decode("ascii")
        if not _ASCII_HOST.fullmatch(name):
            return False
        if name.rstrip(".").rpartition(".")[2].isdigit():
            return ipaddress.IPv4Address(name.rstrip(".")) is not None
    except ValueError:
        return False
    return True


def _usable_port(port: str) -> bool:
    return port.isascii() and port.isdigit() and len(port) <= len("00443") and 0 < int(port) <= _MOST_PORT


def _unsafe_character(url: str) -> str:
    if _VISIBLE_ASCII.fullmatch(url):
        return ""
    for character in url:
        if unicodedata.category(character) in _UNSAFE_CATEGORIES:
            if character == " ":
                return "a space (write %20)"
            if character in "\r\n":
                return "a line break (is a quote missing?)"
            return f"the character U+{ord(character):04X}"
    return ""
