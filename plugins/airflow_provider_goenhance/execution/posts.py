# SPDX-License-Identifier: Apache-2.0
"""The POSTs of a round of submits, while they are on the wire."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ..api.models import Submission
from ..api.send_gate import SendGate, current_gate
from ..exceptions import GoEnhanceError, SubmitOutcomeUnknownError, TaskEndedError
from .consent import refuse_expired
from .submit_outcomes import not_sent

if TYPE_CHECKING:
    from ..inputs.prepare import PreparedInputs
    from ..results.swap import Swap
    from ..results.transitions import Transition
    from .inputs_ahead import InputsAhead
    from .submit_outcomes import SubmitOutcomes
    from .submit_report import SubmitReport

log = logging.getLogger(__name__)


class Posts:
    """
    Sends the POSTs of a round.

    :param submit: the paid call
    :param concurrency: number of concurrent POSTs
    :param report: says whether the round has been stopped
    :param outcomes: turns the answers into steps
    :param has_stopped: returns whether the round has been stopped, or the task was told to end
    :param note_post: receives how long a POST took
    """

    def __init__(
        self,
        submit: Callable[[str, str], Awaitable[Submission]],
        concurrency: int,
        report: SubmitReport,
        outcomes: SubmitOutcomes,
        has_stopped: Callable[[], bool],
        note_post: Callable[[float], None] | None,
    ) -> None:
        self._submit = submit
        self._report = report
        self._outcomes = outcomes
        self._has_stopped = has_stopped
        self._note_post = note_post
        self._sending: dict[asyncio.Task[Any], SendGate] = {}
        # As many as the client's limiter lets through: a claimed row waits here and not inside the client, because when
        # its turn comes it must see whether the round has been stopped, before its POST.
        self._under_way = asyncio.Semaphore(concurrency)

    def stop(self) -> None:
        """Release the rows that wait for their turn; POSTs on the wire are awaited."""
        for task, gate in self._sending.items():
            gate.stop(task)

    async def send(self, swap: Swap, ahead: InputsAhead | None, price: int | None) -> Transition:
        """
        Send a claimed row, and return the step that records what became of it.

        :param ahead: has prepared its pictures
        :param price: what it costs if GoEnhance does not say
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  a coroutine of asyncio.gather
        gate = SendGate(self._has_stopped)
        current_gate.set(gate)
        self._sending[task] = gate
        try:
            async with self._under_way:
                if self._report.stopped_by is not None:
                    return not_sent(swap, self._report.stopped_by)
                refuse_expired(swap)
                began = time.monotonic()
                submission = await self._post(swap, ahead)
        except asyncio.CancelledError:
            if not gate.stopped:
                raise
            task.uncancel()
            ended = TaskEndedError("The task was stopped before this pair was sent.")
            return not_sent(swap, self._report.stopped_by or ended)
        except GoEnhanceError as error:
            return self._outcomes.failed(swap, error)
        except Exception as error:
            # A bug of ours, before or after the POST was sent: as unknown as a lost connection.
            log.exception("%s: the submit ended in an unexpected error.", swap.label)
            return self._outcomes.unknown(swap, _unexpected(error))
        finally:
            del self._sending[task]
        if self._note_post is not None:
            self._note_post(time.monotonic() - began)
        return self._outcomes.accepted(swap, submission, price)

    async def _post(self, swap: Swap, ahead: InputsAhead | None) -> Submission:
        inputs = ahead.inputs_of(swap) if ahead is not None else None
        if inputs is None or ahead is None:
            return await self._submit(swap.source_img, swap.reference_img)
        try:
            submission = await self._submit(inputs.source_url, inputs.reference_url)
        except GoEnhanceError as error:
            raise _without_links(error, inputs) from None
        ahead.forget(swap)
        return submission


def _without_links(error: GoEnhanceError, inputs: PreparedInputs) -> GoEnhanceError:
    """Return an error without the signed links, which GoEnhance may quote in its answer."""
    error.message = inputs.without_links(error.message)
    error.args = (error.message,)
    error.msg = inputs.without_links(error.msg) if error.msg else error.msg
    error.answer_text = inputs.without_links(error.answer_text) if error.answer_text else None
    return error


def _unexpected(error: Exception) -> SubmitOutcomeUnknownError:
    said = f": {error}" if str(error).strip() else ""
    return SubmitOutcomeUnknownError(f"The submit ended in an unexpected {type(error).__name__}{said}.")
