# SPDX-License-Identifier: Apache-2.0
"""
Run the tests on the versions of Airflow, Python and dependencies that the package allows: `make matrix`.

`make matrix ROWS="3.1-lowest 3.3-newest"` runs some rows only. Each row writes what it ran on, and how it ended, to
`.local/matrix/`; the last session prints the table of docs/versions.md from that.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

import nox

ROOT = Path(__file__).parent
RESULTS = ROOT / ".local" / "matrix"
EXTRAS = "postgres,manifests,s3,sandbox"
#: The unit and Dag tests, and the operators and both shipped Dags in a real Airflow with a sandbox.
TESTS = ("tests/unit", "tests/dags", "tests/integration/operators/test_in_airflow.py")
SHOWN = ("apache-airflow", "pandas", "sqlalchemy", "fastapi")


@dataclass(frozen=True)
class Row:
    """
    One combination.

    :param dependencies: ``lowest`` and ``newest`` of those that pyproject.toml allows, or those of a day
    :param pins: further requirements
    """

    name: str
    airflow: str
    python: str
    dependencies: str
    pins: tuple[str, ...] = field(default=())

    def resolution(self) -> list[str]:
        """Return uv's options that choose the dependencies."""
        if self.dependencies == "lowest":
            return ["--resolution", "lowest-direct"]
        return [] if self.dependencies == "newest" else ["--exclude-newer", self.dependencies]


#: Not the full product: each value of each axis is in a row, and the extremes meet. A day is the one after Airflow's
#: release. Airflow 3.1 has no such row: the package needs a later http provider than those of its days.
ROWS = (
    # Not 3.1.0, which does not start with the structlog of today, and fails with its universal-pathlib and PyJWT.
    Row("3.1-lowest", "3.1.8", "3.11", "lowest"),
    Row("3.1-newest", "3.1.8", "3.12", "newest"),
    Row("3.2-release-day", "3.2.2", "3.12", "2026-05-30"),
    Row("3.3-release-day", "3.3.2", "3.11", "2026-09-18", ("pandas==2.2.*",)),
    Row("3.3-newest", "3.3.2", "3.13", "newest"),
)

nox.options.default_venv_backend = "uv"
nox.options.reuse_existing_virtualenvs = True
nox.options.stop_on_first_error = False


def interpreter(version: str) -> str:
    """Return the Python of a version: one that pyenv has installed, else the one on the path."""
    if shutil.which(f"python{version}") and "shims" not in str(shutil.which(f"python{version}")):
        return version
    home = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = sorted(home.glob(f"{version}.*/bin/python"))
    return str(found[-1]) if found else version


def run(session: nox.Session, row: Row) -> None:
    """Install a row's versions, and run the tests on them."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    session.install(
        *row.resolution(), "--editable", f".[{EXTRAS}]", f"apache-airflow=={row.airflow}", *row.pins
    )
    said = str(session.run("uv", "pip", "freeze", "--exclude-editable", silent=True, external=True))
    frozen = "".join(f"{line}\n" for line in said.splitlines() if "==" in line)
    constraints = RESULTS / f"{row.name}.txt"
    constraints.write_text(frozen)
    # The newest test tools that fit: they must not change what the tests run on.
    session.install("--group", "dev", "--constraint", str(constraints))
    report, home = RESULTS / f"{row.name}.xml", RESULTS / f"{row.name}-home"
    report.unlink(missing_ok=True)
    session.run(
        *("python", "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider"),
        *("--numprocesses", os.environ.get("MATRIX_WORKERS", "2"), "--dist=loadfile", f"--junitxml={report}"),
        *(session.posargs or TESTS),
        env={name: None for name in os.environ if name.startswith("AIRFLOW_")}
        | {"AIRFLOW_HOME": str(home), "PYTHONPYCACHEPREFIX": str(home / "bytecode")},
        success_codes=[0, 1],
    )
    counts = counts_of(report)
    versions = dict(line.split("==", 1) for line in frozen.splitlines())
    shown = {name: versions[name] for name in SHOWN}
    python = session.run("python", "-c", "import platform; print(platform.python_version())", silent=True)
    written = {"python": str(python).strip(), "dependencies": row.dependencies, **shown, **counts}
    (RESULTS / f"{row.name}.json").write_text(json.dumps(written, indent=1))
    if counts["failed"]:
        session.error(f"{counts['failed']} tests failed")


def counts_of(report: Path) -> dict[str, int]:
    """Return how many tests passed, failed and were skipped."""
    suites = ET.parse(report).getroot().iter("testsuite")  # noqa: S314  written by the run above
    total = failed = skipped = 0
    for suite in suites:
        total += int(suite.get("tests", 0))
        failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped += int(suite.get("skipped", 0))
    return {"passed": total - failed - skipped, "failed": failed, "skipped": skipped}


def session_of(row: Row) -> None:
    """Register the session of a row."""

    @nox.session(name=row.name, python=interpreter(row.python))
    def session(session: nox.Session) -> None:
        run(session, row)


for each in ROWS:
    session_of(each)


@nox.session(python=False)
def table(session: nox.Session) -> None:
    """Print the table of the rows that have run."""
    out = sys.stdout
    out.write(
        "| Airflow | Python | dependencies | pandas | SQLAlchemy | FastAPI | passed | failed | skipped |\n"
    )
    out.write("| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
    for row in ROWS:
        path = RESULTS / f"{row.name}.json"
        if path.exists():
            ran = json.loads(path.read_text())
            cells = [ran["apache-airflow"], ran["python"], ran["dependencies"], ran["pandas"]]
            cells += [ran["sqlalchemy"], ran["fastapi"]]
            cells += [f"{ran[name]:,}" for name in ("passed", "failed", "skipped")]
            out.write(f"| {' | '.join(cells)} |\n")
