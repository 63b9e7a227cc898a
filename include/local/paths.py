# SPDX-License-Identifier: Apache-2.0
"""Paths of the local stack. Everything that changes is kept in `.local/`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

Executor = Literal["local", "celery"]


@dataclass(frozen=True)
class Paths:
    """
    The paths of a checkout.

    :param root: the project folder
    :param executor: ``celery``: the stack with Celery workers, whose metadata database is another one
    """

    root: Path
    executor: Executor = "local"

    @property
    def local(self) -> Path:
        """Folder for everything that changes; ignored by git."""
        return self.root / ".local"

    @property
    def airflow_home(self) -> Path:
        """AIRFLOW_HOME."""
        return self.local / "airflow"

    @property
    def metadata(self) -> Path:
        """Airflow's metadata database."""
        return self.airflow_home / "airflow.db"

    @property
    def task_logs(self) -> Path:
        """Task logs."""
        return self.airflow_home / "logs"

    @property
    def component_logs(self) -> Path:
        """Logs of the scheduler, triggerer, api-server, dag-processor and sandbox."""
        return self.local / "logs"

    @property
    def record(self) -> Path:
        """Record of the running processes and their ports."""
        return self.local / "stack.json"

    @property
    def lock(self) -> Path:
        """Lock file of the command that starts or owns a stack."""
        return self.local / "stack.lock"

    @property
    def secrets(self) -> Path:
        """Generated keys and password of this checkout; readable only by its owner."""
        return self.airflow_home / "secrets.json"

    @property
    def passwords(self) -> Path:
        """Password file of Airflow's simple auth manager."""
        return self.airflow_home / "passwords.json"

    @property
    def settings_record(self) -> Path:
        """Record of the settings that were written to Airflow's metadata database."""
        name = (
            "settings_written.json" if self.executor == "local" else f"settings_written.{self.executor}.json"
        )
        return self.airflow_home / name

    @property
    def swaps(self) -> Path:
        """Stored pictures."""
        return self.local / "swaps"

    @property
    def staging(self) -> Path:
        """Copies of local pictures, served by the sandbox while their jobs run."""
        return self.local / "staging"

    @property
    def sandbox_state(self) -> Path:
        """Ledger and jobs of the sandbox."""
        return self.local / "sandbox"

    @property
    def settings(self) -> Path:
        """Connections, pools and variables in Astro's format."""
        return self.root / "airflow_settings.yaml"

    def with_executor(self, executor: Executor) -> Paths:
        """Return the paths of the stack with an executor."""
        return replace(self, executor=executor)

    def shown(self, path: Path | str) -> str:
        """Return a path relative to the checkout if it is inside it."""
        return str(path).removeprefix(f"{self.root}/")


def this_checkout() -> Paths:
    """Return the paths of the checkout that contains this file."""
    return Paths(Path(__file__).resolve().parents[2])
