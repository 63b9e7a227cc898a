# SPDX-License-Identifier: Apache-2.0
"""What an operator does about pictures that are kept and suspicious."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..exceptions import SuspiciousPictureError
from .arguments import choice

if TYPE_CHECKING:
    from ..results.states import OnSuspicious
    from ..results.swap import Swap

log = logging.getLogger(__name__)

#: Pairs that the log and an error name, and that XCom lists.
NAMED, LISTED = 20, 100


def on_suspicious_of(value: object) -> OnSuspicious:
    """
    Return what to do about suspicious pictures.

    :raises ValueError: when it is none of the policies
    """
    return choice(value, "on_suspicious", ("keep", "review", "fail"))  # type: ignore[return-value]


def judge_rows(operator: Any, swaps: Iterable[Swap], ti: Any = None) -> None:
    """
    Do what the ``on_suspicious`` of an operator says about the rows of its task; see :func:`judge_suspicious`.

    :raises SuspiciousPictureError: with ``fail``, if a picture is suspicious
    """
    found = [(swap.pair_id, swap.suspicion) for swap in swaps if swap.suspicion]
    counts = Counter(code for _, code in found)
    judge_suspicious(
        on_suspicious_of(operator.on_suspicious),
        counts,
        found[:LISTED],
        ti,
        clear_pays=operator.on_clear == "resubmit",
    )


def judge_suspicious(
    policy: OnSuspicious,
    counts: Mapping[str, int],
    first: Sequence[tuple[str, str]],
    ti: Any = None,
    *,
    clear_pays: bool = False,
) -> None:
    """
    Do what a policy says about suspicious pictures that no person has approved.

    :param counts: how many there are, by their quality
    :param first: pair and quality of the first of them, at most :data:`LISTED`
    :param ti: the task instance, to whose XCom ``to_review`` the first of them are pushed with ``review``
    :param clear_pays: whether a clear of the task pays for its pairs again, with ``on_clear="resubmit"``
    :raises SuspiciousPictureError: with ``fail``, if there are any
    """
    from ..execution.messages import pluralize, suspicions

    total = sum(counts.values())
    if not total:
        return
    named = ", ".join(f"{pair_id!r} {code}" for pair_id, code in first[:NAMED])
    more = ", ..." if total > NAMED else ""
    kept = pluralize(total, "kept picture is", "kept pictures are")
    said = f"{kept} suspicious ({suspicions(counts)}): {named}{more}."
    if policy == "keep":
        log.warning("%s", said)
        return
    if policy == "review":
        log.warning("%s Approve or reject them on the page with the pictures.", said)
        if ti is not None:
            pairs = [pair_id for pair_id, _ in first[:LISTED]]
            ti.xcom_push(key="to_review", value={"count": total, "pair_ids": pairs})
        return
    what_next = (
        "A retry pays nothing. A clear pays for all pairs of the task again, because on_clear is 'resubmit': look at "
        "the pictures on their page, and mark the task as success once each of them is approved."
        if clear_pays
        else "Neither a retry nor a clear pays again. Look at them on the page with the pictures: a clear succeeds "
        "once a person has approved each of them."
    )
    raise SuspiciousPictureError(
        f"{said} on_suspicious is 'fail'. All of them are paid for and kept. {what_next}"
    )
