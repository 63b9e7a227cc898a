# SPDX-License-Identifier: Apache-2.0
"""What a task that fails for suspicious pictures advises: never what would pay again without saying so."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from airflow_provider_goenhance.exceptions import SuspiciousPictureError
from airflow_provider_goenhance.operators.suspicious import judge_rows
from airflow_provider_goenhance.results.states import Status
from tests.swaps import planned

ROW = replace(planned(1), status=Status.SUCCEEDED, quality="blank")


@pytest.mark.parametrize(
    ("on_clear", "advice"),
    [
        ("reattach", "Neither a retry nor a clear pays again"),
        ("resubmit", "A clear pays for all pairs of the task again, because on_clear is 'resubmit'"),
    ],
)
def test_the_advice_says_whether_a_clear_pays_again(on_clear: str, advice: str) -> None:
    operator = SimpleNamespace(on_suspicious="fail", on_clear=on_clear)
    with pytest.raises(SuspiciousPictureError, match=advice):
        judge_rows(operator, [ROW])
    judge_rows(operator, [replace(ROW, review="approved")])
