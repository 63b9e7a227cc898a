# SPDX-License-Identifier: Apache-2.0
"""
The same subcommands without ``airflow goenhance``, which needs Airflow 3.2 and the package installed.

``airflow-goenhance`` is the script of the package, and ``python -m airflow_provider_goenhance.cli`` works where only
the plugins folder is used.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .definition import get_goenhance_cli_commands


def main() -> None:
    """Run a subcommand."""
    by_script = Path(sys.argv[0]).stem == "airflow-goenhance"
    parser = argparse.ArgumentParser(
        prog="airflow-goenhance" if by_script else "python -m airflow_provider_goenhance.cli"
    )
    commands = parser.add_subparsers(dest="subcommand", metavar="COMMAND", required=True)
    for group in get_goenhance_cli_commands():
        for command in group.subcommands:
            sub = commands.add_parser(command.name, help=command.help, description=command.description)
            for argument in command.args:
                argument.add_to_parser(sub)
            sub.set_defaults(func=command.func)
    args = parser.parse_args()
    args.func(args)


if __name__ == "__main__":
    main()
