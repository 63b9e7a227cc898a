# SPDX-License-Identifier: Apache-2.0
"""Remember which settings were written to the metadata database, to recognize those that a person changed since."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
from dataclasses import dataclass, field, replace

from cryptography.fernet import Fernet

from include.local.paths import Paths
from include.local.ports import HOST
from include.local.settings import ConnectionSetting, Settings


@dataclass
class Written:
    """
    What the last start wrote, and what this one leaves alone.

    :param hashes: ``connection goenhance_default`` -> hash of its content, which may hold a secret
    :param kept: entries that a person changed in the UI
    """

    hashes: dict[str, str] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, paths: Paths) -> Written:
        """Read the record of the last start; empty if there is none."""
        try:
            found = json.loads(paths.settings_record.read_text())
            return cls(dict(found["hashes"]), list(found["kept"]))
        except (OSError, ValueError, TypeError, KeyError):
            return cls()

    def save(self, paths: Paths) -> None:
        """Write the record, readable only by its owner."""
        partial = paths.settings_record.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump({"hashes": self.hashes, "kept": self.kept}, file)
        partial.rename(paths.settings_record)

    def may_write(self, what: str, name: str, current: list[object] | None, wanted: list[object]) -> bool:
        """
        Return whether an entry may be overwritten, and remember the decision.

        :param what: connection, pool or variable
        :param current: content in the database; ``None`` if it is missing: it is new, or a person deleted it
        :param wanted: content to write
        """
        key = f"{what} {name}"
        self.kept = [entry for entry in self.kept if entry != key]
        if current not in (None, wanted) and not self._is_ours(key, current):
            self.kept.append(key)
            return False
        self.hashes[key] = _hash(wanted)
        return True

    def _is_ours(self, key: str, current: list[object] | None) -> bool:
        if key in self.hashes:
            return self.hashes[key] == _hash(current)
        # Written by a version that kept no record. An address on this machine is the sandbox's, of whatever port.
        return any(value == f"http://{HOST}" for value in current or [])


def kept_lines(paths: Paths) -> list[str]:
    """Return what to print about the entries that a person changed."""
    return [
        f"Kept      {entry}: it was changed in the UI, so airflow_settings.yaml does not overwrite it. "
        "To go back to the file's, delete it in the UI and start again"
        for entry in Written.read(paths).kept
    ]


def with_stored_connections(settings: Settings, paths: Paths, fernet_key: str) -> Settings:
    """Return the settings with the connections as the metadata database has them, where a person changed them."""
    kept = set(Written.read(paths).kept)

    def stored(connection: ConnectionSetting) -> ConnectionSetting:
        if f"connection {connection.conn_id}" not in kept:
            return connection
        return _read_connection(paths, connection.conn_id, Fernet(fernet_key.encode())) or connection

    return replace(settings, connections=tuple(map(stored, settings.connections)))


def _read_connection(paths: Paths, conn_id: str, fernet: Fernet) -> ConnectionSetting | None:
    # Plain SQL: importing Airflow's models takes seconds, and its API masks passwords.
    query = (
        "SELECT conn_type, host, schema, login, password, port, extra, is_encrypted, is_extra_encrypted "
        "FROM connection WHERE conn_id = ?"
    )
    try:
        with contextlib.closing(sqlite3.connect(f"{paths.metadata.as_uri()}?mode=ro", uri=True)) as database:
            row = database.execute(query, (conn_id,)).fetchone()
    except sqlite3.Error:
        return None
    if row is None:
        return None
    kind, host, schema, login, password, port, extra, password_is_packed, extra_is_packed = row

    def plain(text: str | None, packed: bool) -> str | None:
        return fernet.decrypt(text.encode()).decode() if text and packed else text

    return ConnectionSetting(
        conn_id,
        kind,
        host,
        schema,
        login,
        plain(password, password_is_packed),
        port,
        json.loads(plain(extra, extra_is_packed) or "{}"),
    )


def _hash(content: list[object] | None) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
