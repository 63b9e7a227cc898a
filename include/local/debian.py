# SPDX-License-Identifier: Apache-2.0
"""Find the programs that the system tests need and PyPI does not have; install them from Debian if possible."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass

#: Debian installs servers into /usr/sbin, which is not on every user's PATH.
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


@dataclass(frozen=True)
class Tool:
    """
    A program and the tests that need it.

    :param program: its name
    :param package: the Debian package that contains it
    :param tests: the tests that are skipped without it
    """

    program: str
    package: str
    tests: str

    @property
    def path(self) -> str | None:
        """The path of the program, or ``None``."""
        return shutil.which(self.program, path=_PATH)


TOOLS = (
    Tool("chromium", "chromium", "browser tests"),
    Tool("exiftool", "libimage-exiftool-perl", "tests that have exiftool read our marks"),
    Tool("mariadbd", "mariadb-server", "tests of the results table on MariaDB"),
)


def main() -> int:
    """Print where each tool is. Without a tool its tests are skipped and the others still run."""
    missing = [tool for tool in TOOLS if not tool.path]
    if missing:
        reason = install([tool.package for tool in missing])
        for tool in missing:
            if not tool.path:
                print(f"No {tool.program}, so the {tool.tests} are skipped: {reason}")
    for tool in TOOLS:
        if tool.path:
            print(f"{tool.program}: {tool.path}")
    return 0


def install(packages: list[str]) -> str:
    """
    Install Debian packages.

    :returns: what to do, or the cause, if a package is missing afterwards
    """
    apt = shutil.which("apt-get")
    by_hand = f"on Debian, sudo apt-get install {' '.join(packages)}"
    if not apt or os.geteuid() != 0:
        return by_hand
    print(f"Installing from Debian: {', '.join(packages)} ...", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
        done = subprocess.run(  # noqa: S603
            [apt, *arguments], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            return (done.stderr.strip().splitlines() or ["no message"])[-1]
    return by_hand


if __name__ == "__main__":
    sys.exit(main())
