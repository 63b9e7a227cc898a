# SPDX-License-Identifier: Apache-2.0
"""
``python -m airflow_provider_goenhance.cli``: the same subcommands where only the plugins folder is used.

Airflow finds the commands of a provider through its package, so ``airflow goenhance`` needs the package installed.
"""

from __future__ import annotations

import argparse

from .definition import get_goenhance_cli_commands


def main() -> None:
    """Run a subcommand."""
    parser = argparse.ArgumentParser(prog="python -m airflow_provider_goenhance.cli")
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
