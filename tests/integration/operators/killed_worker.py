# SPDX-License-Identifier: Apache-2.0
"""A worker process for the tests that kill one: runs one attempt of a task on a sandbox that runs already."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

from include.sandbox.process import SandboxProcess
from tests.integration.operators.light_runner import LightTask


def main(port: str, folder: str, options: str) -> None:
    """Run the attempt; end by SIGTERM as Airflow's task runner does: on_kill, then on with what is left."""
    # With a given folder, the handle does not create one that would never be removed.
    sandbox = SandboxProcess(port=int(port), state_dir=folder)
    task = LightTask(sandbox, Path(folder), **json.loads(options))
    operator = task.operator()
    task.operator = lambda: operator  # type: ignore[method-assign]
    signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())
    ending = task.attempt()
    print(json.dumps({"error": type(ending.error).__name__, "message": ending.message}))


if __name__ == "__main__":
    main(*sys.argv[1:])
