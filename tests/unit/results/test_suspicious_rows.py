# SPDX-License-Identifier: Apache-2.0
"""Which rows have a suspicious picture: those that no person has approved."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from airflow_provider_goenhance.results.run_rows import suspicious
from airflow_provider_goenhance.results.swap import Swap

SUSPICION: Any = Swap.suspicion


@pytest.mark.parametrize("quality", [None, "ok", "unchecked", "blank", "flagged"])
@pytest.mark.parametrize("review", [None, "approved", "rejected"])
def test_a_row_and_the_query_agree(quality: str | None, review: str | None) -> None:
    table = sa.Table(
        "t", sa.MetaData(), sa.Column("quality", sa.String(16)), sa.Column("review", sa.String(16))
    )
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        table.create(connection)
        connection.execute(table.insert(), {"quality": quality, "review": review})
        found = connection.execute(sa.select(table).where(suspicious(table.c))).all()
        others = connection.execute(sa.select(table).where(sa.not_(suspicious(table.c)))).all()
    engine.dispose()
    expected = quality if quality in {"blank", "flagged"} and review != "approved" else ""
    assert SUSPICION.fget(SimpleNamespace(quality=quality, review=review)) == expected
    assert (len(found), len(others)) == ((1, 0) if expected else (0, 1))
