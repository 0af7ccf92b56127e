"""Rows, optimizer steps and micro-batches: nothing lost, nothing counted twice, weights that sum to what they should."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lit_rlvr.data.collecting import CollectedGroups
from lit_rlvr.data.iteration import Iteration, build_iteration
from lit_rlvr.data.settings import IterationConfig
from lit_rlvr.rollout_correction import TruncatedImportanceSampling
from lit_rlvr.types import RolloutBatch, RolloutGroup

MakeGroup = Callable[..., RolloutGroup]
slow_fixture = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)


def build(groups: list[RolloutGroup], seen: list[RolloutGroup] | None = None, seed: int = 0, **sizes: int) -> Iteration:
    config = IterationConfig(num_prompts=max(len(groups), sizes.get("num_mini_batches", 1)), **sizes)
    return build_iteration(CollectedGroups(seen or groups, groups, rounds=1), 3, config, temperature=0.9, seed=seed)


def all_micro_batches(iteration: Iteration, step: int, world: int, per_rank: int, reduction: str) -> list[RolloutBatch]:
    shares = [iteration.micro_batches(step, rank, world, per_rank, reduction, None) for rank in range(world)]
    assert all(len(share) == per_rank for share in shares)
    return [micro_batch for share in shares for micro_batch in share]


def test_every_field_describes_the_same_token(make_group: MakeGroup) -> None:
    batch = build([make_group("a", [1.0, 0.0], lengths=[2, 4])]).batch
    assert batch.input_ids.tolist() == [[5, 6, 7, 8, 9, 0, 0], [5, 6, 7, 8, 9, 10, 11]]
    assert batch.loss_mask.tolist() == [[False] * 3 + [True] * 2 + [False] * 2, [False] * 3 + [True] * 4]
    assert torch.equal(batch.rollout_logprobs, -0.5 * batch.loss_mask)
    assert torch.equal(batch.attention_mask, batch.input_ids != 0)
    assert batch.temperature == 0.9


@slow_fixture
@given(
    lengths=st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=5), min_size=1, max_size=6),
    world=st.sampled_from([1, 2, 3]),
    per_rank=st.sampled_from([1, 2, 4]),
    mini_batches=st.integers(1, 3),
    reduction=st.sampled_from(["token-mean", "seq-mean-token-mean"]),
)
def test_weights_sum_to_one_in_every_layout(
    make_group: MakeGroup, lengths: list[list[int]], world: int, per_rank: int, mini_batches: int, reduction: str
) -> None:
    groups = [make_group(f"g{i}", [0.5] * len(sizes), lengths=sizes) for i, sizes in enumerate(lengths)]
    iteration = build(groups, num_mini_batches=mini_batches)
    seen_rows: list[int] = []
    for step, rows in enumerate(iteration.steps):
        micro_batches = all_micro_batches(iteration, step, world, per_rank, reduction)
        total = sum(float(m.loss_weights.sum()) for m in micro_batches)
        assert total == pytest.approx(1.0 if rows else 0.0, abs=1e-5)
        tokens = sum(int((m.loss_weights > 0).sum()) for m in micro_batches)
        assert tokens == int(iteration.batch.loss_mask[rows].sum()) == micro_batches[0].totals.tokens
        seen_rows += rows
    assert sorted(seen_rows) == list(range(sum(map(len, lengths))))


def test_groups_stay_whole_and_are_dealt_anew_in_each_epoch(make_group: MakeGroup) -> None:
    groups = [make_group(f"g{i}", [0.0, 1.0]) for i in range(8)]
    steps = build(groups, num_mini_batches=4, ppo_epochs=2).steps
    assert len(steps) == 8
    assert all({row // 2 for row in rows} == {rows[0] // 2, rows[2] // 2} for rows in steps)
    for epoch in (steps[:4], steps[4:]):
        assert sorted(row for rows in epoch for row in rows) == list(range(16))
    assert steps[:4] != steps[4:]
    assert build(groups, num_mini_batches=4, ppo_epochs=2).steps == steps


def test_padding_is_trimmed_and_lengths_are_balanced(make_group: MakeGroup) -> None:
    groups = [make_group("short", [0.0] * 8, lengths=[2] * 8), make_group("long", [0.0] * 8, lengths=[30] * 8)]
    micro_batches = all_micro_batches(build(groups), 0, 1, 4, "token-mean")
    sizes = [m.input_ids.numel() for m in micro_batches]
    assert sum(sizes) < 0.75 * 16 * 33
    assert max(sizes) <= 4 * 33


def test_too_few_rows_leave_inert_micro_batches(make_group: MakeGroup) -> None:
    micro_batches = all_micro_batches(build([make_group("a", [1.0, 0.0])]), 0, 2, 4, "token-mean")
    assert len(micro_batches) == 8
    inert = [m for m in micro_batches if not m.loss_weights.any()]
    assert len(inert) == 6
    assert all(m.loss_mask.any() for m in inert), "an inert row still goes through the whole model"


def test_an_empty_iteration_is_inert_and_says_so(make_group: MakeGroup) -> None:
    iteration = build([], seen=[make_group("a", [0.0, None])], num_mini_batches=2)
    for step in range(2):
        for micro_batch in all_micro_batches(iteration, step, 2, 2, "token-mean"):
            assert not micro_batch.loss_weights.any()
            assert not micro_batch.positive_weights.any()
            assert micro_batch.totals.tokens == 0


def test_positives_have_a_token_mean_of_their_own(make_group: MakeGroup) -> None:
    iteration = build([make_group("a", [1.0, 0.0, 1.0], lengths=[2, 5, 6])])
    (micro_batch,) = all_micro_batches(iteration, 0, 1, 1, "token-mean")
    assert float(micro_batch.positive_weights.sum()) == pytest.approx(1.0)
    assert micro_batch.positive_weights[micro_batch.is_correct].unique().tolist() == pytest.approx([0.0, 1 / 8])
    assert not micro_batch.positive_weights[~micro_batch.is_correct].any()


def test_an_iteration_survives_a_checkpoint(make_group: MakeGroup, tmp_path: object) -> None:
    iteration = build([make_group("a", [1.0, 0.0]), make_group("b", [0.0, 1.0])], num_mini_batches=2)
    file = f"{tmp_path}/state.pt"
    torch.save(iteration.state_dict(), file)
    restored = Iteration.from_state_dict(torch.load(file, weights_only=True))
    assert restored.steps == iteration.steps
    assert restored.batch.stats == iteration.batch.stats
    assert torch.equal(restored.batch.advantages, iteration.batch.advantages)


def test_correction_weights_stay_with_their_tokens_through_a_checkpoint(make_group: MakeGroup, tmp_path: object) -> None:
    groups = [make_group("a", [1.0, 0.0], lengths=[2, 5]), make_group("b", [0.0, 1.0], lengths=[1, 3])]
    iteration = build(groups, num_mini_batches=2)
    # The policy holds the sampled token t of row b for e^-(b + t / 10) times as likely as the engine does.
    gap = torch.arange(4.0)[:, None] + torch.arange(iteration.batch.input_ids.shape[1]) / 10
    scored = replace(iteration.batch, old_logprobs=iteration.batch.rollout_logprobs - gap)
    iteration = replace(iteration, batch=TruncatedImportanceSampling().correct(scored))
    file = f"{tmp_path}/state.pt"
    torch.save(iteration.state_dict(), file)
    restored = Iteration.from_state_dict(torch.load(file, weights_only=True))
    assert restored.batch.stats["rollout/correction_clipped"] == 0.0
    for batch in [m for step in range(2) for m in all_micro_batches(restored, step, 1, 1, "token-mean")]:
        assert batch.rollout_weights is not None
        assert batch.old_logprobs is not None
        assert batch.rollout_weights.shape == batch.input_ids.shape
        expected = torch.exp(batch.old_logprobs - batch.rollout_logprobs) * batch.loss_mask
        torch.testing.assert_close(batch.rollout_weights, expected)
