# SPDX-License-Identifier: Apache-2.0
"""
Every transition of a row, defined once: here those of a submit.

Those of a job are in :mod:`.outcome_transitions`, those of planning in :mod:`.plan_transitions`.

A step is a plain value that names a row. Its :class:`.transition_rules.Rule` says from which states the row may take
the step and which columns change. :mod:`.transition_sql` takes steps in the results table, :mod:`.transition_memory`
in memory. All rules are conditional, so running a step twice is harmless: a transaction may be repeated after its
connection was cut during COMMIT.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from ..exceptions import SubmitOutcomeUnknownError
from .budget_transitions import OverBudget
from .clock import CLAIM_SECONDS_0_1_0
from .erasure_transitions import ErasureStep
from .input_transitions import InputsFailed, InputStep
from .inspection_transitions import INSPECTED, Inspected
from .late_transitions import AcceptedAfterAll, FormerJob
from .outcome_transitions import Outcome, WaitedAgain
from .pair_transitions import PairStep
from .plan_transitions import PlanStep
from .preflight_transitions import PreflightStep
from .resend_transitions import NotSentAgain
from .resolution import ResolutionStep
from .review_transitions import REVIEWED, Reviewed
from .states import Status
from .transition_rules import (
    ACCEPTED,
    NOW,
    Append,
    AsReadUnlessPlanned,
    DatabaseTimePlus,
    FromOwner,
    FromRow,
    FromStep,
    Plus,
    Rule,
    TextFromStep,
)

if TYPE_CHECKING:
    from ..api.models import Submission
    from .spending import Spending
    from .swap import Swap

#: The error message of a row whose execution ended in the middle of its submit.
ABANDONED_MESSAGE = (
    "The worker ended between sending this submit and storing its job: it may have been accepted and paid for. Compare "
    "with the vendor's console, then settle it with `airflow goenhance resolve`."
)

_BY_CLAIM_OWNER = {"claimed_by": FromOwner("name")}


@dataclass(frozen=True, slots=True)
class ClaimOwner:
    """
    One execution of one attempt, which claims rows and moves them.

    :param name: unique name of the execution, e.g. ``swap[3] try 2 0192...``
    :param account: fingerprint of the account that pays
    :param max_tries: the task instance's ``max_tries``, which later distinguishes a clear from a retry
    :param claim_seconds: how long a claim lasts, see :func:`.clock.claim_seconds`
    :param spending: the budgets that its claims count for; ``None`` without a results table
    :param task_key: common prefix of the names of all executions of its task instance
    """

    name: str
    account: str | None = None
    max_tries: int | None = None
    claim_seconds: float = CLAIM_SECONDS_0_1_0
    spending: Spending | None = field(default=None, compare=False, repr=False)
    task_key: str = ""

    @property
    def reserved_day(self) -> str | None:
        """Return the day whose budget a claim reserves in now, ``None`` where it reserves nothing."""
        return self.spending.day if self.spending is not None else None

    @property
    def reserved_cost(self) -> int | None:
        """Return the credits that a claim reserves now."""
        return self.spending.price if self.spending is not None and self.spending.day else None


@dataclass(frozen=True, slots=True)
class Claim:
    """
    Claim a row and commit the intent to submit it. Granted to one attempt only.

    :param from_status: the state that the row was read in; if it has moved since, the claim is not granted
    :param attempts: the row's ``attempts`` as read: a row that another attempt has submitted meanwhile may be in the
        same state again, with the policy's allowance used up
    :param max_tries: the row's ``max_tries`` as read, unless it is planned: an earlier attempt of the same clear may
        have sent it meanwhile, and left it in the same state after as many submits
    :param pair_fingerprint: the row's pair, whose key the claim needs, see :mod:`.pair_keys`
    :param claims_seen: how often the pair had been claimed when it was decided to submit it
    """

    rule: ClassVar[Rule] = Rule(
        from_status=FromStep("from_status"),
        guards={"attempts": FromStep("attempts"), "max_tries": AsReadUnlessPlanned("max_tries")},
        writes={
            # A job that was paid for earlier stays on record. First, because MySQL reads a column that the statement
            # has set before with its new value.
            "former_uuids": Append(FromRow("img_uuid")),
            "status": Status.SUBMITTING,
            "attempts": Plus(1),
            "claimed_by": FromOwner("name"),
            "claimed_at": NOW,
            "claim_expires_at": DatabaseTimePlus(FromOwner("claim_seconds")),
            "account": FromOwner("account"),
            "max_tries": FromOwner("max_tries"),
            "reserved_cost": FromOwner("reserved_cost"),
            "reserved_day": FromOwner("reserved_day"),
            "img_uuid": None,
            "cost": None,
            "submitted_at": None,
            "finished_at": None,
            "error_code": None,
            "error_message": None,
            "result_uri": None,
            "result_sha256": None,
            "result_mark": None,
            "additional_result_uris": (),
            # A review is of a picture, and this row will have another one, which was not deleted.
            **dict.fromkeys(REVIEWED),
            **dict.fromkeys(INSPECTED),
            "picture_deleted_at": None,
        },
        taken_if={
            "status": Status.SUBMITTING,
            "claimed_by": FromOwner("name"),
            "attempts": FromStep("attempts_after"),
        },
    )

    swap_id: str
    from_status: Status = Status.PLANNED
    attempts: int = 0
    pair_fingerprint: str | None = None
    claims_seen: int = 0
    max_tries: int | None = None

    @classmethod
    def of(cls, swap: Swap, claims_seen: int = 0) -> Claim:
        """Return the claim of a row as it was read."""
        return cls(
            swap.swap_id, swap.status, swap.attempts, swap.pair_fingerprint, claims_seen, swap.max_tries
        )

    @property
    def attempts_after(self) -> int:
        """Return the row's ``attempts`` once it is claimed."""
        return self.attempts + 1


