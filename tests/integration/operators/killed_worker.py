# SPDX-License-Identifier: Apache-2.0
"""A worker process for the tests that end one: runs one attempt of a task on a sandbox that runs already."""

from __future__ import annotations

import json
import signal
import sys
from contextlib import nullcontext
from pathlib import Path

from airflow.providers.common.compat.sdk import AirflowTaskTimeout
from airflow.sdk.execution_time.timeout import timeout

from include.sandbox.process import SandboxProcess
from tests.integration.operators.light_runner import LightTask


def main(port: str, folder: str, options: str, seconds: str) -> None:
    """
    Run the attempt; end by SIGTERM as Airflow's task runner does: on_kill, then on with what is left.

    :param seconds: the task's ``execution_timeout``, 0 for none
    """
    # With a given folder, the handle does not create one that would never be removed.
    sandbox = SandboxProcess(port=int(port), state_dir=folder)
    task = LightTask(sandbox, Path(folder), **json.loads(options))
    operator = task.operator()
    task.operator = lambda: operator  # type: ignore[method-assign]
    signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
    error, message = "", ""
    try:
        # As Airflow's task runner does: an alarm in the main thread, and `on_kill` once `execute` is left.
        with timeout(float(seconds)) if float(seconds) else nullcontext():
            ending = task.attempt()
            error, message = type(ending.error).__name__, ending.message
    except AirflowTaskTimeout:
        operator.on_kill()
        error = "AirflowTaskTimeout"
    print(json.dumps({"error": error, "message": message}))


if __name__ == "__main__":
    main(*sys.argv[1:])
