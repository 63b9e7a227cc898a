# SPDX-License-Identifier: Apache-2.0
"""The price of one swap, as GoEnhance reported it last for an account."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from .account_tables import insert_missing

if TYPE_CHECKING:
    from .database import ResultsDatabase


def learned_price(database: ResultsDatabase, account: str) -> int | None:
    """Return the credits for one swap that GoEnhance reported last for an account; ``None`` if it never did."""
    accounts = database.shared.accounts
    rows = database.read(sa.select(accounts.c.price).where(accounts.c.account == account))
    return rows[0]["price"] if rows else None


def store_price(database: ResultsDatabase, account: str, price: int) -> None:
    """Store the price that an account was charged."""
    accounts = database.shared.accounts

    def work(connection: sa.Connection) -> None:
        insert_missing(connection, accounts, {"account": account})
        update = sa.update(accounts).where(accounts.c.account == account)
        connection.execute(update.values(price=price))

    database.run(work)
