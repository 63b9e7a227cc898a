# SPDX-License-Identifier: Apache-2.0
"""When each submit reached the sandbox, and when it was answered: what a client's limits are checked against."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

#: The oldest submits are forgotten beyond this number.
MOST_SUBMITS = 100_000


@dataclass(slots=True)
class SubmitTime:
    """
    One submit, accepted or not.

    :param received_at: when its request arrived, seconds since the epoch
    :param answered_at: when its response had been sent, ``None`` while it is under way
    """

    received_at: float
    answered_at: float | None = None


class Traffic:
    """The submits of this sandbox since its start or its last reset."""

    def __init__(self) -> None:
        self.submits: deque[SubmitTime] = deque(maxlen=MOST_SUBMITS)

    @contextmanager
    def submit(self) -> Iterator[None]:
        """Note a submit while it is under way."""
        entry = SubmitTime(time.time())
        self.submits.append(entry)
        try:
            yield
        finally:
            entry.answered_at = time.time()
