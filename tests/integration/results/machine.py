# SPDX-License-Identifier: Apache-2.0
"""
The ledger under every interleaving that hypothesis can think of.

A fake vendor records every accepted POST. Attempts come and go, several at once, each with the rows as it saw them
when it began; each may die before or after any commit, before or after its POST, or answer so late that another has
its row. What must hold whatever happens is in the invariants.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from airflow_provider_goenhance.results.ledger import Ledger, Outcome, RunKey
from airflow_provider_goenhance.results.recovery import Action, Policies, decide, was_cleared
from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.stores import TableStore
from airflow_provider_goenhance.results.swap import Swap
from airflow_provider_goenhance.results.transitions import (
    Accepted,
    Claim,
    ClaimOwner,
    Declined,
    NotSent,
    OutcomeUnknown,
    Transition,
)
from tests.integration.results.databases import Fate, ProcessDied, TestDatabase
from tests.swaps import planned

KEY = RunKey("dag", "run")
ROWS = 5
TASK_KEY = "swap[0] "
UNKNOWN = "submit_outcome_unknown"

FATES: tuple[Fate, ...] = ("ok",) * 12 + ("cut_before", "cut_after", "crash_before", "crash_after")
ANSWERS = ("accepted", "accepted", "accepted", "declined", "refused", "lost_after", "lost_before")

policies = st.builds(
    Policies,
    on_unknown_submit=st.sampled_from(("hold", "resubmit")),
    on_clear=st.sampled_from(("reattach", "resubmit")),
    failed_job_resubmits=st.sampled_from((0, 2)),
)


@dataclass
class Attempt:
    """One execution of the task: what it saw, what it may still send, and what it holds in memory."""

    owner: ClaimOwner
    store: TableStore
    due: list[Swap]
    granted: dict[str, int] = field(default_factory=dict)  # row -> which of its claims
    outcomes: dict[str, Transition] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)
    alive: bool = True


class LedgerMachine(RuleBasedStateMachine):
    """Rules are what the world does; invariants are what we promise."""

    database: ClassVar[TestDatabase]

    @initialize(chosen=policies)
    def plan_the_run(self, chosen: Policies) -> None:
        self.policies = chosen
        self.ledger = Ledger(self.database)
        self.database.run(lambda connection: connection.execute(self.database.swaps.delete()))
        self.ledger.plan(KEY, [planned(number) for number in range(ROWS)], task_id="swap")
        self.attempts: list[Attempt] = []
        self.max_tries = 1
        self.accepted: dict[str, list[str]] = defaultdict(list)
        self.claim_of: dict[str, int] = {}
        self.told: set[str] = set()
        self.given_up: set[tuple[str, int]] = set()
        self.by_name: Counter[str] = Counter()
        self.claims: Counter[str] = Counter()
        self.not_accepted: Counter[str] = Counter()
        self.before = self.now = self.rows()
        self.chance = random.Random(0)
        self.an_attempt_begins()

    def rows(self) -> dict[str, Swap]:
        return {swap.swap_id: swap for swap in self.ledger.of_run(KEY)}

    def alive(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.alive]

    # -- what the world does ------------------------------------------------------------------------------------

    @rule(seed=st.integers(0, 2**62))
    def the_world_moves(self, seed: int) -> None:
        """
        Something happens that can happen now.

        What, is drawn from the seed and by weight: left to choose among rules itself, hypothesis begins attempts and
        kills them, and hardly ever gets as far as a second job.
        """
        self.chance = random.Random(seed)
        alive = self.alive()
        moves = {
            self.a_post_is_sent: 8 if any(a.granted for a in alive) else 0,
            self.a_slot_commits: 8 if any(a.due or a.outcomes for a in alive) else 0,
            self.a_job_is_reported_on: 6 if any(a.waiting for a in alive) else 0,
            self.an_attempt_sees_jobs: 4 if any(row.img_uuid for row in self.now.values()) else 0,
            self.an_attempt_begins: 2,
            self.a_worker_is_killed: 1 if alive else 0,
            self.the_run_is_reported: 1,
        }
        (move,) = self.chance.choices(list(moves), weights=list(moves.values()))
        note(move.__name__)
        move()

    def an_attempt_begins(self) -> None:
        """A retry or a clear; the attempts before it are dead, or linger on as zombies."""
        cleared = self.chance.random() < 0.4
        kill_others = self.chance.random() < 0.25
        if kill_others or len(self.alive()) > 3:
            for attempt in self.attempts:
                attempt.alive = False
        self.max_tries += cleared
        owner = ClaimOwner(f"{TASK_KEY}try {len(self.attempts)}", "account", self.max_tries)
        store = TableStore(self.ledger, lambda: self.ledger.of_run(KEY, batch=0))
        store.mark_abandoned(owner, TASK_KEY)
        due = [swap for swap in store.load() if self.decision(swap) is Action.SUBMIT]
        self.chance.shuffle(due)
        self.attempts.append(Attempt(owner, store, due))

    def decision(self, swap: Swap) -> Action:
        return decide(swap, self.policies, max_tries=self.max_tries, first_look=True)

    def a_slot_commits(self) -> None:
        """The outcomes of some rows and the claims of others, in one transaction as the group commit does it."""
        busy = [attempt for attempt in self.alive() if attempt.due or attempt.outcomes]
        attempt = self.chance.choice(busy)
        done = list(attempt.outcomes.values())[: self.chance.choice((3, 1, 0))]
        taken = attempt.due[: self.chance.choice((1, 2, 0))]
        steps: list[Transition] = [*done, *(Claim.of(swap) for swap in taken)]
        if not steps:
            return
        before, fate = self.rows(), self.chance.choice(FATES)
        try:
            results = self.database.take(attempt.owner, steps, fate)
        except ProcessDied:
            attempt.alive = False
            results = []
        if fate != "crash_before":
            self.count_commits(attempt, steps, before)
        for swap in taken:
            attempt.due.remove(swap)
        for step in done:
            attempt.outcomes.pop(step.swap_id, None)
        for swap, granted in zip(taken, results[len(done) :], strict=False):
            if granted:
                self.grant(attempt, swap)

    def grant(self, attempt: Attempt, swap: Swap) -> None:
        assert self.rows()[swap.swap_id].claimed_by == attempt.owner.name, "granted, but the row is another's"
        attempt.granted[swap.swap_id] = self.claims[swap.swap_id]

    def count_commits(self, attempt: Attempt, steps: list[Transition], before: dict[str, Swap]) -> None:
        """Book what the transaction did to the rows, whether or not its attempt lived to hear of it."""
        after = self.rows()
        for step in steps:
            old, new = before[step.swap_id], after[step.swap_id]
            if isinstance(step, Accepted):
                self.told.add(step.img_uuid)
            elif isinstance(step, Claim) and new.attempts == old.attempts + 1:
                if old.status is Status.UNKNOWN:
                    self.given_up.add((step.swap_id, self.claims[step.swap_id]))
                self.claims[step.swap_id] += 1
                if old.status is not Status.PLANNED:
                    self.by_name[step.swap_id] += 1
                    assert self.is_allowed_by_name(old, attempt), (
                        f"{old.status} was claimed though no policy asked for it"
                    )
            elif isinstance(step, NotSent | Declined) and new.attempts == old.attempts - 1:
                self.not_accepted[step.swap_id] += 1

    def is_allowed_by_name(self, swap: Swap, attempt: Attempt) -> bool:
        cleared = was_cleared(swap, attempt.owner.max_tries)
        if cleared and (self.policies.on_clear == "resubmit" or swap.attempts == 0):
            return True
        if swap.status is Status.UNKNOWN:
            return self.policies.on_unknown_submit == "resubmit"
        return swap.error_code == "job_failed" and swap.attempts <= self.policies.failed_job_resubmits

    def a_post_is_sent(self) -> None:
        """The paid call; its process may die before it hears the answer."""
        attempt = self.chance.choice([a for a in self.alive() if a.granted])
        swap_id = self.chance.choice(sorted(attempt.granted))
        claim = attempt.granted.pop(swap_id)
        img_uuid = f"job-{swap_id[:4]}-{len(self.accepted[swap_id])}"
        answer = self.chance.choice(ANSWERS)
        if answer in {"accepted", "lost_after"}:
            self.accepted[swap_id].append(img_uuid)
            self.claim_of[img_uuid] = claim
        if self.chance.random() < 0.1:
            attempt.alive = False
            return
        steps: dict[str, Transition] = {
            "accepted": Accepted(swap_id, img_uuid, 1),
            "declined": Declined(swap_id, "bad_request", "The picture is too large."),
            "refused": NotSent(swap_id, "unreachable", "Connection refused."),
            "lost_after": OutcomeUnknown(swap_id, UNKNOWN, "No answer in time."),
            "lost_before": OutcomeUnknown(swap_id, UNKNOWN, "No answer in time."),
        }
        attempt.outcomes[swap_id] = steps[answer]

    def a_worker_is_killed(self) -> None:
        attempt = self.chance.choice(self.alive())
        if self.chance.random() < 0.5:
            attempt.store.mark_killed(attempt.owner)
        attempt.alive = False

    def the_run_is_reported(self) -> None:
        """The report settles what is left, though a zombie may live on."""
        self.ledger.mark_abandoned(self.ledger.of_run(KEY, statuses=[Status.SUBMITTING]))

    def an_attempt_sees_jobs(self) -> None:
        """It will report on the job that the row has now, however late."""
        attempt = self.chance.choice(self.attempts)
        attempt.waiting = {row.swap_id: row.img_uuid for row in self.rows().values() if row.img_uuid}

    def a_job_is_reported_on(self) -> None:
        """Its picture is kept, or it failed, or the time to wait was over."""
        kind = self.chance.choice(("kept", "job_failed", "job_timed_out"))
        attempt = self.chance.choice([a for a in self.alive() if a.waiting])
        swap_id = self.chance.choice(sorted(attempt.waiting))
        img_uuid = attempt.waiting.pop(swap_id)
        if kind == "kept":
            outcome = Outcome(
                swap_id, img_uuid, Status.SUCCEEDED, result_uri="file:///kept", result_sha256="0" * 64
            )
        else:
            outcome = Outcome(swap_id, img_uuid, Status.FAILED, error_code=kind, error_message="It failed.")
        attempt.store.record_outcomes([outcome])

    # -- what we promise ----------------------------------------------------------------------------------------

    @invariant()
    def what_we_promise_holds(self) -> None:
        """All of it, on one look at the table."""
        self.now = self.rows()
        self.nothing_is_paid_twice_unless_asked_by_name()
        self.every_paid_job_is_on_a_row_or_covered()
        self.attempts_counts_the_posts_that_may_have_been_accepted()
        self.a_row_has_one_holder()
        self.a_row_says_why_it_ended()
        self.an_end_is_left_only_by_a_claim_or_better_news()

    def nothing_is_paid_twice_unless_asked_by_name(self) -> None:
        for swap_id, jobs in self.accepted.items():
            assert len(jobs) <= 1 + self.by_name[swap_id], f"{jobs} for one row"
            if self.policies == Policies():
                # A clear sends again what was declined: nothing was paid for that.
                assert len(jobs) <= 1, f"{jobs} for one row under the default policies"

    def every_paid_job_is_on_a_row_or_covered(self) -> None:
        in_memory = self.known_in_memory()
        for row in self.now.values():
            known = {row.img_uuid, *(row.former_uuids or "").split()}
            for job in self.accepted[row.swap_id]:
                if job in known | in_memory:
                    continue
                claim = self.claim_of[job]
                latest = claim == self.claims[row.swap_id]
                covered = latest and row.status in {Status.UNKNOWN, Status.SUBMITTING}
                # `unknown`, and sent again by a policy that says that it may pay twice.
                given_up = (row.swap_id, claim) in self.given_up
                assert job not in self.told, f"{job} was committed, and is gone: {row}"
                assert covered or given_up, f"{job} is on no row: {row}"

    def known_in_memory(self) -> set[str]:
        return {
            step.img_uuid
            for attempt in self.alive()
            for step in attempt.outcomes.values()
            if isinstance(step, Accepted)
        }

    def attempts_counts_the_posts_that_may_have_been_accepted(self) -> None:
        for row in self.now.values():
            assert row.attempts >= len(self.accepted[row.swap_id])
            assert row.attempts == self.claims[row.swap_id] - self.not_accepted[row.swap_id]

    def a_row_has_one_holder(self) -> None:
        for row in self.now.values():
            holders = [
                a.owner.name
                for a in self.alive()
                if row.swap_id in a.granted
                and row.claimed_by == a.owner.name
                and row.status is Status.SUBMITTING
            ]
            assert len(holders) <= 1
            if row.status is Status.SUBMITTING:
                assert row.claimed_by, "claimed without an owner"

    def a_row_says_why_it_ended(self) -> None:
        for row in self.now.values():
            if row.status in {Status.FAILED, Status.UNKNOWN, Status.REJECTED}:
                assert row.error_code
                assert row.error_message
            if row.status is Status.SUBMITTED:
                assert row.img_uuid
                assert row.finished_at is None

    def an_end_is_left_only_by_a_claim_or_better_news(self) -> None:
        for swap_id, old in self.before.items():
            new = self.now[swap_id]
            if new.attempts > old.attempts or old.status is new.status:
                continue
            if old.status is Status.UNKNOWN and new.status is Status.PLANNED:
                # Its own claim owner learned that nothing was sent.
                assert new.attempts == old.attempts - 1
                continue
            if old.status is Status.SUCCEEDED:
                raise AssertionError(f"a success became {new.status}")
            if old.status is Status.FAILED:
                assert new.status is Status.SUCCEEDED
            if old.status is Status.UNKNOWN:
                assert new.status is Status.SUBMITTED
                assert new.img_uuid in self.accepted[swap_id]
        self.before = self.now

    def teardown(self) -> None:
        """However it went: when all workers are dead, a report leaves no row in the middle of a submit."""
        if not hasattr(self, "attempts"):
            return
        for attempt in self.attempts:
            attempt.alive = False
        self.the_run_is_reported()
        assert not self.ledger.of_run(KEY, statuses=[Status.SUBMITTING])
        self.now = self.rows()
        self.every_paid_job_is_on_a_row_or_covered()


def machine_for(opened: TestDatabase) -> Any:
    """Return the machine on one database."""
    return type("LedgerMachineHere", (LedgerMachine,), {"database": opened})
