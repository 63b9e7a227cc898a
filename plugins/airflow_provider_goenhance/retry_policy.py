# SPDX-License-Identifier: Apache-2.0
"""Decide which errors are retried, and apply that policy to every operator and sensor."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowNotFoundException, BaseOperator

from .compatibility import has_retry_policies
from .exceptions import GoEnhanceError, ManifestUnavailableError

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy


def is_final(error: BaseException) -> bool:
    """Return whether a retry would meet the same error again, or could pay twice."""
    if isinstance(error, GoEnhanceError):
        return not error.retryable
    if isinstance(error, ManifestUnavailableError):
        return False
    # A wrong argument, an unusable manifest, a missing connection.
    return isinstance(error, ValueError | TypeError | AirflowNotFoundException)


def wait_before_retry(error: BaseException, context: Context | None) -> dt.timedelta | None:
    """Return how long GoEnhance asks to wait, or ``None`` where the task's own ``retry_delay`` is longer."""
    asked = getattr(error, "retry_after", None)
    if not asked:
        return None
    usual = getattr(context["task"], "retry_delay", None) if context else None
    wait = dt.timedelta(seconds=asked)
    return None if isinstance(usual, dt.timedelta) and usual >= wait else wait


def face_swap_retry_policy() -> RetryPolicy | None:
    """
    Return the retry policy that the operators of this package use by default.

    Transient errors (rate limit, server error, no connection, a wait that timed out) are retried after the task's
    ``retry_delay``, or after ``Retry-After`` where that is longer. Errors that only a person can fix (token, credits,
    bad input, a submit with unknown outcome) fail the task at once. Everything else follows Airflow's own rules.

    :return: ``None`` on Airflow below 3.3, which has no retry policies
    """
    if not has_retry_policies():
        return None
    from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy

    class FaceSwapRetryPolicy(RetryPolicy):
        """Retry by the attributes of the error."""

        def evaluate(
            self,
            exception: BaseException,
            try_number: int,
            max_tries: int,
            context: Context | None = None,
        ) -> RetryDecision:
            """Return whether to retry after this error, and when."""
            if is_final(exception):
                return RetryDecision.fail(reason="A retry cannot succeed")
            if isinstance(exception, GoEnhanceError):
                return RetryDecision.retry(
                    wait_before_retry(exception, context), reason="The error is transient"
                )
            return RetryDecision.default()

        def serialize(self) -> dict[str, Any]:
            """Return the name; there are no settings."""
            return {"__type": "FaceSwapRetryPolicy"}

        @classmethod
        def deserialize(cls, data: dict[str, Any]) -> RetryPolicy:
            """Return the policy."""
            return cls()

    return FaceSwapRetryPolicy()


#: The policy of all operators; ``None`` on Airflow below 3.3.
DEFAULT_RETRY_POLICY = face_swap_retry_policy()


@contextmanager
def fail_fast_without_retry_policy() -> Iterator[None]:
    """Fail the task at once on Airflow below 3.3, which has no retry policies, where a retry cannot succeed."""
    try:
        yield
    except (GoEnhanceError, ValueError, TypeError) as error:
        if DEFAULT_RETRY_POLICY is not None or not is_final(error):
            raise
        raise AirflowFailException(str(error)) from None


class RetryPolicyMixin(BaseOperator):
    """
    Operator or sensor that retries transient errors only. Subclasses implement :meth:`run_task`.

    :param retry_policy: default: errors that only a person can fix are not retried, see
        :func:`face_swap_retry_policy`
    """

    # The default is in the signature, because a mapped task reads it from there.
    def __init__(self, *, retry_policy: RetryPolicy | None = DEFAULT_RETRY_POLICY, **kwargs: Any) -> None:
        if retry_policy is not None:  # Airflow below 3.3 does not know the argument
            kwargs["retry_policy"] = retry_policy
        super().__init__(**kwargs)

    def execute(self, context: Context) -> Any:
        """Run the task."""
        from .metrics import measured

        with fail_fast_without_retry_policy(), measured(context):
            return self.run_task(context)

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """
        Resume the task after a deferral.

        :param event: what the trigger sent; it is checked, so that a broken event never counts as a success
        """
        from .metrics import measured

        with fail_fast_without_retry_policy(), measured(context):
            return self.resume_task(context, event)

    def run_task(self, context: Context) -> Any:
        """Do the work of :meth:`execute`."""
        raise NotImplementedError

    def resume_task(self, context: Context, event: Any) -> Any:
        """Do the work of :meth:`execute_complete`; only tasks that can defer implement it."""
        raise NotImplementedError
