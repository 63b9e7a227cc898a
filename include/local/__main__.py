# SPDX-License-Identifier: Apache-2.0
"""Command line `python -m include.local run|up|down|status`, used by the Makefile's targets of the same names."""

from __future__ import annotations

import argparse
import os
import sys

from rich.console import Console

from include.local import signals
from include.local.commands import down, status, up
from include.local.errors import Interrupted, LocalStackError
from include.local.paths import this_checkout
from include.local.run import run


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code; on a known error print a message and return 1."""
    parser = argparse.ArgumentParser(prog="python -m include.local", description=__doc__)
    parser.add_argument("command", choices=("run", "up", "down", "status"))
    parser.add_argument("--manifest", default=os.environ.get("MANIFEST") or None, help="path or URL, for run")
    options = parser.parse_args(arguments)
    paths = this_checkout()
    # A pipe has no width. Do not wrap lines for the program that reads it.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    signals.install()
    try:
        if options.command == "run":
            return run(paths, options.manifest, console)
        return {"up": up, "down": down, "status": status}[options.command](paths, console)
    except LocalStackError as error:
        print(f"make {options.command}: {error}", file=sys.stderr)
        return 1
    except Interrupted as error:
        print(f"make {options.command}: stopped", file=sys.stderr)
        return 128 + error.signal_number


if __name__ == "__main__":
    sys.exit(main())
