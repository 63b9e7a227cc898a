# SPDX-License-Identifier: Apache-2.0
"""Run a subcommand as Airflow's own commands are run: with its connections, and with errors as messages."""

from __future__ import annotations

import functools
import os
import sys
from argparse import Namespace
from collections.abc import Callable

from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.utils.cli import action_cli, suppress_logs_and_warning
from airflow.utils.providers_configuration_loader import providers_configuration_loaded

from ..exceptions import GoEnhanceError, ResultsTableError


def command(function: Callable[[Namespace], None]) -> Callable[[Namespace], None]:
    """Return a subcommand whose errors are messages and the exit code 1. Airflow's audit log names the command."""
    logged: Callable[[Namespace], None] = action_cli(check_db=False)(_guarded(function))
    return suppress_logs_and_warning(providers_configuration_loaded(logged))


def unlogged_command(function: Callable[[Namespace], None]) -> Callable[[Namespace], None]:
    """Return the same for a subcommand whose arguments must not be stored, as Airflow's audit log would."""
    return suppress_logs_and_warning(providers_configuration_loaded(_guarded(function)))


def _guarded(function: Callable[[Namespace], None]) -> Callable[[Namespace], None]:
    @functools.wraps(function)
    def run(args: Namespace) -> None:
        # As in `airflow connections`: else only connections of the environment would be found.
        os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
        try:
            function(args)
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader has seen enough, such as `head`. Python would report the same error again when it exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(1) from None
        except (ValueError, OSError, GoEnhanceError, ResultsTableError, AirflowNotFoundException) as error:
            raise SystemExit(str(error)) from None

    return run
