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
        # Its own temporary folder: a server that starts removes the temporary tables of all servers that share one.
        self._options = [
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--tmpdir={self.folder / 'tmp'}",
        ]
        if os.geteuid() == 0:
            self._options.append(f"--user={pwd.getpwnam(ACCOUNT).pw_name}")

    def __enter__(self) -> MariaDBServer:
        try:
            (self.folder / "tmp").mkdir()
            if os.geteuid() == 0:
                for folder in (self.folder, self.folder / "tmp"):
                    shutil.chown(folder, ACCOUNT)
            install = ["mariadb-install-db", *self._options, "--auth-root-authentication-method=normal"]
            done = subprocess.run(
                install, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
            )
            assert done.returncode == 0, done.stdout
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _start(self) -> None:
        self.process = subprocess.Popen(
            # Nothing here outlives the test session, so nothing need reach the disk.
            [
                self._program(),
                *self._options,
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

    def restart(self) -> None:
        """Shut the server down as an administrator would, and start it again."""
        self._stop()
        self._start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)

    def url(self, name: str = "mysql") -> sa.URL:
        """Return the URL of a database."""
        query = {"unix_socket": str(self.folder / "socket")}
        return sa.URL.create("mysql+pymysql", username="root", database=name, query=query)

    @contextmanager
    def database(self, name: str) -> Iterator[sa.URL]:
        """Make a database, and drop it."""
        self.do(f"CREATE DATABASE {name}")
        yield self.url(name)
        self.do(f"DROP DATABASE {name}")

    def do(self, statement: str) -> None:
        """Run a statement as the administrator."""
        engine = sa.create_engine(self.url())
        try:
            with engine.begin() as connection:
                connection.exec_driver_sql(statement)
        finally:
            engine.dispose()

    def _answers(self) -> bool:
        try:
            self.do("SELECT 1")
        except sa.exc.OperationalError:
            return False
        return True

    @staticmethod
    def _program() -> str:
        return shutil.which("mariadbd", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin") or "mariadbd"
