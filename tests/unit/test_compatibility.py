# SPDX-License-Identifier: Apache-2.0
"""What differs between Airflow versions: the newest way is taken, and the older one works where it is missing."""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider_goenhance import compatibility, retry_policy
from airflow_provider_goenhance.exceptions import AuthenticationError, RateLimitedError
from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator
from airflow_provider_goenhance.operators.swap_base import MAP_INDEX_TEMPLATE
from tests.airflow_versions import VERSION, needs_3_3, replace_stats_of_triggers


@dataclass
class Details:
    """What permissions to a Dag are checked for on an Airflow without teams."""

    id: str


class Task:
    """A task that is parked."""

    def defer(self, *, trigger: Any, method_name: str) -> None:
        raise TaskDeferred(trigger=trigger, method_name=method_name)


def park() -> None:
    compatibility.wait_for_a_person(
        Task(),  # type: ignore[arg-type]
        "ti-1",
        options=["Approve", "Reject"],
        defaults=["Reject"],
        timeout=dt.timedelta(hours=1),
    )


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Hide names of a module of Airflow, as on a version that does not have them."""

    def hide(module: str, *names: str) -> None:
        real = sys.modules.get(module) or __import__(module, fromlist=["_"])
        stand_in = ModuleType(module)
        stand_in.__dict__.update({k: v for k, v in vars(real).items() if k not in names})
        monkeypatch.setitem(sys.modules, module, stand_in)

    return hide


# -- retries -----------------------------------------------------------------------------------------------------------


def test_retry_policies_are_there_since_3_3() -> None:
    assert compatibility.has_retry_policies() is (VERSION >= (3, 3))


def test_below_3_3_there_is_no_policy_and_an_error_that_only_a_person_can_fix_ends_the_tries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retry_policy, "has_retry_policies", lambda: False)
    monkeypatch.setattr(retry_policy, "DEFAULT_RETRY_POLICY", retry_policy.face_swap_retry_policy())
    assert retry_policy.DEFAULT_RETRY_POLICY is None

    with pytest.raises(AirflowFailException), retry_policy.fail_fast_without_retry_policy():
        raise AuthenticationError("The token is wrong.")
    with pytest.raises(RateLimitedError), retry_policy.fail_fast_without_retry_policy():
        raise RateLimitedError("Busy.")


@needs_3_3
def test_the_policy_decides_by_the_error() -> None:
    policy: Any = retry_policy.face_swap_retry_policy()

    assert policy.evaluate(AuthenticationError("The token is wrong."), 1, 3).action.name == "FAIL"
    assert policy.evaluate(RateLimitedError("Busy."), 1, 3).action.name == "RETRY"
    assert policy.evaluate(RuntimeError("else"), 1, 3).action.name == "DEFAULT"
    assert type(policy).deserialize(policy.serialize()).serialize() == policy.serialize()


def test_a_retry_waits_as_long_as_goenhance_asks_unless_the_task_waits_longer_anyway() -> None:
    error = RateLimitedError("Busy.", retry_after=30)

    def waits(delay: dt.timedelta) -> dt.timedelta | None:
        context: Any = {"task": SimpleNamespace(retry_delay=delay)}
        return retry_policy.wait_before_retry(error, context)

    assert waits(dt.timedelta(seconds=10)) == dt.timedelta(seconds=30)
    assert waits(dt.timedelta(minutes=5)) is None
    assert retry_policy.wait_before_retry(RateLimitedError("Busy."), None) is None


# -- state -------------------------------------------------------------------------------------------------------------


def test_without_a_store_there_is_none() -> None:
    assert compatibility.task_state_store({}) is None  # type: ignore[typeddict-item]
    assert compatibility.asset_state_store(object()) is None


@needs_3_3
def test_a_submit_on_record_does_not_expire() -> None:
    from airflow.sdk.execution_time.context import NEVER_EXPIRE

    kept: list[Any] = []
    store = SimpleNamespace(set=lambda key, value, retention: kept.append((key, value, retention)))

    compatibility.keep_state(store, "key", {"a": 1})

    assert kept == [("key", {"a": 1}, NEVER_EXPIRE)]


@pytest.mark.parametrize("blocking", [True, False])
async def test_the_state_of_an_asset_is_read_and_written_whether_or_not_its_calls_block(
    blocking: bool,
) -> None:
    values: dict[str, Any] = {}

    async def aset(key: str, value: Any) -> None:
        values[key] = value

    async def aget(key: str) -> Any:
        return values[key]

    store: Any = (
        SimpleNamespace(get=values.get, set=values.__setitem__)
        if blocking
        else SimpleNamespace(aget=aget, aset=aset)
    )

    await compatibility.write_asset_state(store, "key", "fired")

    assert await compatibility.read_asset_state(store, "key") == "fired"


# -- waiting for a person ----------------------------------------------------------------------------------------------


@needs_3_3
def test_a_task_that_waits_for_a_person_holds_no_trigger() -> None:
    from airflow.sdk.exceptions import TaskAwaitingInput

    with pytest.raises(TaskAwaitingInput):
        park()


def test_below_3_3_a_task_that_waits_for_a_person_is_deferred(without: Any) -> None:
    if VERSION >= (3, 2):
        without("airflow.sdk.exceptions", "TaskAwaitingInput")

    with pytest.raises(TaskDeferred) as deferred:
        park()

    assert type(deferred.value.trigger).__name__ == "HITLTrigger"
    assert deferred.value.method_name == "execute_complete"


# -- the rest ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asynchronous", [True, False])
def test_the_extra_of_a_connection_is_read_with_or_without_an_asynchronous_call(asynchronous: bool) -> None:
    async def aextra_dejson() -> dict[str, Any]:
        return {"a": 1}

    conn: Any = SimpleNamespace(extra_dejson={"a": 1})
    if asynchronous:
        conn = SimpleNamespace(aextra_dejson=aextra_dejson)

    assert asyncio.run(compatibility.extra_of(conn)) == {"a": 1}


@pytest.mark.parametrize(
    ("url", "conn_id", "used"),
    [
        ("file://my_conn@folder/pairs.csv", None, "my_conn"),
        ("file://my_conn@folder/pairs.csv", "", "my_conn"),
        ("file://folder/pairs.csv", "other", "other"),
    ],
)
def test_a_storage_keeps_the_connection_that_its_url_names(url: str, conn_id: str | None, used: str) -> None:
    path: Any = compatibility.storage_path(url, conn_id)

    # Airflow 3.1 has it among the options.
    assert (getattr(path, "conn_id", None) or path.storage_options["conn_id"]) == used


def test_metrics_of_triggers_go_where_the_triggerer_sends_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = object()
    replace_stats_of_triggers(monkeypatch, stand_in)
    if VERSION >= (3, 2):
        assert compatibility.stats_of_triggers() is stand_in

    monkeypatch.setitem(sys.modules, "airflow.observability.stats", None)
    assert compatibility.stats_of_triggers() is compatibility.stats_of_tasks()


def test_permissions_are_checked_with_the_team_of_the_dag_where_airflow_has_teams(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from airflow.api_fastapi.auth.managers.models import resource_details
    from airflow.models.dag import DagModel

    monkeypatch.setattr(DagModel, "get_team_name", staticmethod(lambda dag_id: "studio"), raising=False)
    details = compatibility.dag_details("nightly")
    assert (details.id, getattr(details, "team_name", "studio")) == ("nightly", "studio")

    monkeypatch.setattr(resource_details, "DagDetails", Details)
    assert vars(compatibility.dag_details("nightly")) == {"id": "nightly"}


def test_a_mapped_task_is_named_by_its_pairs_on_every_airflow() -> None:
    mapped = GoEnhanceFaceSwapBatchOperator.partial(task_id="swap").expand(pairs=[[]])
    assert mapped.map_index_template == MAP_INDEX_TEMPLATE

    own = GoEnhanceFaceSwapBatchOperator.partial(task_id="swap", map_index_template="{{ 1 }}").expand(
        pairs=[[]]
    )
    assert own.map_index_template == "{{ 1 }}"
