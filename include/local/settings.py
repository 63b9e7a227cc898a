# SPDX-License-Identifier: Apache-2.0
"""
Read `airflow_settings.yaml` (Astro's format) and fit it to this checkout.

Fitting means: relative paths are taken from the project's folder, and what points at the sandbox's default
address follows SANDBOX_PORT and SANDBOX_TOKEN. Nothing outside this package knows that there is a sandbox.
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
_FILE = "airflow_settings.yaml"
_SANDBOX_URL = Ports().sandbox_url


@dataclass(frozen=True)
class ConnectionSetting:
    """One Airflow connection."""

    conn_id: str
    conn_type: str
    host: str | None = None
    schema: str | None = None
    login: str | None = None
    password: str | None = None
    port: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def is_at(self, url: str) -> bool:
        """Say whether it points at an address such as ``http://127.0.0.1:8765``."""
        return f"{(self.host or '').rstrip('/')}:{self.port}" == url


@dataclass(frozen=True)
class PoolSetting:
    """One Airflow pool."""

    name: str
    slots: int
    description: str = ""


@dataclass(frozen=True)
class Settings:
    """Everything the file holds."""

    connections: tuple[ConnectionSetting, ...] = ()
    pools: tuple[PoolSetting, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)

    def connection(self, conn_id: str) -> ConnectionSetting:
        """
        Find a connection by its id.

        :raises LocalStackError: the file has none of that name
        """
        for connection in self.connections:
            if connection.conn_id == conn_id:
                return connection
        raise LocalStackError(f"{_FILE} has no connection {conn_id!r}: add it under airflow.connections")


def read_settings(path: Path) -> Settings:
    """
    Read the settings file as it stands.

    :raises LocalStackError: it is missing, is not YAML, or an entry lacks what it needs
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
    """Yield the filled-in entries of a list; Astro's template comes with empty ones."""
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
        raise LocalStackError(f"{_FILE}: {what} must be a whole number, not {value!r}") from None


def fit(settings: Settings, root: Path, ports: Ports, sandbox_token: str | None = None) -> Settings:
    """
    Fit the settings to this checkout, its ports and the sandbox's token.

    :param settings: as read from the file
    :param root: the project's folder, from which relative paths are taken
    :param ports: where this stack listens
    :param sandbox_token: what SANDBOX_TOKEN asks for; ``None`` leaves the file's token alone
    """

    def fitted(connection: ConnectionSetting) -> ConnectionSetting:
        if connection.conn_type == "sqlite" and connection.host:
            return replace(connection, host=str(root / connection.host))
        if connection.is_at(_SANDBOX_URL):
            return replace(connection, port=ports.sandbox, password=sandbox_token or connection.password)
        return connection

    variables = dict(settings.variables)
    if manifest := variables.get(MANIFEST_VARIABLE):
        variables[MANIFEST_VARIABLE] = local_manifest(manifest, root, ports)
    return replace(settings, connections=tuple(map(fitted, settings.connections)), variables=variables)


def local_manifest(manifest: str, root: Path, ports: Ports) -> str:
    """
    Make a manifest's path absolute, and let a sample manifest follow the sandbox to another port.

    The samples name pictures on the sandbox's default address. On another port a copy with the right one is
    written below `.local/manifests`; manifests that are not samples are never touched.

    :param manifest: path or URL; a URL is returned as it is
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
    copy.write_bytes(content)
    return str(copy)
