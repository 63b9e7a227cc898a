# SPDX-License-Identifier: Apache-2.0
"""What an execution asks of its account's limits, the reply, and the rows of the database that it is based on."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

#: The share of the limits that is left after many 429s.
LOWEST_PACE = 0.1
#: Seconds in which the pace would recover from 0 to 1.
RECOVERY_SECONDS = 60.0
#: The longest pause of an account, seconds: the longest ``Retry-After`` that is honored.
LONGEST_ACCOUNT_PAUSE = 3600.0


@dataclass(frozen=True, slots=True)
class Holder:
    """
    The execution that a lease belongs to.

    :param owner: unique name of the execution
    :param dag_id: Dag of the run
    :param run_id: limits are shared fairly between runs, not between tasks
    :param task_key: common prefix of the names of all executions of its task instance
    """

    owner: str
    dag_id: str = ""
    run_id: str = ""
    task_key: str = ""

    def replaces(self, lease: LeaseRow) -> bool:
        """Return whether a lease belongs to an earlier execution of the same task instance, which is over."""
        same_run = lease.run == (self.dag_id, self.run_id)
        return bool(self.task_key) and same_run and lease.owner.startswith(self.task_key)


@dataclass(frozen=True, slots=True)
class Request:
    """
    What an execution reports and asks for.

    :param held: the most POSTs that it can have under way until it has received the reply
    :param wanted: the POSTs that it could have under way
    :param limit: the account's limit of concurrent POSTs
    """

    held: int
    wanted: int
    limit: int


@dataclass(frozen=True, slots=True)
class Lease:
    """
    The reply to a request.

    :param slots: POSTs that the execution may have under way from now on
    :param recorded: POSTs that the database has on record for it; more than ``slots`` until it has reduced itself
    :param paused_seconds: for how long the account starts nothing
    :param pace: the share of the limits that is in use since a 429
    :param valid_until: until when it may start POSTs without renewing the lease, by ``time.monotonic``
    :param silent_slots: slots of other executions that do not renew their leases, as after a kill
    :param silent_seconds: when the last of these will be free
    """

    slots: int
    recorded: int
    paused_seconds: float
    pace: float
    valid_until: float
    silent_slots: int = 0
    silent_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """A live lease as it is in the table."""

    owner: str
    run: tuple[str | None, str | None]
    slots: int
    wanted: int
    since: dt.datetime
    expires_at: dt.datetime


@dataclass(frozen=True, slots=True)
class AccountPace:
    """An account's row: when the next POST may start, and how fast."""

    next_turn_at: dt.datetime | None = None
    paused_until: dt.datetime | None = None
    pace: float | None = None
    pace_since: dt.datetime | None = None

    def at(self, now: dt.datetime) -> float:
        """Return the share of the limits that is in use."""
        if self.pace is None or self.pace_since is None:
            return 1.0
        recovered = (now - self.pace_since).total_seconds() / RECOVERY_SECONDS
        return min(1.0, max(LOWEST_PACE, self.pace + max(0.0, recovered)))

    def paused_seconds(self, now: dt.datetime) -> float:
        """Return for how long nothing may start."""
        if self.paused_until is None:
            return 0.0
        return min(max(0.0, (self.paused_until - now).total_seconds()), LONGEST_ACCOUNT_PAUSE)
