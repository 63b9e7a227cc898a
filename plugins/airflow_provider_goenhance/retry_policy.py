# SPDX-License-Identifier: Apache-2.0
"""Which errors are worth one of Airflow's retries."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowNotFoundException

from .exceptions import GoEnhanceError

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy


def is_final(error: BaseException) -> bool:
    """Tell whether a retry would meet the same error again, or must not decide what comes next."""
    if isinstance(error, GoEnhanceError):
        return not error.retryable
    # A wrong argument, a manifest that cannot be used, a connection that does not exist.
    return isinstance(error, ValueError | TypeError | AirflowNotFoundException)


def wait_before_retry(error: BaseException, context: Context | None) -> dt.timedelta | None:
    """Return how long GoEnhance asks to wait, where that is longer than the task's own ``retry_delay``."""
    asked = getattr(error, "retry_after", None)
    if not asked:
        return None
    usual = getattr(context["task"], "retry_delay", None) if context else None
    wait = dt.timedelta(seconds=asked)
    return None if isinstance(usual, dt.timedelta) and usual >= wait else wait


def face_swap_retry_policy() -> RetryPolicy | None:
    """
    Return the retry policy that the operators of this package use by default.

    Faults that pass (rate limit, server error, no connection, a wait that timed out) are retried after the task's
    ``retry_delay``, or after ``Retry-After`` where that is longer; faults that only a person can mend (token, credits,
    bad input, a submit with unknown outcome) end the task at once. Anything else follows Airflow's own rules.

    :return: ``None`` on Airflow below 3.3, which has no retry policies
    """
    try:
        from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
    except ImportError:
        return None

    class FaceSwapRetryPolicy(RetryPolicy):
        """Asks the error itself."""

        def evaluate(
            self,
            exception: BaseException,
            try_number: int,
            max_tries: int,
            context: Context | None = None,
        ) -> RetryDecision:
            """Decide by the class of the error and what it says about itself."""
            if is_final(exception):
                return RetryDecision.fail(reason="No retry can change this")
            if isinstance(exception, GoEnhanceError):
                return RetryDecision.retry(wait_before_retry(exception, context), reason="This passes")
            return RetryDecision.default()

        def serialize(self) -> dict[str, Any]:
            """Return nothing but its name: it has no settings."""
            return {"__type": "FaceSwapRetryPolicy"}

        @classmethod
        def deserialize(cls, data: dict[str, Any]) -> RetryPolicy:
            """Return an equal one."""
            return cls()

    return FaceSwapRetryPolicy()


#: One for all operators. A default of their signature, because that is where a mapped task takes it from.
DEFAULT_RETRY_POLICY = face_swap_retry_policy()


@contextmanager
def fail_fast_without_retry_policy() -> Iterator[None]:
    """Keep Airflow below 3.3 from retrying what cannot get better: it has no retry policies."""
    try:
        yield
    except (GoEnhanceError, ValueError, TypeError) as error:
        if DEFAULT_RETRY_POLICY is not None or not is_final(error):
            raise
        raise AirflowFailException(str(error)) from None
