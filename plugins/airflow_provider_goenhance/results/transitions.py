# SPDX-License-Identifier: Apache-2.0
"""The steps a row takes while it is submitted, as plain values; :mod:`.applying` takes them."""

from __future__ import annotations

from dataclasses import dataclass

from .states import Status
from .swap import Swap, clean

MESSAGE_LENGTH = 2000


@dataclass(frozen=True, slots=True)
class ClaimOwner:
    """
    Who moves the rows.

    :param name: this execution of this attempt, e.g. ``swap[3] try 2 0192...``; unlike every other
    :param account: fingerprint of the account that pays
    :param max_tries: the task instance's ``max_tries``, which tells a clear from a retry later
    """

    name: str
    account: str | None = None
    max_tries: int | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """
    Take a row, and commit the intent to submit it. Granted to one attempt only.

    :param from_status: the state the row was seen in; if it has moved since, the claim is not granted
    :param attempts: the row's ``attempts`` as seen: a row that another attempt has submitted meanwhile may be back in
        the same state, with the policy's allowance used up
    """

    swap_id: str
    from_status: Status = Status.PLANNED
    attempts: int = 0

    @classmethod
    def of(cls, swap: Swap) -> Claim:
        """Claim a row as it was seen."""
        return cls(swap.swap_id, swap.status, swap.attempts)


@dataclass(frozen=True, slots=True)
class Accepted:
    """Record the job that a claimed row became."""

    swap_id: str
    img_uuid: str
    cost: int | None = None


@dataclass(frozen=True, slots=True)
class NotSent:
    """Give a claimed row back: its POST surely was not accepted, and another attempt may send it."""

    swap_id: str
    error_code: str
    message: str


@dataclass(frozen=True, slots=True)
class Declined:
    """Fail a claimed row: GoEnhance said no to this very pair, so nothing was paid and no retry helps."""

    swap_id: str
    error_code: str
    message: str


@dataclass(frozen=True, slots=True)
class OutcomeUnknown:
    """Record that a claimed row's POST may have been accepted, and that nobody knows."""

    swap_id: str
    error_code: str
    message: str


Transition = Claim | Accepted | NotSent | Declined | OutcomeUnknown


def storable(text: str | None) -> str | None:
    """Return a message as every database takes it: no NUL, no half of a surrogate pair, not endless."""
    return clean(text)[:MESSAGE_LENGTH] if text else text
