# SPDX-License-Identifier: Apache-2.0
"""How many pairs each mapped task gets, and what the task is called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_goenhance.manifest.chunk import (
    batch_label,
    choose_pairs_per_task,
    settled_pairs_per_task,
)
from airflow_provider_goenhance.manifest.model import Pair


@pytest.mark.parametrize(
    ("pairs", "size"),
    [
        (0, 1),
        (8, 1),
        (9, 9),
        (300, 300),
        (10_000, 10_000),
        (10_001, 5_001),  # two tasks of the same size, not one of 10,000 and one of 1
        (40_000, 10_000),
        (176_000, 11_000),  # one task for each of 16 slots
        (256_000, 20_000),
        (1_000_000, 20_000),
        (330_000, 20_000),  # settled before the end is known: the last of 17 tasks has what is left
    ],
)
def test_a_few_pairs_map_one_to_one_and_many_form_few_large_tasks(pairs, size):
    assert choose_pairs_per_task(pairs) == size


@pytest.mark.parametrize(
    ("slots", "size"), [(1, 20_000), (2, 20_000), (3, 13_334), (4, 10_000), (100, 10_000)]
)
def test_fewer_slots_mean_larger_tasks(slots, size):
    assert choose_pairs_per_task(40_000, slots=slots) == size


@pytest.mark.parametrize(
    ("pairs", "asked", "size"), [(100, 10, 10), (100, 1, 1), (1_000, 1, 1), (1_001, 1, 2), (100_000, 50, 100)]
)
def test_an_asked_size_is_kept_unless_it_would_map_too_many_tasks(pairs, asked, size):
    assert choose_pairs_per_task(pairs, asked) == size


@given(st.integers(0, 500_000), st.integers(0, 5_000_000), st.integers(1, 20))
def test_a_settled_size_stays_the_same_however_many_pairs_follow(pairs, more, slots):
    settled = settled_pairs_per_task(pairs, slots)
    assert settled == (20_000 if pairs >= min(20_000 * slots, 200_000) else None)
    assert settled in {None, choose_pairs_per_task(pairs + more, slots=slots)}


def test_fewer_tasks_may_be_allowed():
    assert choose_pairs_per_task(8, max_tasks=2) == 4
    assert choose_pairs_per_task(20, 3, max_tasks=1) == 20


@pytest.mark.parametrize(("pairs", "asked", "most"), [(-1, 0, 10), (5, -2, 10), (5, 0, 0)])
def test_impossible_numbers_are_refused(pairs, asked, most):
    with pytest.raises(
        ValueError,
        match=rf"must not be negative, .* got pairs={pairs}, pairs per task={asked}, max_tasks={most}, slots=16\.",
    ):
        choose_pairs_per_task(pairs, asked, most)


@given(st.integers(0, 3_000), st.integers(0, 300), st.integers(1, 1_000))
def test_no_choice_ever_maps_too_many_tasks(pairs, asked, most):
    size = choose_pairs_per_task(pairs, asked, most)
    assert size >= max(asked, 1)
    assert -(-pairs // size) <= most


@given(st.integers(9, 2_000_000), st.integers(1, 300))
def test_a_chosen_task_is_never_larger_than_its_memory_allows(pairs, slots):
    assert choose_pairs_per_task(pairs, slots=slots) <= 20_000


def test_a_batch_is_called_by_its_pair_or_by_its_rows_and_their_number():
    first, last = (Pair(name, "s", "r", row) for name, row in (("ada__beach", 302), ("bob__hill", 2_801)))
    assert batch_label(first, first, 12, 1) == "ada__beach"
    assert batch_label(first, last, 12, 2_500) == "12: rows 302-2801 (2,500 pairs)"
