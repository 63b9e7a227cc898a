# SPDX-License-Identifier: Apache-2.0
"""Which database the results table is in, as the connection says it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_goenhance.exceptions import ResultsTableError
from airflow_provider_goenhance.hooks.results import open_results


def define(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> str:
    monkeypatch.setenv("AIRFLOW_CONN_RESULTS_TEST", json.dumps(fields))
    return "results_test"


def test_without_the_default_connection_a_file_in_the_airflow_home_serves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_GOENHANCE_RESULTS", raising=False)
    monkeypatch.setattr("airflow.configuration.AIRFLOW_HOME", str(tmp_path))
    assert str(tmp_path / "goenhance_results.db") in open_results().name


def test_another_connection_that_does_not_exist_is_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_RESULTS_TEST", raising=False)
    with pytest.raises(
        ResultsTableError, match="The connection 'results_test' of the results table does not exist"
    ):
        open_results("results_test")


def test_an_sqlite_connection_names_its_file_as_it_stands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "odd %20 name.db"
    opened = open_results(define(monkeypatch, conn_type="sqlite", host=str(path)))
    assert opened.name == "connection 'results_test'"
    assert opened.run_read(lambda connection: connection.engine.url.database) == str(path)
    opened.close()
    assert path.is_file()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"conn_type": "sqlite"}, "has no file path"),
        ({"conn_type": "goenhance", "password": "sk-unit-test"}, "results_test"),
        ({"conn_type": "no_such_type"}, "results_test"),
    ],
)
def test_a_connection_that_cannot_hold_the_table_is_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(ResultsTableError, match="results_test") as raised:
        open_results(define(monkeypatch, **fields))
    assert said in str(raised.value)


@pytest.mark.parametrize("field", ["host", "schema"])
@pytest.mark.parametrize(
    "form",
    [
        "{}",
        "sqlite:///{}",
        "sqlite+pysqlite:///{}",
        "SQLITE:///{}",
        "sqlite:{}",
        "file:{}",
        "file://{}",
        "File:{}",
        " {} ",
        "sqlite:///{}?timeout=9",
    ],
)
def test_the_path_is_read_out_of_whatever_was_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, form: str, field: str
) -> None:
    path = tmp_path / "results.db"
    fields = {"conn_type": "sqlite", field: form.format(path)}
    assert open_results(define(monkeypatch, **fields)).url.database == str(path)


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("results.db", "relative path"),
        ("data/results.db", "such as {cwd}/data/results.db"),
        ("./results.db", "relative path"),
        ("../results.db", "relative path"),
        ("sqlite:///results.db", "relative path"),
        ("~/results.db", "another file for each user"),
        ("sqlite:///~/results.db", "{home}/results.db"),
        (":memory:", "in memory"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("file::memory:?cache=shared", "in memory"),
        ("file:results?mode=memory&cache=shared", "in memory"),
        (
            "/no/such/directory/results.db",
            "the directory '/no/such/directory' of the SQLite file does not exist",
        ),
        ("postgresql://user:secret@host/db", "use the type of that database"),
        ("https://example.com/results.db", "begins with 'https'"),
        ("{cwd}/results.db?timeout=30", "such as {cwd}/results.db"),
        ("'{cwd}/results.db'", "such as {cwd}/results.db"),
        ('"{cwd}/results.db"', "such as {cwd}/results.db"),
        ("$AIRFLOW_HOME/results.db", "such as /opt/airflow/results.db"),
        ("${{AIRFLOW_HOME}}/results.db", "such as /opt/airflow/results.db"),
        ("{cwd}", "is not the path of a file"),
        ("{cwd}/", "is not the path of a file"),
        ("{cwd}/a\0b.db", "is not the path of a file"),
    ],
)
def test_a_place_that_is_not_one_file_for_all_processes_is_refused_with_the_right_spelling(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, location: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    host = location.format(cwd=tmp_path)
    with pytest.raises(ResultsTableError, match="connection 'results_test'") as raised:
        open_results(define(monkeypatch, conn_type="sqlite", host=host))
    assert said.format(cwd=tmp_path, home=tmp_path / "home") in str(raised.value)
    assert "secret" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_url_in_the_host_field_of_a_server_is_refused_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = "postgresql://user:s3cret@db.example/airflow"
    with pytest.raises(ResultsTableError, match="its host field holds a URL") as raised:
        open_results(define(monkeypatch, conn_type="postgres", host=url))
    assert "s3cret" not in str(raised.value)
