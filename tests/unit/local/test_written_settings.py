# SPDX-License-Identifier: Apache-2.0
"""What a start writes to Airflow's metadata database, and what a person changed there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.models.connection import Connection
from airflow.models.pool import Pool
from airflow.models.variable import Variable
from cryptography.fernet import Fernet
from sqlalchemy.orm import Session

from include.local.paths import Paths
from include.local.prepare import store
from include.local.settings import ConnectionSetting, PoolSetting, Settings
from include.local.written_settings import Written, kept_lines, with_stored_connections
from tests.airflow_versions import forget_fernet

SANDBOX = ConnectionSetting(
    "goenhance_default", "goenhance", "http://127.0.0.1", password="sk-sandbox", port=8765
)
FILE = Settings(
    (SANDBOX, ConnectionSetting("goenhance_results", "sqlite", "results.db", extra={"a": 1})),
    (PoolSetting("goenhance", 4, "ours"),),
    {"goenhance_manifest": "sample.csv"},
)
KEY = Fernet.generate_key().decode()


class Stack:
    """A metadata database, and the starts that write into it."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        paths.airflow_home.mkdir(parents=True)
        self.engine = sa.create_engine(f"sqlite:///{paths.metadata}")
        tables = [model.__table__ for model in (Connection, Pool, Variable)]
        Connection.metadata.create_all(self.engine, tables=tables)

    def start(self, settings: Settings = FILE) -> list[str]:
        """Write the settings as a start does, and return what it kept."""
        written = Written.read(self.paths)
        with Session(self.engine) as session:
            store(settings, written, session)
            session.commit()
        written.save(self.paths)
        return written.kept

    def change(self, model: Any, **fields: Any) -> None:
        """Change the first row of a table, as a person does in the UI."""
        with Session(self.engine) as session:
            row = session.scalars(sa.select(model).order_by(model.id)).first()
            for name, value in fields.items():
                setattr(row, name, value)
            session.commit()

    def connection(self) -> Any:
        """Return goenhance_default."""
        with Session(self.engine) as session:
            return session.scalars(sa.select(Connection).order_by(Connection.id)).first()


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", KEY)
    forget_fernet()
    stack = Stack(Paths(tmp_path))
    yield stack
    stack.engine.dispose()
    forget_fernet()


def test_a_real_key_that_a_person_entered_stays_and_the_start_says_so(stack: Stack) -> None:
    assert stack.start() == []
    stack.change(Connection, host="https://api.goenhance.ai", port=None, password="sk-real")

    for _ in range(2):
        assert stack.start() == ["connection goenhance_default"]
        row = stack.connection()
        assert (row.host, row.port, row.password) == ("https://api.goenhance.ai", None, "sk-real")
    (line,) = kept_lines(stack.paths)
    assert "goenhance_default: it was changed in the UI" in line
    assert "sk-real" not in line + stack.paths.settings_record.read_text()


@pytest.mark.parametrize(
    ("model", "fields", "name"),
    [
        (Connection, {"password": "sk-real"}, "connection goenhance_default"),
        (Connection, {"extra": '{"max_concurrency": 3}'}, "connection goenhance_default"),
        (Pool, {"slots": 9}, "pool goenhance"),
        (Variable, {"val": "mine.csv"}, "variable goenhance_manifest"),
    ],
)
def test_each_setting_that_a_person_changed_stays(
    stack: Stack, model: Any, fields: dict[str, Any], name: str
) -> None:
    stack.start()
    stack.change(model, **fields)
    assert stack.start() == [name]
    assert stack.start() == [name]


def test_what_nobody_changed_follows_the_file(stack: Stack) -> None:
    stack.start()
    moved = replace(FILE, connections=(replace(SANDBOX, port=9000, password="sk-2"), FILE.connections[1]))
    assert stack.start(moved) == []
    assert (stack.connection().port, stack.connection().password) == (9000, "sk-2")


def test_what_a_person_deleted_is_written_again(stack: Stack) -> None:
    stack.start()
    stack.change(Connection, password="sk-real")
    stack.start()
    with Session(stack.engine) as session:
        session.execute(sa.delete(Connection))
        session.commit()
    assert stack.start() == []
    assert stack.connection().password == "sk-sandbox"
    assert kept_lines(stack.paths) == []


@pytest.mark.parametrize(
    ("host", "kept"),
    [("http://127.0.0.1", []), ("https://api.goenhance.ai", ["connection goenhance_default"])],
)
def test_a_database_of_an_earlier_version_has_no_record(stack: Stack, host: str, kept: list[str]) -> None:
    stack.start()
    stack.change(Connection, host=host, port=18765, password="sk-other")
    stack.paths.settings_record.unlink()
    assert stack.start() == kept


def test_a_record_that_cannot_be_read_keeps_what_is_not_the_sandbox(stack: Stack) -> None:
    stack.start()
    stack.change(Connection, host="https://api.goenhance.ai")
    stack.paths.settings_record.write_text("{")
    assert stack.start() == ["connection goenhance_default"]


def test_a_run_uses_the_connection_as_the_person_changed_it(stack: Stack) -> None:
    stack.start()
    assert with_stored_connections(FILE, stack.paths, KEY) == FILE
    stack.change(Connection, host="https://api.goenhance.ai", port=443, password="sk-real", extra='{"b": 2}')
    stack.start()
    found = with_stored_connections(FILE, stack.paths, KEY).connection("goenhance_default")
    assert (found.host, found.port, found.password, found.extra) == (
        "https://api.goenhance.ai",
        443,
        "sk-real",
        {"b": 2},
    )


def test_the_record_is_readable_by_its_owner_only(stack: Stack) -> None:
    stack.start()
    assert stack.paths.settings_record.stat().st_mode & 0o777 == 0o600
