# SPDX-License-Identifier: Apache-2.0
"""A person is erased after real runs: no name and no byte is left, and the next night pays for nothing again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.cli.cli_parser import get_parser

import airflow_provider_goenhance
from airflow_provider_goenhance.exceptions import BatchFailedError
from airflow_provider_goenhance.hooks.results import open_ledger
from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator
from airflow_provider_goenhance.operators.report import GoEnhanceReportOperator
from airflow_provider_goenhance.results.ledger import RunKey
from airflow_provider_goenhance.results.swap import Swap
from include.sandbox.process import SandboxProcess
from tests.airflow_versions import DagBag

from .light_runner import LightTaskInstance

EXAMPLES = Path(airflow_provider_goenhance.__file__).parent / "example_dags"


class Nights:
    """Runs of one Dag with one manifest: a plan, its swaps, a report."""

    def __init__(self, sandbox: SandboxProcess, folder: Path) -> None:
        self.sandbox = sandbox
        self.manifest = folder / "pairs.csv"
        self.storage = folder / "kept"
        self.results = folder / "results.db"
        self.failed: list[str] = []

    def write(self, people: Sequence[str], *, rejected: bool = True) -> None:
        image = self.sandbox.image
        lines = ["pair_id,source_img,reference_img,consent_ref,name"]
        lines += [
            f"{name}-1,{image(f'{name}.jpg')},{image('scene.jpg')},c-{name},Dr {name}" for name in people
        ]
        if rejected:
            lines += [f"{people[0]}-bad,ftp://{people[0]}.jpg,{image('scene.jpg')},c-{people[0]},"]
        self.manifest.write_text("\n".join(lines) + "\n")

    def run(self, run_id: str, share: float = 1.0) -> None:
        storage = str(self.storage)
        batches = GoEnhancePlanOperator(
            task_id="plan", manifest=str(self.manifest), storage=storage, check_account=False
        ).execute({"ti": LightTaskInstance("plan", run_id=run_id)})  # type: ignore[typeddict-item]
        for batch in batches:
            ti = LightTaskInstance("swap", run_id=run_id, map_index=batch["batch"], try_number=3)
            GoEnhanceFaceSwapBatchOperator(
                task_id="swap",
                batch=batch["batch"],
                storage=storage,
                poll_interval=0.05,
                sidecar=True,
                allowed_failure_share=1.0,
                deferrable=False,
            ).execute({"ti": ti})  # type: ignore[typeddict-item]
        report = GoEnhanceReportOperator(task_id="report", storage=storage, allowed_failure_share=share)
        try:
            report.execute({"ti": LightTaskInstance("report", run_id=run_id), "outlet_events": {}})  # type: ignore[typeddict-item]
        except BatchFailedError as error:
            self.failed.append(str(error))

    def erased(self, run_id: str) -> Swap:
        return next(row for row in self.rows(run_id).values() if row.erased_at and row.row_number == 2)

    def rows(self, run_id: str) -> dict[str, Swap]:
        with open_ledger() as ledger:
            return {row.pair_id: row for row in ledger.of_run(RunKey("light", run_id))}

    def kept(self) -> Iterator[bytes]:
        """Every value of every table, and the name and bytes of every file."""
        with open_ledger() as ledger:
            for table in ledger.swaps.metadata.tables.values():
                for row in ledger.database.read(sa.select(table)):
                    yield from (str(value).encode() for value in row.values())
        for path in self.storage.rglob("*"):
            yield str(path.relative_to(self.storage)).encode()
            if path.is_file():
                yield path.read_bytes()

    def holds(self, needle: bytes) -> bool:
        return any(needle in value for value in self.kept())


@pytest.fixture
def nights(
    goenhance_sandbox_shared: SandboxProcess,
    connect: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Nights:
    connect(goenhance_sandbox_shared)
    goenhance_sandbox_shared.put_faults(job_seconds=0.0)
    nights = Nights(goenhance_sandbox_shared, tmp_path)
    monkeypatch.setenv("AIRFLOW__GOENHANCE__STORAGE", str(nights.storage))
    return nights


def cli(*words: str) -> None:
    args = get_parser().parse_args(["goenhance", *words])
    args.func(args)


def test_a_person_is_erased_from_database_and_storage_and_not_paid_for_again(nights: Nights) -> None:
    nights.write(["anna", "ben"])
    nights.run("run-1")
    nights.run("run-2")
    paid = len(nights.sandbox.submissions())
    anna = nights.rows("run-1")["anna-1"]
    picture = Path(str(anna.result_uri).removeprefix("file://")).read_bytes()
    assert nights.rows("run-2")["anna-1"].status == "reused"
    assert nights.holds(picture)
    assert nights.holds(b"anna")

    # Her rejected row names her, and has no usable link.
    cli("erase", "--consent-ref", "c-anna", "--yes", "--by", "dpo")
    cli("erase", "--source", anna.source_img, "--yes", "--by", "dpo")

    assert not nights.holds(picture)
    assert not nights.holds(b"anna")
    assert nights.holds(str(anna.img_uuid).encode())
    assert nights.rows("run-1")["ben-1"].status == "succeeded"
    assert Path(str(nights.rows("run-1")["ben-1"].result_uri).removeprefix("file://")).exists()

    nights.write(["anna", "ben"], rejected=False)
    for run_id in ("run-3", "run-4"):
        nights.run(run_id, share=0.0)
        (held,) = [row for row in nights.rows(run_id).values() if row.status == "held"]
        assert (held.error_code, held.row_number) == ("erased", 2)
        assert held.source_img == nights.erased("run-1").source_img, "named as the row that was erased"
        assert nights.rows(run_id)["ben-1"].status == "reused"
        assert not nights.holds(b"anna"), "what the manifest still says is not written down again"
    assert len(nights.sandbox.submissions()) == paid
    assert not nights.failed, "nobody has to act"


def test_the_example_dag_deletes_old_pictures_and_the_next_night_pays_for_nothing(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights.write(["anna", "ben"])
    nights.run("run-1")
    paid = len(nights.sandbox.submissions())
    dag = DagBag(str(EXAMPLES)).dags["goenhance_retention"]
    task = dag.get_task("delete_old_pictures")
    ti = LightTaskInstance("delete_old_pictures")
    assert task.execute({"ti": ti}) == {"rows": 0, "files": 0}

    monkeypatch.setenv("AIRFLOW__GOENHANCE__KEEP_PICTURES_DAYS", "30")
    assert task.execute({"ti": ti}) == {"rows": 0, "files": 0}
    with open_ledger() as ledger:  # A month passes.
        old = dt.datetime.now(dt.UTC) - dt.timedelta(days=31)
        ledger.database.run(lambda c: c.execute(sa.update(ledger.swaps).values(finished_at=old)))
    assert task.execute({"ti": ti})["rows"] == 2
    # No picture, sidecar, thumbnail or contact sheet is left.
    assert {path.suffix for path in nights.storage.rglob("*") if path.is_file()} == {".csv"}

    nights.write(["anna", "ben"], rejected=False)
    nights.run("run-2", share=0.0)
    assert nights.rows("run-2")["anna-1"].error_code == "picture_deleted"
    assert len(nights.sandbox.submissions()) == paid
    assert not nights.failed, "what somebody chose not to keep fails no run"


@pytest.mark.parametrize("days", ["soon", "-1", "nan"])
def test_what_is_not_a_number_of_days_is_refused(days: str) -> None:
    from airflow_provider_goenhance.operators.retention import GoEnhanceRetentionOperator

    operator: Any = GoEnhanceRetentionOperator(task_id="delete", keep_pictures_days=days)
    with pytest.raises(ValueError, match="keep_pictures_days must be a number of days, 0 or more"):
        operator.execute({})
