# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest

from airflow_provider_goenhance.results.states import Status
from airflow_provider_goenhance.results.swap import Swap, new_swap

COLUMNS: dict[str, Any] = {
    "swap_id": "id",
    "dag_id": "dag",
    "run_id": "run",
    "pair_id": "pair",
    "source_img": "https://a.example/face.jpg",
    "reference_img": "https://a.example/scene.jpg",
    "pair_fingerprint": "f" * 64,
    "status": Status.SUCCEEDED,
    "cost": 2,
}
SWAP = Swap(**COLUMNS)
ROW = SWAP.to_row()


@pytest.mark.parametrize(
    "made",
    [
        new_swap(**COLUMNS),
        Swap.from_row({**ROW, "status": "succeeded"}),
        Swap.from_row({**COLUMNS, "status": "succeeded", "of_a_later_release": 1}),
        Swap.of_values([*{**ROW, "status": "succeeded"}.values()]),
        Swap.of_values(
            ["succeeded", *list(COLUMNS.values())[:-2], 2], ("status", *list(COLUMNS)[:-2], "cost")
        ),
        SWAP.changed(cost=3).changed(cost=2),
    ],
    ids=["columns", "row", "row of a later release", "values", "some values", "changed"],
)
def test_a_swap_is_the_same_however_it_was_made(made: Swap) -> None:
    assert type(made) is Swap
    assert made == SWAP
    assert hash(made) == hash(SWAP)
    assert made.status is Status.SUCCEEDED
    assert pickle.loads(pickle.dumps(made)) == SWAP
    assert dataclasses.replace(made, cost=3) == SWAP.changed(cost=3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.cost = 3  # type: ignore[misc]


def test_a_swap_without_a_required_column_is_refused() -> None:
    without = {name: value for name, value in COLUMNS.items() if name != "pair_id"}
    with pytest.raises(TypeError, match="pair_id"):
        new_swap(**without)
    with pytest.raises(TypeError, match="pair_id"):
        Swap.of_values(list(without.values()), tuple(without))
