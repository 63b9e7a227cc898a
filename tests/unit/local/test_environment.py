# SPDX-License-Identifier: Apache-2.0
"""What the local Airflow is started with, and what it is kept away from."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from include.local.environment import load_secrets, passwords, stack_environment
from include.local.paths import Paths
from include.local.ports import Ports


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path)


def environment(paths: Paths, inherited: dict[str, str] | None = None) -> dict[str, str]:
    return stack_environment(paths, Ports(airflow=18080), load_secrets(paths), inherited or {})


@pytest.mark.parametrize(
    "name",
    [
        "AIRFLOW_CONN_GOENHANCE_DEFAULT",
        "AIRFLOW_VAR_GOENHANCE_MANIFEST",
        "AIRFLOW__GOENHANCE__X",
        "_AIRFLOW_X",
    ],
)
def test_airflow_settings_of_the_shell_stay_outside(paths: Paths, name: str) -> None:
    assert name not in environment(paths, {name: "paid"})


def test_the_metadata_database_of_the_shell_is_not_used(paths: Paths) -> None:
    shell = {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://production/airflow",
        "AIRFLOW_HOME": "/airflow",
    }
    found = environment(paths, shell)
    assert found["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == f"sqlite:///{paths.metadata}"
    assert found["AIRFLOW_HOME"] == str(paths.airflow_home)


def test_the_env_file_has_the_last_word(paths: Paths) -> None:
    (paths.root / ".env").write_text("AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE=True\nA='$x'\n")
    found = environment(paths)
    assert found["AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE"] == "True"
    assert found["A"] == "$x"


def test_nothing_is_started_by_the_clock(paths: Paths) -> None:
    assert environment(paths)["AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE"] == "False"


def test_airflow_listens_on_the_local_address_only(paths: Paths) -> None:
    found = environment(paths)
    assert (found["AIRFLOW__API__HOST"], found["AIRFLOW__API__PORT"]) == ("127.0.0.1", "18080")


def test_a_proxy_does_not_get_between_the_components(paths: Paths) -> None:
    found = environment(paths, {"http_proxy": "http://proxy.example", "no_proxy": "intranet.example"})
    assert found["no_proxy"] == "intranet.example,127.0.0.1,localhost"
    assert found["NO_PROXY"] == "127.0.0.1,localhost"


def test_bytecode_is_cached_even_if_the_shell_forbids_it(paths: Paths) -> None:
    assert "PYTHONDONTWRITEBYTECODE" not in environment(paths, {"PYTHONDONTWRITEBYTECODE": "1"})


def _env_file(paths: Paths, users: str) -> dict[str, str]:
    (paths.root / ".env").write_text(f"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS={users}\n")
    load_secrets(paths)
    return passwords(paths)


def test_a_second_user_of_the_env_file_has_a_password_that_stays(paths: Paths) -> None:
    first = _env_file(paths, "admin:admin, anna:viewer")
    assert list(first) == ["admin", "anna"]
    assert json.loads(paths.passwords.read_text()) == first
    load_secrets(paths)  # by any later command
    assert json.loads(paths.passwords.read_text()) == first
    assert environment(paths)["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"] == "admin:admin,anna:viewer"


def test_a_password_that_airflow_or_a_person_wrote_stays(paths: Paths) -> None:
    ours = load_secrets(paths).password
    paths.passwords.write_text(json.dumps({"admin": "other", "anna": "chosen"}))
    assert _env_file(paths, "admin:admin,anna:viewer") == {"admin": ours, "anna": "chosen"}


def test_the_administrator_is_there_although_the_env_file_names_others_only(paths: Paths) -> None:
    assert list(_env_file(paths, "anna:op")) == ["admin", "anna"]
    assert environment(paths)["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"] == "admin:admin,anna:op"


def test_a_user_who_is_no_longer_named_is_not_shown(paths: Paths) -> None:
    _env_file(paths, "admin:admin,anna:op")
    assert list(_env_file(paths, "admin:admin")) == ["admin"]


def test_keys_and_password_stay_the_same_from_start_to_start(paths: Paths) -> None:
    assert load_secrets(paths) == load_secrets(paths)


def test_every_checkout_has_a_password_of_its_own(tmp_path: Path) -> None:
    first, second = (load_secrets(Paths(tmp_path / name)).password for name in ("a", "b"))
    assert first != second


def test_keys_and_password_are_for_their_owner_only(paths: Paths) -> None:
    found = load_secrets(paths)
    for path in (paths.secrets, paths.passwords):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(paths.passwords.read_text()) == {"admin": found.password}


def test_airflow_has_no_reason_to_write_the_keys_into_a_file_of_its_own(paths: Paths) -> None:
    load_secrets(paths)
    assert (paths.airflow_home / "airflow.cfg").read_text() == ""
