# SPDX-License-Identifier: Apache-2.0
"""Look at a picture without downloading it: its first bytes, its size, and whether it can be fetched at all."""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..addresses import InternalAddressError
from ..error_codes import ErrorCode
from ..exceptions import CollectError, LinkExpiredError
from ..pictures.fetch import WHOLE, check_status, client_errors, follow, what_broke
from ..pictures.kinds import HEAD, describe_content, kind_of_bytes
from ..pictures.verify import PILLOW_FORMATS
from ..redaction import link_name

if TYPE_CHECKING:
    import aiohttp

    from ..pictures.kinds import PictureKind

#: Bytes that are read: a header with a preview and a colour profile before the size is smaller in most pictures.
HEAD_BYTES = 64 * 1024
#: Seconds for one look, redirects included.
LOOK_SECONDS = 10.0
#: What a repetition may not change.
_LASTING = frozenset({ErrorCode.BAD_LINK, ErrorCode.REDIRECT_LOOP, ErrorCode.UNSAFE_REDIRECT})
_PASSING_STATUSES = frozenset({408, 425, 429})
_TOTAL = re.compile(r"bytes \d+-\d+/(\d+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Look:
    """
    What is known about a picture.

    :param kind: its format
    :param size: bytes, ``None`` where its server does not say
    :param width: pixels, ``None`` where the first bytes do not say
    :param height: pixels, likewise
    :param validator: changes with the picture; ``None`` where its server does not say
    :param faces: how many faces it shows, ``None`` where nobody has looked
    :param face_size: side of the largest face as a share of the longer side; 0 if it was not measured
    """

    kind: PictureKind
    size: int | None = None
    width: int | None = None
    height: int | None = None
    validator: str | None = None
    faces: int | None = None
    face_size: float | None = None


class LookError(Exception):
    """
    A picture cannot be used, or nobody could look at it. The message is a clause about "it".

    :param code: the cause
    :param lasting: whether a repetition finds the same, as far as its server says
    """

    def __init__(self, code: ErrorCode, message: str, *, lasting: bool) -> None:
        super().__init__(message)
        self.code = code
        self.lasting = lasting


async def look_at_link(session: aiohttp.ClientSession, link: str, *, seconds: float = LOOK_SECONDS) -> Look:
    """
    Look at the picture behind a link, by one GET of its first bytes.

    Not by HEAD: a link that is signed for GET refuses it.

    :param session: from :func:`..pictures.session.open_session`
    :raises LookError: ``input_unreachable`` or ``input_not_an_image``
    """
    failure: LookError
    try:
        async with asyncio.timeout(seconds):
            wanted = {"Range": f"bytes=0-{HEAD_BYTES - 1}"}
            head, size, validator = await follow(session, link, _read_start, wanted)
    except CollectError as error:
        failure = _unreachable(error, link)
    except InternalAddressError as error:
        failure = LookError(
            ErrorCode.INPUT_UNREACHABLE, f"it is redirected {error}, which is not followed", lasting=True
        )
    except TimeoutError:
        failure = LookError(
            ErrorCode.INPUT_UNREACHABLE, f"its server did not answer within {seconds:g} s", lasting=False
        )
    except client_errors() as error:
        failure = LookError(
            ErrorCode.INPUT_UNREACHABLE, f"it could not be fetched: {what_broke(error)}", lasting=False
        )
    else:
        return look_at_bytes(head, size, validator)
    raise failure


async def _read_start(response: aiohttp.ClientResponse, link: str) -> tuple[bytes, int | None, str | None]:
    if response.status == 416:  # no first byte: the file is empty
        return b"", 0, None
    check_status(response, link, WHOLE | {206})
    head = bytearray()
    async for chunk in response.content.iter_chunked(HEAD_BYTES):
        head += chunk
        if len(head) >= HEAD_BYTES:
            break
    total = _TOTAL.fullmatch(response.headers.get("Content-Range", ""))
    size = int(total[1]) if total else response.content_length if response.status in WHOLE else None
    return bytes(head), size, validator_of(response.headers, size)


def validator_of(headers: Mapping[str, str], size: int | None) -> str | None:
    """Return what changes with the file, a digest; ``None`` if nothing does for certain."""
    told = [headers.get(name, "") for name in ("ETag", "Last-Modified")]
    if not any(told):
        return None
    return hashlib.sha256("\n".join([*told, str(size)]).encode("utf-8", "surrogateescape")).hexdigest()


def look_at_bytes(head: bytes, size: int | None, validator: str | None = None) -> Look:
    """
    Return what the first bytes of a file say.

    :param head: all bytes of a small file, or the first :data:`HEAD_BYTES`
    :raises LookError: ``input_not_an_image``
    """
    kind = kind_of_bytes(head[:HEAD])
    if kind is None:
        what = describe_content(head) if head else "it is empty"
        raise LookError(
            ErrorCode.INPUT_NOT_AN_IMAGE, f"it is not a picture of a known format: {what}", lasting=True
        )
    return Look(kind, size, *_dimensions(head, kind), validator)


def _dimensions(head: bytes, kind: PictureKind) -> tuple[int | None, int | None]:
    """Return width and height, where the first bytes say them."""
    from PIL import Image

    if kind not in PILLOW_FORMATS:
        return None, None
    try:
        with Image.open(io.BytesIO(head), formats=[PILLOW_FORMATS[kind]]) as picture:
            size: tuple[Any, Any] = picture.size
            return int(size[0]), int(size[1])
    except Exception:  # noqa: BLE001  the rest of the file is missing, and Pillow raises almost anything about that
        return None, None


def _unreachable(error: CollectError, link: str) -> LookError:
    status = error.http_status
    if status is not None:
        lasting = isinstance(error, LinkExpiredError) or (
            400 <= status < 500 and status not in _PASSING_STATUSES
        )
        return LookError(ErrorCode.INPUT_UNREACHABLE, f"its server answers HTTP {status}", lasting=lasting)
    lasting = error.error_code in _LASTING
    # It names the picture, which the caller does too.
    what = error.message.replace(f"The picture at {link_name(link)} ", "it ").rstrip(".")
    return LookError(ErrorCode.INPUT_UNREACHABLE, what, lasting=lasting)
