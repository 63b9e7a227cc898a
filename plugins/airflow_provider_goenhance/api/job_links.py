# SPDX-License-Identifier: Apache-2.0
"""
Find the links to the pictures of a finished job.

Documented is ``json``, a list of ``{"type": "image", "value": "https://..."}``
(https://docs.goenhance.ai/api-reference/tasks/detail). Seen elsewhere are JSON inside a text, other names for
``value``, links to videos beside those to pictures, and ``img_url``, which is in the schema but in no example.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

from .fields import field, parsed, text_field

#: More links, longer ones and deeper lists are left out: no job has them.
_MOST_LINKS = 50
_LONGEST_LINK = 8192
_DEEPEST = 3

_LINK_FIELDS = (
    "value", "url", "image_url", "img_url", "link", "src", "uri", "image", "img", "download_url", "file_url",
    "result", "output", "video_url", "video",
)  # fmt: skip

# The order of preference: a picture, then what may be one, then smaller versions of it, then what is none.
_PICTURE, _PERHAPS, _PREVIEW, _NO_PICTURE = range(4)
_PICTURE_END = re.compile(r"\.(jpe?g|jfif|png|webp|gif|avif|heic|bmp|tiff?)$", re.IGNORECASE)
_OTHER_END = re.compile(r"\.(mp4|m4v|mov|webm|avi|mkv|m3u8|mp3|wav|m4a|json|txt|zip|html?)$", re.IGNORECASE)
_OTHER_KIND = re.compile(r"video|movie|audio|sound|text|log|json|error|mask|archive", re.IGNORECASE)
_PREVIEW_KIND = re.compile(
    r"thumb|preview|cover|poster|small|watermark|input|source|reference", re.IGNORECASE
)
_PICTURE_KIND = re.compile(r"image|img|picture|photo|pic", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+-]*:", re.IGNORECASE)
_HOST_FIRST = re.compile(r"([a-z0-9-]+\.)+[a-z]{2,}(:\d+)?/", re.IGNORECASE)


def links_of(data: dict[str, Any], base_url: str) -> tuple[str, ...]:
    """
    Return the links of a job, the most likely picture first.

    :param data: the job's object
    :param base_url: what a link without a host is relative to
    """
    ranked = list(_ranked(field(data, "json"), "", 0))
    if all(rank != _PICTURE for rank, _ in ranked):
        # Only without a picture in `json`: the two may name the same one, which would be kept twice.
        ranked += _ranked(text_field(data, "img_url", "image_url"), "image", 0)
    links = [_absolute(link, base_url) for _, link in sorted(ranked, key=lambda entry: entry[0])]
    return tuple(dict.fromkeys(filter(None, links)))[:_MOST_LINKS]


def _ranked(value: Any, kind: str, depth: int) -> Iterator[tuple[int, str]]:
    """Yield each link inside a value with its rank, in the order of the response."""
    if isinstance(value, str):
        text = value.strip()
        if text[:1] in {"[", "{"}:
            value = parsed(text)
        elif _can_be_link(text):
            yield _rank(text, kind), text
    if depth >= _DEEPEST:
        return
    if isinstance(value, list):
        for item in value[: 4 * _MOST_LINKS]:
            yield from _ranked(item, kind, depth + 1)
    elif isinstance(value, dict):
        name = next((name for name in _LINK_FIELDS if field(value, name)), "")
        own_kind = text_field(value, "type", "kind", "media_type", "mime_type", "content_type")
        own_kind = own_kind or (name if name.startswith(("video", "image", "img")) else kind)
        yield from _ranked(field(value, name) if name else None, own_kind, depth + 1)


def _can_be_link(text: str) -> bool:
    if not 0 < len(text) <= _LONGEST_LINK:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    # A text without scheme or slash is a link only if it ends as a file name does.
    known = _SCHEME.match(text) or text.startswith(("/", "\\/")) or _HOST_FIRST.match(text)
    return bool(known or (" " not in text and (_PICTURE_END.search(text) or "/" in text)))


def _rank(link: str, kind: str) -> int:
    end = re.split(r"[?#]", link, maxsplit=1)[0]
    if _OTHER_KIND.search(kind):
        return _NO_PICTURE
    if _PREVIEW_KIND.search(kind):
        return _PREVIEW
    if _OTHER_END.search(end):
        return _NO_PICTURE
    return _PICTURE if _PICTURE_KIND.search(kind) or _PICTURE_END.search(end) else _PERHAPS


def _absolute(link: str, base_url: str) -> str | None:
    """Return a link with scheme and host. One that has both is returned byte for byte: its signature covers it."""
    if "\\/" in link:
        link = link.replace("\\/", "/")  # escaped twice
    if link.startswith("//"):
        return f"https:{link}"
    if _HOST_FIRST.match(link):
        return f"https://{link}"
    if _SCHEME.match(link):
        return link
    try:
        parts = urlsplit(base_url)
        return urljoin(f"{parts.scheme}://{parts.netloc}/", link)
    except ValueError:
        return None
