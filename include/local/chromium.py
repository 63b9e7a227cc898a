# SPDX-License-Identifier: Apache-2.0
"""Find a Chromium for the browser tests, or install Debian's where that is possible."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def main() -> int:
    """Say what was found or done; without a browser its tests are skipped, the others still run."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found:
        print(f"Browser: {found}")
        return 0
    apt = shutil.which("apt-get")
    if not apt or os.geteuid() != 0:
        print("No Chromium here, so the browser tests are skipped. On Debian: sudo apt-get install chromium")
        return 0
    print("Installing Debian's chromium for the browser tests ...", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "chromium"]):
        done = subprocess.run(  # noqa: S603
            [apt, *arguments], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            print(f"Chromium could not be installed, so the browser tests are skipped: {reason}")
            return 0
    print(f"Browser: {shutil.which(PROGRAMS[0])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
