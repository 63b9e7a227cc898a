# SPDX-License-Identifier: Apache-2.0
"""
Migrate the metadata database and write the settings into it, in one process.

Each call of the `airflow` command imports Airflow, which takes seconds. Run as `python -m include.local.prepare` in
the environment of the stack. Entries of the file overwrite the database at each start; other entries made in the UI
are kept.
"""

from __future__ import annotations

import json
import os
import sys

from airflow.models.connection import Connection
from airflow.models.pool import Pool
from airflow.models.variable import Variable
from airflow.utils import db
from airflow.utils.session import create_session
from sqlalchemy import select

from include.local.errors import LocalStackError
from include.local.paths import this_checkout
from include.local.ports import chosen_ports
from include.local.settings import Settings, fit, read_settings


def store(settings: Settings) -> None:
    """Write connections, pools and variables to the metadata database, where the UI shows and edits them."""
    with create_session() as session:
        for wanted in settings.connections:
            row = session.scalar(select(Connection).where(Connection.conn_id == wanted.conn_id))
            if row is None:
                row = Connection(conn_id=wanted.conn_id)
                session.add(row)
            row.conn_type, row.host, row.schema = wanted.conn_type, wanted.host, wanted.schema
            row.login, row.port = wanted.login, wanted.port
            row.set_password(wanted.password)
            row.set_extra(json.dumps(wanted.extra) if wanted.extra else None)
        for pool in settings.pools:
            Pool.create_or_update_pool(
                pool.name, pool.slots, pool.description, include_deferred=False, session=session
            )
        for name, value in settings.variables.items():
            Variable.set(name, value, session=session)


def main() -> int:
    """Prepare the metadata database of this checkout."""
    paths = this_checkout()
    try:
        wanted = fit(
            read_settings(paths.settings), paths.root, chosen_ports(), os.environ.get("SANDBOX_TOKEN")
        )
    except LocalStackError as error:
        print(error, file=sys.stderr)
        return 1
    db.initdb()
    store(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
