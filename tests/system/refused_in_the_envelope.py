# SPDX-License-Identifier: Apache-2.0
"""A check for schemathesis: what an HTTP status does not say about an invalid body, the `code` of the answer does."""

from __future__ import annotations

import schemathesis


@schemathesis.check
def refused_in_the_envelope(ctx, response, case):
    """Fail if an invalid body was accepted."""
    negative = case.meta is not None and case.meta.generation.mode.is_negative
    if not negative or response.status_code != 200:
        return
    answer = response.json()
    meant_otherwise = case.media_type == "application/json" and _is_a_submit(case.body)
    if answer["code"] == 0 and not meant_otherwise:
        raise AssertionError(f"An invalid body was accepted as a job: {answer}")


def _is_a_submit(body):
    """Return whether a body that schemathesis calls invalid has all that the API asks for, and more."""
    args = body.get("args") if isinstance(body, dict) else None
    return isinstance(args, dict) and {"source_img", "reference_img"} <= set(args)