@dataclass(frozen=True, slots=True)
class Accepted:
    """
    Record the job that a claimed row became. The fields are those of the POST's answer.

    Allowed from ``unknown`` too: a slow execution that was presumed dead may still learn its job's UUID.
    """

    rule: ClassVar[Rule] = Rule(
        from_status=frozenset({Status.SUBMITTING, Status.UNKNOWN}),
        guards=_BY_CLAIM_OWNER,
        writes=ACCEPTED,
        taken_if={"img_uuid": FromStep("img_uuid")},
    )

    swap_id: str
    img_uuid: str
    cost: int | None = None

    @classmethod
    def of(cls, swap_id: str, submission: Submission) -> Accepted:
        """Return the step for the POST's answer."""
        return cls(swap_id, submission.img_uuid, submission.cost)


def _submit_failed(
    status: Status,
    *,
    correction: int = 0,
    final: bool = True,
    from_status: frozenset[Status] = frozenset({Status.SUBMITTING}),
) -> Rule:
    """
    Return the rule for a POST that was not answered with a job.

    :param correction: change of ``attempts``, which counts the POSTs that may have been accepted
    """
    return Rule(
        from_status=from_status,
        guards=_BY_CLAIM_OWNER,
        writes={
            "status": status,
            "attempts": Plus(correction),
            "error_code": FromStep("error_code"),
            "error_message": TextFromStep("message"),
            "finished_at": NOW if final else None,
            # Not accepted: what it reserved in the budgets is given back in the same transaction.
            **({"reserved_cost": None, "reserved_day": None} if correction else {}),
        },
        taken_if={"status": status, **_BY_CLAIM_OWNER},
    )


@dataclass(frozen=True, slots=True)
class NotSent:
    """
    Return a claimed row to ``planned``: its POST was certainly not accepted, and another attempt may send it.

    Allowed from ``unknown`` too: an execution that was presumed dead, or is being killed, may learn that it sent
    nothing. Only its own claim: a row that another has claimed since is left alone.
    """

    rule: ClassVar[Rule] = _submit_failed(
        Status.PLANNED,
        correction=-1,
        final=False,
        from_status=frozenset({Status.SUBMITTING, Status.UNKNOWN}),
    )

    swap_id: str
    error_code: str
    message: str


@dataclass(frozen=True, slots=True)
class Declined:
    """Fail a claimed row: GoEnhance refused this very pair, so nothing was paid and a retry does not help."""

    rule: ClassVar[Rule] = _submit_failed(Status.FAILED, correction=-1)

    swap_id: str
    error_code: str
    message: str


@dataclass(frozen=True, slots=True)
class OutcomeUnknown:
    """Record that a claimed row's POST may have been accepted, without an answer that says so."""

    rule: ClassVar[Rule] = _submit_failed(Status.UNKNOWN)

    swap_id: str
    error_code: str
    message: str


@dataclass(frozen=True, slots=True)
class Abandoned:
    """
    Make a row ``unknown`` whose execution claimed it and will not report on it.

    :param claimed_by: the claim owner as read; a row that another has claimed since is left alone
    """

    rule: ClassVar[Rule] = Rule(
        from_status=frozenset({Status.SUBMITTING}),
        guards={"claimed_by": FromStep("claimed_by")},
        writes={
            "status": Status.UNKNOWN,
            "error_code": SubmitOutcomeUnknownError.error_code,
            "error_message": ABANDONED_MESSAGE,
            "finished_at": NOW,
        },
    )

    swap_id: str
    claimed_by: str | None

    @classmethod
    def of(cls, swap: Swap) -> Abandoned:
        """Return the step for a row as it was read."""
        return cls(swap.swap_id, swap.claimed_by)


def without_side_values(step: Transition) -> Transition:
    """Return a step with nothing but what the row must have: a value beside it must not cost a paid job's UUID."""
    match step:
        case Accepted():
            return dataclasses.replace(step, cost=None)
        case NotSent() | NotSentAgain() | Declined() | OutcomeUnknown() | InputsFailed():
            return dataclasses.replace(step, message="The database refused the text of the reason.")
        case _:
            return step


#: The steps of a submit, which a claim owner takes through the group commit.
Transition = Claim | Accepted | NotSent | NotSentAgain | Declined | OutcomeUnknown | InputStep
#: Every step of a row.
Step = (
    Transition
    | FormerJob
    | AcceptedAfterAll
    | Abandoned
    | Outcome
    | Inspected
    | WaitedAgain
    | OverBudget
    | PreflightStep
    | PlanStep
    | PairStep
    | ResolutionStep
    | Reviewed
    | ErasureStep
)
