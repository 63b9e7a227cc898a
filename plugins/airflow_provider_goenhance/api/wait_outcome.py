# SPDX-License-Identifier: Apache-2.0
"""What a wait for jobs has found."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class WaitOutcome:
    """
    The result of a wait.

    :param succeeded: ``img_uuid`` of each job that succeeded
    :param failed: ``img_uuid`` -> the vendor's reason, ``""`` if it had none
    :param declined: ``img_uuid`` -> message, for jobs that GoEnhance does not know
    :param running: ``img_uuid`` of each job that was still running at the end of the wait
    :param doubted: ``img_uuid`` -> how often GoEnhance has said "job not found", for jobs that count as running because
        it has not said so often and long enough
    :param doubted_since: ``img_uuid`` -> since when, seconds since the epoch
    :param last_error: the error of the last status call, if it failed
    :param handed_over: whether the wait ended before its deadline, because some of the jobs have ended
    """

    succeeded: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    declined: dict[str, str] = field(default_factory=dict)
    running: list[str] = field(default_factory=list)
    doubted: dict[str, int] = field(default_factory=dict)
    doubted_since: dict[str, float] = field(default_factory=dict)
    last_error: str | None = None
    handed_over: bool = False

    @property
    def doubts(self) -> dict[str, tuple[int, float]]:
        """Return how often each job was said to be unknown, and since when, for a wait that goes on elsewhere."""
        return {
            img_uuid: (count, self.doubted_since[img_uuid])
            for img_uuid, count in self.doubted.items()
            if img_uuid in self.doubted_since
        }

    def doubt(self, img_uuid: str) -> str:
        """Return a sentence on how often a job was said to be unknown, ``""`` if it never was."""
        times = self.doubted.get(img_uuid, 0)
        counted = "once" if times == 1 else f"{times} times"
        said = f"GoEnhance said 'job not found' {counted}, not often or long enough to be believed."
        return said if times else ""

    def __str__(self) -> str:
        text = f"{len(self.succeeded)} done, {len(self.failed)} failed, {len(self.running)} running"
        return text + (f", {len(self.declined)} not known to GoEnhance" if self.declined else "")
