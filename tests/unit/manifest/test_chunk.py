# SPDX-License-Identifier: Apache-2.0
"""How many pairs each mapped task gets, and what the task is called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_goenhance.manifest.chunk import batch_label, choose_pairs_per_task
from airflow_provider_goenhance.manifest.model import Pair


@pytest.mark.parametrize(
    ("pairs", "size"),
    [(0, 1), (1, 1), (24, 1), (25, 25), (5_000, 25), (5_001, 26), (10_000, 50), (1_000_000, 5_000)],
)
def test_a_few_pairs_map_one_to_one_and_many_are_chunked(pairs, size):
    assert choose_pairs_per_task(pairs) == size


@pytest.mark.parametrize(
    ("pairs", "asked", "size"), [(100, 10, 10), (100, 1, 1), (1_000, 1, 1), (1_001, 1, 2), (100_000, 50, 100)]
)
def test_an_asked_size_is_kept_unless_it_would_map_too_many_tasks(pairs, asked, size):
    assert choose_pairs_per_task(pairs, asked) == size


def test_fewer_tasks_may_be_allowed():
    assert choose_pairs_per_task(20, max_tasks=5) == 4
    assert choose_pairs_per_task(20, 3, max_tasks=1) == 20


@pytest.mark.parametrize(("pairs", "asked", "most"), [(-1, 0, 10), (5, -2, 10), (5, 0, 0)])
def test_impossible_numbers_are_refused(pairs, asked, most):
    with pytest.raises(
        ValueError,
        match=rf"must not be negative, .* got pairs={pairs}, pairs per task={asked}, max_tasks={most}\.",
    ):
        choose_pairs_per_task(pairs, asked, most)


@given(st.integers(0, 3_000), st.integers(0, 300), st.integers(1, 1_000))
def test_no_choice_ever_maps_too_many_tasks(pairs, asked, most):
    size = choose_pairs_per_task(pairs, asked, most)
    assert size >= max(asked, 1)
    assert -(-pairs // size) <= most


def test_a_batch_is_called_by_its_pair_or_by_its_rows():
    first, last = (Pair(name, "s", "r", row) for name, row in (("ada__beach", 302), ("bob__hill", 326)))
    assert batch_label(first, first, 12) == "ada__beach"
    assert batch_label(first, last, 12) == "12: rows 302-326"
