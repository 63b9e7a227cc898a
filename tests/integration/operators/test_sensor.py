# SPDX-License-Identifier: Apache-2.0
"""The sensor on jobs that somebody submitted somewhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException, TaskDeferred

from airflow_provider_goenhance.api import polling
from airflow_provider_goenhance.exceptions import AuthenticationError, JobFailedError, JobTimedOutError
from airflow_provider_goenhance.retry_policy import is_final
from airflow_provider_goenhance.sensors.job import GoEnhanceJobSensor
from airflow_provider_goenhance.triggers import deferral
from include.sandbox.process import SandboxProcess

from .light_runner import LightTaskInstance, event_of_trigger

WAYS = [{"deferrable": False}, {"deferrable": True}, {"deferrable": False, "mode": "reschedule"}]


@pytest.fixture
def sandbox(goenhance_sandbox_shared: SandboxProcess, connect: Callable[..., None]) -> SandboxProcess:
    connect(goenhance_sandbox_shared)
    return goenhance_sandbox_shared


def submit(sandbox: SandboxProcess, jobs: int = 2) -> list[str]:
    """Submit as a stranger would: this Airflow knows nothing of it."""
    return [sandbox.submit(sandbox.image(f"s{n}.jpg"), sandbox.image("r.jpg")) for n in range(jobs)]


def sense(img_uuids: Any, **arguments: Any) -> Any:
    arguments = {"poke_interval": 0.05, "timeout": 120, **arguments}
    context: Any = {"ti": LightTaskInstance("sense")}

    def sensor() -> GoEnhanceJobSensor:
        return GoEnhanceJobSensor(task_id="sense", img_uuids=img_uuids, **arguments)

    method, event = "execute", None
    while True:
        try:
            if event is None:
                return sensor().execute(context)
            return sensor().resume_execution(method, {"event": event}, context)
        except TaskDeferred as deferred:
            method, event = deferred.method_name, event_of_trigger(deferred)


@pytest.mark.parametrize("way", WAYS)
def test_it_waits_for_jobs_submitted_anywhere(sandbox: SandboxProcess, way: dict[str, Any]) -> None:
    img_uuids = submit(sandbox)

    assert sense(img_uuids, **way) == dict.fromkeys(img_uuids, "succeeded")


@pytest.mark.parametrize("way", WAYS[1:])
def test_a_wait_without_a_worker_is_deferred(sandbox: SandboxProcess, way: dict[str, Any]) -> None:
    sensor = GoEnhanceJobSensor(task_id="sense", img_uuids="a-job", **way)

    with pytest.raises(TaskDeferred) as deferral:
        sensor.execute({"ti": LightTaskInstance("sense")})  # type: ignore[typeddict-item]

    assert deferral.value.timeout.total_seconds() == pytest.approx(3600 + 120, abs=60)


@pytest.mark.parametrize("way", WAYS)
def test_a_failed_job_fails_the_sensor_for_good_with_the_vendors_reason(
    sandbox: SandboxProcess, way: dict[str, Any]
) -> None:
    sandbox.put_faults(job={"kind": "failed", "error": "no face found", "count": 1})
    img_uuids = submit(sandbox)

    with pytest.raises(
        JobFailedError, match=f"1 of 2 jobs failed, the first: {img_uuids[0]}.*no face found"
    ) as caught:
        sense(img_uuids, **way)

    assert is_final(caught.value)
    assert caught.value.img_uuid == img_uuids[0]
    assert sense(img_uuids, fail_on_failed_job=False, **way) == {
        img_uuids[0]: "failed",
        img_uuids[1]: "succeeded",
    }


STRANGER = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def _believed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five answers that say "job not found" are enough: the five minutes are in the unit tests of the wait."""
    monkeypatch.setattr(polling, "NOT_FOUND_SECONDS", 0.0)


@pytest.mark.usefixtures("_believed_at_once")
@pytest.mark.parametrize("way", WAYS)
def test_a_uuid_that_goenhance_does_not_know_fails_long_before_the_time_out(
    sandbox: SandboxProcess, way: dict[str, Any]
) -> None:
    with pytest.raises(JobFailedError, match=f"1 of 2 jobs failed, the first: {STRANGER}"):
        sense([*submit(sandbox, 1), STRANGER], **way)


@pytest.mark.usefixtures("_believed_at_once")
def test_a_uuid_that_goenhance_does_not_know_can_be_reported_instead(sandbox: SandboxProcess) -> None:
    sandbox.put_faults(unknown_job="http_404")
    [known] = submit(sandbox, 1)

    found = sense([known, STRANGER], fail_on_failed_job=False)

    assert found == {known: "succeeded", STRANGER: "not_found"}


