"""Plans of micro-batches: every row exactly once, as many runs as asked for, balanced."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from lit_rlvr.batching import balanced_runs, pad_right, shuffled, within_token_budget

lengths = st.lists(st.integers(1, 50), min_size=1, max_size=30)


def padded(run: list[int], rows: list[int]) -> int:
    return len(run) * max((rows[i] for i in run), default=0)


@given(lengths, st.integers(1, 8))
def test_every_row_is_in_exactly_one_of_the_runs(rows: list[int], num_runs: int) -> None:
    runs = balanced_runs(rows, num_runs)
    assert len(runs) == num_runs
    assert sorted(i for run in runs for i in run) == list(range(len(rows)))


@given(lengths, st.integers(1, 200))
def test_a_budget_is_kept_unless_one_row_breaks_it(rows: list[int], budget: int) -> None:
    for run in within_token_budget(rows, budget):
        assert len(run) == 1 or padded(run, rows) <= budget


@given(lengths, st.integers(1, 6))
def test_no_smaller_bound_would_do(rows: list[int], num_runs: int) -> None:
    largest = max(padded(run, rows) for run in balanced_runs(rows, num_runs))
    if largest > max(rows):
        assert len(within_token_budget(rows, largest - 1)) > num_runs


def test_padding_is_trimmed_by_sorting() -> None:
    rows = [10] * 8 + [100] * 8
    assert sum(padded(run, rows) for run in balanced_runs(rows, 4)) < 16 * 100


def test_pad_right_fills_with_zeros() -> None:
    assert torch.equal(pad_right([[1, 2, 3], [4]], torch.long), torch.tensor([[1, 2, 3], [4, 0, 0]]))


def test_shuffling_touches_no_global_state() -> None:
    state = torch.get_rng_state()
    assert torch.equal(shuffled(100, 1), shuffled(100, 1))
    assert not torch.equal(shuffled(100, 1), shuffled(100, 2))
    assert torch.equal(state, torch.get_rng_state())
