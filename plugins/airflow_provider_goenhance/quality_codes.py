# SPDX-License-Identifier: Apache-2.0
"""What a look at a kept picture may find; the column ``quality`` of the results table."""

from __future__ import annotations

import enum


class Quality(enum.StrEnum):
    """What the look at a kept picture has found."""

    OK = "ok"  #: Nothing suspicious.
    UNCHANGED = "unchanged"  #: The reference as it was: nothing in it was replaced.
    BLANK = "blank"  #: One colour, such as black.
    BLURRED = "blurred"  #: Far less sharp than its reference.
    OTHER_PICTURE = "other_picture"  #: Not the scene of its reference.
    FLAGGED = "flagged"  #: A check of the team's own has found something.
    UNCHECKED = "unchecked"  #: It could not be compared, e.g. because the reference is no longer there.


#: What makes a kept picture suspicious.
SUSPICIOUS = frozenset(Quality) - {Quality.OK, Quality.UNCHECKED}
