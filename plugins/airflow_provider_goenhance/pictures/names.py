# SPDX-License-Identifier: Apache-2.0
"""Derive file and folder names from arbitrary ids: safe on every file system, and unique for each id."""

from __future__ import annotations

import hashlib
import re

#: The folder in a run's folder that has the thumbnails. No pair's file can have this name: each has an extension.
THUMBNAILS = "thumbnails"
_LONGEST = 100
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
# Names of these two shapes are generated here, so an id of such a shape gets a hash as well.
_LOOKS_HASHED = re.compile(r".*-[0-9a-f]{12}")
_LOOKS_NUMBERED = re.compile(r".*__[1-9][0-9]*")


def folder_for(run_id: str) -> str:
    """Return the folder name of a run; a hash of the id is appended if the id had to be changed."""
    return _safe(run_id, "run")


def file_name_for(pair_id: str, extension: str, index: int = 0, *, apart: str | None = None) -> str:
    """
    Return the file name of one picture of a pair.

    :param pair_id: any text
    :param extension: with its dot, e.g. ``.jpg``
    :param index: 0 for the first picture of a job; the further ones are numbered ``<pair>__1``, ``<pair>__2``, ...
        (two underscores, because ``pair_1`` is a common id)
    :param apart: text to hash if another picture has the plain name: ``<pair>-<hash>.<ext>``
    """
    if apart is not None:
        pair_id = f"{pair_id}-{_digest(apart)}"  # a shape that always gets a hash
    number = f"__{index}" if index else ""
    return f"{_safe(pair_id, 'pair')}{number}{extension}"


def sheet_name_for(dag_id: str, task_id: str) -> str:
    """
    Return the file name of a contact sheet, beside the pictures of its run.

    Dags on one schedule have runs of the same name, which share a folder. No pair's file can have this name: none ends
    in ``.html``.

    :param dag_id: the Dag; without it, users of one Dag could be shown the sheet of another
    :param task_id: the report task
    """
    return f"contact-sheet-{_safe(f'{dag_id}.{task_id}', 'report')}.html"


def thumbnail_name_for(picture: str) -> str:
    """
    Return the name of the thumbnail of a kept picture.

    :param picture: the picture's name below the storage, ``<run>/<pair>.<ext>``
    """
    folder, _, name = picture.rpartition("/")
    return f"{folder}/{THUMBNAILS}/{name}.webp"


def input_thumbnail_name_for(run_id: str, identity: str) -> str:
    """
    Return the name of the thumbnail of an input.

    :param identity: what the picture is recognized by, whatever signs its address
    """
    digest = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{folder_for(run_id)}/{THUMBNAILS}/inputs/{digest}.webp"


def _safe(identifier: str, what: str) -> str:
    cleaned = _UNSAFE.sub("_", identifier).strip("._")[:_LONGEST]
    if cleaned == identifier and identifier and not _is_taken(identifier):
        return identifier
    digest = _digest(identifier)
    if _RESERVED.fullmatch(cleaned):
        cleaned = f"{what}_{cleaned}"
    return f"{cleaned.rstrip('.') or what}-{digest}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _is_taken(identifier: str) -> bool:
    return any(shape.fullmatch(identifier) for shape in (_RESERVED, _LOOKS_HASHED, _LOOKS_NUMBERED))
