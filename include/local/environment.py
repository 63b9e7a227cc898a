# SPDX-License-Identifier: Apache-2.0
"""The environment variables of the local Airflow: configuration, keys and credentials."""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

from include.local.paths import Paths
from include.local.ports import HOST, Ports

# Enough for two cores. Deferred tasks wait in the triggerer and take no slot.
TASK_SLOTS = 4
USER = "admin"
_USERS_VARIABLE = "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"
_SCHEDULES = "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE"
_BATCH_SCHEDULE = "AIRFLOW__GOENHANCE__BATCH_SCHEDULE"


@dataclass(frozen=True)
class Secrets:
    """Keys and password of a checkout, generated once."""

    fernet_key: str
    api_secret_key: str
    jwt_secret: str
    password: str


def load_secrets(paths: Paths) -> Secrets:
    """
    Read this checkout's keys, or generate them on first use.

    Airflow's ``simple_auth_manager_all_admins`` would be simpler, but other users of the machine and web pages in a
    browser can reach 127.0.0.1 too, and an administrator of Airflow can read every connection.
    """
    paths.airflow_home.mkdir(parents=True, exist_ok=True)
    if paths.secrets.exists():
        found = Secrets(**json.loads(paths.secrets.read_text()))
    else:
        found = Secrets(
            fernet_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            api_secret_key=secrets.token_urlsafe(32),
            jwt_secret=secrets.token_urlsafe(64),
            password=secrets.token_urlsafe(12),
        )
        _write_private(paths.secrets, json.dumps(vars(found)))
    _keep_passwords(paths, found.password)
    # Without this file, Airflow would write one from the environment, keys included.
    (paths.airflow_home / "airflow.cfg").touch()
    return found


def users(paths: Paths) -> list[str]:
    """
    Return the users of the local Airflow as ``name:role``: those that `.env` names, and always the administrator.

    The local commands themselves need the administrator.
    """
    named = dotenv_values(paths.root / ".env", interpolate=False).get(_USERS_VARIABLE) or ""
    listed = [entry.strip() for entry in named.split(",") if entry.strip()]
    return listed if any(entry.split(":")[0] == USER for entry in listed) else [f"{USER}:admin", *listed]


def passwords(paths: Paths) -> dict[str, str]:
    """Return the password of each user, as Airflow reads them; users who are no longer named are left out."""
    found = _read_passwords(paths)
    names = [entry.split(":")[0] for entry in users(paths)]
    return {name: found[name] for name in names if name in found}


def _keep_passwords(paths: Paths, password: str) -> None:
    """Write the administrator's password, and one for each other user who has none yet."""
    found = _read_passwords(paths)
    others = {entry.split(":")[0]: secrets.token_urlsafe(12) for entry in users(paths)}
    wanted = others | found | {USER: password}
    if wanted != found:
        _write_private(paths.passwords, json.dumps(wanted))


