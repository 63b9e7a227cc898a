# SPDX-License-Identifier: Apache-2.0
"""Waiting for many jobs, in an event loop in which waiting takes no time and moments are exact."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest

from airflow_provider_goenhance.api import polling
from airflow_provider_goenhance.api.models import Job
from airflow_provider_goenhance.api.pace import SLOWEST, TICK, Pace, pace_of_loop
from airflow_provider_goenhance.api.polling import (
    LAST_ROUND_SECONDS,
    LONGEST_PAUSE,
    NOT_FOUND_LIMIT,
    NOT_FOUND_SECONDS,
    PROGRESS_EVERY,
    next_interval,
    wait_for_jobs,
)
from airflow_provider_goenhance.exceptions import (
    AuthenticationError,
    BadRequestError,
    ConnectionLostError,
    GoEnhanceError,
    JobNotFoundError,
    ServerError,
    ServiceBusyError,
    UnexpectedResponseError,
    UnreachableError,
)
from tests.unit.clock import until

# No idle cycles before the clock moves on: they are for threads, which this loop has none of, and with 42 of them each
# second of a long wait takes 10 ms.
pytestmark = pytest.mark.looptime(start=86_400.0, noop_cycles=0)

Answer = str | GoEnhanceError


_looks = itertools.count()


def now() -> float:
    """
    Return the loop's time.

    Each look at the clock takes a nanosecond. If it took none, a wait shorter than the loop's resolution would be over
    without any time passing, and be repeated endlessly.
    """
    return asyncio.get_running_loop().time() + next(_looks) * 1e-9


@pytest.fixture(autouse=True)
def _time_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "time", SimpleNamespace(time=now, monotonic=now))


class Vendor:
    """Answers status calls from a script per job, each after ``seconds``; the last answer is repeated."""

    def __init__(self, *, seconds: float = 0.001, **script: list[Answer]) -> None:
        self.seconds = seconds
        self.script = script
        self.asked: list[tuple[float, str]] = []
        self.under_way = self.most_under_way = 0

    async def get_job(self, img_uuid: str) -> Job:
        self.asked.append((now(), img_uuid))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(self.seconds)
        self.under_way -= 1
        answers = self.script.get(img_uuid, ["success"])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, GoEnhanceError):
            raise answer
        return Job(img_uuid, answer, reason="no face" if answer == "failed" else None)

    @property
    def counts(self) -> Counter[str]:
        return Counter(img_uuid for _, img_uuid in self.asked)


async def wait(
    get_job: Callable[[str], Awaitable[Job]], img_uuids: list[str], **options: float | str
) -> polling.WaitOutcome:
    settings = {"deadline": now() + 20, "poll_interval": 0.05, **options}
    return await wait_for_jobs(get_job, img_uuids, **settings)  # type: ignore[arg-type]


async def test_every_job_ends_in_the_list_where_it_belongs() -> None:
    vendor = Vendor(
        good=["pending", "processing", "success"],
        done=["COMPLETED"],
        bad=["WAITING", "Failed"],
        slow=["reviewing"],
        lost=[JobNotFoundError("no such job")],
    )
    outcome = await wait(
        vendor.get_job, ["good", "done", "bad", "slow", "lost"], deadline=now() + 400, poll_interval=20.0
    )
    assert sorted(outcome.succeeded) == ["done", "good"]
    assert list(outcome.failed) == ["bad"]
    assert outcome.running == ["slow"]
    assert outcome.declined == {"lost": "no such job"}
    assert str(outcome) == "2 done, 1 failed, 1 running, 1 not known to GoEnhance"


async def test_a_failed_job_ends_the_wait_for_it_at_once_and_keeps_its_reason() -> None:
    vendor = Vendor(bad=["failed"])

    async def get_job(img_uuid: str) -> Job:
        await vendor.get_job(img_uuid)
        return Job(img_uuid, "failed", reason="no face")

    outcome = await wait(get_job, ["bad"])
    assert outcome.failed == {"bad": "no face"}
    assert vendor.counts["bad"] == 1


async def test_waiting_for_no_jobs_is_over_at_once() -> None:
    assert (await wait(Vendor().get_job, [])) == polling.WaitOutcome()


async def test_a_job_named_twice_is_waited_for_once() -> None:
    vendor = Vendor()
    assert (await wait(vendor.get_job, ["a", "a"])).succeeded == ["a"]
    assert vendor.counts == {"a": 1}


async def test_first_calls_are_spread_over_one_interval() -> None:
    vendor = Vendor()
    began = now()
    await wait(vendor.get_job, [f"job-{n}" for n in range(40)], poll_interval=0.8)
    # The first is drawn from the first fortieth of the interval, the others follow one fortieth apart.
    first = vendor.asked[0][0] - began
    assert 0.0 <= first <= 0.02
    expected = [first + place * 0.02 for place in range(40)]
    assert [moment - began for moment, _ in vendor.asked] == pytest.approx(expected, abs=1e-4)


async def test_no_more_calls_are_under_way_than_allowed() -> None:
    vendor = Vendor(seconds=0.5)
    await wait(vendor.get_job, [f"job-{n}" for n in range(50)], max_concurrency=3)
    assert vendor.most_under_way == 3


@pytest.mark.parametrize(
    ("age", "interval"), [(0, 5), (120, 5), (240, 10), (720, 30), (1440, 60), (86_400, 60)]
)
def test_old_jobs_are_asked_about_less_and_less_often(age: float, interval: float) -> None:
    assert next_interval(age, 5.0) == interval


def test_an_interval_longer_than_the_slowest_is_kept() -> None:
    assert next_interval(86_400, 300.0) == 300.0


async def test_at_the_deadline_every_open_job_is_asked_about_one_last_time() -> None:
    finished_at = now() + 0.3

    async def get_job(img_uuid: str) -> Job:
        return Job(img_uuid, "success" if now() >= finished_at else "processing")

    img_uuids = [f"job-{n}" for n in range(30)]
    outcome = await wait(get_job, img_uuids, deadline=finished_at, poll_interval=60.0)
    assert sorted(outcome.succeeded) == sorted(img_uuids)


async def test_after_the_deadline_every_job_is_asked_about_once_and_no_more() -> None:
    img_uuids = [f"job-{n}" for n in range(30)]
    vendor = Vendor(**{img_uuid: ["processing"] for img_uuid in img_uuids[:10]})
    outcome = await wait(vendor.get_job, img_uuids, deadline=now() - 3600)
    assert outcome.running == img_uuids[:10]
    assert len(outcome.succeeded) == 20
    assert set(vendor.counts.values()) == {1}


async def test_after_the_deadline_a_dead_service_is_not_asked_about_every_job() -> None:
    img_uuids = [f"job-{n}" for n in range(500)]
    vendor = Vendor(**{img_uuid: [UnreachableError("no service")] for img_uuid in img_uuids})
    outcome = await wait(vendor.get_job, img_uuids, deadline=0.0, max_concurrency=4)
    assert outcome.running == img_uuids
    assert outcome.last_error == "no service"
    assert len(vendor.asked) < 20


async def test_after_the_deadline_a_service_that_hangs_is_waited_for_no_longer_than_the_last_round() -> None:
    async def hang(_: str) -> Job:
        await asyncio.Event().wait()
        raise AssertionError

    began = now()
    assert (await wait(hang, ["a", "b"], deadline=0.0)).running == ["a", "b"]
    assert now() - began == pytest.approx(LAST_ROUND_SECONDS)


async def test_the_deadline_is_kept_while_a_call_hangs() -> None:
    calls = 0

    async def hang_then_answer(img_uuid: str) -> Job:
        nonlocal calls
        calls += 1
        if calls == 1:
            await asyncio.Event().wait()
        return Job(img_uuid, "success")

    began = now()
    outcome = await wait(hang_then_answer, ["a"], deadline=began + 5.0)
    assert outcome.succeeded == ["a"]
    assert now() - began == pytest.approx(5.0)


NOT_FOUND = JobNotFoundError("no such job")


async def test_a_job_is_lost_only_after_many_answers_that_say_so_over_a_long_time() -> None:
    vendor, began = Vendor(lost=[NOT_FOUND]), now()
    outcome = await wait(vendor.get_job, ["lost"], deadline=began + 3600, poll_interval=5.0)
    assert outcome.declined == {"lost": "no such job"}
    assert vendor.counts["lost"] >= NOT_FOUND_LIMIT
    assert NOT_FOUND_SECONDS <= vendor.asked[-1][0] - vendor.asked[0][0] < 2 * NOT_FOUND_SECONDS


async def test_an_answer_that_describes_the_job_starts_the_count_again() -> None:
    vendor = Vendor(found=[*[NOT_FOUND] * 5, "processing", *[NOT_FOUND] * 4, "success"])
    outcome = await wait(vendor.get_job, ["found"], deadline=now() + 1500, poll_interval=20.0)
    assert outcome.succeeded == ["found"]


async def test_trouble_between_the_answers_neither_counts_nor_starts_the_count_again() -> None:
    vendor = Vendor(lost=[NOT_FOUND, ServerError("500")] * 200)
    outcome = await wait(vendor.get_job, ["lost"], deadline=now() + 900, poll_interval=8.0)
    assert list(outcome.declined) == ["lost"]
    assert vendor.asked[-1][0] - vendor.asked[0][0] < 2 * NOT_FOUND_SECONDS


@pytest.mark.parametrize("jobs", [1, 5])
@pytest.mark.parametrize("interval", [60.0, 119.0, 600.0])
async def test_a_long_interval_is_kept_until_the_end_of_the_wait(interval: float, jobs: int) -> None:
    img_uuids = [f"job-{number}" for number in range(jobs)]
    vendor = Vendor(**{img_uuid: ["processing"] for img_uuid in img_uuids})
    began = now()
    outcome = await wait(vendor.get_job, img_uuids, deadline=began + 5 * interval, poll_interval=interval)
    assert outcome.running == img_uuids
    assert now() - began == pytest.approx(5 * interval, abs=1.0)
    assert all(3 <= polls <= 7 for polls in vendor.counts.values())


@pytest.mark.parametrize("interval", [60.0, 600.0])
async def test_a_moment_in_which_the_loop_is_busy_does_not_delay_a_poll_by_hours(interval: float) -> None:
    vendor = Vendor(job=["processing", "processing", "success"])

    async def get_job(img_uuid: str) -> Job:
        for _ in range(20):
            pace_of_loop().adjust(1.0)
        return await vendor.get_job(img_uuid)

    began = now()
    outcome = await wait(get_job, ["job"], deadline=began + 40 * 3600, poll_interval=interval)
    assert outcome.succeeded == ["job"]
    first, *later = [moment for moment, _ in vendor.asked]
    assert first - began <= interval
    assert later[-1] - first <= 2 * 1.1 * max(interval, LONGEST_PAUSE) + 1


@pytest.mark.parametrize("seconds", [-60.0, 0.5, NOT_FOUND_SECONDS - 10])
async def test_a_job_whose_deadline_comes_earlier_still_runs_as_far_as_is_known(seconds: float) -> None:
    vendor = Vendor(lost=[NOT_FOUND], slow=["processing"])
    outcome = await wait(vendor.get_job, ["lost", "slow"], deadline=now() + seconds, poll_interval=0.1)
    assert (outcome.running, outcome.declined) == (["lost", "slow"], {})
    assert outcome.doubted == {"lost": vendor.counts["lost"]}


@pytest.mark.parametrize(
    "trouble",
    [
        ServiceBusyError("code 1001, system maintenance"),
        BadRequestError("code 1, operation failed"),
        ServerError("500"),
        UnexpectedResponseError("data: null"),
        ConnectionLostError("The line broke."),
    ],
)
async def test_no_other_answer_ever_makes_a_job_lost(trouble: GoEnhanceError) -> None:
    vendor = Vendor(job=[trouble])
    outcome = await wait(vendor.get_job, ["job"], deadline=now() + 400, poll_interval=20.0)
    assert (outcome.running, outcome.declined, outcome.doubted) == (["job"], {}, {})
    assert outcome.last_error == str(trouble)


async def test_a_status_that_says_nothing_about_an_ended_job_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)

    async def get_job(img_uuid: str) -> Job:
        return Job(img_uuid, "archived", ended_at="2026-11-22T10:56:00.338Z")

    outcome = await wait(get_job, ["a", "b"], deadline=now() + 600, poll_interval=5.0)
    assert outcome.running == ["a", "b"]
    assert sorted(message.split(" as ended")[0] for message in caplog.messages) == [
        "GoEnhance reports job a",
        "GoEnhance reports job b",
    ]
    assert "'archived'" in caplog.text


async def test_failing_calls_are_tolerated_and_leave_one_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    fault = ConnectionLostError("The line broke.")
    vendor = Vendor(a=[fault, fault, fault, "success"], b=[fault, "processing", fault, "success"])
    outcome = await wait(vendor.get_job, ["a", "b"])
    assert sorted(outcome.succeeded) == ["a", "b"]
    assert outcome.last_error is None
    assert [record.getMessage() for record in caplog.records] == [
        "The line broke. The jobs keep running at GoEnhance and are polled until the deadline."
    ]


async def test_what_went_wrong_last_is_told_with_the_jobs_that_still_run() -> None:
    vendor = Vendor(a=[ConnectionLostError("The line broke.")])
    outcome = await wait(vendor.get_job, ["a"], deadline=now() + 0.2)
    assert (outcome.running, outcome.last_error) == (["a"], "The line broke.")


async def test_polling_leaves_nothing_for_the_garbage_collector() -> None:
    lost, unknown = ConnectionLostError("The line broke."), JobNotFoundError("GoEnhance does not know it.")
    vendor = Vendor(a=["processing"], b=[lost], c=[unknown])
    gc.collect()
    gc.disable()
    try:
        await wait(vendor.get_job, ["a", "b", "c"])
        cyclic_garbage = gc.collect()
    finally:
        gc.enable()
    # Some of the wait's start and end, and nothing of each call.
    assert cyclic_garbage < len(vendor.asked) / 4


@pytest.mark.parametrize("deadline", [20.0, -20.0])
async def test_a_refused_token_ends_the_wait_at_once(deadline: float) -> None:
    vendor = Vendor(a=["processing"], b=[AuthenticationError("refused")])
    with pytest.raises(AuthenticationError, match="refused"):
        await wait(vendor.get_job, ["a", "b"], deadline=now() + deadline)
    assert vendor.counts["b"] == 1


async def test_a_wait_that_is_cancelled_leaves_no_call_behind() -> None:
    vendor = Vendor()
    vendor.script = {f"job-{n}": ["processing"] for n in range(20)}
    task = asyncio.create_task(wait(vendor.get_job, list(vendor.script)))
    while len(vendor.asked) < 5:  # noqa: ASYNC110  until it is well under way
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(asyncio.all_tasks()) == 1


async def test_progress_is_logged_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    finished_at = now() + 2.5 * PROGRESS_EVERY

    async def get_job(img_uuid: str) -> Job:
        if img_uuid == "bad":
            return Job(img_uuid, "failed")
        return Job(img_uuid, "success" if now() >= finished_at else "processing")

    await wait(get_job, ["bad", "slow"], deadline=now() + 3600, poll_interval=1.0)
    assert caplog.messages == ["1 of 2 jobs finished, 1 of them failed."] * 2


def test_a_loop_that_runs_late_slows_its_waits_down_and_recovers_little_by_little() -> None:
    pace = Pace(late=0.02)
    for _ in range(20):
        pace.adjust(0.5)
    assert pace.factor == SLOWEST
    pace.adjust(0.0)
    assert 1.0 < pace.factor < SLOWEST
    for _ in range(1000):
        pace.adjust(0.0)
    assert pace.factor == 1.0


@pytest.mark.looptime(False)
async def test_a_blocked_loop_is_noticed_by_all_its_waits() -> None:
    with pace_of_loop() as pace, pace_of_loop() as same:
        assert same is pace
        time.sleep(2 * TICK)  # noqa: ASYNC251  what a badly written trigger does
        await until(lambda: pace.factor > 1.0)


async def test_all_waits_of_a_loop_share_the_calls_under_way_to_one_host() -> None:
    vendor = Vendor(seconds=0.5)
    many = [[f"job-{number}-{place}" for place in range(20)] for number in range(5)]
    options = {"poll_interval": 0.05, "host": "https://one.example", "calls_per_host": 4}
    waits = [wait(vendor.get_job, some, **options) for some in many]
    outcomes = await asyncio.gather(*waits)
    assert [len(outcome.succeeded) for outcome in outcomes] == [20] * 5
    assert vendor.most_under_way == 4


async def test_a_host_that_hangs_does_not_hold_up_the_jobs_of_another() -> None:
    hung = 0

    async def hang(_: str) -> Job:
        nonlocal hung
        hung += 1
        return await asyncio.Future()

    stuck = asyncio.create_task(wait(hang, ["a", "b", "c"], host="https://hangs.example", calls_per_host=2))
    await asyncio.sleep(1.0)  # each of them is due by now
    assert hung == 2
    outcome = await wait(Vendor().get_job, ["d"], host="https://answers.example", calls_per_host=2)
    assert outcome.succeeded == ["d"]
    stuck.cancel()
    await asyncio.gather(stuck, return_exceptions=True)
    assert hung == 2


# -- hand-overs -------------------------------------------------------------------------------------------------------


async def test_what_has_ended_is_handed_over_once_the_time_for_it_has_come() -> None:
    vendor = Vendor(quick=["success"], slow=["processing"])
    began = now()
    outcome = await wait(vendor.get_job, ["quick", "slow"], deadline=began + 3600, hand_over_after=120.0)
    assert now() - began == pytest.approx(120.0, abs=0.1)
    assert (outcome.succeeded, outcome.running, outcome.handed_over) == (["quick"], ["slow"], True)


async def test_nothing_is_handed_over_before_something_has_ended() -> None:
    ends_at = now() + 900

    async def get_job(img_uuid: str) -> Job:
        return Job(img_uuid, "success" if img_uuid == "late" and now() >= ends_at else "processing")

    outcome = await wait(
        get_job, ["late", "stuck"], deadline=now() + 3600, poll_interval=5.0, hand_over_after=120.0
    )
    assert ends_at <= now() < ends_at + 60
    assert (outcome.succeeded, outcome.running, outcome.handed_over) == (["late"], ["stuck"], True)


async def test_a_wait_whose_jobs_have_all_ended_is_no_hand_over() -> None:
    outcome = await wait(Vendor().get_job, ["a", "b"], hand_over_after=10.0)
    assert (sorted(outcome.succeeded), outcome.handed_over) == (["a", "b"], False)


async def test_at_the_deadline_nothing_is_handed_over_and_open_jobs_are_asked_about_once_more() -> None:
    vendor = Vendor(slow=["processing"])
    began = now()
    outcome = await wait(
        vendor.get_job, ["quick", "slow"], deadline=began + 60, poll_interval=50.0, hand_over_after=120.0
    )
    assert (outcome.running, outcome.handed_over) == (["slow"], False)
    assert vendor.asked[-1][0] >= began + 60


async def test_how_often_a_job_was_said_to_be_unknown_counts_over_hand_overs() -> None:
    vendor = Vendor(lost=[JobNotFoundError("no such job")], slow=["processing"])
    first = await wait(
        vendor.get_job,
        ["quick", "lost", "slow"],
        deadline=now() + 3600,
        poll_interval=20.0,
        hand_over_after=120.0,
    )
    assert first.handed_over
    assert 0 < first.doubted["lost"] < NOT_FOUND_LIMIT
    seen = len([1 for _, img_uuid in vendor.asked if img_uuid == "lost"])
    assert first.doubts == {"lost": (seen, pytest.approx(first.doubted_since["lost"]))}

    began = now()
    second = await wait(
        vendor.get_job, ["lost", "slow"], deadline=now() + 3600, poll_interval=20.0, hand_over_after=0.0,
        doubts=first.doubts,
    )  # fmt: skip
    assert second.declined == {"lost": "no such job"}
    assert now() - first.doubted_since["lost"] >= NOT_FOUND_SECONDS
    assert now() - began < NOT_FOUND_SECONDS
    assert vendor.counts["lost"] >= NOT_FOUND_LIMIT


async def test_an_answer_that_describes_the_job_ends_the_doubts_of_an_earlier_wait() -> None:
    vendor = Vendor(found=["processing", JobNotFoundError("no such job")])
    doubts = {"found": (NOT_FOUND_LIMIT, now() - 2 * NOT_FOUND_SECONDS)}
    outcome = await wait(vendor.get_job, ["found"], deadline=now() + 100, poll_interval=20.0, doubts=doubts)
    assert (outcome.declined, outcome.running) == ({}, ["found"])


async def test_jobs_that_were_waited_for_before_are_polled_as_rarely_as_their_age_allows() -> None:
    vendor = Vendor(old=["processing"])
    await wait(vendor.get_job, ["old"], deadline=now() + 600, poll_interval=5.0, since=now() - 3600)
    assert vendor.counts["old"] <= 600 / 60 / 0.9 + 2


async def test_a_job_that_has_succeeded_is_reported_while_the_others_are_waited_for() -> None:
    seen: list[tuple[str, float]] = []
    began = now()
    await wait(
        Vendor(slow=["processing"], bad=["failed"]).get_job,
        ["quick", "slow", "bad"],
        deadline=began + 600,
        on_success=lambda job: seen.append((job.img_uuid, now() - began)),  # type: ignore[arg-type]
    )
    assert [img_uuid for img_uuid, _ in seen] == ["quick"]
    assert seen[0][1] < 1
