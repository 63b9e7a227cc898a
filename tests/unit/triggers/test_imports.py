# SPDX-License-Identifier: Apache-2.0
"""What loading the trigger costs the thread in which all triggers of a triggerer run."""

from __future__ import annotations

import subprocess
import sys

_LOAD = """
import sys, types
# Airflow itself is there already when a triggerer loads a trigger.
for name in ("airflow", "airflow.triggers", "airflow.triggers.base"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["airflow.triggers.base"].BaseTrigger = sys.modules["airflow.triggers.base"].TriggerEvent = object
before = set(sys.modules)
import airflow_provider_goenhance.triggers.face_swap
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(loaded & {"aiohttp", "requests", "tenacity", "pandas", "sqlalchemy"}))
"""


def test_loading_the_trigger_loads_nothing_heavy() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", _LOAD],
        env={"PYTHONPATH": "plugins"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout.splitlines()[-1] == "[]"
