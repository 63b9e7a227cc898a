# SPDX-License-Identifier: Apache-2.0
"""Names for pairs: what a given one must be like, and one made from the pictures where none is given."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from urllib.parse import unquote

from ..exceptions import ErrorCode

MAX_PAIR_ID_LENGTH = 200

# Control characters, line separators, and the marks that turn the reading direction and so can disguise a name.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# Nearly all given pair_ids look like this; pair_id_problem alone decides, as with URLs.
PLAIN_PAIR_ID = re.compile(r"[ -~]{0,200}")

_NOT_SLUG = re.compile(r"[^A-Za-z0-9._-]+")
_STEM_LENGTH = 32
# 48 bits: with 24, a million pairs of pictures that are all called face.jpg and scene.jpg would hold some
# 30,000 pairs that share a name by chance, each of which would be turned away as a duplicate.
_HASH_DIGITS = 12


def pair_id_problem(pair_id: str) -> tuple[str, str] | None:
    """
    Say what is wrong with a given pair_id, as :func:`.urls.url_problem` does.

    :returns: a code and the rest of a sentence that begins with the column's name; ``None`` for a usable one
    """
    if len(pair_id) > MAX_PAIR_ID_LENGTH:
        return ErrorCode.TOO_LONG, f"is {len(pair_id)} characters long, more than {MAX_PAIR_ID_LENGTH}"
    if found := _UNSAFE.search(pair_id):
        return ErrorCode.UNSAFE_CHARACTERS, f"has the control character U+{ord(found[0]):04X} inside"
    return None


def default_pair_id(source_img: str, reference_img: str) -> str:
    """
    Make a pair_id from the two pictures' URLs alone, so that sorting the manifest does not change it.

    :returns: ``<source name>__<reference name>__<hash>`` in ``[A-Za-z0-9._-]``, at most 80 characters
    """
    digest = hashlib.sha256(f"{source_img}\n{reference_img}".encode()).hexdigest()[:_HASH_DIGITS]
    return f"{_stem(source_img)}__{_stem(reference_img)}__{digest}"


def _stem(url: str) -> str:
    """Make a short name from the file name in a URL, or from its host if it has none."""
    host, _, path = url.partition("?")[0].partition("#")[0].partition("://")[2].partition("/")
    name = path.rstrip("/").rpartition("/")[2]
    stem = name.rpartition(".")[0] or name or host
    if "%" in stem:
        stem = unquote(stem)
    if not stem.isascii():
        stem = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    return _NOT_SLUG.sub("-", stem)[:_STEM_LENGTH].strip("-._") or "picture"
