# SPDX-License-Identifier: Apache-2.0
"""What the local Airflow is started with, and what it is kept away from."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from include.local.environment import load_secrets, stack_environment
from include.local.paths import Places
from include.local.ports import Ports


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def environment(places: Places, inherited: dict[str, str] | None = None) -> dict[str, str]:
    return stack_environment(places, Ports(airflow=18080), load_secrets(places), inherited or {})


@pytest.mark.parametrize(
    "name",
    [
        "AIRFLOW_CONN_GOENHANCE_DEFAULT",
        "AIRFLOW_VAR_GOENHANCE_MANIFEST",
        "AIRFLOW__GOENHANCE__X",
        "_AIRFLOW_X",
    ],
)
def test_airflow_settings_of_the_shell_stay_outside(places: Places, name: str) -> None:
    assert name not in environment(places, {name: "paid"})


def test_the_metadata_database_of_the_shell_is_not_used(places: Places) -> None:
    shell = {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://production/airflow",
        "AIRFLOW_HOME": "/airflow",
    }
    found = environment(places, shell)
    assert found["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == f"sqlite:///{places.metadata}"
    assert found["AIRFLOW_HOME"] == str(places.airflow_home)


def test_the_env_file_has_the_last_word(places: Places) -> None:
    (places.root / ".env").write_text("AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE=True\nA='$x'\n")
    found = environment(places)
    assert found["AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE"] == "True"
    assert found["A"] == "$x"


def test_nothing_is_started_by_the_clock(places: Places) -> None:
    assert environment(places)["AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE"] == "False"


def test_airflow_listens_on_the_local_address_only(places: Places) -> None:
    found = environment(places)
    assert (found["AIRFLOW__API__HOST"], found["AIRFLOW__API__PORT"]) == ("127.0.0.1", "18080")


def test_a_proxy_does_not_get_between_the_components(places: Places) -> None:
    found = environment(places, {"http_proxy": "http://proxy.example", "no_proxy": "intranet.example"})
    assert found["no_proxy"] == "intranet.example,127.0.0.1,localhost"
    assert found["NO_PROXY"] == "127.0.0.1,localhost"


def test_bytecode_is_cached_even_if_the_shell_forbids_it(places: Places) -> None:
    assert "PYTHONDONTWRITEBYTECODE" not in environment(places, {"PYTHONDONTWRITEBYTECODE": "1"})


def test_keys_and_password_stay_the_same_from_start_to_start(places: Places) -> None:
    assert load_secrets(places) == load_secrets(places)


def test_every_checkout_has_a_password_of_its_own(tmp_path: Path) -> None:
    first, second = (load_secrets(Places(tmp_path / name)).password for name in ("a", "b"))
    assert first != second


def test_keys_and_password_are_for_their_owner_only(places: Places) -> None:
    found = load_secrets(places)
    for path in (places.secrets, places.passwords):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(places.passwords.read_text()) == {"admin": found.password}


def test_airflow_has_no_reason_to_write_the_keys_into_a_file_of_its_own(places: Places) -> None:
    load_secrets(places)
    assert (places.airflow_home / "airflow.cfg").read_text() == ""
