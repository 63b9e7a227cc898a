# SPDX-License-Identifier: Apache-2.0
"""`make up EXECUTOR=celery`: what differs from the stack with LocalExecutor."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.local import distributed
from include.local.distributed import Services, chosen_executor
from include.local.environment import load_secrets, stack_environment
from include.local.errors import LocalStackError
from include.local.paths import Paths
from include.local.ports import HOST, Ports
from include.local.processes import Component
from include.local.settings import ConnectionSetting, Settings
from include.local.stack import Stack, read_record, write_record
from include.local.written_settings import Written

SERVICES = Services(postgres=15432, valkey=16379)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path).with_executor("celery")


@pytest.mark.parametrize("name", ["", "local", "LocalExecutor"])
def test_the_executor_is_local_unless_another_one_is_asked_for(name: str) -> None:
    assert chosen_executor({"EXECUTOR": name}) == "local"
    assert chosen_executor({}) == "local"


def test_an_executor_that_cannot_run_here_is_refused() -> None:
    with pytest.raises(LocalStackError, match="EXECUTOR must be local or celery; got 'kubernetes'"):
        chosen_executor({"EXECUTOR": "kubernetes"})


def test_missing_packages_are_named_with_the_command_that_installs_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(distributed, "PACKAGES", ("no_such.package", "pytest"))
    with pytest.raises(LocalStackError, match=r"needs no_such\.package: .*make up EXECUTOR=celery"):
        chosen_executor({"EXECUTOR": "celery"})


def test_every_address_is_on_this_machine_and_needs_a_password(paths: Paths) -> None:
    keys = load_secrets(paths)
    configuration = distributed.configuration(keys, SERVICES)
    environment = stack_environment(paths, Ports(), keys, {}, more=configuration)
    assert environment["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    for name in ("DATABASE__SQL_ALCHEMY_CONN", "CELERY__BROKER_URL", "CELERY__RESULT_BACKEND"):
        login, _, address = environment[f"AIRFLOW__{name}"].rpartition("@")
        assert address.startswith(f"{HOST}:"), name
        assert len(login.rpartition(":")[2]) == 64, name


def test_the_results_table_is_in_postgres_and_other_connections_stay(paths: Paths) -> None:
    file = Settings(
        (
            ConnectionSetting("goenhance_default", "goenhance"),
            ConnectionSetting("goenhance_results", "sqlite"),
        )
    )
    fitted = distributed.with_results_in_postgres(file, load_secrets(paths), SERVICES)
    assert [(c.conn_id, c.conn_type, c.port) for c in fitted.connections] == [
        ("goenhance_default", "goenhance", None),
        ("goenhance_results", "postgres", 15432),
    ]


def test_the_record_says_which_executor_runs(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    paths.local.mkdir()
    worker = Component("worker-1", 1, "boot:1", "")
    write_record(paths, Stack("up", Ports(), "2026-11-28T06:00:00+00:00", [worker], SERVICES))
    monkeypatch.setattr("include.local.processes.members", lambda component: [1])
    record = read_record(paths)
    assert record is not None
    assert (record.services, record.executor) == (SERVICES, "celery")


def test_the_two_stacks_remember_separately_what_was_written(paths: Paths) -> None:
    paths.airflow_home.mkdir(parents=True)
    written = Written()
    written.may_write("variable", "goenhance_manifest", None, ["sample.csv"])
    written.save(paths)
    assert Written.read(paths).hashes
    assert not Written.read(paths.with_executor("local")).hashes


def test_a_worker_is_healthy_once_it_takes_tasks(tmp_path: Path) -> None:
    log = tmp_path / "worker-1.log"
    components = [Component("worker-1", 1, "boot:1", str(log)), Component("scheduler", 2, "boot:2", str(log))]
    assert distributed.worker_health(components) == {"worker-1": "starting"}
    log.write_text("Connected to redis://:**@127.0.0.1:16379/0\n")
    assert distributed.worker_health(components) == {"worker-1": "starting"}
    log.write_text("celery@vm worker-1@vm ready. [celery.apps.worker]\n")
    assert distributed.worker_health(components) == {"worker-1": "healthy"}


def test_services_that_do_not_run_give_no_answer(paths: Paths) -> None:
    services = distributed.choose_services()
    health = distributed.service_health(load_secrets(paths), services)
    assert health == {"postgres": "no answer", "valkey": "no answer"}
