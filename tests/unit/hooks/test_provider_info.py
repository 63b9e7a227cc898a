# SPDX-License-Identifier: Apache-2.0
"""What Airflow learns of the package is what Airflow's own schemas allow, and is true."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest

from airflow_provider_goenhance import __version__, settings
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
    assets = [uris[key] for uris in info["asset-uris"] for key in uris if key != "schemes"]
    decorators = [decorator["class-name"] for decorator in info["task-decorators"]]
    for path in [*info["extra-links"], *assets, *decorators]:
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name)


def options_that_are_read() -> dict[str, object]:
    """Return each option of the section that the code reads, with the value that it takes if it is not set."""
    found: dict[str, object] = {}
    for node in ast.walk(ast.parse(inspect.getsource(settings))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("conf.get"):
            section, option = node.args
            assert ast.unparse(section) == "SECTION"
            [fallback] = [keyword.value for keyword in node.keywords if keyword.arg == "fallback"]
            found[ast.literal_eval(option)] = ast.literal_eval(fallback)
    return found


def test_the_section_of_the_configuration_has_each_option_that_is_read_with_its_default() -> None:
    (section,) = get_provider_info()["config"]
    options = get_provider_info()["config"][section]["options"]

    assert section == settings.SECTION
    assert {name: option["default"] for name, option in options.items()} == {
        name: str(default) for name, default in options_that_are_read().items()
    }
    for option in options.values():
        assert option.keys() == {"description", "version_added", "type", "example", "default"}


def test_no_other_module_reads_the_section() -> None:
    package = Path(settings.__file__).parent
    readers = [
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if re.search(r"conf\.get\w*\(\s*(SECTION|[\"']goenhance[\"'])", path.read_text())
    ]
    assert readers == ["settings.py"]


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
