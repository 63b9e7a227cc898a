# SPDX-License-Identifier: Apache-2.0
"""The check of a plan's pictures, before anything is paid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..settings import input_settings
from .arguments import choice, flag, text

if TYPE_CHECKING:
    from ..execution.preflight import PreflightOptions
    from ..execution.run_plan import RunPlan
    from ..results.ledger import Ledger, RunKey


def preflight_options(
    preflight: object, face_check: object, shrink: object, staging: object
) -> PreflightOptions:
    """
    Read the arguments of an operator.

    :param shrink: as the swap operator has it
    :param staging: the same; blank for ``[goenhance] staging``
    :raises ValueError: when one is invalid, or the face check is not installed
    """
    from ..execution.preflight import PreflightOptions
    from ..inputs.face_check import is_available
    from ..inputs.findings import Rules

    mode = choice(preflight, "preflight", ("off", "warn", "reject"))
    faces = flag(face_check, "face_check") and mode != "off"
    if faces and not is_available():
        raise ValueError(
            "face_check=True needs OpenCV, which is not installed here. Install "
            "airflow-provider-goenhance[faces] on the workers, or set face_check=False."
        )
    may_shrink = choice(shrink, "shrink", ("source", "all", "never"))
    stages = bool(text(staging) or input_settings().staging)
    return PreflightOptions(mode, faces, Rules(may_shrink, stages=stages))  # type: ignore[arg-type]


def check_dry_run(plan: RunPlan, ledger: Ledger, options: PreflightOptions) -> None:
    """Check the pictures of a plan of which nothing is written, and log what was found."""
    from ..execution.preflight import check_pictures, log_findings

    checks = check_pictures(plan.pictures, ledger, options)
    if checks is not None:
        log_findings(plan.pictures, checks, options)


def check_run(plan: RunPlan, ledger: Ledger, key: RunKey, task_id: str, options: PreflightOptions) -> None:
    """Check the pictures of a plan that was written, and note on its rows what was found."""
    from ..execution.preflight import check_pictures, note_findings

    checks = check_pictures(plan.pictures, ledger, options)
    if checks is not None:
        note_findings(checks, ledger, key, task_id, options)
