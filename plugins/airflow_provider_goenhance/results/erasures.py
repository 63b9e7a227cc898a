# SPDX-License-Identifier: Apache-2.0
"""Find the rows that an erasure is about, erase them, and record who asked for it."""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
import hmac
import re
import secrets
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import sqlalchemy as sa

from ..url_identity import identity_of, url_identity
from .columns import StringTuple
from .erasure_transitions import Erased, code_after, status_after
from .key_lists import among
from .plan import RunKey
from .swap import Swap
from .transition_sql import update

if TYPE_CHECKING:
    from .database import ResultsDatabase

#: Rows that are erased at a time.
PAGE_ROWS = 500
#: Values of one column that are looked at for a link.
MOST_MENTIONS = 1000
_WORD = re.compile(r"[A-Za-z0-9_-]+")


class Kind(enum.StrEnum):
    """What an erasure is asked for by."""

    SOURCE = "source"  #: A picture, by its link or its key, used as source or reference.
    PAIR = "pair"  #: A pair, by its ``pair_id``.
    CONSENT_REF = "consent_ref"  #: Everything with a consent reference.
    RUN = "run"  #: A run, as ``<dag_id>/<run_id>``.


@dataclass(frozen=True, slots=True)
class Selector:
    """
    What is to be erased.

    :param value: the link or key, pair_id, consent reference, or ``<dag_id>/<run_id>``
    :param dag_id: only pairs of this Dag
    """

    kind: Kind
    value: str
    dag_id: str | None = None

    @property
    def run(self) -> RunKey | None:
        """The run that is meant."""
        if self.kind is not Kind.RUN:
            return None
        dag_id, _, run_id = self.value.partition("/")
        return RunKey(dag_id, run_id)

    @property
    def identity(self) -> str:
        """What was named, whatever signs a link tonight."""
        name = url_identity(self.value) if self.kind is Kind.SOURCE else self.value
        return f"{self.dag_id or ''}\n{name}" if self.dag_id else name

    def means_picture(self, link: str, key: str | None) -> bool:
        """Return whether a picture is the one that was named."""
        return self.kind is Kind.SOURCE and (
            key == self.value or url_identity(link) == url_identity(self.value)
        )


