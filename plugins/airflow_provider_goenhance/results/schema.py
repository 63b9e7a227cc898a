# SPDX-License-Identifier: Apache-2.0
"""The columns of the results table. The published columns keep their names and meaning."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from .columns import PreciseUtcDateTime, StringTuple, UtcDateTime

DEFAULT_TABLE = "goenhance_swaps"
_T = TypeVar("_T")
_building = threading.RLock()
#: Percent of a PostgreSQL page that new rows fill; updates of a row use the rest.
FILL_FACTOR = 50


# MySQL's DATETIME drops fractions and its keys cannot hold TEXT: hence lengths on everything that is indexed.
_Time = UtcDateTime
_Key = sa.String(250)
# MySQL's TEXT holds 64 kB.
_Text = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")


def built_once(build: Callable[[str, str | None], _T]) -> Callable[..., _T]:
    """
    Cache the definitions that a function returns for a table's name and schema; only one thread at a time builds them.

    The triggers of a triggerer open the results table in threads. With a cache alone, two of them would define the same
    table twice: an error within one metadata, and a cartesian product where the definitions meet in a query.
    """
    cached = lru_cache(maxsize=8)(build)

    @wraps(build)
    def locked(name: str = DEFAULT_TABLE, schema: str | None = None) -> _T:
        with _building:
            return cached(name, schema)

    return locked


def pair_id_index(name: str) -> str:
    """Return the name of the index over pair ids, in which the page searches. A table of release 0.2.0 lacks it."""
    return f"ix_{name}_pair_id"


def _pair_id_indexes(name: str) -> tuple[sa.Index, sa.Index]:
    """
    Return the index over pair ids, for each kind of database.

    It does not begin with the run: before a table is analyzed, PostgreSQL might read batches through it. There the
    collation "C" makes the texts with one beginning neighbours.
    """
    on_postgres = sa.Index(pair_id_index(name), sa.text('pair_id COLLATE "C"'), "run_id")
    elsewhere = sa.Index(pair_id_index(name), "pair_id", "run_id")
    return (
        on_postgres.ddl_if(dialect="postgresql"),
        elsewhere.ddl_if(callable_=lambda *_, dialect, **__: dialect.name != "postgresql"),
    )


@built_once
def swaps_table(name: str = DEFAULT_TABLE, schema: str | None = None) -> sa.Table:
    """
    Return the table's definition.

    :param name: table name, default ``goenhance_swaps``
    :param schema: database schema, default: the connection's own
    """
    columns: list[Any] = [
        sa.Column("swap_id", sa.String(36), primary_key=True),
        # The task it belongs to.
        sa.Column("dag_id", _Key, nullable=False),
        sa.Column("run_id", _Key, nullable=False),
        sa.Column("task_id", _Key),
        sa.Column("map_index", sa.Integer),
        sa.Column("batch", sa.Integer),
        # The input.
        sa.Column("manifest", _Text),
        sa.Column("row_number", sa.Integer),
        sa.Column("pair_id", _Key, nullable=False),
        sa.Column("source_img", _Text, nullable=False),
        sa.Column("reference_img", _Text, nullable=False),
        sa.Column("pair_fingerprint", sa.String(64), nullable=False),
        sa.Column("consent_ref", _Text),
        sa.Column("source_key", _Text),
        sa.Column("reference_key", _Text),
        # Which content a picture in a private store had: an ETag or a hash.
        sa.Column("source_version", sa.String(128)),
        sa.Column("reference_version", sa.String(128)),
        # The manifest's other columns as the JSON text of an object, and the SHA-256 of its file.
        sa.Column("labels", _Text),
        sa.Column("manifest_sha256", sa.String(64)),
        # The state, the job and the result.
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("img_uuid", sa.String(128)),
        sa.Column("former_uuids", _Text),
        sa.Column("attempts", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("cost", sa.Integer),
        sa.Column("account", sa.String(32)),
        sa.Column("error_code", sa.String(64)),
        sa.Column("error_message", _Text),
        sa.Column("result_uri", _Text),
        sa.Column("result_sha256", sa.String(64)),
        # How its pictures disclose their origin; NULL if they do not, or nobody has looked.
        sa.Column("result_mark", sa.String(32)),
        sa.Column("additional_result_uris", StringTuple),
        # What a look at the kept picture has found, and the thumbnails; NULL if there was none.
        sa.Column("quality", sa.String(16)),
        sa.Column("quality_score", sa.Float(53)),
        sa.Column("quality_figures", _Text),
        sa.Column("thumbnail_uri", _Text),
        sa.Column("source_thumbnail_uri", _Text),
        sa.Column("reference_thumbnail_uri", _Text),
        sa.Column("reused_from", sa.String(36)),
        # Copies of its pictures that were made for GoEnhance, until they are removed.
        sa.Column("staged_uris", StringTuple),
        # The execution that moved it last, and times (UTC).
        sa.Column("claimed_by", sa.String(400)),
        sa.Column("max_tries", sa.Integer),
        sa.Column("planned_at", _Time),
        # Tells one submit of a row from the next one, see `resolution.py`.
        sa.Column("claimed_at", PreciseUtcDateTime),
        # By the database's clock; the other times are by the workers'.
        sa.Column("claim_expires_at", _Time),
        sa.Column("submitted_at", PreciseUtcDateTime),
        sa.Column("finished_at", _Time),
        # Set on a row that a later plan of its run no longer holds: it counts no more.
        sa.Column("superseded_at", _Time),
        # Credits that its submit has reserved in the budgets, and the day (UTC) whose budget that was.
        sa.Column("reserved_cost", sa.BigInteger),
        sa.Column("reserved_day", sa.String(10)),
        # What a person, or the account's credits, said about a submit whose outcome was unknown.
        sa.Column("resolution", sa.String(32)),
        sa.Column("resolved_by", sa.String(250)),
        sa.Column("resolved_at", _Time),
        sa.Column("resolution_note", sa.Text),
        # Set when its pictures were deleted on purpose, by retention or an erasure; and when the row was erased.
        sa.Column("picture_deleted_at", _Time),
        sa.Column("erased_at", _Time),
        # The end of the shown person's consent.
        sa.Column("consent_expires", _Time),
        # What a person said about the picture, see `review_transitions`.
        sa.Column("review", sa.String(16)),
        sa.Column("reviewed_by", sa.String(250)),
        sa.Column("reviewed_at", _Time),
        sa.Column("review_note", sa.Text),
        # What was done to its pictures before they were sent, and what the check before that warned of: the JSON text
        # of a list of {picture, code, message}.
        sa.Column("input_notes", _Text),
        sa.Column("input_warnings", _Text),
    ]
    table = sa.Table(
        name,
        sa.MetaData(schema=schema),
        *columns,
        # Only columns that never change once a row is planned: no transition has to update an index, and Postgres can
        # keep all versions of a row on one page (hence the fill factor), which needs no vacuum.
        sa.Index(f"ix_{name}_run", "dag_id", "run_id", "task_id", "batch"),
        sa.Index(f"ix_{name}_pair", "pair_fingerprint"),
        *_pair_id_indexes(name),
        mysql_charset="utf8mb4",
        # Otherwise two ids that differ in case or accents only would be the same one.
        mysql_collate="utf8mb4_bin",
    )
    # Not the dialect option `postgresql_with`: SQLAlchemy 2.0 does not know it.
    set_fill_factor = sa.DDL(f"ALTER TABLE %(fullname)s SET (fillfactor = {FILL_FACTOR})")  # type: ignore[no-untyped-call]
    sa.event.listen(table, "after_create", set_fill_factor.execute_if(dialect="postgresql"))
    return table
