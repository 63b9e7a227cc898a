# SPDX-License-Identifier: Apache-2.0
"""Programs that the system tests use and PyPI does not have: found, or installed from Debian where that is possible."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass

#: Where Debian puts servers, which is not on everybody's path.
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


@dataclass(frozen=True)
class Tool:
    """
    A program and what it is for.

    :param program: its name
    :param package: the Debian package that has it
    :param tests: what is skipped without it
    """

    program: str
    package: str
    tests: str

    @property
    def path(self) -> str | None:
        """Where it is, if it is there."""
        return shutil.which(self.program, path=_PATH)


TOOLS = (
    Tool("chromium", "chromium", "browser tests"),
    Tool("exiftool", "libimage-exiftool-perl", "tests that have exiftool read our marks"),
    Tool("mariadbd", "mariadb-server", "tests of the results table on MariaDB"),
)


def main() -> int:
    """Say what was found or done; without a tool its tests are skipped, the others still run."""
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

    :returns: why they are not there, in case they are not
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
