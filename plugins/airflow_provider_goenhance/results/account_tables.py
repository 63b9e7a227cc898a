# SPDX-License-Identifier: Apache-2.0
"""
The tables beside the results table that belong to an account: what all runs and workers share.

They have the results table's name with a suffix and are created with it. The results table stays the ledger of record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from .columns import PreciseUtcDateTime, UtcDateTime
from .schema import built_once, swaps_table

_Account = sa.String(32)


@dataclass(frozen=True, slots=True)
class AccountTables:
    """
    The tables that a results table has beside it.

    :param pairs: one row for each pair that an account has claimed: the swap that claimed it last
    :param accounts: one row for each account: its pace, and the price that it was last charged
    :param leases: the tasks that send, or wait for jobs, now, with the share of the account's limits that each has
    :param budgets: what was reserved and spent for a run, or on a day
    :param balances: the credit balance as it was read
    :param erasures: who had what erased, and when
    :param input_checks: what was found out about pictures before a submit; it belongs to no account
    """

    pairs: sa.Table
    accounts: sa.Table
    leases: sa.Table
    budgets: sa.Table
    balances: sa.Table
    erasures: sa.Table
    input_checks: sa.Table

    def names(self) -> list[str]:
        """Return the names of all of them."""
        tables = (
            self.pairs,
            self.accounts,
            self.leases,
            self.budgets,
            self.balances,
            self.erasures,
            self.input_checks,
        )
        return [table.name for table in tables]


@built_once
def account_tables(name: str, schema: str | None = None) -> AccountTables:
    """
    Return the definitions, which share the metadata of the results table.

    :param name: name of the results table
    :param schema: its database schema
    """
    metadata = swaps_table(name, schema).metadata
    pairs = sa.Table(
        f"{name}_pairs",
        metadata,
        sa.Column("account", _Account, primary_key=True),
        sa.Column("pair_fingerprint", sa.String(64), primary_key=True),
        # The swap that claimed the pair last, and how often the pair was claimed: a claim must name that number.
        sa.Column("swap_id", sa.String(36), nullable=False),
        sa.Column("claims", sa.BigInteger, nullable=False),
        mysql_charset="utf8mb4",
    )
    accounts = sa.Table(
        f"{name}_accounts",
        metadata,
        sa.Column("account", _Account, primary_key=True),
        # Credits for one swap, as GoEnhance last reported them.
        sa.Column("price", sa.BigInteger),
        # By the database's clock: when the next POST may start, and until when a 429 stops them all.
        sa.Column("next_turn_at", PreciseUtcDateTime),
        sa.Column("paused_until", PreciseUtcDateTime),
        # The share of the limits that is in use since a 429, 0 to 1, and since when.
        sa.Column("pace", sa.Float),
        sa.Column("pace_since", PreciseUtcDateTime),
        mysql_charset="utf8mb4",
    )
    leases = sa.Table(
        f"{name}_leases",
        metadata,
        sa.Column("account", _Account, primary_key=True),
        # Unique name of the execution, as in `claimed_by`; of the task instance for a count of jobs.
        sa.Column("owner", sa.String(400), primary_key=True),
        # The run that it belongs to: limits are shared fairly between runs, not between tasks.
        sa.Column("dag_id", sa.String(250)),
        sa.Column("run_id", sa.String(250)),
        # POSTs that it may have under way, and those that it could use.
        sa.Column("slots", sa.Integer, nullable=False),
        sa.Column("wanted", sa.Integer, nullable=False),
        # NULL, or the row counts jobs instead: those that the task may have under way, of those `wanted`.
        sa.Column("jobs", sa.Integer),
        # By the database's clock.
        sa.Column("since", PreciseUtcDateTime),
        sa.Column("expires_at", PreciseUtcDateTime),
        mysql_charset="utf8mb4",
    )
    budgets = sa.Table(
        f"{name}_budgets",
        metadata,
        # A digest of what it is for, and the same for people: `run ...`, or `day ... of account ...`.
        sa.Column("budget_id", sa.String(64), primary_key=True),
        sa.Column("title", sa.Text),
        # Reserved before the POST, and kept unless it certainly was not accepted.
        sa.Column("pairs", sa.BigInteger, nullable=False),
        sa.Column("cost", sa.BigInteger, nullable=False),
        mysql_charset="utf8mb4",
    )
    balances = sa.Table(
        f"{name}_balances",
        metadata,
        sa.Column("reading_id", sa.String(36), primary_key=True),
        sa.Column("account", _Account, nullable=False),
        sa.Column("dag_id", sa.String(250)),
        sa.Column("run_id", sa.String(250)),
        # `plan`, `report` or `reconcile`.
        sa.Column("moment", sa.String(16), nullable=False),
        sa.Column("balance", sa.BigInteger, nullable=False),
        sa.Column("read_at", UtcDateTime),
        sa.Index(f"ix_{name}_balances_account", "account", "read_at"),
        mysql_charset="utf8mb4",
    )
    erasures = sa.Table(
        f"{name}_erasures",
        metadata,
        sa.Column("erasure_id", sa.String(36), primary_key=True),
        # `source`, `pair`, `consent_ref` or `run`, and the HMAC-SHA256 of what was named, with this salt as its key.
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("selector_hash", sa.String(64), nullable=False),
        sa.Column("salt", sa.String(32), nullable=False),
        sa.Column("requested_by", sa.String(250), nullable=False),
        sa.Column("started_at", UtcDateTime),
        # NULL while it is incomplete.
        sa.Column("finished_at", UtcDateTime),
        # Rows whose content was erased, files that were deleted or rewritten, and what was still found afterwards.
        sa.Column("erased_rows", sa.BigInteger, nullable=False),
        sa.Column("erased_files", sa.BigInteger, nullable=False),
        sa.Column("left_over", sa.BigInteger, nullable=False),
        mysql_charset="utf8mb4",
    )
    input_checks = sa.Table(
        f"{name}_input_checks",
        metadata,
        # A digest of the picture's address, or of its content: no address is kept.
        sa.Column("check_key", sa.String(64), primary_key=True),
        # A digest of what its server says when it changes: size, ETag, time.
        sa.Column("validator", sa.String(64)),
        sa.Column("kind", sa.String(16)),
        sa.Column("size", sa.BigInteger),
        sa.Column("width", sa.Integer),
        sa.Column("height", sa.Integer),
        # NULL where nobody has looked for faces, and the version of the rules by which they were found.
        sa.Column("faces", sa.Integer),
        sa.Column("face_size", sa.Float),
        sa.Column("detector", sa.String(16)),
        sa.Column("checked_at", UtcDateTime),
        sa.Index(f"ix_{name}_input_checks_time", "checked_at"),
        mysql_charset="utf8mb4",
    )
    return AccountTables(pairs, accounts, leases, budgets, balances, erasures, input_checks)


def insert_missing(connection: sa.Connection, table: sa.Table, row: dict[str, Any]) -> None:
    """Insert a row, unless there is one with its primary key, whoever inserted it."""
    connection.execute(insert_or_leave(connection, table), row)


def insert_or_leave(connection: sa.Connection, table: sa.Table) -> Any:
    """Return an INSERT that leaves rows alone whose primary keys are there already."""
    if connection.dialect.name in {"mysql", "mariadb"}:
        return sa.insert(table).prefix_with("IGNORE")
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table).on_conflict_do_nothing()
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table).on_conflict_do_nothing()
