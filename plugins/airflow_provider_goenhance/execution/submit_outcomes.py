# SPDX-License-Identifier: Apache-2.0
"""What becomes of the rows of a round of submits: the step of each by the answer to its POST, and when to stop."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ..exceptions import (
    AuthenticationError,
    BadRequestError,
    GoEnhanceError,
    OutOfCreditsError,
    RateLimitedError,
    ServiceBusyError,
    SubmitOutcomeUnknownError,
    UnexpectedResponseError,
    UnreachableError,
)
from ..results.recovery import job_itself_failed
from ..results.resend_transitions import NotSentAgain, was_sent_before
from ..results.states import Status
from ..results.transitions import Accepted, Declined, NotSent, OutcomeUnknown

if TYPE_CHECKING:
    from ..api.models import Submission
    from ..results.swap import Swap
    from ..results.transitions import Transition
    from .limits import Limits
    from .submit_report import SubmitReport

log = logging.getLogger(__name__)

#: Consecutive submits that were refused for now, or have no known outcome, after which the round ends: the service is
#: in trouble.
UNKNOWN_IN_A_ROW = 5

_ENDS_THE_BATCH = (
    AuthenticationError,
    OutOfCreditsError,
    RateLimitedError,
    UnreachableError,
    UnexpectedResponseError,
)


class SubmitOutcomes:
    """
    Turns the answers to the POSTs of a round into steps of their rows, and notes them in its report.

    :param report: the results of the round
    :param limits: slows the account down after a 429
    :param stop: ends the round
    :ivar again: rows that a 429 refused, by ``swap_id``: the round sends them again once their step is committed
    :ivar busy: the last refusal of a service that takes no submits for now
    """

    def __init__(self, report: SubmitReport, limits: Limits, stop: Callable[[GoEnhanceError], None]) -> None:
        self._report = report
        self._limits = limits
        self._stop = stop
        self.again: dict[str, Swap] = {}
        self.busy: ServiceBusyError | None = None
        self._attempts: Counter[str] = Counter()
        self._trouble_in_a_row = 0

    def accepted(self, swap: Swap, submission: Submission, price: int | None) -> Transition:
        """
        Return the step of a row that has become a job.

        :param price: what it costs if GoEnhance does not say
        """
        self._trouble_in_a_row = 0
        self._report.submitted[swap.swap_id] = submission.img_uuid
        cost = submission.cost if submission.cost is not None else price
        if cost is not None:
            self._report.cost = (self._report.cost or 0) + cost
        log.debug("Submitted %r as job %s.", swap.pair_id, submission.img_uuid)
        return Accepted.of(swap.swap_id, submission)

    def failed(self, swap: Swap, error: GoEnhanceError) -> Transition:
        """Return the step of a row whose POST has ended in an error."""
        if error.maybe_accepted:
            return self.unknown(swap, error)
        if isinstance(error, ServiceBusyError):
            self._count_trouble(error)
            log.info("%s: %s", swap.label, error)
            return not_sent(swap, error)
        self._trouble_in_a_row = 0
        if isinstance(error, RateLimitedError) and self._is_sent_again(swap, error):
            return not_sent(swap, error)
        if isinstance(error, _ENDS_THE_BATCH):
            self._stop(error)
            return not_sent(swap, error)
        keeps_its_state = was_sent_before(swap) and not job_itself_failed(swap)
        if keeps_its_state or not isinstance(error, BadRequestError):
            log.warning("%s: %s", swap.label, error)
        self._report.declined += 1
        if keeps_its_state:
            self._report.left.append(swap)
            return NotSentAgain.of(swap, str(error))
        return Declined(swap.swap_id, error.error_code, f"{error} Nothing was paid for this pair.")

    def _is_sent_again(self, swap: Swap, error: RateLimitedError) -> bool:
        """Slow the account down, and return whether this round sends the row again."""
        self._attempts[swap.swap_id] += 1
        attempt = self._attempts[swap.swap_id]
        if not self._limits.refused(error, attempt):
            return False
        log.info("%s: %s It is sent again (attempt %d failed).", swap.label, error, attempt)
        self.again[swap.swap_id] = swap if was_sent_before(swap) else replace(swap, status=Status.PLANNED)
        return True

    def unknown(self, swap: Swap, error: GoEnhanceError) -> Transition:
        """Return the step of a row whose POST may have been accepted."""
        self._report.unknown += 1
        self._count_trouble(error)
        log.warning(
            "%s: %s It may have been accepted: the row is unknown, and not sent again.", swap.label, error
        )
        said = f" GoEnhance's answer: {error.answer_text}" if error.answer_text else ""
        return OutcomeUnknown(
            swap.swap_id,
            SubmitOutcomeUnknownError.error_code,
            f"{error} The submit may have been accepted and paid for; compare with the vendor's console, then "
            f"settle it with `airflow goenhance resolve`.{said}",
        )

    def _count_trouble(self, error: GoEnhanceError) -> None:
        self._trouble_in_a_row += 1
        if isinstance(error, ServiceBusyError):
            self.busy = error
        if self._trouble_in_a_row >= UNKNOWN_IN_A_ROW and self._report.stopped_by is None:
            # A retry sends the rest, and an error of unknown outcome would not be retried.
            self._stop(self.busy or error)


def not_sent(swap: Swap, error: GoEnhanceError) -> Transition:
    """Return the step of a claimed row that was not sent: back to what it was."""
    if was_sent_before(swap):
        return NotSentAgain.of(swap, str(error))
    return NotSent(swap.swap_id, error.error_code, str(error))
