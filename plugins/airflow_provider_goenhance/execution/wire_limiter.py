# SPDX-License-Identifier: Apache-2.0
"""The limiter of a client that gets a place on the wire for each POST from the limits of its account."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Protocol

from ..api.limiter import Limiter


class Places(Protocol):
    """Places on the wire."""

    async def begin_post(self) -> None:
        """Wait for a place, and take it."""

    def end_post(self) -> None:
        """Leave the place."""


class WireLimiter(Limiter):
    """
    The limiter of a client whose POSTs have their places from the account.

    :param places: takes a place, and gives it back
    """

    shared = True

    def __init__(self, places: Places) -> None:
        super().__init__(1)
        self._places = places

    def slot(self, *, paced: bool = False) -> AbstractAsyncContextManager[None]:
        """Hold a place for one request: a submit, because a round sends nothing else."""
        return _Place(self._places) if paced else nullcontext()


class _Place(AbstractAsyncContextManager[None]):
    """A place on the wire for one POST."""

    __slots__ = ("_places",)

    def __init__(self, places: Places) -> None:
        self._places = places

    async def __aenter__(self) -> None:
        await self._places.begin_post()

    async def __aexit__(self, *_: object) -> None:
        self._places.end_post()
