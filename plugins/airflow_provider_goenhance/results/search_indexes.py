# SPDX-License-Identifier: Apache-2.0
"""Which indexes a results table has for searches. An older table has none, and an administrator may add others."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from .database import ResultsDatabase
from .plan import RunKey
from .schema import pair_id_index

#: Rows that a search by parts of texts looks at; one that finds more is not worth an index.
MOST_FOUND = 500


@dataclass(frozen=True, slots=True)
class SearchIndexes:
    """
    The indexes of a results table.

    :param by_pair: over pair ids, for their beginnings and their order
    :param by_parts: columns with a trigram index, in which any part of a text is found
    """

    by_pair: bool
    by_parts: tuple[str, ...] = ()


def search_indexes(database: ResultsDatabase) -> SearchIndexes:
    """Return the indexes of a results table, as the database lists them."""
    swaps = database.swaps

    def work(connection: sa.Connection) -> SearchIndexes:
        if connection.dialect.name != "postgresql":
            found = sa.inspect(connection).get_indexes(swaps.name, swaps.schema)
            return SearchIndexes(any(index["name"] == pair_id_index(swaps.name) for index in found))
        query = sa.text(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = :table "
            "AND schemaname = coalesce(:schema, current_schema())"
        )
        rows = connection.execute(query, {"table": swaps.name, "schema": swaps.schema}).all()
        parts = [definition for _, definition in rows if "gin_trgm_ops" in definition]
        columns = ("pair_id", "source_img", "reference_img")
        return SearchIndexes(
            any(name == pair_id_index(swaps.name) for name, _ in rows),
            tuple(name for name in columns if any(f"{name} " in definition for definition in parts)),
        )

    return database.run_read(work)


def ids_with(database: ResultsDatabase, key: RunKey, text: str, columns: tuple[str, ...]) -> list[str] | None:
    """
    Return the ids of the rows of a run that have a text in one of some columns; ``None`` if there are too many.

    :param columns: that have a trigram index, which takes a text of three characters or more
    """
    c = database.swaps.c
    found = sa.or_(*(c[name].icontains(text, autoescape=True) for name in columns))
    query = (
        sa.select(c.swap_id)
        .where(c.dag_id == key.dag_id, c.run_id == key.run_id, found)
        .limit(MOST_FOUND + 1)
    )
    ids = [row["swap_id"] for row in database.read(query)]
    return ids if len(ids) <= MOST_FOUND else None
