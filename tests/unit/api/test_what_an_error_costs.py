# SPDX-License-Identifier: Apache-2.0
"""Each error class x paid or free call: nothing that may have been paid for is retried, and all else as before."""

from __future__ import annotations

import inspect
import pickle

import pytest

from airflow_provider_goenhance import exceptions
from airflow_provider_goenhance.exceptions import (
    ConnectionLostError,
    GoEnhanceError,
    ServerError,
    SubmitOutcomeUnknownError,
    UnexpectedResponseError,
)
from airflow_provider_goenhance.retry_policy import DEFAULT_RETRY_POLICY, is_final

CLASSES = [
    value for _, value in inspect.getmembers(exceptions, inspect.isclass) if issubclass(value, GoEnhanceError)
]


def is_retried(error: GoEnhanceError) -> bool:
    """Return whether the policy retries a task that this error ends."""
    if DEFAULT_RETRY_POLICY is None:
        return not is_final(error)
    return DEFAULT_RETRY_POLICY.evaluate(error, 1, 3).action.name == "RETRY"


@pytest.mark.parametrize("cls", CLASSES)
def test_no_error_that_may_have_been_accepted_is_retried(cls: type[GoEnhanceError]) -> None:
    assert not (cls.maybe_accepted and cls.retryable)
    made = cls("it failed")
    assert not (made.maybe_accepted and is_retried(made))
    assert is_retried(made) is made.retryable


@pytest.mark.parametrize("maybe_accepted", [False, True])
@pytest.mark.parametrize("cls", CLASSES)
def test_the_error_of_a_submit_is_retried_only_if_it_was_not_accepted(
    cls: type[GoEnhanceError], maybe_accepted: bool
) -> None:
    error = cls("it failed")
    error.maybe_accepted = maybe_accepted
    before = error.retryable
    error = error.of_paid_call()
    assert error.maybe_accepted is maybe_accepted
    assert is_retried(error) is (before and not maybe_accepted)


@pytest.mark.parametrize("cls", CLASSES)
def test_the_error_of_a_free_call_was_never_accepted(cls: type[GoEnhanceError]) -> None:
    before = cls("it failed")
    error = cls("it failed").of_free_call()
    assert not error.maybe_accepted
    assert is_retried(error) is (before.retryable or before.maybe_accepted)


@pytest.mark.parametrize("cls", [ConnectionLostError, ServerError, UnexpectedResponseError])
def test_what_the_call_was_survives_the_way_to_another_process(cls: type[GoEnhanceError]) -> None:
    paid, free = cls("it failed").of_paid_call(), cls("it failed").of_free_call()
    for error in (paid, free):
        copy = pickle.loads(pickle.dumps(error))
        assert (copy.maybe_accepted, copy.retryable) == (error.maybe_accepted, error.retryable)
    assert (paid.maybe_accepted, free.maybe_accepted) == (True, False)


def test_a_resubmit_that_the_user_chose_by_name_is_retried() -> None:
    error = SubmitOutcomeUnknownError("it failed")
    error.retryable = True
    assert is_retried(pickle.loads(pickle.dumps(error)))
