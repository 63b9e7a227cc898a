# SPDX-License-Identifier: Apache-2.0
"""The last look at a consent, right before a pair is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..exceptions import ConsentExpiredError
from ..manifest.consent import expiry_text, has_expired

if TYPE_CHECKING:
    from ..results.swap import Swap


def refuse_expired(swap: Swap) -> None:
    """
    Refuse a pair whose consent has expired since it was planned.

    :raises ConsentExpiredError: when it has
    """
    if has_expired(swap.consent_expires):
        raise ConsentExpiredError(
            f"The consent of {swap.label} expired on {expiry_text(swap.consent_expires)}. Renew it, correct "
            "consent_expires, and start a new run."
        )
