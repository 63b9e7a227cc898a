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
    "served": served(),
}))
"""

# The plugin's application, mounted as the API server mounts it. The session is the API server's to check.
SERVE = """
def served():
    import asyncio
    from fastapi import FastAPI
    from airflow import plugins_manager
    from airflow_provider_goenhance.links import URL_PREFIX

    server = FastAPI()
    apps = [app for app in plugins_manager.get_fastapi_plugins()[0] if app["url_prefix"] == URL_PREFIX]
    for app in apps:
        server.mount(app["url_prefix"], app["app"])

    async def get(path):
        sent = []

        asked = []

        async def receive():
            if asked:
                await asyncio.Event().wait()  # the client stays
            asked.append(True)
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"",
            "headers": [(b"host", b"localhost")], "root_path": "", "scheme": "http", "http_version": "1.1",
            "client": ("127.0.0.1", 1), "server": ("localhost", 80), "app": server,
        }
        await server(scope, receive, send)
        status = next(message["status"] for message in sent if message["type"] == "http.response.start")
        return status, sum(len(message.get("body", b"")) for message in sent)

    return {path: asyncio.run(get(URL_PREFIX + path)) for path in ("/static/1/page.css", "/static/1/page.js", "/runs")}
"""


def look(python: Path | str, in_airflow: InAirflow, **settings: str) -> dict[str, object]:
    said = in_airflow([str(python), "-c", SERVE + LOOK], **settings)
    assert "Inconsistency" not in said.stdout + said.stderr
    answer: dict[str, object] = json.loads(said.stdout.splitlines()[-1])
    return answer


def assert_serves_its_pages(seen: dict[str, object]) -> None:
    served: dict[str, tuple[int, int]] = seen["served"]  # type: ignore[assignment]
    for name in ("/static/1/page.css", "/static/1/page.js"):
        status, size = served[name]
        assert (status, size > 1000) == (200, True), name
    # The page is there, and asks for a session first: it answers with a redirect to the log-in, or a refusal.
    assert served["/runs"][0] in {302, 303, 307, 401}


def test_the_wheel_holds_the_package_the_sandbox_and_nothing_of_the_workshop(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    names = archive.namelist()

    # Every file of the package is in it: the pages' templates, styles and scripts, the model, the typed marker.
    package = ROOT / "plugins" / "airflow_provider_goenhance"
    files = [path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {f"airflow_provider_goenhance/{path.relative_to(package)}" for path in files} <= set(names)
    assert {"py.typed", "web/static/page.css", "web/templates/base.html"} <= {
        name.removeprefix("airflow_provider_goenhance/") for name in names
    }
    (points,) = (archive.read(name).decode() for name in names if name.endswith("/entry_points.txt"))
    assert "airflow-goenhance = airflow_provider_goenhance.cli.__main__:main" in points
    assert "provider_info = airflow_provider_goenhance.provider_info:get_provider_info" in points
    assert "goenhance = airflow_provider_goenhance.plugin:GoEnhancePlugin" in points
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


def test_the_console_script_gives_the_same_commands_where_airflow_is_3_1(
    clean_python: Path, in_airflow: InAirflow, tmp_path: Path
) -> None:
    results = {"conn_type": "sqlite", "host": str(tmp_path / "results.db")}
    said = in_airflow(
        [str(clean_python.with_name("airflow-goenhance")), "unknowns"],
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
    assert_serves_its_pages(seen)


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
    assert seen["hook"] is None, "the connection form needs the package"
    assert_serves_its_pages(seen)

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