def salted_hash(salt: str, text: str) -> str:
    """Return the HMAC-SHA256 of a text: who has the text and the salt can confirm it, nobody can read it."""
    return hmac.new(salt.encode(), text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


class Targets:
    """
    The rows that an erasure is about and that were not erased yet.

    A pair, a picture or a consent means all rows of the same two pictures, whatever their pair_id and run. A run means
    its own rows, and those of other runs that use its pictures.
    """

    def __init__(self, database: ResultsDatabase, selector: Selector) -> None:
        self._database = database
        self._swaps = database.swaps
        self._selector = selector

    def pages(self) -> Iterator[list[Swap]]:
        """Yield the rows in pages. Those of a page may be erased before the next one is read."""
        if (run := self._selector.run) is not None:
            yield from self._of_run(run)
            return
        c = self._swaps.c
        fingerprints = sorted({row["pair_fingerprint"] for row in self._matching()})
        for condition in self._among(c.pair_fingerprint, fingerprints):
            rows = [Swap.from_row(row) for row in self._read(condition)]
            yield from (rows[start : start + PAGE_ROWS] for start in range(0, len(rows), PAGE_ROWS))

    def count(self) -> int:
        """Return how many rows there are."""
        return sum(map(len, self.pages()))

    def _matching(self) -> Iterator[dict[str, Any]]:
        """Yield the rows that the selector names, erased ones not included."""
        c, selector = self._swaps.c, self._selector
        columns = (
            c.swap_id,
            c.pair_fingerprint,
            c.source_img,
            c.reference_img,
            c.source_key,
            c.reference_key,
        )
        query = sa.select(*columns).where(self._condition(), c.erased_at.is_(None))

        def after(last: dict[str, Any] | None) -> sa.Select[Any]:
            return (query.where(c.swap_id > last["swap_id"]) if last else query).order_by(c.swap_id)

        for row in self._database.stream(after):
            if selector.kind is not Kind.SOURCE or any(
                selector.means_picture(row[f"{which}_img"], row[f"{which}_key"])
                for which in ("source", "reference")
            ):
                yield row

    def _condition(self) -> sa.ColumnElement[bool]:
        c, selector = self._swaps.c, self._selector
        match selector.kind:
            case Kind.PAIR:
                same = c.pair_id == selector.value
                return sa.and_(same, c.dag_id == selector.dag_id) if selector.dag_id else same
            case Kind.CONSENT_REF:
                return c.consent_ref == selector.value
            case _:
                # One picture has many links, signed and others: the rows with a word of its path are looked at.
                word = max(_WORD.findall(_path_of(selector.value)) or [selector.value], key=len)
                named = (c.source_img, c.reference_img)
                keys = (c.source_key == selector.value, c.reference_key == selector.value)
                return sa.or_(*(column.contains(word, autoescape=True) for column in named), *keys)

    def _of_run(self, run: RunKey) -> Iterator[list[Swap]]:
        c = self._swaps.c
        last, seen = "", set[str]()
        while True:
            of_run = (c.dag_id == run.dag_id, c.run_id == run.run_id, c.swap_id > last)
            rows = [Swap.from_row(row) for row in self._read(*of_run, limit=PAGE_ROWS)]
            if not rows:
                return
            last = rows[-1].swap_id
            others = [row for row in self._users_of(rows) if row.swap_id not in seen]
            seen.update(row.swap_id for row in others)
            yield [*rows, *others]

    def _users_of(self, rows: Sequence[Swap]) -> Iterator[Swap]:
        """Yield the rows of other runs that use the pictures of some rows of a run."""
        run = RunKey(rows[0].dag_id, rows[0].run_id)
        uris = {row.result_uri for row in rows if row.result_uri}
        ids = {row.swap_id for row in rows}
        c = self._swaps.c
        other = sa.or_(c.dag_id != run.dag_id, c.run_id != run.run_id)
        used = sa.or_(c.result_uri.is_not(None), c.reused_from.is_not(None))
        pairs = sorted({row.pair_fingerprint for row in rows})
        for condition in self._among(c.pair_fingerprint, pairs) if uris else ():
            found = map(Swap.from_row, self._read(condition, other, used))
            yield from (row for row in found if row.result_uri in uris or row.reused_from in ids)

    def _read(self, *conditions: sa.ColumnElement[bool], limit: int | None = None) -> list[dict[str, Any]]:
        c = self._swaps.c
        query = sa.select(self._swaps).where(*conditions, c.erased_at.is_(None)).order_by(c.swap_id)
        return self._database.read(query.limit(limit) if limit else query)

    def _among(self, column: sa.Column[Any], keys: Iterable[str]) -> Iterator[sa.ColumnElement[bool]]:
        return among(self._database.url.get_backend_name(), column, keys)


def _path_of(link: str) -> str:
    """Return the path in a link, without percent-encoding; empty for a key."""
    address = link.partition("#")[0].partition("?")[0]
    return unquote(address if address.startswith("/") else address.partition("://")[2].partition("/")[2])


class ErasureRecord:
    """
    The record of one erasure, which holds who, when and how much, and of what was erased only a salted hash.

    An erasure that was killed goes on with its own record.
    """

    def __init__(self, database: ResultsDatabase, selector: Selector, *, by: str) -> None:
        self._database = database
        self._table = database.shared.erasures
        self._rows = self._files = 0
        found = self._unfinished(selector)
        self.erasure_id = found["erasure_id"] if found else str(uuid.uuid4())
        self.salt = found["salt"] if found else secrets.token_hex(16)
        if found:
            self._rows, self._files = found["erased_rows"], found["erased_files"]
            return
        row = {
            "erasure_id": self.erasure_id,
            "kind": str(selector.kind),
            "selector_hash": salted_hash(self.salt, selector.identity),
            "salt": self.salt,
            "requested_by": by,
            "started_at": dt.datetime.now(dt.UTC),
            "erased_rows": 0,
            "erased_files": 0,
            "left_over": 0,
        }
        missing = sa.select(self._table.c.erasure_id).where(self._table.c.erasure_id == self.erasure_id)

        def insert(connection: sa.Connection) -> None:
            if connection.execute(missing).first() is None:
                connection.execute(sa.insert(self._table), row)

        database.run(insert)

    def erase(self, rows: Sequence[Swap]) -> int:
        """Erase the content of rows whose files are gone; return how many of them were as they had been read."""
        steps = [self._step(row) for row in rows]
        ids = [row.swap_id for row in rows]
        c = self._database.swaps.c

        def work(connection: sa.Connection) -> int:
            update(connection, self._database.swaps, steps)
            done = sa.select(sa.func.count()).where(c.swap_id.in_(ids), c.erased_at.is_not(None))
            return int(connection.execute(done).scalar_one())

        erased = self._database.run(work)
        self._rows += erased
        self._write(erased_rows=self._rows)
        return erased

    def count_files(self, files: int) -> None:
        """Add to the number of files that were deleted or rewritten."""
        self._files += files
        self._write(erased_files=self._files)

    def forget_checks(self) -> None:
        """
        Forget what checks of input pictures have seen, of all pictures.

        Those of one picture cannot be told from the others: a content that was looked at is on record without its
        address. The next plan checks again, which costs no credits.
        """
        checks = self._database.shared.input_checks
        self._database.run(lambda connection: connection.execute(sa.delete(checks)))

    def finish(self, left_over: int) -> None:
        """Record the end; with something left over, the erasure stays unfinished."""
        finished = None if left_over else dt.datetime.now(dt.UTC)
        self._write(left_over=left_over, finished_at=finished)

    def _step(self, row: Swap) -> Erased:
        def hashed(text: str) -> str:
            return f"erased:{salted_hash(self.salt, text)}"

        return Erased(
            row.swap_id,
            row.status,
            row.attempts,
            row.result_uri,
            pair_id=hashed(row.pair_id),
            source_img=hashed(identity_of(row.source_img, row.source_key)),
            reference_img=hashed(identity_of(row.reference_img, row.reference_key)),
            status=status_after(row.status),
            error_code=code_after(row.status, row.error_code),
        )

    def _unfinished(self, selector: Selector) -> dict[str, Any] | None:
        c = self._table.c
        query = sa.select(self._table).where(c.kind == str(selector.kind), c.finished_at.is_(None))
        return next(
            (
                row
                for row in self._database.read(query)
                if hmac.compare_digest(row["selector_hash"], salted_hash(row["salt"], selector.identity))
            ),
            None,
        )

    def _write(self, **values: Any) -> None:
        statement = sa.update(self._table).where(self._table.c.erasure_id == self.erasure_id).values(**values)
        self._database.run(lambda connection: connection.execute(statement))


def mentions(database: ResultsDatabase, link: str) -> int:
    """Return how many values of the results table, and of the tables beside it, contain a link."""
    address = link.partition("#")[0].partition("?")[0]
    # Not the address of another picture, which only begins with this one.
    whole = re.compile(re.escape(address) + r"(?![\w%~/-]|\.\w)")
    count = 0
    for table in database.swaps.metadata.tables.values():
        for column in table.columns:
            if isinstance(column.type, sa.String | StringTuple):
                text = sa.type_coerce(column, sa.Text)
                query = sa.select(text.label("text")).where(text.contains(address, autoescape=True))
                found = database.read(query.limit(MOST_MENTIONS))
                count += sum(bool(whole.search(row["text"])) for row in found)
    return count