def _read_passwords(paths: Paths) -> dict[str, str]:
    try:
        found = json.loads(paths.passwords.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write_private(path: Path, text: str) -> None:
    """Write a file atomically, readable only by its owner."""
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")
    partial.rename(path)


def stack_environment(
    paths: Paths,
    ports: Ports,
    keys: Secrets,
    inherited: Mapping[str, str] = os.environ,
    *,
    more: Mapping[tuple[str, str], str] | None = None,
) -> dict[str, str]:
    """
    Build the environment of every component.

    :param more: options of Airflow's configuration beside those of every stack, by section and name

    Airflow settings of the calling shell are removed: a leftover AIRFLOW_CONN_GOENHANCE_DEFAULT would make a trial
    run pay for real swaps. To change a setting, write it into `.env`, as with Astro.
    """
    environment = {
        name: value for name, value in inherited.items() if not name.startswith(("AIRFLOW_", "_AIRFLOW_"))
    }
    # Without cached bytecode, each of the four components would compile the same thousands of files.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment["PYTHONUNBUFFERED"] = "1"
    environment["PATH"] = os.pathsep.join(
        [str(Path(sys.executable).parent), environment.get("PATH", os.defpath)]
    )
    for name in ("no_proxy", "NO_PROXY"):
        environment[name] = ",".join(filter(None, [environment.get(name), HOST, "localhost"]))
    environment["AIRFLOW_HOME"] = str(paths.airflow_home)
    for (section, option), value in {**_configuration(paths, ports, keys), **(more or {})}.items():
        environment[f"AIRFLOW__{section}__{option}".upper()] = value
    overrides = dotenv_values(paths.root / ".env", interpolate=False)
    environment |= {name: value for name, value in overrides.items() if value is not None}
    if environment[_SCHEDULES].lower() == "true" and _BATCH_SCHEDULE not in overrides:
        del environment[_BATCH_SCHEDULE]
    return environment | {_USERS_VARIABLE: ",".join(users(paths))}


def _configuration(paths: Paths, ports: Ports, keys: Secrets) -> dict[tuple[str, str], str]:
    return {
        ("core", "dags_folder"): str(paths.root / "dags"),
        ("core", "plugins_folder"): str(paths.root / "plugins"),
        ("core", "load_examples"): "False",
        ("core", "executor"): "LocalExecutor",
        ("core", "parallelism"): str(TASK_SLOTS),
        # The default queries the name service, which can hang on a machine without one.
        ("core", "hostname_callable"): "socket.gethostname",
        ("core", "test_connection"): "Enabled",
        ("core", "fernet_key"): keys.fernet_key,
        ("core", "simple_auth_manager_passwords_file"): str(paths.passwords),
        ("core", "execution_api_server_url"): f"{ports.airflow_url}/execution/",
        # Dags can be triggered immediately, but no schedule is active: a stack left running overnight must not run
        # the nightly batch. AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE=True in .env activates schedules.
        ("core", "dags_are_paused_at_creation"): "False",
        ("scheduler", "use_job_schedule"): "False",
        # So that the UI names no next run, which would not come.
        ("goenhance", "batch_schedule"): "",
        ("scheduler", "scheduler_idle_sleep_time"): "0.5",
        # Detect the tasks of a killed stack within one minute of the next start instead of five.
        ("scheduler", "task_instance_heartbeat_timeout"): "60",
        ("database", "sql_alchemy_conn"): f"sqlite:///{paths.metadata}",
        # `prepare` migrates the database while the api-server, which does not need it yet, starts.
        ("database", "check_migrations"): "False",
        ("dag_processor", "min_file_process_interval"): "15",
        ("dag_processor", "refresh_interval"): "30",
        ("logging", "base_log_folder"): str(paths.task_logs),
        ("logging", "dag_processor_child_process_log_directory"): str(paths.task_logs / "dag_processor"),
        ("logging", "colored_console_log"): "False",
        ("api", "base_url"): ports.airflow_url,
        ("api", "host"): HOST,
        ("api", "port"): str(ports.airflow),
        ("api", "workers"): "1",
        ("api", "secret_key"): keys.api_secret_key,
        ("api_auth", "jwt_secret"): keys.jwt_secret,
        # The default of 5 s is too short when every core is busy.
        ("workers", "execution_api_timeout"): "30",
        # A supervisor may notice the end of its task only at the next heartbeat. Fails after 15 s, as by default.
        ("workers", "min_heartbeat_interval"): "1",
        ("workers", "max_failed_heartbeats"): "15",
        ("goenhance", "storage"): str(paths.swaps),
        # The sample manifest has a pair of local files: they are staged in a folder that the sandbox serves.
        ("goenhance", "input_folders"): str(paths.root / "include" / "images"),
        ("goenhance", "staging"): str(paths.staging),
        ("goenhance", "staging_url"): f"{ports.sandbox_url}/public",
    }
