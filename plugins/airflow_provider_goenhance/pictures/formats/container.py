# SPDX-License-Identifier: Apache-2.0
"""What the three picture containers have in common: how they fail."""

from __future__ import annotations


class BrokenContainerError(ValueError):
    """The bytes are not one whole file of the format; the message completes "The picture is not whole: ..."."""


class NoRoomError(ValueError):
    """The container has no place for this XMP packet."""
