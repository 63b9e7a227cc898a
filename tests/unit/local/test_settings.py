# SPDX-License-Identifier: Apache-2.0
"""Reading `airflow_settings.yaml` and fitting it to a checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.local.errors import LocalStackError
from include.local.paths import this_checkout
from include.local.ports import Ports
from include.local.settings import ConnectionSetting, Settings, fit, local_manifest, read_settings

OTHER = Ports(airflow=18080, sandbox=18765)


def settings_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "airflow_settings.yaml"
    path.write_text(text)
    return path


@pytest.fixture
def ours() -> Settings:
    return read_settings(this_checkout().settings)


def test_our_own_file_points_at_the_sandbox_with_the_sandboxes_token(ours: Settings) -> None:
    from include.sandbox.settings import DEFAULT_PORT, DEFAULT_TOKEN

    connection = ours.connection("goenhance_default")
    assert connection.conn_type == "goenhance"
    assert connection.is_at(f"http://127.0.0.1:{DEFAULT_PORT}")
    assert connection.password == DEFAULT_TOKEN


def test_our_own_file_names_a_manifest_that_exists(ours: Settings, tmp_path: Path) -> None:
    root = this_checkout().root
    assert Path(fit(ours, root, Ports()).variables["goenhance_manifest"]).is_file()


def test_our_own_results_file_is_shared_by_all_of_astros_containers(ours: Settings) -> None:
    location = ours.connection("goenhance_results").host or ""
    # Of the project, they mount dags, include, plugins and tests; everything else each has for itself.
    assert Path(location).relative_to("/usr/local/airflow").parts[0] == "include"


@pytest.mark.parametrize(
    ("written", "used"),
    [
        ("/usr/local/airflow/include/goenhance_results.db", ".local/results.db"),
        (".local/results.db", ".local/results.db"),
        ("other/results.db", "other/results.db"),
        ("/srv/results.db", "/srv/results.db"),
    ],
)
def test_make_uses_a_results_file_of_the_project(tmp_path: Path, written: str, used: str) -> None:
    settings = Settings((ConnectionSetting("goenhance_results", "sqlite", written),))
    assert fit(settings, tmp_path, Ports()).connection("goenhance_results").host == str(tmp_path / used)


def test_make_uses_our_own_file_below_local(ours: Settings, tmp_path: Path) -> None:
    fitted = fit(ours, tmp_path, Ports())
    assert fitted.connection("goenhance_results").host == str(tmp_path / ".local" / "results.db")


def test_the_connection_follows_the_sandbox_to_another_port_and_token(ours: Settings, tmp_path: Path) -> None:
    connection = fit(ours, tmp_path, OTHER, "sk-other").connection("goenhance_default")
    assert (connection.port, connection.password) == (18765, "sk-other")


def test_without_a_token_of_the_shell_the_files_token_stays(ours: Settings, tmp_path: Path) -> None:
    connection = fit(ours, tmp_path, OTHER).connection("goenhance_default")
    assert connection.password == ours.connection("goenhance_default").password


def test_a_connection_to_somewhere_else_is_left_alone(tmp_path: Path) -> None:
    real = ConnectionSetting(
        "goenhance_default", "goenhance", "https://api.example", password="sk-real", port=443
    )
    assert fit(Settings((real,)), tmp_path, OTHER, "sk-sandbox").connections == (real,)


def test_empty_entries_of_the_template_are_skipped(tmp_path: Path) -> None:
    text = "airflow:\n  connections:\n    - conn_id:\n  pools:\n    - pool_name:\n  variables:\n"
    assert read_settings(settings_file(tmp_path, text)) == Settings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("airflow: [", "not valid YAML: line 1"),
        ("- a\n", "must begin with a key 'airflow'"),
        ("airflow:\n  connections: x\n", "airflow.connections must be a list"),
        ("airflow:\n  pools: [x]\n", "airflow.pools has an entry that is not a mapping: 'x'"),
        ("airflow:\n  connections: [{conn_id: a}]\n", "connection 'a' has no conn_type"),
        (
            "airflow:\n  connections: [{conn_id: a, conn_type: http, conn_port: x}]\n",
            "conn_port of 'a' must be a whole number; got 'x'",
        ),
        (
            "airflow:\n  connections: [{conn_id: a, conn_type: http, conn_extra: x}]\n",
            "conn_extra of connection 'a' must be a mapping",
        ),
        ("airflow:\n  pools: [{pool_name: p}]\n", "pool_slot of 'p' must be a whole number"),
    ],
)
def test_a_faulty_file_is_refused_by_name_and_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(LocalStackError) as caught:
        read_settings(settings_file(tmp_path, text))
    assert "airflow_settings.yaml" in str(caught.value)
    assert message in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match=r"airflow_settings\.yaml is missing"):
        read_settings(tmp_path / "airflow_settings.yaml")


def test_a_missing_connection_is_named() -> None:
    with pytest.raises(LocalStackError, match="no connection 'goenhance_results'"):
        Settings().connection("goenhance_results")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    samples = tmp_path / "include" / "manifests"
    samples.mkdir(parents=True)
    (samples / "sample.csv").write_text("source_img\nhttp://127.0.0.1:8765/images/a.jpg\n")
    (tmp_path / "mine.csv").write_text("source_img\nhttp://127.0.0.1:8765/images/a.jpg\n")
    return tmp_path


def test_the_sample_manifest_serves_as_it_is_on_the_default_port(project: Path) -> None:
    found = local_manifest("include/manifests/sample.csv", project, Ports())
    assert found == str(project / "include" / "manifests" / "sample.csv")


def test_the_sample_manifest_follows_the_sandbox_to_another_port(project: Path) -> None:
    found = Path(local_manifest("include/manifests/sample.csv", project, OTHER))
    assert found.read_text() == "source_img\nhttp://127.0.0.1:18765/images/a.jpg\n"
    assert found.is_relative_to(project / ".local")


def test_the_copy_of_the_sample_manifest_names_its_local_pictures_in_full(project: Path) -> None:
    (project / "include" / "manifests" / "sample.csv").write_text("a,../images/b.jpg,../images/c.jpg\n")
    found = Path(local_manifest("include/manifests/sample.csv", project, OTHER))
    images = project / "include" / "images"
    assert found.read_text() == f"a,{images}/b.jpg,{images}/c.jpg\n"


def test_a_manifest_of_ones_own_is_never_rewritten(project: Path) -> None:
    assert local_manifest("mine.csv", project, OTHER) == str(project / "mine.csv")


def test_a_manifest_given_as_a_url_is_passed_on_as_it_is(project: Path) -> None:
    assert local_manifest("s3://bucket/pairs.csv", project, OTHER) == "s3://bucket/pairs.csv"
