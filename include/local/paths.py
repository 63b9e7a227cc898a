# SPDX-License-Identifier: Apache-2.0
"""Where the local stack keeps its things: everything that changes lives under `.local/`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """The folders and files of one checkout."""

    root: Path

    @property
    def local(self) -> Path:
        """Everything that changes; ignored by git."""
        return self.root / ".local"

    @property
    def airflow_home(self) -> Path:
        """Airflow's home."""
        return self.local / "airflow"

    @property
    def metadata(self) -> Path:
        """Airflow's metadata database."""
        return self.airflow_home / "airflow.db"

    @property
    def task_logs(self) -> Path:
        """What the tasks wrote."""
        return self.airflow_home / "logs"

    @property
    def component_logs(self) -> Path:
        """What the scheduler, triggerer, api-server, dag-processor and sandbox wrote."""
        return self.local / "logs"

    @property
    def record(self) -> Path:
        """Which processes run, on which ports."""
        return self.local / "stack.json"

    @property
    def lock(self) -> Path:
        """Held by the command that starts or owns a stack."""
        return self.local / "stack.lock"

    @property
    def secrets(self) -> Path:
        """Generated keys and the log-in of this checkout; readable by its owner only."""
        return self.airflow_home / "secrets.json"

    @property
    def passwords(self) -> Path:
        """The log-in in the form Airflow's simple auth manager reads."""
        return self.airflow_home / "passwords.json"

    @property
    def swaps(self) -> Path:
        """Kept pictures."""
        return self.local / "swaps"

    @property
    def sandbox_state(self) -> Path:
        """The sandbox's ledger and jobs."""
        return self.local / "sandbox"

    @property
    def settings(self) -> Path:
        """Connections, pools and variables, in Astro's format."""
        return self.root / "airflow_settings.yaml"

    def shown(self, path: Path | str) -> str:
        """Name a path the way a person in the checkout would type it."""
        return str(path).removeprefix(f"{self.root}/")


def this_checkout() -> Paths:
    """Return the places of the checkout that this file belongs to."""
    return Paths(Path(__file__).resolve().parents[2])
