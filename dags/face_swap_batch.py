# SPDX-License-Identifier: Apache-2.0
"""
### Nightly face swaps from a manifest

This Dag reads a table of image pairs (`source_img`: the face, `reference_img`: the target, optional `pair_id`), submits
each pair to GoEnhance once, waits without occupying workers, stores the pictures, and reports the results.

**The pictures** are on the page *Face swaps*: of all runs in the navigation, of one run in its tab *Face swaps*. There
they can be compared, approved, rejected and downloaded. Their files are in the folder or bucket that the log of each
swap task names (`[goenhance] storage` in Airflow's configuration).

**To run your own manifest**, trigger the Dag and fill in the form. *Dry run* checks a manifest and shows what a run
would pay for, without submitting anything.

**If a run fails**, no pair is paid for twice. Clear the failed tasks to continue the run, or trigger a new one. A new
run reuses stored pictures, adopts jobs that were paid for but not collected, holds pairs that may have been paid for,
and pays only for the remaining pairs. With the manifest `run:<dag_id>/<run_id>` it looks only at the failures of that
run; the report also keeps them as `failures.csv`, to be corrected and fed back. A mapped swap task whose pairs failed
says so in its name, such as `batch 3: 2 failed`; the page *Face swaps* clears exactly the tasks of chosen pairs.
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG, Asset, Param

from airflow_provider_goenhance.operators.face_swap_batch import GoEnhanceFaceSwapBatchOperator
from airflow_provider_goenhance.operators.plan import GoEnhancePlanOperator
from airflow_provider_goenhance.operators.report import GoEnhanceReportOperator
from airflow_provider_goenhance.settings import batch_schedule

STATUSES = [
    "failed",
    "unknown",
    "held",
    "planned",
    "rejected_by_reviewer",
    "rejected",
    "submitted",
    "succeeded",
    "reused",
]

with DAG(
    dag_id="goenhance_face_swap_batch",
    description="Swap the faces of every pair in a manifest and report the results",
    schedule=batch_schedule(),
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    # A choice, not a safeguard: runs of the same pairs at once would adopt each other's jobs, and pay once.
    max_active_runs=1,
    tags=["goenhance", "face-swap"],
    doc_md=__doc__,
    default_args={"owner": "goenhance", "retries": 2, "retry_delay": dt.timedelta(minutes=1)},
    # Descriptions are plain text: the form lays code spans of `description_md` over the lines around them.
    params={
        "manifest": Param(
            None,
            type=["null", "string"],
            title="Manifest",
            examples=[
                "include/manifests/sample.csv",
                "https://example.com/pairs.csv",
                "s3://bucket/pairs.parquet",
                "gs://bucket/pairs.jsonl",
                "run:goenhance_face_swap_batch/<run_id>",
            ],
            description="Path or URL (https://, s3://, gs://, a Google sheet, ...) of a CSV, JSON, Parquet or Excel "
            "file with the columns source_img, reference_img and optionally pair_id. run:<dag_id>/<run_id>: the "
            "failures of an earlier run. Blank: the manifest whose arrival started the run, and otherwise the Airflow "
            "variable goenhance_manifest.",
        ),
        "statuses": Param(
            ["failed", "unknown", "held", "planned"],
            type=["null", "array"],
            items={"enum": STATUSES},
            examples=STATUSES,
            title="Rows of an earlier run",
            description="If the manifest is run:<dag_id>/<run_id>: the rows of that run that are swapped again. "
            "'planned' rows were never sent. Pictures and jobs that are paid for are not paid for again. "
            "'rejected_by_reviewer' rows have a picture that a person rejected: they are held, unless 'Earlier "
            "pictures and jobs' is 'never'. 'rejected' rows cannot be sent until the manifest is corrected.",
        ),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description="Check the manifest and show what a run would pay for. Nothing is written or submitted.",
        ),
        "limit": Param(
            None,
            # The form corrects a number out of bounds without a word: the lowest one must not mean "all".
            type=["null", "integer"],
            minimum=1,
            title="First pairs only",
            description="Plan only this many pairs, from the top of the manifest. Blank: all.",
            section="Extent",
        ),
        "wait": Param(
            True,
            type="boolean",
            title="Wait for the pictures",
            description="If off, the run only submits, and its rows stay 'submitted'. Clear the swap tasks later to "
            "collect the finished pictures.",
            section="Extent",
        ),
        "strict": Param(
            False,
            type="boolean",
            title="Strict",
            description="Stop before anything is paid if any row of the manifest would be rejected.",
            section="Checks",
        ),
        "require_consent": Param(
            False,
            type="boolean",
            title="Require consent",
            description="Reject rows without a consent_ref, which says where the consent of the person shown is filed.",
            section="Checks",
        ),
        "allowed_failure_share": Param(
            0.1,
            type="number",
            # Nested, so that the form does not correct a 7 to a 1, which never fails: the server refuses it.
            allOf=[{"minimum": 0, "maximum": 1}],
            title="Allowed failure share",
            description="The run fails if more than this share of its pairs fails. 0.1 means one in ten.",
            section="Checks",
        ),
        "on_suspicious": Param(
            "keep",
            enum=["keep", "review", "fail"],
            title="Suspicious pictures",
            description="What to do if kept pictures look unchanged, blank, blurred, or like another picture. "
            "'keep': the report counts them. 'review': it lists them in its XCom to_review. 'fail': the run fails "
            "until a person has approved them. Nothing is paid again.",
        ),
        "pairs_per_task": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Pairs per task",
            description="Number of pairs that one task handles. Blank: chosen from the size of the manifest.",
            section="Extent",
        ),
        "max_pairs": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Budget: pairs",
            description="Maximum number of pairs that this run may pay for. Blank: no limit.",
            section="Budget and approval",
        ),
        "max_cost": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Budget: credits",
            description="Maximum number of credits that this run may spend. Needs a price: until GoEnhance has "
            "reported one, 'Credits per swap' of the connection. Blank: no limit.",
            section="Budget and approval",
        ),
        "on_budget_reached": Param(
            "hold",
            enum=["hold", "fail"],
            title="When a budget is reached",
            description="In both cases the pairs that the budget does not cover are held and not sent. 'hold': the run "
            "succeeds. 'fail': the run fails.",
            section="Budget and approval",
        ),
        "approve_above": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Approval above",
            description="A run that would cost more than this many credits waits for a person's approval. Needs a "
            "price, as above. Blank: no approval.",
            section="Budget and approval",
        ),
        "preflight": Param(
            "warn",
            enum=["off", "warn", "reject"],
            title="Check the pictures first",
            description="Check each picture before anything is paid. 'warn': note on the row what is wrong. "
            "'reject': also do not send pairs whose picture cannot be used. 'off': no check.",
            section="Pictures",
        ),
        "face_check": Param(
            False,
            type="boolean",
            title="Look for faces",
            description="Also download each picture and look for a face. Needs the extra 'faces' on the workers.",
            section="Pictures",
        ),
        "shrink": Param(
            "source",
            enum=["source", "all", "never"],
            title="Pictures over 5 MB",
            description="GoEnhance takes at most 5 MB. 'source': make source images smaller, where only the face "
            "matters. 'all': reference images too, whose results become smaller with them. 'never': send them as they "
            "are. Needs a staging storage ([goenhance] staging).",
            section="Pictures",
        ),
        "reuse": Param(
            "succeeded",
            enum=["succeeded", "never"],
            title="Earlier pictures and jobs",
            description="'succeeded': do not pay again for a pair that an earlier run paid for. 'never': pay for every "
            "pair, also for those whose picture a reviewer rejected.",
            section="Options that can cost more",
        ),
        "on_unknown_submit": Param(
            "hold",
            enum=["hold", "resubmit"],
            title="Submits with an unknown outcome",
            description="'hold': leave them for a person to settle, and hold the same pairs in later runs. "
            "'resubmit': submit them again, and possibly pay twice.",
            section="Options that can cost more",
        ),
        "settle_by_credits": Param(
            False,
            type="boolean",
            title="Settle unknown submits by credits",
            description="If the balance shows that none of a run's unknown submits was accepted, submit them again.",
            section="Options that can cost more",
        ),
    },
):
    plan = GoEnhancePlanOperator(
        task_id="plan",
        # Blank if the arrival of a manifest started the run: the operator reads that one.
        manifest="{{ params.manifest or '' if triggering_asset_events else "
        "params.manifest or var.value.get('goenhance_manifest', '') }}",
        statuses="{{ (params.statuses or []) | join(',') }}",
        pairs_per_task="{{ params.pairs_per_task or 0 }}",
        limit="{{ params.limit or 0 }}",
        check_only="{{ params.dry_run }}",
        reuse="{{ params.reuse }}",
        on_unknown_submit="{{ params.on_unknown_submit }}",
        require_consent="{{ params.require_consent }}",
        settle_by_credits="{{ params.settle_by_credits }}",
        max_pairs="{{ params.max_pairs }}",
        max_cost="{{ params.max_cost }}",
        approve_above="{{ params.approve_above }}",
        strict="{{ params.strict }}",
        preflight="{{ params.preflight }}",
        face_check="{{ params.face_check }}",
        shrink="{{ params.shrink }}",
    )

    swap = GoEnhanceFaceSwapBatchOperator.partial(
        task_id="swap",
        deferrable=True,
        wait_for_completion="{{ params.wait }}",
        reuse="{{ params.reuse }}",
        on_unknown_submit="{{ params.on_unknown_submit }}",
        max_pairs="{{ params.max_pairs }}",
        max_cost="{{ params.max_cost }}",
        on_budget_reached="{{ params.on_budget_reached }}",
        shrink="{{ params.shrink }}",
        # A bad pair must not fail its task; the report decides whether the run failed.
        allowed_failure_share=1.0,
        # Deferred tasks count too, so this limits the jobs in flight, not only the submits.
        max_active_tis_per_dagrun=16,
    ).expand_kwargs(plan.output)

    report = GoEnhanceReportOperator(
        task_id="report",
        allowed_failure_share="{{ params.allowed_failure_share }}",
        expect_rows="{{ not params.dry_run }}",
        expect_finished="{{ params.wait }}",
        settle_by_credits="{{ params.settle_by_credits }}",
        on_budget_reached="{{ params.on_budget_reached }}",
        on_suspicious="{{ params.on_suspicious }}",
        trigger_rule="all_done",
        # Other Dags can be scheduled on this asset; its events carry the counts.
        outlets=[Asset("goenhance_face_swaps")],
    )

    swap >> report
