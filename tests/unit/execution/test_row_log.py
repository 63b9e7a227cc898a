# SPDX-License-Identifier: Apache-2.0
"""Messages about a row carry what it is found by, where the log is structured."""

from __future__ import annotations

import logging

import structlog
from structlog.testing import capture_logs

from airflow_provider_goenhance.execution.messages import row_log
from airflow_provider_goenhance.results.states import Status
from tests.swaps import planned


def test_a_structured_message_has_the_keys_of_its_row() -> None:
    swap = planned(1, status=Status.FAILED, img_uuid="uuid-1", error_code="job_failed")

    with capture_logs() as entries:
        row_log(structlog.get_logger("task"), swap).warning("It failed.")

    assert entries == [
        {
            "event": "It failed.",
            "log_level": "warning",
            "pair_id": "p1",
            "img_uuid": "uuid-1",
            "status": "failed",
            "error_code": "job_failed",
        }
    ]


def test_a_row_without_a_job_has_no_key_for_one_and_no_link_is_a_key() -> None:
    with capture_logs() as entries:
        row_log(structlog.get_logger("task"), planned(1)).info("Not sent.")

    assert entries[0].keys() == {"event", "log_level", "pair_id", "status"}


def test_a_plain_logger_is_left_as_it_is() -> None:
    plain = logging.getLogger("plain")

    assert row_log(plain, planned(1)) is plain
