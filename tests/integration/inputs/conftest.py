# SPDX-License-Identifier: Apache-2.0
"""A server of pictures, and results databases of each kind."""

from __future__ import annotations

from tests.integration.results.conftest import (
    database,
    make_database,
    mariadb_server,
    mariadb_url,
    postgres_admin,
    postgres_server,
    postgres_url,
    sqlite_url,
    url,
)
from tests.unit.inputs.conftest import files

__all__ = [
    "database",
    "files",
    "make_database",
    "mariadb_server",
    "mariadb_url",
    "postgres_admin",
    "postgres_server",
    "postgres_url",
    "sqlite_url",
    "url",
]
