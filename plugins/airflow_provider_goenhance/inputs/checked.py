# SPDX-License-Identifier: Apache-2.0
"""
Remember what was found out about pictures, so that one face on a thousand scenes costs one look.

Only what was seen is remembered: a picture that could not be fetched, or that was no picture, is looked at again.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..results.account_tables import insert_or_leave
from ..results.key_lists import among
from ..url_identity import url_identity
from .look import Look

if TYPE_CHECKING:
    from ..results.database import ResultsDatabase

#: How long a picture is believed to be as it was, so that the retry of a plan asks nothing twice.
FRESH = dt.timedelta(hours=1)
#: How long a row is kept.
KEPT = dt.timedelta(days=90)


def key_of_address(address: str) -> str:
    """Return the key of a picture by its address, whatever signs it."""
    return hashlib.sha256(f"address {url_identity(address)}".encode("utf-8", "surrogatepass")).hexdigest()


def key_of_content(data: bytes) -> str:
    """Return the key of a picture by its content."""
    return hashlib.sha256(b"content " + hashlib.sha256(data).digest()).hexdigest()


class CheckedPictures:
    """
    The looks of earlier checks, in the results database.

    :param detector: version of the rules by which faces are found; what other rules found counts as not looked for
    """

    def __init__(self, database: ResultsDatabase, detector: str = "") -> None:
        self._database = database
        self._table = database.shared.input_checks
        self._detector = detector

    def read(self, keys: Iterable[str]) -> dict[str, tuple[Look, bool]]:
        """Return by key what is known, and whether it is fresh enough not to be asked for again."""
        c = self._table.c
        oldest = dt.datetime.now(dt.UTC) - FRESH
        found: dict[str, tuple[Look, bool]] = {}
        for condition in among(self._database.url.get_backend_name(), c.check_key, keys):
            for row in self._database.read(sa.select(self._table).where(condition)):
                found[row["check_key"]] = (self._look(row), row["checked_at"] >= oldest)
        return found

    def write(self, looks: Mapping[str, Look]) -> None:
        """Remember looks by key, and forget those that are old."""
        if not looks:
            return
        now = dt.datetime.now(dt.UTC)
        # In the order of the keys, so that two plans do not wait for each other's rows.
        rows = [self._row(key, looks[key], now) for key in sorted(looks)]
        c = self._table.c
        keys = list(
            among(self._database.url.get_backend_name(), c.check_key, [row["check_key"] for row in rows])
        )

        def work(connection: sa.Connection) -> None:
            connection.execute(sa.delete(self._table).where(c.checked_at < now - KEPT))
            for condition in keys:
                connection.execute(sa.delete(self._table).where(condition))
            connection.execute(insert_or_leave(connection, self._table), rows)

        self._database.run(work)

    def _look(self, row: Mapping[str, Any]) -> Look:
        same_rules = row["detector"] == self._detector
        return Look(
            row["kind"],
            row["size"],
            row["width"],
            row["height"],
            row["validator"],
            row["faces"] if same_rules else None,
            row["face_size"] if same_rules else None,
        )

    def _row(self, key: str, look: Look, now: dt.datetime) -> dict[str, Any]:
        return {
            "check_key": key,
            "validator": look.validator,
            "kind": look.kind,
            "size": look.size,
            "width": look.width,
            "height": look.height,
            "faces": look.faces,
            "face_size": look.face_size,
            "detector": self._detector if look.faces is not None else None,
            "checked_at": now,
        }
