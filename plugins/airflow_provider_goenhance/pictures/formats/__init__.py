# SPDX-License-Identifier: Apache-2.0
"""The containers of pictures, their metadata, and the errors that they share."""

from __future__ import annotations


class BrokenContainerError(ValueError):
    """The bytes are not one complete file of the format; the message completes "The picture is incomplete: ..."."""


class NoRoomError(ValueError):
    """The container has no place for this XMP packet."""
