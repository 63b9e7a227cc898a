# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a picture in its place in a pair, by what is known about it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..error_codes import ErrorCode
from ..redaction import link_name
from .look import Look, LookError
from .shrink import MAX_INPUT_BYTES, Shrink, may_shrink

if TYPE_CHECKING:
    from .shrink import PictureRole

Preflight = Literal["off", "warn", "reject"]

#: Pixels of the smallest face, and of the shorter side of a picture, that are not warned of. GoEnhance publishes none.
SMALL_FACE = 64
FEW_PIXELS = 128
#: Formats that every face swap service takes; GoEnhance names none.
_USUAL = frozenset({"jpeg", "png", "webp"})
#: Addresses that people copy from a browser, of pages that show a picture, and how its file is addressed.
_PAGES = (
    (re.compile(r"https?://(www\.)?dropbox\.com/", re.IGNORECASE), "dl=1 in place of dl=0"),
    (
        re.compile(r"https?://drive\.google\.com/(file/d/|open\?)", re.IGNORECASE),
        "https://drive.google.com/uc?export=download&id=, followed by the id of the file",
    ),
    (
        re.compile(r"https?://(www\.)?github\.com/[^/]+/[^/]+/blob/", re.IGNORECASE),
        "/raw/ in place of /blob/",
    ),
    (
        re.compile(r"https?://(www\.)?imgur\.com/", re.IGNORECASE),
        "https://i.imgur.com/, followed by the id and .jpg",
    ),
    (re.compile(r"https?://[^/]+\.sharepoint\.com/", re.IGNORECASE), "the parameter download=1 added"),
)


@dataclass(frozen=True, slots=True)
class Rules:
    """
    What counts as wrong.

    :param shrink: which pictures are shrunk before they are sent
    :param stages: whether pictures can be changed before they are sent at all
    """

    shrink: Shrink = "source"
    stages: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """
    Something that is wrong with a picture of a pair.

    :param picture: ``source`` or ``reference``
    :param code: what it is; the error code of a row that is rejected for it
    :param message: a sentence that names the picture, and what to do
    :param rejects: whether ``preflight="reject"`` rejects the row
    """

    picture: PictureRole
    code: str
    message: str
    rejects: bool


def findings_of(
    address: str, role: PictureRole, seen: Look | LookError | None, rules: Rules
) -> list[Finding]:
    """
    Return what is wrong with a picture.

    :param address: where it is
    :param role: what it is in its pair
    :param seen: what is known about it; ``None`` if nobody has looked
    """
    if seen is None:
        return []
    name = f"{role}_img {link_name(address)}"
    if isinstance(seen, LookError):
        advice = _advice(address, seen) if seen.lasting else "It may be readable later"
        return [Finding(role, seen.code, f"{name}: {seen}. {advice}.", seen.lasting)]
    found = [*_of_file(seen, role, rules), *_of_faces(seen, role)]
    return [Finding(role, code, f"{name} {what}.", rejects) for code, what, rejects in found]


def _advice(address: str, seen: LookError) -> str:
    """Return what to do about an address with which something is wrong for good."""
    if seen.code == ErrorCode.INPUT_NOT_AN_IMAGE:
        for page, file in _PAGES:
            if page.match(address):
                return f"Its address is that of a page; its file has another one: {file}"
    return "Correct its address, or make it readable"


def change_of(address: str, role: PictureRole, seen: Look | LookError | None, rules: Rules) -> str | None:
    """
    Return what will be done to a picture before it is sent, for its row; ``None`` if nothing will.

    A picture that will be changed is not warned of: the swap task reads the note, and looks at the picture.
    """
    if seen is None or isinstance(seen, LookError) or not rules.stages:
        return None
    too_large = seen.size is not None and seen.size > MAX_INPUT_BYTES
    if too_large and not may_shrink(role, rules.shrink):
        return None
    if too_large:
        return f"{role}_img {link_name(address)} has {seen.size:,} bytes, and is shrunk before it is sent"
    if seen.kind not in _USUAL:
        return f"{role}_img {link_name(address)} is a {seen.kind.upper()} file, and is converted before it is sent"
    return None


def as_json(findings: Iterable[Finding]) -> str | None:
    """Return findings as the column ``input_warnings`` holds them; ``None`` without any."""
    listed = [{"picture": one.picture, "code": one.code, "message": one.message} for one in findings]
    return json.dumps(listed, ensure_ascii=False) if listed else None


def _of_file(seen: Look, role: PictureRole, rules: Rules) -> Iterable[tuple[str, str, bool]]:
    if seen.size is not None and seen.size > MAX_INPUT_BYTES:
        too_large = f"has {seen.size:,} bytes; GoEnhance takes at most {MAX_INPUT_BYTES:,}"
        if not may_shrink(role, rules.shrink):
            yield ErrorCode.INPUT_TOO_LARGE, f"{too_large}. Make it smaller, or set shrink", True
        elif not rules.stages:
            yield (
                ErrorCode.INPUT_TOO_LARGE,
                f"{too_large}. Make it smaller, or set staging, so that it can be shrunk",
                True,
            )
    if seen.kind not in _USUAL and not rules.stages:
        yield (
            "unusual_format",
            f"is a {seen.kind.upper()} file, which GoEnhance may not take. Use a JPEG, PNG or WebP",
            False,
        )
    if seen.width and seen.height and min(seen.width, seen.height) < FEW_PIXELS:
        yield (
            "few_pixels",
            f"has only {seen.width} x {seen.height} pixels. Use a larger one",
            False,
        )


def _of_faces(seen: Look, role: PictureRole) -> Iterable[tuple[str, str, bool]]:
    if seen.faces is None:
        return
    if seen.faces == 0:
        yield (
            ErrorCode.NO_FACE,
            "shows no face: two independent detectors found none. Use one that shows a face",
            True,
        )
        return
    if seen.faces > 1:
        which = "is used" if role == "source" else "is replaced"
        yield (
            "several_faces",
            f"shows {seen.faces} faces or more, and GoEnhance has no setting for which of them {which}",
            False,
        )
    longest = max(seen.width or 0, seen.height or 0)
    pixels = round((seen.face_size or 0) * longest)
    if 0 < pixels < SMALL_FACE:
        yield "small_face", f"shows a face of about {pixels} pixels. Use one with a larger face", False
