# SPDX-License-Identifier: Apache-2.0
"""
Migrate the metadata database and write the settings into it, in one process.

Each call of the `airflow` command imports Airflow, which takes seconds. Run as `python -m include.local.prepare` in
the environment of the stack. An entry of the file overwrites the database at each start unless a person changed it
in the UI since the last start; such an entry is kept, and so are all others made in the UI.
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
from sqlalchemy.orm import Session

from include.local.distributed import passed_services, with_results_in_postgres
from include.local.environment import load_secrets
from include.local.errors import LocalStackError
from include.local.paths import this_checkout
from include.local.ports import chosen_ports
from include.local.settings import ConnectionSetting, Settings, fit, read_settings
from include.local.written_settings import Written


def store(settings: Settings, written: Written, session: Session) -> None:
    """
    Write connections, pools and variables to the metadata database, where the UI shows and edits them.

    :param written: what the last start wrote; updated, and told of what is kept
    """
    for wanted in settings.connections:
        row = session.scalar(select(Connection).where(Connection.conn_id == wanted.conn_id))
        current = _content(row) if row else None
        content = _asked(wanted)
        if not written.may_write("connection", wanted.conn_id, current, content):
            continue
        if row is None:
            row = Connection(conn_id=wanted.conn_id)
            session.add(row)
        row.conn_type, row.host, row.schema = wanted.conn_type, wanted.host, wanted.schema
        row.login, row.port = wanted.login, wanted.port
        row.set_password(wanted.password)
        row.set_extra(json.dumps(wanted.extra) if wanted.extra else None)
    for pool in settings.pools:
        known = session.scalar(select(Pool).where(Pool.pool == pool.name))
        current = [known.slots, known.description or ""] if known else None
        if written.may_write("pool", pool.name, current, [pool.slots, pool.description]):
            Pool.create_or_update_pool(
                pool.name, pool.slots, pool.description, include_deferred=False, session=session
            )
    for name, value in settings.variables.items():
        variable = session.scalar(select(Variable).where(Variable.key == name))
        if written.may_write("variable", name, [variable.val] if variable else None, [value]):
            Variable.set(name, value, session=session)


def _content(row: Connection) -> list[object]:
    """Return what the UI can change of a connection."""
    fields = (row.conn_type, row.host, row.schema, row.login, row.port, row.password)
    return [*(value or None for value in fields), row.extra_dejson]


def _asked(wanted: ConnectionSetting) -> list[object]:
    fields = (wanted.conn_type, wanted.host, wanted.schema, wanted.login, wanted.port, wanted.password)
    return [*(value or None for value in fields), wanted.extra]


def main() -> int:
    """Prepare the metadata database of this checkout."""
    services = passed_services()
    paths = this_checkout().with_executor("celery" if services else "local")
    try:
        wanted = fit(
            read_settings(paths.settings), paths.root, chosen_ports(), os.environ.get("SANDBOX_TOKEN")
        )
        if services:
            wanted = with_results_in_postgres(wanted, load_secrets(paths), services)
    except LocalStackError as error:
        print(error, file=sys.stderr)
        return 1
    db.initdb()
    written = Written.read(paths)
    with create_session() as session:
        store(wanted, written, session)
    written.save(paths)
    return 0


if __name__ == "__main__":
    sys.exit(main())
