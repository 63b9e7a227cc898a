# SPDX-License-Identifier: Apache-2.0
"""A real MariaDB of a test session's own, from the system's packages."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import sqlalchemy as sa

START_SECONDS = 120.0
#: Started as root, the server wants to be told to be somebody else.
ACCOUNT = "mysql"


class MariaDBServer:
    """Starts on a socket in a folder of its own, and is gone afterwards."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="goenhance-mariadb-"))
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> MariaDBServer:
        options = ["--no-defaults", f"--datadir={self.folder / 'data'}"]
        if os.geteuid() == 0:
            shutil.chown(self.folder, ACCOUNT)
            options.append(f"--user={pwd.getpwnam(ACCOUNT).pw_name}")
        install = ["mariadb-install-db", *options, "--auth-root-authentication-method=normal"]
        subprocess.run(install, check=True, capture_output=True)
        self.process = subprocess.Popen(
            # Nothing here outlives the test session, so nothing need reach the disk.
            [
                self._program(),
                *options,
                f"--socket={self.folder / 'socket'}",
                "--skip-networking",
                "--innodb-flush-log-at-trx-commit=0",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self.process.poll() is None, "MariaDB ended at its start"
            assert time.monotonic() < deadline, "MariaDB did not start"
            time.sleep(0.1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, name: str = "mysql") -> sa.URL:
        """Return the URL of a database."""
        query = {"unix_socket": str(self.folder / "socket")}
        return sa.URL.create("mysql+pymysql", username="root", database=name, query=query)

    @contextmanager
    def database(self, name: str) -> Iterator[sa.URL]:
        """Make a database, and drop it."""
        self._do(f"CREATE DATABASE {name}")
        yield self.url(name)
        self._do(f"DROP DATABASE {name}")

    def _do(self, statement: str) -> None:
        engine = sa.create_engine(self.url())
        try:
            with engine.begin() as connection:
                connection.exec_driver_sql(statement)
        finally:
            engine.dispose()

    def _answers(self) -> bool:
        try:
            self._do("SELECT 1")
        except sa.exc.OperationalError:
            return False
        return True

    @staticmethod
    def _program() -> str:
        return shutil.which("mariadbd", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin") or "mariadbd"
