# SPDX-License-Identifier: Apache-2.0
"""
Keep a round of submits within its share of the account's limits.

A row waits here before it is claimed: for a place among the task's slots, for the end of a pause, and for its turn on
the wire. The claim is made shortly before that turn. Where the commit took too long, the claimed row takes another one.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from ..api.capacity import Capacity
from ..api.client import MAX_WAIT, wait_after
from ..api.limiter import Limiter
from ..api.send_gate import current_gate
from ..exceptions import GoEnhanceError, RateLimitedError, ResultsTableError, UnreachableError
from ..results.lease_rows import Holder, Request
from ..results.lease_thread import LeaseThread
from ..results.leases import AccountLeases
from .limits import ignore, slots_for
from .messages import pluralize
from .meter import ACCOUNT_PACE, LEASES, PAUSE_SECONDS, PAUSES, meter
from .turns import Turns
from .waiting_lines import all_slots_used, not_renewed, paused, silent_tasks
from .wire_limiter import WireLimiter

if TYPE_CHECKING:
    from ..api.account import Account
    from ..results.database import ResultsDatabase

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds between two looks at the lease: with a full share, with a smaller one, with none, and while it shrinks.
LOOK_EVERY, LOOK_FOR_MORE, LOOK_FOR_ANY, LOOK_WHILE_SHRINKING = 2.0, 1.0, 0.5, 0.1
#: A row is claimed this many seconds before its turn.
CLAIM_AHEAD = 0.2
#: A turn that is used later than this is lost: it would come too close to the next one's.
LATEST = 0.1
#: Seconds that the end of a round waits for its lease to be released.
RELEASE_SECONDS = 2.0
#: Seconds after which a task that has no share says so, and seconds between two such lines.
SAY_AFTER, SAY_EVERY = 5.0, 30.0

#: The turn that was reserved for the row which the running asyncio task submits.
_turn: ContextVar[float | None] = ContextVar("turn", default=None)
#: When that row's POST was sent.
_sent_at: ContextVar[float] = ContextVar("sent_at", default=0.0)


class AccountLimits:
    """
    The share of one execution in the limits of its account, renewed while it is open.

    :param database: the database of the results table
    :param account: the account, with its limits
    :param holder: this execution
    :param rows: number of rows that it is about to submit
    """

    def __init__(
        self,
        database: ResultsDatabase,
        account: Account,
        holder: Holder,
        rows: int,
    ) -> None:
        self.rows_left = rows
        self.limiter: Limiter | None = WireLimiter(self)
        self.stop: Callable[[GoEnhanceError], None] = ignore
        self._account = account
        self._holder = holder
        self.limit = max(1, account.max_concurrency)
        self.rate = account.requests_per_second
        self.turns = Turns(self._reserve, lambda: self.rate * self.pace) if self.rate > 0 else None
        self._thread = LeaseThread(database, account.fingerprint, account.request_timeout)
        self._wire = Capacity(0)
        self._admission = Capacity(0)
        self._promised = 0
        self._renewing = asyncio.Lock()
        self._share = 0
        self._slots = 0
        self._recorded = 0
        self.pace = 1.0
        self._valid_until = 0.0
        self._paused_until = 0.0
        self._say_at = time.monotonic() + SAY_AFTER
        self._silent = ""
        self._closed = False
        self._reopen: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # -- the lease ---------------------------------------------------------------------------------------------

    async def __aenter__(self) -> AccountLimits:
        try:
            await self._renew()
        except BaseException:
            self._thread.call(lambda leases: leases.release(self._holder))
            self._thread.close()
            raise
        self._tasks.add(asyncio.create_task(self._keep_lease()))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._reopen is not None:
            self._reopen.cancel()
        # POSTs that were abandoned may still be under way: their slots stay taken until the lease expires.
        if not self._wire.used:
            released = asyncio.wrap_future(self._thread.call(lambda leases: leases.release(self._holder)))
            await asyncio.wait([released], timeout=RELEASE_SECONDS)
            if not released.done():
                log.warning("The results table did not reply: the lease of this task expires by itself.")
            elif error := released.exception():
                log.warning("%s The lease of this task expires by itself.", error)
        self._thread.close()

    async def _keep_lease(self) -> None:
        while True:
            await asyncio.sleep(self._until_look() * random.uniform(0.9, 1.1))  # noqa: S311  not cryptography
            try:
                await self._renew()
            except ResultsTableError as error:
                log.warning("%s Nothing more is sent once the lease of this task has expired.", error)
            self._say_if_waiting()

    def _until_look(self) -> float:
        if self._recorded > max(self._slots, self._wire.used):
            return LOOK_WHILE_SHRINKING
        if not self._share:
            return LOOK_FOR_ANY
        return LOOK_FOR_MORE if self._share < self._wanted() else LOOK_EVERY

    def _wanted(self) -> int:
        return min(self.limit, max(0, self.rows_left - self._promised) + self._admission.used)

    async def _renew(self) -> None:
        # One at a time: what a request reports must include what the reply to the one before it allowed.
        async with self._renewing:
            await self._renew_once()

    async def _renew_once(self) -> None:
        valid = time.monotonic() < self._valid_until
        request = Request(
            held=max(self._wire.used, self._slots if valid else 0), wanted=self._wanted(), limit=self.limit
        )
        lease = await self.call(lambda leases: leases.renew(self._holder, request))
        # A smaller share admits no further rows. Those that are claimed keep what is on record for them until they are
        # sent: they must not wait for other tasks.
        claimed = self._admission.used - self._promised
        self._slots = max(lease.slots, min(claimed, lease.recorded))
        self._share, self._recorded, self.pace = lease.slots, lease.recorded, lease.pace
        self._valid_until = lease.valid_until
        self._silent = silent_tasks(lease)
        meter().count(LEASES, outcome="granted" if lease.slots else "waiting")
        meter().gauge(ACCOUNT_PACE, lease.pace)
        if lease.paused_seconds:
            self._pause(lease.paused_seconds)
        self._apply()

    async def call(self, work: Callable[[AccountLeases], T]) -> T:
        """Call the account's leases in their thread."""
        return await asyncio.wrap_future(self._thread.call(work))

    async def _reserve(self, count: int, lead: float) -> list[float]:
        # Each slot of each task has one turn at most, and perhaps one that it lost.
        most_ahead = 2 * self.limit + count
        return await self.call(
            lambda leases: leases.take_turns(count, self.rate, lead=lead, most_ahead=most_ahead)
        )

    def is_open(self) -> bool:
        """Return whether a POST may start: the lease is valid, and the account is not paused."""
        return self._paused_until <= time.monotonic() < self._valid_until

    def _apply(self) -> None:
        """Let through what the lease allows, and come back when a pause ends or the lease would expire."""
        now = time.monotonic()
        is_open = self.is_open()
        self._wire.resize(self._slots if is_open else 0)
        share = self._share if is_open else 0
        # With a rate, a row that is admitted has a turn: it must not wait for a place on the wire too.
        self._admission.resize(share if self.turns else slots_for(share))
        if self._reopen is not None:
            self._reopen.cancel()
        moment = self._paused_until if self._paused_until > now else self._valid_until
        if moment > now:
            loop = asyncio.get_running_loop()
            self._reopen = loop.call_later(moment - now + 0.001, self._apply)

    def _pause(self, seconds: float) -> None:
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)
        if seconds > MAX_WAIT:
            self.stop(
                RateLimitedError(
                    f"GoEnhance asked {self._account} to wait, for {seconds:.0f} s more. The pairs that are left "
                    "were not sent.",
                    retry_after=seconds,
                )
            )

    def _say_if_waiting(self) -> None:
        now = time.monotonic()
        if self._wire.used or (self._share and self.is_open()):
            self._say_at = now + SAY_AFTER
        elif now >= self._say_at:
            self._say_at = now + SAY_EVERY
            log.info("%s %s.", self._why_waiting(now), pluralize(self.rows_left, "pair waits", "pairs wait"))

    def _why_waiting(self, now: float) -> str:
        if self._paused_until > now:
            return paused(self._account, self._paused_until - now)
        if now >= self._valid_until:
            return not_renewed(self._account)
        return all_slots_used(self._account, self.limit, self.pace) + self._silent

    # -- before a claim ----------------------------------------------------------------------------------------

    def admit_now(self) -> bool:
        """Return whether a row may be claimed at once."""
        return self.turns is None and not self._is_done() and self._admission.enter_now()

    async def admit(self) -> bool:
        """Wait until a row may be claimed; return false when none will be."""
        if self._is_done() or not await self._admission.enter():
            return False
        if self._is_done() or (self.turns is not None and not await self._has_turn(self.turns)):
            self._admission.leave()
            return False
        return True

    async def _has_turn(self, turns: Turns) -> bool:
        """Wait until shortly before this row's turn."""
        self._promised += 1
        try:
            while True:
                turn = await turns.take()
                await turns.sleep_until(turn - CLAIM_AHEAD)
                if self._closed:
                    return False
                if self.is_open() and time.monotonic() <= turn + LATEST / 2:
                    _turn.set(turn)
                    return True
                while not self.is_open() and not self._closed:
                    await turns.sleep_until(time.monotonic() + 0.1)
        finally:
            self._promised -= 1

    def _is_done(self) -> bool:
        """Return whether no row is left for one more slot."""
        if self.rows_left > self._promised and not self._closed:
            return False
        # Those who wait have nothing to wait for.
        self._admission.give_up()
        return True

    def leave(self) -> None:
        """Note that an admitted row has its answer, or was not sent."""
        _turn.set(None)
        self._admission.leave()

    def claimed(self, seconds: float) -> None:
        """Note how long the commit of a claim took."""
        if self.turns is not None:
            self.turns.note_commit(seconds)

    def close(self) -> None:
        """Admit no further rows."""
        self._closed = True
        self._admission.give_up()
        self._wire.give_up()
        if self.turns is not None:
            self.turns.close()

    # -- on the wire -------------------------------------------------------------------------------------------

    async def begin_post(self) -> None:
        """Wait for a place on the wire and for the turn of the row that is being submitted, and take the place."""
        if not self._wire.enter_now() and not await self._wire.enter():
            _stop_if_closed()
            await self._wire.enter()  # the round goes on for the rows that it has claimed
        try:
            await self._wait_for_turn()
        except BaseException:
            self._wire.leave()
            raise
        _sent_at.set(time.monotonic())

    def end_post(self) -> None:
        """Leave the place on the wire."""
        self._wire.leave()

    async def _wait_for_turn(self) -> None:
        turn = _turn.get()
        _turn.set(None)
        while True:
            _stop_if_closed()
            if not self.is_open():
                await asyncio.sleep(0.05)
                continue
            if self.turns is None:
                return
            try:
                turn = await self.turns.take(claimed=True) if turn is None else turn
            except ResultsTableError as error:
                raise UnreachableError(f"{error} The pair did not get a turn and was not sent.") from None
            await asyncio.sleep(max(0.0, turn - time.monotonic()))
            if time.monotonic() <= turn + LATEST and self.is_open():
                return
            turn = None

    # -- 429 ---------------------------------------------------------------------------------------------------

    def refused(self, error: RateLimitedError, attempt: int) -> bool:
        """Slow the account down after a 429; return whether the row is sent again by this round."""
        wait = wait_after(error, attempt)
        sent_before = time.monotonic() - _sent_at.get()
        meter().count(PAUSES)
        meter().time(PAUSE_SECONDS, wait)
        self._paused_until = max(self._paused_until, time.monotonic() + wait)
        self._apply()
        task = asyncio.create_task(self._slow_down(wait, sent_before))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return wait <= MAX_WAIT and attempt < self._account.submit_attempts

    async def _slow_down(self, seconds: float, sent_before: float) -> None:
        try:
            await self.call(lambda leases: leases.slow_down(seconds, sent_before=sent_before))
            await self._renew()
        except ResultsTableError as error:
            log.warning("%s The other tasks of the account do not know of its pause.", error)


def _stop_if_closed() -> None:
    if gate := current_gate.get():
        gate.wait_again()
