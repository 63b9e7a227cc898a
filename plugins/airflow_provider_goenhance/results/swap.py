# SPDX-License-Identifier: Apache-2.0
"""A row of the results table as a plain value, and the keys that make planning repeatable."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted
from operator import attrgetter, itemgetter
from typing import Any

from ..exceptions import ErrorCode
from ..quality_codes import SUSPICIOUS
from ..url_identity import identity_of
from .states import Review, Status

_NAMESPACE = uuid.UUID("6f1f7c0e-8f0b-5d0e-9a53-5c6f3c1d9b42")


def clean(text: str) -> str:
    """Return a text that every database stores: without NUL, and without lone surrogates."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def pair_fingerprint(
    source_img: str,
    reference_img: str,
    *,
    source_key: str | None = None,
    reference_key: str | None = None,
    source_version: str | None = None,
    reference_version: str | None = None,
) -> str:
    """
    Return the identity of a pair of pictures, independent of its ``pair_id`` and of what signs its URLs.

    :return: 64 hex digits; for two URLs that are not signed the same as in release 0.1.0
    """
    return raw_fingerprint(
        identity_of(source_img, source_key, source_version),
        identity_of(reference_img, reference_key, reference_version),
    )


def raw_fingerprint(source_img: str, reference_img: str) -> str:
    """Return the fingerprint of two texts as they are, which was that of a pair in release 0.1.0."""
    return hashlib.sha256(f"{source_img}\n{reference_img}".encode("utf-8", "surrogatepass")).hexdigest()


