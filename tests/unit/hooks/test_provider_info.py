# SPDX-License-Identifier: Apache-2.0
"""What Airflow learns of the package is what Airflow's own schemas allow, and is true."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest

from airflow_provider_goenhance import __version__
from airflow_provider_goenhance.hooks.connection import ACCOUNT_FIELDS
from airflow_provider_goenhance.hooks.goenhance import GoEnhanceAsyncHook, GoEnhanceHook
from airflow_provider_goenhance.provider_info import get_provider_info


def schema(name: str) -> dict[str, Any]:
    path = Path(airflow.__path__[0]) / name
    if not path.is_file():
        pytest.skip(f"this Airflow does not ship {name}")
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def test_the_metadata_fits_the_schema_that_airflow_reads_it_with() -> None:
    jsonschema.validate(get_provider_info(), schema("provider_info.schema.json"))


@pytest.mark.parametrize("key", ["connection-types", "config"])
def test_connection_types_and_options_fit_the_strict_schema_of_airflows_own_providers(key: str) -> None:
    strict = schema("provider.yaml.schema.json")
    jsonschema.validate(
        get_provider_info()[key], {**strict["properties"][key], "definitions": strict.get("definitions", {})}
    )


def test_the_connection_type_is_that_of_both_hooks() -> None:
    (connection_type,) = get_provider_info()["connection-types"]
    for hook in (GoEnhanceHook, GoEnhanceAsyncHook):
        assert hook.conn_type == connection_type["connection-type"]
        assert hook.hook_name == connection_type["hook-name"]
        assert hook.default_conn_name == "goenhance_default"
        assert hook.conn_name_attr == "goenhance_conn_id"
    module, _, name = connection_type["hook-class-name"].rpartition(".")
    assert getattr(importlib.import_module(module), name) is GoEnhanceHook


def test_the_form_has_a_field_for_each_setting_that_is_read() -> None:
    (connection_type,) = get_provider_info()["connection-types"]
    assert set(connection_type["conn-fields"]) == set(ACCOUNT_FIELDS)


@pytest.mark.parametrize("key", ["hooks", "operators", "triggers"])
def test_every_module_that_is_listed_can_be_imported(key: str) -> None:
    for group in get_provider_info()[key]:
        for module in group["python-modules"]:
            importlib.import_module(module)


def test_every_class_that_is_listed_exists() -> None:
    info = get_provider_info()
    for path in info["extra-links"]:
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name)


def test_the_version_is_the_packages() -> None:
    assert get_provider_info()["versions"] == [__version__]


def test_reading_the_metadata_loads_nothing_of_airflow() -> None:
    code = (
        "import sys; from airflow_provider_goenhance.provider_info import get_provider_info; get_provider_info(); "
        "print([name for name in sys.modules if name == 'airflow' or name.startswith('airflow.')])"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": "plugins"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout.strip() == "[]"