@pytest.mark.parametrize("way", WAYS)
def test_a_job_that_never_ends_times_out_and_a_retry_waits_on(
    sandbox: SandboxProcess, way: dict[str, Any]
) -> None:
    sandbox.put_faults(job={"kind": "stuck", "count": 1})
    img_uuids = submit(sandbox)
    sandbox.wait_for(img_uuids[1])

    with pytest.raises(
        JobTimedOutError, match=f"1 of 2 jobs still run after 0.3 s, the first: {img_uuids[0]}"
    ) as caught:
        sense(img_uuids, timeout=0.3, **way)

    assert not is_final(caught.value)
    with pytest.raises(AirflowSkipException):
        sense(img_uuids, timeout=0.05, soft_fail=True, **way)


@pytest.mark.parametrize("way", WAYS)
def test_a_time_out_names_the_job_that_was_not_found_too_seldom_to_be_believed(
    sandbox: SandboxProcess, way: dict[str, Any]
) -> None:
    sandbox.put_faults(job={"kind": "stuck"})

    with pytest.raises(JobTimedOutError) as caught:
        sense([*submit(sandbox, 1), STRANGER], timeout=0.3, **way)

    assert caught.value.img_uuid == STRANGER
    assert re.search(
        rf"2 of 2 jobs still run after 0.3 s, the first: {STRANGER}.* "
        r"GoEnhance said 'job not found' (once|\d+ times), not often or long enough to be believed\.$",
        str(caught.value),
    )


@pytest.mark.parametrize("way", WAYS[:2])
def test_a_refused_token_is_not_taken_for_a_finished_job(
    sandbox: SandboxProcess, connect: Any, way: dict[str, Any]
) -> None:
    img_uuids = submit(sandbox)
    connect(sandbox, token="sk-wrong-token")

    with pytest.raises(AuthenticationError, match="connection 'goenhance_default'"):
        sense(img_uuids, **way)


@pytest.mark.parametrize(
    "shape",
    [
        lambda a, b: {"pair-1": a, "pair-2": b},  # XCom img_uuids of a batch
        lambda a, b: [{"pair-1": a}, {"pair-2": b}],  # ... of a mapped one
        lambda a, b: [[{"pair_id": "p", "img_uuid": a, "status": "submitted"}], [{"img_uuid": b}]],
        lambda a, b: [{"img_uuid": a}, {"img_uuid": None, "status": "rejected"}, {"img_uuid": b}],
        lambda a, b: (img_uuid for img_uuid in (a, f" {b} ", a, "")),
    ],
)
def test_whatever_the_swap_operators_give_names_the_jobs(
    sandbox: SandboxProcess, shape: Callable[[str, str], Any]
) -> None:
    img_uuids = submit(sandbox)
    given = shape(*img_uuids)

    assert sense(given) == dict.fromkeys(img_uuids, "succeeded")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "at least one img_uuid"),
        ("", "at least one img_uuid"),
        (None, "at least one img_uuid"),
        ([{"img_uuid": None}], "at least one img_uuid"),
        ("['a-job', 'b-job']", "render_template_as_native_obj=True"),
        ("a job", "must contain img_uuid values"),
    ],
)
def test_what_names_no_job_is_an_error_and_no_success(given: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        sense(given)

    assert is_final(caught.value)


@pytest.mark.parametrize("way", WAYS[1:2])
def test_a_list_that_is_too_long_for_one_trigger_is_waited_for_in_pieces(
    sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch, way: dict[str, Any]
) -> None:
    img_uuids = submit(sandbox, 3)
    sandbox.put_faults(job={"kind": "failed", "error": "no face", "count": 1})
    img_uuids += submit(sandbox, 2)
    monkeypatch.setattr(deferral, "ARGUMENT_BYTES", 2 * 42)
    waited_for: list[int] = []
    jobs_of_a_trigger = deferral.jobs_of_a_trigger

    def counted(given: Any) -> list[str]:
        waited_for.append(len(jobs_of_a_trigger(given)))
        return jobs_of_a_trigger(given)

    monkeypatch.setattr(deferral, "jobs_of_a_trigger", counted)

    states = sense(img_uuids, fail_on_failed_job=False, **way)

    assert set(waited_for) == {1, 2}
    assert states == {**dict.fromkeys(img_uuids, "succeeded"), img_uuids[3]: "failed"}


def test_the_counts_of_a_large_task_are_refused_with_the_way_to_wait_for_it(sandbox: SandboxProcess) -> None:
    output = {
        "pairs": 2500,
        "counts": {"submitted": 2500},
        "rows": {"dag_id": "d", "run_id": "r", "batch": 0},
    }
    with pytest.raises(
        ValueError, match=r"counts of 2500 pairs, and not their UUIDs.*GoEnhanceCollectOperator"
    ):
        sense([output])
