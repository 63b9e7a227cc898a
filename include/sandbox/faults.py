# SPDX-License-Identifier: Apache-2.0
"""Decide which fault strikes which request and which job."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .switches import Fault, JobFault, Switches

_DEFAULT_SLOW_SECONDS = 0.05


@dataclass
class RequestEffects:
    """Delays (seconds) and at most one fault for one request."""

    wait_before: float = 0.0
    wait_after: float = 0.0
    fault: Fault | None = None


class FaultPlan:
    """Decides which fault strikes next; deterministic for one seed and one order of requests."""

    def __init__(self, switches: Switches) -> None:
        self.switches = switches
        self._draws: dict[str, random.Random] = {}

    def change(self, switches: Switches, *, reseed: bool) -> None:
        """Replace the switches."""
        self.switches = switches
        if reseed:
            self._draws.clear()

    def for_request(self, endpoint: str) -> RequestEffects:
        """Return the delays and the fault for the next request of an endpoint."""
        effects = RequestEffects()
        if endpoint in {"submit", "detail", "tokens"}:
            effects.wait_before = self.switches.latency
        for rule in getattr(self.switches, endpoint):
            if not rule.strikes(self._draw(endpoint)):
                continue
            if rule.kind != "slow":
                effects.fault = rule
                break
            seconds = _DEFAULT_SLOW_SECONDS if rule.seconds is None else rule.seconds
            if rule.when == "before":
                effects.wait_before += seconds
            else:
                effects.wait_after += seconds
        return effects

    def for_job(self) -> JobFault | None:
        """Return the fault of the job that is being accepted, if one strikes it."""
        return next((rule for rule in self.switches.job if rule.strikes(self._draw("job"))), None)

    def job_seconds(self) -> float:
        """Draw how long the job that is being accepted takes."""
        least, most = self.switches.job_seconds, self.switches.job_seconds_max
        if most is None or most <= least:
            return least
        return least + (most - least) * self._draw("job_seconds")

    def _draw(self, endpoint: str) -> float:
        # A generator for each endpoint: how often detail is polled must not change what submit meets.
        if endpoint not in self._draws:
            self._draws[endpoint] = random.Random(f"{self.switches.seed}/{endpoint}")  # noqa: S311
        return self._draws[endpoint].random()
