# SPDX-License-Identifier: Apache-2.0
"""Which errors are worth one of Airflow's retries."""

from __future__ import annotations

import datetime as dt
from typing import Any

_MODULE = "airflow_provider_goenhance.exceptions"

#: These cannot get better by themselves, or a retry must not decide them.
NEVER_RETRIED = (
    "TokenRefusedError",
    "BadRequestError",
    "OutOfCreditsError",
    "SubmitOutcomeUnknownError",
    "JobFailedError",
    "BatchFailedError",
    "ManifestError",
)
#: These pass; a retry goes on with the rows not sent yet and re-attaches to the jobs that run.
RETRIED_LATER = (
    "RateLimitedError",
    "ServerError",
    "NotGoEnhanceAnswerError",
    "UnreachableError",
    "ConnectionLostError",
)


def face_swap_retry_policy(delay: dt.timedelta = dt.timedelta(minutes=1)) -> Any | None:
    """
    Return the retry policy that the operators of this package use by default.

    :param delay: wait before a retry after a fault that passes (default 1 minute)
    :return: ``None`` on Airflow below 3.3, which has no retry policies
    """
    try:
        from airflow.sdk.definitions.retry_policy import ExceptionRetryPolicy, RetryAction, RetryRule
    except ImportError:
        return None

    def paths(names: tuple[str, ...]) -> list[Any]:
        return [f"{_MODULE}.{name}" for name in names]

    return ExceptionRetryPolicy(
        rules=[
            RetryRule(paths(NEVER_RETRIED), RetryAction.FAIL, reason="No retry can change this"),
            RetryRule(paths(RETRIED_LATER), RetryAction.RETRY, delay, reason="This passes"),
        ]
    )
