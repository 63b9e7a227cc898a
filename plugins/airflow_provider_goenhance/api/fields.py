# SPDX-License-Identifier: Apache-2.0
"""
Read single values of a response, whatever their spelling, within the bounds of the results table.

A value that cannot be stored is left out, so that it never costs the values beside it.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections import deque
from collections.abc import Iterator
from typing import Any

from ..redaction import excerpt

#: The longest ``img_uuid`` that is accepted, characters: the width of the column.
LONGEST_IMG_UUID = 128
#: The highest cost that is recorded: the column is a 32-bit integer.
HIGHEST_COST = 2**31 - 1
#: Years in which a job can have run. Others are zero values, and some databases cannot store them in every time zone.
_YEARS = range(2000, 2101)
_LONGEST_TIME = 40
_EPOCH = re.compile(r"\d{10}|\d{13}", re.ASCII)
#: A number above this is milliseconds since the epoch.
_MILLISECONDS = 1e11
#: The documented fields of a response.
_ENVELOPE = frozenset({"code", "msg", "data"})
#: How deep and how wide a response is searched for an ``img_uuid`` or a job.
_DEEPEST = 6
_MOST_OBJECTS = 500

# Values that stand for no id at all, such as the zero value of Go's UUID type.
_NO_ID = re.compile(r"0*|[0-]+|-.*|null|none|nil|nan|undefined|true|false", re.IGNORECASE | re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# In any text, such as XML, a form, or the message "duplicate request, img_uuid: ...": a UUID right behind the name.
_UUID_IN_TEXT = re.compile(rf"\bimg[_ -]?uuids?[^\w]{{1,12}}({_UUID.pattern})\b", re.IGNORECASE)
# In a body that is not complete JSON. The closing quote shows that the id is complete.
_ID_IN_TEXT = re.compile(
    r"\"img[_-]?uuid\"\s*:\s*(?:\"([^\"\\]{1,200})\"|(\d{1,128})(?=\s*[,}\]]))", re.IGNORECASE
)


def parsed(text: str) -> Any:
    """Return the value of a JSON text, ``None`` if it is not one."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def as_int(value: Any) -> int | None:
    """Return a 64-bit integer, also from ``"4"`` and ``4.0``; ``None`` for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        if isinstance(value, float) and not value.is_integer():
            return None
        number = int(value)
    except (ValueError, OverflowError):
        return None
    return number if -(2**63) <= number < 2**63 else None


def field(data: dict[str, Any], name: str) -> Any:
    """Return a field by its documented name, or by the same name in another case: ``imgUuid``, ``IMG_UUID``."""
    if name in data:
        return data[name]
    plain = _plain(name)
    return next((value for key, value in data.items() if _plain(key) == plain), None)


def _plain(key: str) -> str:
    return key.replace("_", "").replace("-", "").replace(" ", "").lower()


def text_field(data: dict[str, Any], *names: str) -> str:
    """Return the first of the fields that is a text with something in it, ``""`` if none is."""
    values = (field(data, name) for name in names)
    return next((value for value in values if isinstance(value, str) and value.strip()), "")


def as_object(value: Any) -> dict[str, Any] | None:
    """Return an object, also from its JSON text and from a list of just one; ``None`` for everything else."""
    if isinstance(value, str):
        value = parsed(value)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, dict) else None


def objects_in(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects inside a value, the outermost first, through lists and JSON texts, within bounds."""
    queue, seen = deque([(value, 0)]), 0
    while queue and seen < _MOST_OBJECTS:
        inner, depth = queue.popleft()
        seen += 1
        if isinstance(inner, str) and inner.lstrip()[:1] in {"{", "["}:
            inner = parsed(inner)
        if isinstance(inner, dict):
            yield inner
        if depth < _DEEPEST:
            parts = inner.values() if isinstance(inner, dict) else inner if isinstance(inner, list) else ()
            queue.extend((part, depth + 1) for part in parts if isinstance(part, dict | list | str))


def img_uuid_of(value: Any) -> str | None:
    """Return a value as an ``img_uuid``; ``None`` if it names no job, or the table or a URL could not hold it."""
    if isinstance(value, int | float):
        number = value if isinstance(value, int) else as_int(value)
        value = None if number is None or isinstance(value, bool) else str(number)
    img_uuid = value.strip() if isinstance(value, str) else ""
    if not 0 < len(img_uuid) <= LONGEST_IMG_UUID or _NO_ID.fullmatch(img_uuid):
        return None
    return img_uuid if img_uuid.isascii() and img_uuid.isprintable() else None


def _documented_data(answer: Any) -> dict[str, Any]:
    """Return the ``data`` of a response of the documented form, in which nothing has to be searched; else nothing."""
    data = answer.get("data") if isinstance(answer, dict) and answer.keys() <= _ENVELOPE else None
    return data if isinstance(data, dict) else {}


def find_img_uuid(body: str) -> tuple[str, dict[str, Any]] | None:
    """
    Return the ``img_uuid`` in the response to a submit and the object that holds it, ``None`` if there is none.

    The job exists, and may be billed, so each place counts where the id can stand: a cut-off body included.
    """
    answer = parsed(body)
    data = _documented_data(answer)
    if img_uuid := img_uuid_of(data.get("img_uuid")):
        return img_uuid, data
    for data in objects_in(answer):
        if img_uuid := img_uuid_of(field(data, "img_uuid")):
            return img_uuid, data
    alone = field(answer, "data") if isinstance(answer, dict) and as_int(field(answer, "code")) == 0 else None
    if isinstance(alone, str) and _UUID.fullmatch(alone.strip()):
        return alone.strip(), {}
    if answer is None:
        for quoted, number in _ID_IN_TEXT.findall(body):
            if img_uuid := img_uuid_of(quoted or number):
                return img_uuid, {}
    named = _UUID_IN_TEXT.search(body)
    return (named[1], {}) if named and img_uuid_of(named[1]) else None


def same_job(value: Any, img_uuid: str) -> bool:
    """Return whether a value is the given ``img_uuid``, in any spelling."""
    named = img_uuid_of(value)
    return named is not None and named.lower() == img_uuid.strip().lower()


def cost_of(value: Any) -> int | None:
    """Return a cost that the table can store, ``None`` for everything else."""
    cost = as_int(value)
    return cost if cost is not None and 0 <= cost <= HIGHEST_COST else None


def time_of(value: Any) -> str | None:
    """
    Return a time at which a job can have run, in ISO 8601; ``None`` for everything else.

    An ISO time is returned as it was sent. Seconds or milliseconds since the epoch are converted.
    """
    text = value.strip() if isinstance(value, str) else ""
    try:
        if _EPOCH.fullmatch(text) or (isinstance(value, int | float) and not isinstance(value, bool)):
            seconds = float(text or value)
            moment = dt.datetime.fromtimestamp(seconds / 1000 if seconds > _MILLISECONDS else seconds, dt.UTC)
            text = moment.isoformat(timespec="seconds")
        else:
            moment = dt.datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        return None
    return text if len(text) <= _LONGEST_TIME and moment.year in _YEARS else None


def status_of(value: Any) -> str | None:
    """Return a status as a short printable text, ``None`` if it is not a text."""
    return excerpt(value, 64) if isinstance(value, str) else None
