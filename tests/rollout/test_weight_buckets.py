"""Weights in bounded portions: all of them, in order, and nothing kept once it is handed over."""

import weakref
from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lit_rlvr.rollout.weight_buckets import weight_buckets


@given(st.lists(st.integers(0, 40), max_size=30), st.integers(4, 200))
def test_lists_are_bounded_and_keep_the_order(sizes: list[int], max_bytes: int) -> None:
    named = [(f"w{i}", torch.zeros(size)) for i, size in enumerate(sizes)]
    buckets = list(weight_buckets(iter(named), max_bytes))
    assert [name for bucket in buckets for name, _ in bucket] == [name for name, _ in named]
    assert all(bucket for bucket in buckets)
    for bucket in buckets:
        assert len(bucket) == 1 or sum(tensor.nbytes for _, tensor in bucket) <= max_bytes
    for bucket, following in pairwise(buckets):
        assert sum(tensor.nbytes for _, tensor in [*bucket, following[0]]) > max_bytes


def test_a_large_weight_comes_alone() -> None:
    named = [("a", torch.zeros(2)), ("b", torch.zeros(100)), ("c", torch.zeros(2)), ("d", torch.zeros(2))]
    assert [[name for name, _ in bucket] for bucket in weight_buckets(named, 16)] == [["a"], ["b"], ["c", "d"]]


def test_nothing_of_a_list_is_kept() -> None:
    alive: list[weakref.ref[Tensor]] = []

    def named() -> Iterator[tuple[str, Tensor]]:
        for i in range(12):
            tensor = torch.zeros(4)
            alive.append(weakref.ref(tensor))
            yield f"w{i}", tensor
            del tensor

    buckets = weight_buckets(named(), 48)
    most = 0
    for bucket in buckets:
        assert len(bucket) == 3
        del bucket
        most = max(most, sum(ref() is not None for ref in alive))
    # Once a list is dropped, only the first weight of the next is there.
    assert most == 1


def test_a_size_that_holds_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 byte, got 0"):
        weight_buckets([], 0)
