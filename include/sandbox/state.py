# SPDX-License-Identifier: Apache-2.0
"""State of a sandbox: jobs, balance, switches and links, in memory and on disk."""

from __future__ import annotations

import secrets
import shutil
import sqlite3
import time
from typing import TYPE_CHECKING, Any

from .faults import FaultPlan
from .jobs import Job, new_img_uuid
from .ledger import LEDGER_FILE, Ledger
from .links import LinkSigner
from .placeholder import EXTENSION, JPEG_EXTENSION, JPEG_MEDIA_TYPE, MEDIA_TYPE
from .runner import Runner
from .swapping import SwapPool
from .switches import Switches, merge

if TYPE_CHECKING:
    from .connections import Connections
    from .settings import Settings


class OutOfCreditsError(Exception):
    """The balance does not cover a submit."""


class Sandbox:
    """
    State shared by the endpoints. Must be created inside a running event loop.

    :param settings: the start options; `settings.state_dir` is created if it does not exist.
    :param connections: the server's open connections, for faults that close one.
    """

    def __init__(self, settings: Settings, plan: FaultPlan, connections: Connections) -> None:
        self.settings = settings
        self.plan = plan
        self.connections = connections
        self.pictures = settings.state_dir / "pictures"
        self.pictures.mkdir(parents=True, exist_ok=True)
        self.ledger = Ledger(settings.state_dir / LEDGER_FILE)
        self.jobs: dict[str, Job] = {}
        self._by_result: dict[str, Job] = {}
        pool = SwapPool(settings.workers, settings.faces) if settings.engine == "mesh" else None
        kind = (JPEG_EXTENSION, JPEG_MEDIA_TYPE) if settings.load_picture else (EXTENSION, MEDIA_TYPE)
        self.runner = Runner(plan, pool, settings.workers, self.pictures, kind)
        self.runner.on_end = self._ended
        self._sequence = 0
        self._resume()

    @property
    def switches(self) -> Switches:
        """The current switches."""
        return self.plan.switches

    async def accept(self, source_img: str, reference_img: str) -> Job:
        """
        Accept a paid submit: charge it, record it on disk, then start its job.

        :raises OutOfCreditsError: the balance does not cover the cost; nothing was recorded.
        :raises sqlite3.Error: the submit cannot be recorded; it was not accepted.
        """
        cost = self.switches.cost
        if self._credits < cost:
            raise OutOfCreditsError
        taken = cost if self.switches.charged == "at_submit" else 0
        self._credits -= taken
        self._sequence += 1
        fault = self.plan.for_job()
        job = Job(
            sequence=self._sequence,
            img_uuid=new_img_uuid(self.switches),
            source_img=source_img,
            reference_img=reference_img,
            accepted_at=time.time(),
            cost=cost,
            engine=self.settings.engine,
            seconds=self.plan.job_seconds(),
            fate=fault.kind if fault else "",
            fate_reason=fault.error if fault else "",
        )
        self.jobs[job.img_uuid] = job
        try:
            await self.ledger.keep(job, credits=self._credits)
        except sqlite3.Error:
            del self.jobs[job.img_uuid]
            self._credits += taken
            raise
        # A reset may have deleted the job meanwhile; it must not start then.
        if job.img_uuid in self.jobs:
            self.runner.add(job)
        return job

    def change_switches(self, changes: Any) -> Switches:
        """
        Merge changes into the switches.

        :raises SwitchError: a switch does not exist or its value is invalid; the message names it.
        """
        switches = merge(self.live_switches(), changes)
        self.plan.change(switches, reseed="seed" in changes)
        if "credits" in changes:
            self._set_credits(switches.credits)
        self.runner.start_waiting()
        return switches

    def live_switches(self) -> Switches:
        """Return the switches, including the current balance."""
        self.switches.credits = self._credits
        return self.switches

    @property
    def credits(self) -> int:
        """The balance."""
        return self._credits

    def reset(self) -> None:
        """Restore the initial state: no jobs, the initial balance and switches."""
        self.runner.drop_all()
        self.jobs.clear()
        self._by_result.clear()
        self.ledger.clear()
        shutil.rmtree(self.pictures, ignore_errors=True)
        self.pictures.mkdir(exist_ok=True)
        self._sequence = 0
        self.plan.change(start_switches(self.settings), reseed=True)
        self._set_credits(self.settings.credits)

    def link(self, job: Job) -> str | None:
        """Return path and query of the job's result link, or None if it has no result."""
        if job.state != "success":
            return None
        if self.switches.link_signed == "at_completion":
            return self._signer.sign(job.result_path, job.link_from, job.link_until)
        return self._signer.sign(job.result_path, *self._link_window(time.time()))

    def check_link(self, result_path: str, query: str) -> tuple[str, Job | None]:
        """Verify a result link and return the verdict and its job."""
        return self._signer.check(result_path, query, time.time()), self._by_result.get(result_path)

    async def close(self) -> None:
        """Stop the jobs and write pending records."""
        await self.runner.close()
        self.ledger.close()

    def _ended(self, job: Job) -> None:
        if job.state == "success":
            job.link_from, job.link_until = self._link_window(job.ended_at or 0)
            self._by_result[job.result_path] = job
            self._credits -= job.cost if self.switches.charged == "at_end" else 0
        elif self.switches.refund_failed and self.switches.charged == "at_submit":
            job.refunded = True
            self._credits += job.cost
        self.ledger.keep(job, credits=self._credits)

    def _link_window(self, now: float) -> tuple[int, int]:
        # In the vendor's example, the window starts one second before end_time.
        start = int(now) - 1
        return start, start + 1 + self.switches.link_seconds

    def _set_credits(self, value: int) -> None:
        self._credits = value
        self.ledger.keep(credits=value)

    def _resume(self) -> None:
        kept: Any = self.ledger.fact("credits")
        self._credits = self.settings.credits if kept is None else int(kept)
        key = self.ledger.fact("link_key")
        if not isinstance(key, bytes):
            key = secrets.token_bytes(32)
            self.ledger.keep(link_key=key, credits=self._credits)
        self._signer = LinkSigner(key)
        for job in self.ledger.load():
            self._sequence = job.sequence
            self.jobs[job.img_uuid] = job
            if job.state == "success":
                self._by_result[job.result_path] = job
            elif job.state != "failed":
                job.seconds = max(0.0, job.accepted_at + job.seconds - time.time())
                job.engine = self.settings.engine
                self.runner.add(job)


def start_switches(settings: Settings) -> Switches:
    """
    Return the initial switches of a sandbox.

    :raises SwitchError: a start option names no switch or its value is invalid.
    """
    return merge(Switches(credits=settings.credits), settings.switches)
