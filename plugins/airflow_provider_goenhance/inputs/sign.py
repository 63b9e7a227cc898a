# SPDX-License-Identifier: Apache-2.0
"""How long a signed link is valid: as long as GoEnhance may queue a job, if the credentials live that long."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..exceptions import ErrorCode, InputError, InputStoreError
from ..manifest.urls import MAX_URL_LENGTH

if TYPE_CHECKING:
    from ..picture_address import PictureAddress
    from .stores import Found, PictureStore

log = logging.getLogger(__name__)

#: The longest that S3, GCS and Azure sign for, seconds.
MOST_SECONDS = 7 * 24 * 3600
#: Seconds that are left for the submit itself.
MARGIN_SECONDS = 60


@dataclass(slots=True)
class LinkSigner:
    """
    Signs links, and warns once for each store whose links end sooner than they should.

    :param seconds: how long a link shall be valid
    :param least_seconds: how long it must be valid: the time that a job may take
    """

    seconds: float
    least_seconds: float
    _warned: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def sign(self, store: PictureStore, address: PictureAddress, found: Found) -> str:
        """
        Return a link to a picture.

        :raises InputStoreError: ``link_too_short`` when it would end before the job may
        :raises InputError: when it is longer than GoEnhance accepts
        """
        link = store.sign(address, found, self._seconds_of(store))
        if len(link) > MAX_URL_LENGTH:
            raise InputError(
                f"The signed link to {address} is {len(link)} characters long, more than the {MAX_URL_LENGTH} that are "
                "sent. Temporary credentials carry a long token; use a shorter key, or credentials without one.",
                error_code=ErrorCode.TOO_LONG,
            )
        return link

    def _seconds_of(self, store: PictureStore) -> int:
        wanted = min(self.seconds, MOST_SECONDS)
        lives = store.credential_seconds()
        if lives is None or lives >= wanted + MARGIN_SECONDS:
            return int(wanted)
        seconds = int(lives)
        if seconds < self.least_seconds:
            raise InputStoreError(
                f"A link to {store.name} signed now would be valid for {_time(seconds)}, because its credentials end "
                f"then; a job may take {_time(self.least_seconds)} (timeout). Nothing was sent. Use credentials that "
                "live longer, or lower timeout.",
                error_code=ErrorCode.LINK_TOO_SHORT,
            )
        with self._lock:
            first = store.name not in self._warned
            self._warned.add(store.name)
        if first:
            log.warning(
                "Links to %s are valid for %s only, because its credentials end then; %s are wanted ([goenhance] "
                "input_link_seconds). A job that GoEnhance queues for longer fails.",
                store.name,
                _time(seconds),
                _time(wanted),
            )
        return seconds


def _time(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"
