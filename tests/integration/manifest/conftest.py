# SPDX-License-Identifier: Apache-2.0
"""A real Postgres for manifests that are read by a query."""

from __future__ import annotations

from tests.integration.results.conftest import postgres_admin, postgres_server, postgres_url, sqlite_url

__all__ = ["postgres_admin", "postgres_server", "postgres_url", "sqlite_url"]
