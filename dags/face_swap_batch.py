# SPDX-License-Identifier: Apache-2.0
"""
### Face swaps from a manifest, every night

Reads a CSV of picture pairs (`source_img`: the face, `reference_img`: the target, optional `pair_id`), submits each
pair to GoEnhance once, waits without holding workers, keeps the pictures, and reports.

**Trigger it from the form** with a manifest of your own. *Dry run* checks a manifest and says what a run would pay for.

**When it fails**, nothing is paid twice: clear the failed tasks to go on, or trigger it again. A new run reuses the
pictures there are, takes over jobs that were paid for and not brought home, and pays only for the rest.
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG, Asset, Param

from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator
from airflow_provider_goenhance.operators.report import GoEnhanceReportOperator

with DAG(
    dag_id="goenhance_face_swap_batch",
    description="Swap the faces of every pair in a manifest, once, and report",
    schedule="0 2 * * *",
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    # Two runs at once could both pay for a pair that neither has finished yet.
    max_active_runs=1,
    tags=["goenhance", "face-swap"],
    doc_md=__doc__,
    default_args={"owner": "goenhance", "retries": 2, "retry_delay": dt.timedelta(minutes=1)},
    params={
        "manifest": Param(
            None,
            type=["null", "string"],
            title="Manifest",
            description_md="Path or URL (`s3://`, `gs://`, ...) of a CSV with `source_img`, `reference_img` and "
            "optionally `pair_id`. Blank: the Airflow variable `goenhance_manifest`.",
        ),
        "pairs_per_task": Param(
            0,
            type="integer",
            minimum=0,
            title="Pairs per task",
            description="0 chooses well: a few pairs get a task each, many are put together.",
        ),
        "limit": Param(
            0,
            type="integer",
            minimum=0,
            title="Limit",
            description="Swap only the first so many pairs; 0 for all.",
        ),
        "wait": Param(
            True,
            type="boolean",
            title="Wait for the pictures",
            description_md="Off: only submit. The rows stay `submitted`; clear the swap tasks later to collect what is "
            "done.",
        ),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description="Check the manifest and say what would be paid for; write and submit nothing.",
        ),
        "require_consent": Param(
            False,
            type="boolean",
            title="Require consent",
            description_md="Reject rows without a `consent_ref`: where the consent of the person shown is filed.",
        ),
        "reuse": Param(
            "succeeded",
            enum=["succeeded", "never"],
            title="Earlier pictures and jobs",
            description_md="`succeeded`: a pair that an earlier run has paid for is not paid for again. "
            "`never`: pay for every pair.",
            section="What may cost more",
        ),
        "on_unknown_submit": Param(
            "hold",
            enum=["hold", "resubmit"],
            title="Submits with unknown outcome",
            description_md="`hold`: leave them for a person. `resubmit`: send them again, and maybe pay twice.",
            section="What may cost more",
        ),
        "allowed_failure_share": Param(
            0.1,
            type="number",
            minimum=0,
            maximum=1,
            title="Allowed failure share",
            description="The run fails when more than this share of its pairs went wrong: 0.1 is one in ten.",
        ),
    },
):
    plan = GoEnhancePlanOperator(
        task_id="plan",
        manifest="{{ params.manifest or var.value.get('goenhance_manifest', '') }}",
        pairs_per_task="{{ params.pairs_per_task }}",
        limit="{{ params.limit }}",
        check_only="{{ params.dry_run }}",
        reuse="{{ params.reuse }}",
        require_consent="{{ params.require_consent }}",
    )

    swap = GoEnhanceFaceSwapBatchOperator.partial(
        task_id="swap",
        deferrable=True,
        wait_for_completion="{{ params.wait }}",
        on_unknown_submit="{{ params.on_unknown_submit }}",
        # One bad pair must not fail its task; the report judges the run as a whole.
        allowed_failure_share=1.0,
        # Counts deferred tasks too, so it bounds the jobs under way, not only the submits.
        max_active_tis_per_dagrun=16,
    ).expand_kwargs(plan.output)

    report = GoEnhanceReportOperator(
        task_id="report",
        allowed_failure_share="{{ params.allowed_failure_share }}",
        expect_rows="{{ not params.dry_run }}",
        expect_finished="{{ params.wait }}",
        trigger_rule="all_done",
        # Other Dags can be scheduled on it: its events carry the counts.
        outlets=[Asset("goenhance_face_swaps")],
    )

    swap >> report