def swap_id_for(dag_id: str, run_id: str, scope: str, pair_id: str, fingerprint: str) -> str:
    """
    Return the primary key of a swap: the same for every attempt, retry and clear of one run.

    :param scope: distinguishes several face swap tasks of one run
    """
    # A UUID of version 5 over a JSON list, spelled out: the two modules take five times as long.
    name = f"{_start_of_name(dag_id, run_id, scope)}, {quoted(pair_id)}, {quoted(fingerprint)}]".encode()
    digest = bytearray(hashlib.sha1(_NAMESPACE.bytes + name, usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@lru_cache(maxsize=64)
def _start_of_name(dag_id: str, run_id: str, scope: str) -> str:
    return json.dumps([dag_id, run_id, scope])[:-1]


#: Why a pair is held whose content somebody has chosen not to keep.
GONE_BY_CHOICE = frozenset({ErrorCode.ERASED, ErrorCode.PICTURE_DELETED})


@dataclass(frozen=True, slots=True)
class Swap:
    """One pair in one run. The fields are the columns of :mod:`.schema`."""

    swap_id: str
    dag_id: str
    run_id: str
    pair_id: str
    source_img: str
    reference_img: str
    pair_fingerprint: str
    status: Status
    task_id: str | None = None
    map_index: int | None = None
    batch: int | None = None
    manifest: str | None = None
    row_number: int | None = None
    consent_ref: str | None = None
    source_key: str | None = None
    reference_key: str | None = None
    source_version: str | None = None
    reference_version: str | None = None
    labels: str | None = None
    manifest_sha256: str | None = None
    img_uuid: str | None = None
    former_uuids: str | None = None
    attempts: int = 0
    cost: int | None = None
    account: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    result_uri: str | None = None
    result_sha256: str | None = None
    result_mark: str | None = None
    additional_result_uris: tuple[str, ...] = ()
    staged_uris: tuple[str, ...] = ()
    reused_from: str | None = None
    claimed_by: str | None = None
    max_tries: int | None = None
    planned_at: dt.datetime | None = None
    claimed_at: dt.datetime | None = None
    claim_expires_at: dt.datetime | None = None
    submitted_at: dt.datetime | None = None
    finished_at: dt.datetime | None = None
    superseded_at: dt.datetime | None = None
    reserved_cost: int | None = None
    reserved_day: str | None = None
    resolution: str | None = None
    resolved_by: str | None = None
    resolved_at: dt.datetime | None = None
    resolution_note: str | None = None
    quality: str | None = None
    quality_score: float | None = None
    quality_figures: str | None = None
    thumbnail_uri: str | None = None
    source_thumbnail_uri: str | None = None
    reference_thumbnail_uri: str | None = None
    picture_deleted_at: dt.datetime | None = None
    erased_at: dt.datetime | None = None
    consent_expires: dt.datetime | None = None
    review: str | None = None
    reviewed_by: str | None = None
    reviewed_at: dt.datetime | None = None
    review_note: str | None = None
    input_notes: str | None = None
    input_warnings: str | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Swap:
        """Return the swap of a row; columns of a later release are ignored."""
        known = row if row.keys() <= _NAMES else {name: row[name] for name in _FIELDS if name in row}
        return _made(**{**known, "status": Status(row["status"])})

    @staticmethod
    def of_values(values: Sequence[Any], names: tuple[str, ...] | None = None) -> Swap:
        """
        Return the swap of the values of some columns; faster than :meth:`from_row`.

        :param names: the columns; default: all, in the order of :meth:`names`
        """
        copied = list(values) if names is None else list(_in_order(names)((*values, *_DEFAULTS)))
        copied[_STATUS] = _STATUSES[copied[_STATUS]]
        return _made(*copied)

    def to_row(self) -> dict[str, Any]:
        """Return all columns."""
        return {name: getattr(self, name) for name in _FIELDS}

    @staticmethod
    def names() -> tuple[str, ...]:
        """Return the names of all columns."""
        return _FIELDS

    def changed(self, **values: Any) -> Swap:
        """Return a copy with other values; :func:`dataclasses.replace` takes twice as long."""
        copied = list(_values_of(self))
        for name, value in values.items():
            copied[_POSITIONS[name]] = value
        return _made(*copied)

    @property
    def adopted_job(self) -> bool:
        """Return whether its job was paid for by another row."""
        adopted = self.reused_from and self.img_uuid  # a claim for a submit of its own clears the job
        own = self.attempts and self.claimed_by is not None  # adopting a job gives the claim up
        return bool(adopted) and not own and self.status is not Status.REUSED

    @property
    def over_budget(self) -> bool:
        """Return whether it was not sent because a budget had no room for it."""
        return self.status is Status.HELD and self.error_code == ErrorCode.BUDGET_REACHED

    @property
    def gone_by_choice(self) -> bool:
        """Return whether it was not sent because the pair was erased, or its picture deleted: nobody has to act."""
        return self.status is Status.HELD and self.error_code in GONE_BY_CHOICE

    @property
    def rejected_by_reviewer(self) -> bool:
        """Return whether a person has rejected its picture."""
        return self.review == Review.REJECTED

    @property
    def suspicion(self) -> str:
        """Return what is suspicious about its picture; empty if nothing is, or a person has approved it."""
        approved = self.review == Review.APPROVED
        return self.quality if self.quality and self.quality in SUSPICIOUS and not approved else ""

    @property
    def label(self) -> str:
        """Return the pair id, and the manifest's row where there is one, for messages."""
        return f"pair {self.pair_id!r}" + (f" (row {self.row_number})" if self.row_number else "")


_FIELDS = tuple(field.name for field in dataclasses.fields(Swap))
_NAMES = frozenset(_FIELDS)
_POSITIONS = {name: position for position, name in enumerate(_FIELDS)}
_STATUS = _POSITIONS["status"]
_STATUSES = {status.value: status for status in Status}
_values_of = attrgetter(*_FIELDS)

#: A swap that can still be changed. `__init__` of a frozen dataclass sets each field by a call of `object.__setattr__`,
#: which takes seven times as long with this number of fields, and a plan makes three swaps of each row.
_Unfrozen: Any = dataclasses.make_dataclass(
    "_Unfrozen",
    [
        (field.name, field.type, dataclasses.field(default=field.default))
        for field in dataclasses.fields(Swap)
    ],
    slots=True,
)


_DEFAULTS = tuple(field.default for field in dataclasses.fields(Swap))


@lru_cache(maxsize=8)
def _in_order(names: tuple[str, ...]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """Return the function that puts the values of some columns, followed by all defaults, in the fields' order."""
    places = {name: place for place, name in enumerate(names)}
    if missing := [
        name
        for name, default in zip(_FIELDS, _DEFAULTS, strict=True)
        if default is dataclasses.MISSING and name not in places
    ]:
        raise TypeError(f"A swap needs the columns {', '.join(missing)} too; got {', '.join(names)}.")
    return itemgetter(*(places.get(name, len(names) + place) for place, name in enumerate(_FIELDS)))


def _made(*values: Any, **columns: Any) -> Swap:
    """Return a swap as its class does, faster."""
    swap = _Unfrozen(*values, **columns)
    swap.__class__ = Swap
    return swap  # type: ignore[no-any-return]


new_swap: type[Swap] = _made  # type: ignore[assignment]
