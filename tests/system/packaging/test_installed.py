# SPDX-License-Identifier: Apache-2.0
"""The package as a user gets it: the wheel in a clean environment, and the plugins folder without any installing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.operators.airflow_environment import AirflowEnvironment

ROOT = Path(__file__).resolve().parents[3]
InAirflow = Callable[..., subprocess.CompletedProcess[str]]

# Everything that a start of Airflow shows of us, in one process: imports, plugins, import errors, warnings.
LOOK = """
import importlib, json, warnings
caught = []
warnings.simplefilter("always")
warnings.showwarning = lambda message, category, filename, line, *_: caught.append(f"{filename}: {message}")
from airflow import plugins_manager
from airflow.providers_manager import ProvidersManager
plugins = [plugin["name"] for plugin in plugins_manager.get_plugin_info()]
apps = [app["name"] for app in plugins_manager.get_fastapi_plugins()[0]]
hook = ProvidersManager().hooks.get("goenhance")
for module in ("face_swap", "face_swap_batch", "plan", "report"):
    importlib.import_module(f"airflow_provider_goenhance.operators.{module}")
importlib.import_module("airflow_provider_goenhance.triggers.face_swap")
import airflow_provider_goenhance
print(json.dumps({
    "plugins": plugins,
    "apps": apps,
    "hook": hook and hook.hook_name,
    "links": sorted(link for link in ProvidersManager().extra_links_class_names if "goenhance" in link),
    "import_errors": {str(k): str(v) for k, v in plugins_manager.get_import_errors().items()},
    "warnings": [w for w in caught if "goenhance" in w],
    "from": airflow_provider_goenhance.__file__,
}))
"""


def look(python: Path | str, in_airflow: InAirflow, **settings: str) -> dict[str, object]:
    said = in_airflow([str(python), "-c", LOOK], **settings)
    assert "Inconsistency" not in said.stdout + said.stderr
    answer: dict[str, object] = json.loads(said.stdout.splitlines()[-1])
    return answer


def test_the_wheel_holds_the_package_the_sandbox_and_nothing_of_the_workshop(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    assert "airflow_provider_goenhance/py.typed" in names
    assert {name.split("/")[0] for name in names} == {
        "airflow_provider_goenhance",
        "goenhance_sandbox",
        f"{wheel.name.split('-py3')[0]}.dist-info",
    }


def test_installed_airflow_has_the_command_that_settles_unknown_submits(
    clean_python: Path, in_airflow: InAirflow, tmp_path: Path
) -> None:
    results = {"conn_type": "sqlite", "host": str(tmp_path / "results.db")}
    said = in_airflow(
        [str(clean_python.with_name("airflow")), "goenhance", "unknowns"],
        AIRFLOW_CONN_GOENHANCE_RESULTS=json.dumps(results),
    )
    assert "No data found" in said.stdout


def test_installed_it_is_one_plugin_one_connection_type_and_no_warning(
    clean_python: Path, in_airflow: InAirflow
) -> None:
    seen = look(clean_python, in_airflow)

    assert seen["plugins"].count("goenhance") == 1  # type: ignore[attr-defined]
    assert seen["apps"] == ["GoEnhance face swaps"]
    assert seen["hook"] == "GoEnhance"
    assert seen["links"] == [
        "airflow_provider_goenhance.links.ContactSheetLink",
        "airflow_provider_goenhance.links.SwappedPicturesLink",
    ]
    assert seen["import_errors"] == {}
    assert seen["warnings"] == []
    assert "site-packages" in str(seen["from"])


def test_airflow_lists_the_connection_type(clean_python: Path, in_airflow: InAirflow) -> None:
    said = in_airflow([str(clean_python.with_name("airflow")), "providers", "hooks", "--output", "json"])

    hooks = {hook["connection_type"]: hook for hook in json.loads(said.stdout[said.stdout.index("[{") :])}
    assert hooks["goenhance"]["class"] == "airflow_provider_goenhance.hooks.goenhance.GoEnhanceHook"
    assert "goenhance" not in said.stderr.lower()


def test_installed_and_in_the_plugins_folder_it_is_still_one_plugin(in_airflow: InAirflow) -> None:
    """As in this project: installed in place, while Airflow reads the folder too."""
    seen = look(sys.executable, in_airflow, AIRFLOW__CORE__PLUGINS_FOLDER=str(ROOT / "plugins"))

    assert seen["plugins"].count("goenhance") == 1  # type: ignore[attr-defined]
    assert seen["apps"].count("GoEnhance face swaps") == 1  # type: ignore[attr-defined]
    assert seen["import_errors"] == {}
    assert seen["warnings"] == []


def test_with_the_plugins_folder_alone_the_dags_parse_and_run(
    without_package: Path,
    in_airflow: InAirflow,
    goenhance_sandbox_shared: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plugins = str(ROOT / "plugins")
    seen = look(without_package, in_airflow, AIRFLOW__CORE__PLUGINS_FOLDER=plugins)
    assert seen["plugins"].count("goenhance") == 1  # type: ignore[attr-defined]
    assert (seen["import_errors"], seen["warnings"]) == ({}, [])
    assert str(seen["from"]).startswith(plugins)

    home = tmp_path / "environment"
    home.mkdir()
    with AirflowEnvironment(
        home,
        python=str(without_package),
        path=os.pathsep.join([str(ROOT)]),
        AIRFLOW__CORE__PLUGINS_FOLDER=plugins,
    ) as airflow:
        airflow.prepare(goenhance_sandbox_shared, tmp_path)  # type: ignore[arg-type]
        run = airflow.run(
            "goenhance_face_swap_single",
            source_img=airflow.sandbox.image("a.jpg"),
            reference_img=airflow.sandbox.image("b.jpg"),
        )

    assert airflow.started["dags"] == ["goenhance_face_swap_batch", "goenhance_face_swap_single"]
    assert [warning for warning in airflow.started["warnings"] if "goenhance" in warning.lower()] == []
    assert (run.state, run.errors) == ("success", [])
