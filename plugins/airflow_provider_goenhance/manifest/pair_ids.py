# SPDX-License-Identifier: Apache-2.0
"""Validate the pair_ids of a manifest, and derive those that are missing."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from urllib.parse import unquote

from ..exceptions import ErrorCode
from ..url_identity import identity_of

MAX_PAIR_ID_LENGTH = 200

# Control characters, line separators, and direction marks, which can disguise a name.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# Fast path: nearly all pair_ids match. pair_id_problem decides on the others, as with URLs.
PLAIN_PAIR_ID = re.compile(r"[ -~]{0,200}")

_NOT_SLUG = re.compile(r"[^A-Za-z0-9._-]+")
_STEM_LENGTH = 32
# 48 bits: with 24, a million pairs of pictures that are all called face.jpg and scene.jpg would contain some
# 30,000 collisions, each of which would be rejected as a duplicate.
_HASH_DIGITS = 12


def pair_id_problem(pair_id: str) -> tuple[str, str] | None:
    """
    Return what is wrong with a pair_id, as :func:`.urls.url_problem` does for a URL.

    :returns: an error code and a predicate for the column's name as subject; ``None`` for a usable pair_id
    """
    if len(pair_id) > MAX_PAIR_ID_LENGTH:
        return ErrorCode.TOO_LONG, f"is {len(pair_id)} characters long, more than {MAX_PAIR_ID_LENGTH}"
    if found := _UNSAFE.search(pair_id):
        return ErrorCode.UNSAFE_CHARACTERS, f"has the control character U+{ord(found[0]):04X} inside"
    return None


def default_pair_id(
    source_img: str, reference_img: str, *, source_key: str | None = None, reference_key: str | None = None
) -> str:
    """
    Return a pair_id derived from the two pictures alone, so that sorting the manifest does not change it.

    Nor does signing the URLs again, see :mod:`..url_identity`.

    :returns: ``<source name>__<reference name>__<hash>`` in ``[A-Za-z0-9._-]``, at most 80 characters
    """
    pictures = f"{identity_of(source_img, source_key)}\n{identity_of(reference_img, reference_key)}"
    digest = hashlib.sha256(pictures.encode()).hexdigest()[:_HASH_DIGITS]
    return f"{_stem(source_img)}__{_stem(reference_img)}__{digest}"


def _stem(url: str) -> str:
    """Return a short name from the file name in a URL, or from its host if it has none."""
    host, _, path = url.partition("?")[0].partition("#")[0].partition("://")[2].partition("/")
    name = path.rstrip("/").rpartition("/")[2]
    stem = name.rpartition(".")[0] or name or host
    if "%" in stem:
        stem = unquote(stem)
    if not stem.isascii():
        stem = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    return _NOT_SLUG.sub("-", stem)[:_STEM_LENGTH].strip("-._") or "picture"
