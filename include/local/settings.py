# SPDX-License-Identifier: Apache-2.0
"""
Read `airflow_settings.yaml` (Astro's format) and adapt it to this checkout.

Relative paths are resolved against the project folder, the results file of Astro's containers becomes one of this
checkout, and connections to the sandbox's default address follow
SANDBOX_PORT and SANDBOX_TOKEN. Nothing outside this package knows about the sandbox.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from include.local.errors import LocalStackError
from include.local.ports import SANDBOX_DEFAULT, Ports

API_CONNECTION = "goenhance_default"
RESULTS_CONNECTION = "goenhance_results"
MANIFEST_VARIABLE = "goenhance_manifest"
#: The project folder in Astro's containers; of its folders, they share those that the host's project is mounted on.
ASTRO_PROJECT = Path("/usr/local/airflow")
_FILE = "airflow_settings.yaml"
_SANDBOX_URL = Ports().sandbox_url


@dataclass(frozen=True)
class ConnectionSetting:
    """An Airflow connection."""

    conn_id: str
    conn_type: str
    host: str | None = None
    schema: str | None = None
    login: str | None = None
    password: str | None = None
    port: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def is_at(self, url: str) -> bool:
        """Return whether the connection points to a URL such as ``http://127.0.0.1:8765``."""
        return f"{(self.host or '').rstrip('/')}:{self.port}" == url


@dataclass(frozen=True)
class PoolSetting:
    """An Airflow pool."""

    name: str
    slots: int
    description: str = ""


@dataclass(frozen=True)
class Settings:
    """The content of the file."""

    connections: tuple[ConnectionSetting, ...] = ()
    pools: tuple[PoolSetting, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)

    def connection(self, conn_id: str) -> ConnectionSetting:
        """
        Return a connection by its id.

        :raises LocalStackError: the file has no such connection
        """
        for connection in self.connections:
            if connection.conn_id == conn_id:
                return connection
        raise LocalStackError(f"{_FILE} has no connection {conn_id!r}: add it under airflow.connections")


def read_settings(path: Path) -> Settings:
    """
    Read the settings file.

    :raises LocalStackError: the file is missing, is not valid YAML, or an entry is incomplete
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise LocalStackError(
            f"{path.name} is missing: the connections of the local Airflow are read from it"
        ) from error
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise LocalStackError(f"{path.name} is not valid YAML: {line}{error.problem}") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise LocalStackError(f"{path.name} cannot be read: {error}") from error
    airflow = document.get("airflow") if isinstance(document, dict) else None
    if not isinstance(airflow, dict):
        raise LocalStackError(
            f"{path.name} must begin with a key 'airflow' that holds connections, pools, variables"
        )
    return Settings(
        tuple(_connection(entry) for entry in _entries(airflow, "connections", "conn_id")),
        tuple(_pool(entry) for entry in _entries(airflow, "pools", "pool_name")),
        {
            entry["variable_name"]: str(entry.get("variable_value") or "")
            for entry in _entries(airflow, "variables", "variable_name")
        },
    )


def _entries(airflow: dict[str, Any], key: str, name: str) -> Iterator[dict[str, Any]]:
    """Yield the entries of a list that have a name; Astro's template contains empty ones."""
    listed = airflow.get(key) or []
    if not isinstance(listed, list):
        raise LocalStackError(f"{_FILE}: airflow.{key} must be a list")
    for entry in listed:
        if not isinstance(entry, dict):
            raise LocalStackError(f"{_FILE}: airflow.{key} has an entry that is not a mapping: {entry!r}")
        if entry.get(name):
            yield entry


def _connection(entry: dict[str, Any]) -> ConnectionSetting:
    conn_id = str(entry["conn_id"])
    if not entry.get("conn_type"):
        raise LocalStackError(f"{_FILE}: connection {conn_id!r} has no conn_type")
    extra = entry.get("conn_extra") or {}
    if not isinstance(extra, dict):
        raise LocalStackError(f"{_FILE}: conn_extra of connection {conn_id!r} must be a mapping")

    def text(key: str) -> str | None:
        return str(entry[key]) if entry.get(key) not in {None, ""} else None

    port = _number(entry["conn_port"], f"conn_port of {conn_id!r}") if entry.get("conn_port") else None
    return ConnectionSetting(
        conn_id,
        str(entry["conn_type"]),
        text("conn_host"),
        text("conn_schema"),
        text("conn_login"),
        text("conn_password"),
        port,
        extra,
    )


def _pool(entry: dict[str, Any]) -> PoolSetting:
    name = str(entry["pool_name"])
    slots = _number(entry.get("pool_slot"), f"pool_slot of {name!r}")
    return PoolSetting(name, slots, str(entry.get("pool_description") or ""))


def _number(value: object, what: str) -> int:
    try:
        return int(str(value))
    except ValueError:
        raise LocalStackError(f"{_FILE}: {what} must be a whole number; got {value!r}") from None


def fit(settings: Settings, root: Path, ports: Ports, sandbox_token: str | None = None) -> Settings:
    """
    Adapt the settings to this checkout, its ports and the sandbox's token.

    :param settings: the content of the file
    :param root: the project folder; relative paths are resolved against it
    :param ports: the ports of this stack
    :param sandbox_token: the value of SANDBOX_TOKEN; ``None`` keeps the file's token
    """

    def fitted(connection: ConnectionSetting) -> ConnectionSetting:
        if connection.conn_type == "sqlite" and connection.host:
            return replace(connection, host=str(_local_file(Path(connection.host), root)))
        if connection.is_at(_SANDBOX_URL):
            return replace(connection, port=ports.sandbox, password=sandbox_token or connection.password)
        return connection

    variables = dict(settings.variables)
    if manifest := variables.get(MANIFEST_VARIABLE):
        variables[MANIFEST_VARIABLE] = local_manifest(manifest, root, ports)
    return replace(settings, connections=tuple(map(fitted, settings.connections)), variables=variables)


def _local_file(file: Path, root: Path) -> Path:
    """Return the SQLite file to use in this checkout, which is not the one that Astro's containers use."""
    if file.is_relative_to(ASTRO_PROJECT) and root != ASTRO_PROJECT:
        return root / ".local" / file.name.removeprefix("goenhance_")
    return root / file


def local_manifest(manifest: str, root: Path, ports: Ports) -> str:
    """
    Return a manifest's absolute path; for a sample manifest and another sandbox port, the path of a changed copy.

    The samples refer to pictures at the sandbox's default address. For another port, a copy with the right address is
    written to `.local/manifests`. Other manifests are never changed.

    :param manifest: path or URL; a URL is returned unchanged
    """
    if "://" in manifest:
        return manifest
    path = root / manifest
    samples = root / "include" / "manifests"
    if ports.sandbox == SANDBOX_DEFAULT or not path.is_relative_to(samples) or not path.is_file():
        return str(path)
    copy = root / ".local" / "manifests" / path.relative_to(samples)
    copy.parent.mkdir(parents=True, exist_ok=True)
    content = path.read_bytes().replace(f"{_SANDBOX_URL}/".encode(), f"{ports.sandbox_url}/".encode())
    # Relative to the manifest, which is elsewhere now.
    content = content.replace(b",../images/", f",{root / 'include' / 'images'}/".encode())
    copy.write_bytes(content)
    return str(copy)
