"""Weights for the gap between engine and policy: known answers, bounds, layout, and what is known of the rest."""

import math
from dataclasses import replace
from itertools import chain

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lit_rlvr.rollout_correction import TruncatedImportanceSampling
from lit_rlvr.types import RolloutBatch

LEVELS = ("token", "sequence", "geometric")
MODES = ("truncate", "mask")

# Ratios of two responses, of three tokens and of two; the prompt and the padding around them must not matter.
RATIOS = [[4.0, 0.25, 3.0], [0.5, 0.5]]
MASK = torch.tensor([[False, True, True, True, False], [False, False, True, True, False]])


def example() -> tuple[Tensor, Tensor, Tensor]:
    """Return old log-probs, the engine's, and the mask. Outside the mask both are unlike and unusable."""
    old = torch.full(MASK.shape, -7.0)
    engine = torch.tensor([[5.0, 0, 0, 0, torch.nan], [torch.inf, -torch.inf, 0, 0, 3.0]])
    engine[MASK] = old[MASK] - torch.tensor(list(chain(*RATIOS))).log()
    return old, engine, MASK


def batch_of(old: Tensor | None, engine: Tensor, mask: Tensor) -> RolloutBatch:
    rows = torch.zeros(len(mask))
    return RolloutBatch(
        input_ids=mask.long(),
        attention_mask=mask | True,
        loss_mask=mask,
        advantages=mask.float(),
        rewards=rows,
        is_correct=rows > 0,
        rollout_logprobs=engine,
        loss_weights=mask.float(),
        positive_weights=mask.float(),
        old_logprobs=old,
        stats={"rollout/reward": 0.5},
    )


# Products 4 * 0.25 * 3 = 3 and 0.5 * 0.5 = 0.25; geometric means 3 ** (1 / 3) = 1.4422 and 0.25 ** (1 / 2) = 0.5.
CUBE_ROOT = 3 ** (1 / 3)
KNOWN = [
    ("token", "truncate", 2.0, None, [[2.0, 0.25, 2.0], [0.5, 0.5]]),
    ("token", "truncate", 3.5, 0.4, [[3.5, 0.4, 3.0], [0.5, 0.5]]),
    ("token", "mask", 2.0, None, [[0.0, 0.25, 0.0], [0.5, 0.5]]),
    ("token", "mask", 3.5, 0.4, [[0.0, 0.0, 3.0], [0.5, 0.5]]),
    ("sequence", "truncate", 2.0, None, [[2.0] * 3, [0.25] * 2]),
    ("sequence", "truncate", 5.0, 0.4, [[3.0] * 3, [0.4] * 2]),
    ("sequence", "mask", 2.0, None, [[0.0] * 3, [0.25] * 2]),
    ("sequence", "mask", 5.0, 0.4, [[3.0] * 3, [0.0] * 2]),
    ("geometric", "truncate", 1.2, None, [[1.2] * 3, [0.5] * 2]),
    ("geometric", "truncate", 2.0, 0.7, [[CUBE_ROOT] * 3, [0.7] * 2]),
    ("geometric", "mask", 1.2, None, [[0.0] * 3, [0.5] * 2]),
    ("geometric", "mask", 2.0, 0.7, [[CUBE_ROOT] * 3, [0.0] * 2]),
]


@pytest.mark.parametrize(("level", "mode", "cap", "floor", "expected"), KNOWN)
def test_known_weights(level: str, mode: str, cap: float, floor: float | None, expected: list[list[float]]) -> None:
    old, engine, mask = example()
    weights = TruncatedImportanceSampling(level, mode, cap, floor).weights(old.requires_grad_(), engine, mask)
    assert not weights.requires_grad
    torch.testing.assert_close(weights[mask], torch.tensor(list(chain(*expected))), rtol=1e-5, atol=1e-6)
    assert not weights[~mask].any()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("cap", "floor"), [(2.0, None), (1.0, 1.0)])
def test_agreement_weighs_exactly_one(level: str, mode: str, cap: float, floor: float | None) -> None:
    logprobs = -torch.rand(3, 5) * 30
    weights = TruncatedImportanceSampling(level, mode, cap, floor).weights(logprobs, logprobs.clone(), torch.ones(3, 5) > 0)
    assert torch.equal(weights, torch.ones(3, 5))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("old", "engine"), [(-1.0, -math.inf), (-math.inf, -1.0), (math.nan, -1.0), (-1.0, math.nan)])
def test_what_is_not_finite_has_no_weight_in_any_mode(mode: str, old: float, engine: float) -> None:
    a, b = torch.tensor([[old, -1.0], [-1.0, -1.0]]), torch.tensor([[engine, -1.0], [-1.0, -1.0]])
    for level, expected in zip(LEVELS, ([[0.0, 1.0], [1.0, 1.0]], *[[[0.0, 0.0], [1.0, 1.0]]] * 2), strict=True):
        correction = TruncatedImportanceSampling(level, mode, floor=0.5)
        assert correction.weights(a, b, torch.ones(2, 2) > 0).tolist() == expected
        stats = correction.correct(batch_of(a, b, torch.ones(2, 2) > 0)).stats
        assert stats["rollout/correction_clipped"] == (0.25 if level == "token" else 0.5)


def test_a_long_response_stays_finite() -> None:
    old, engine = torch.full((2, 4096), -1.0), torch.stack([torch.full((4096,), -3.0), torch.full((4096,), -0.1)])
    mask = torch.ones(2, 4096) > 0
    limit = math.exp(20.0)
    up, down = TruncatedImportanceSampling("sequence", cap=limit).weights(old, engine, mask)[:, 0].tolist()
    assert up == pytest.approx(limit, rel=1e-5)
    assert down == pytest.approx(1 / limit, rel=1e-5)
    geometric = TruncatedImportanceSampling("geometric", cap=10.0).weights(old, engine, mask)[:, 0].tolist()
    assert geometric == pytest.approx([math.exp(2.0), math.exp(-0.9)], rel=1e-4)


def test_a_row_without_tokens_has_no_weight_and_disturbs_no_other() -> None:
    old, engine, mask = example()
    empty = torch.zeros_like(mask[:1])
    for level in LEVELS:
        correction = TruncatedImportanceSampling(level)
        alone = correction.weights(old, engine, mask)
        weights = correction.weights(torch.cat([old, old[:1]]), torch.cat([engine, engine[:1]]), torch.cat([mask, empty]))
        assert torch.equal(weights, torch.cat([alone, torch.zeros_like(alone[:1])]))


gaps = st.lists(st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=6), min_size=1, max_size=5)
corrections = st.builds(
    TruncatedImportanceSampling,
    level=st.sampled_from(LEVELS),
    mode=st.sampled_from(MODES),
    cap=st.floats(1, 50),
    floor=st.none() | st.floats(0.01, 1),
)


def padded(rows: list[list[float]], before: int, after: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return log-probs whose log-ratios are `rows`, after prompts of some length and before padding."""
    longest = max(map(len, rows)) + before + after
    gap, mask = torch.full((len(rows), longest), 9.0), torch.zeros(len(rows), longest) > 0
    for i, row in enumerate(rows):
        gap[i, before : before + len(row)] = torch.tensor(row)
        mask[i, before : before + len(row)] = True
    return gap, torch.zeros_like(gap), mask


@given(correction=corrections, rows=gaps, before=st.integers(0, 3), after=st.integers(0, 3), rotation=st.integers(0, 4))
def test_neither_padding_nor_row_order_matters(
    correction: TruncatedImportanceSampling, rows: list[list[float]], before: int, after: int, rotation: int
) -> None:
    plain = padded(rows, 0, 0)
    moved = padded(rows[rotation:] + rows[:rotation], before, after)
    weights, expected = correction.weights(*moved), correction.weights(*plain)
    for i in range(len(rows)):
        j = (i - min(rotation, len(rows))) % len(rows)
        torch.testing.assert_close(weights[j][moved[2][j]], expected[i][plain[2][i]], rtol=1e-5, atol=1e-7)


def unbounded_ratios(level: str, row: list[float]) -> list[float]:
    """Return the ratios of a row, by their definition, with the stated limit of the exponent."""
    logs = row if level == "token" else [math.fsum(row) / (len(row) if level == "geometric" else 1)] * len(row)
    return [math.exp(min(max(log, -20.0), 20.0)) for log in logs]


@given(correction=corrections, rows=gaps)
def test_weights_keep_their_bounds_and_masking_zeroes_exactly_what_is_outside(
    correction: TruncatedImportanceSampling, rows: list[list[float]]
) -> None:
    old, engine, mask = padded(rows, 1, 1)
    weights = correction.weights(old, engine, mask)
    low, high = correction.floor or 0.0, correction.cap
    for row, row_weights, row_mask in zip(rows, weights, mask, strict=True):
        for ratio, weight in zip(unbounded_ratios(correction.level, row), row_weights[row_mask].tolist(), strict=True):
            if any(math.isclose(ratio, bound, rel_tol=1e-4) for bound in (low, high)):
                continue  # float32 decides which side of the bound it is on
            if correction.mode == "truncate":
                assert low * (1 - 1e-6) <= weight <= high * (1 + 1e-6)
                assert weight == pytest.approx(min(max(ratio, low), high), rel=1e-4)
            else:
                assert weight == pytest.approx(ratio if low < ratio < high else 0.0, rel=1e-4)


def test_a_corrected_batch_carries_weights_and_their_statistics() -> None:
    batch = batch_of(*example())
    corrected = TruncatedImportanceSampling().correct(batch)
    # Weights 2, 0.25, 2, 0.5, 0.5: sum 5.25, sum of squares 4 + 0.0625 + 4 + 0.25 + 0.25 = 8.5625; two of five truncated.
    assert corrected.rollout_weights is not None
    assert corrected.rollout_weights[MASK].tolist() == pytest.approx([2.0, 0.25, 2.0, 0.5, 0.5])
    assert corrected.stats["rollout/correction_mean"] == pytest.approx(5.25 / 5)
    assert corrected.stats["rollout/correction_clipped"] == 2 / 5
    assert corrected.stats["rollout/correction_ess"] == pytest.approx(5.25**2 / (5 * 8.5625))
    assert corrected.stats["rollout/reward"] == 0.5
    assert replace(corrected, rollout_weights=None, stats=batch.stats) == batch


def test_the_statistics_of_agreement_and_of_nothing_left() -> None:
    names = ("rollout/correction_mean", "rollout/correction_clipped", "rollout/correction_ess")
    old, mask = torch.full((2, 3), -1.0), torch.ones(2, 3) > 0
    correction = TruncatedImportanceSampling("sequence", "mask")
    agreed = correction.correct(batch_of(old, old, mask)).stats
    assert [agreed[name] for name in names] == [1.0, 0.0, 1.0]
    rejected = correction.correct(batch_of(old, old - 1, mask)).stats
    assert [rejected[name] for name in names] == [0.0, 1.0, 0.0]
    empty = correction.correct(batch_of(old, old - 1, ~mask)).stats
    assert [empty[name] for name in names] == [0.0, 0.0, 0.0]


def test_weights_follow_their_rows_and_columns() -> None:
    corrected = TruncatedImportanceSampling().correct(batch_of(*example()))
    mask = torch.tensor([[True, True, True, False, False]] * 2)
    chosen = replace(corrected, attention_mask=mask).rows(torch.tensor([1]))
    assert chosen.rollout_weights is not None
    assert corrected.rollout_weights is not None
    assert torch.equal(chosen.rollout_weights, corrected.rollout_weights[1:, :3])


def test_a_batch_that_was_not_scored_is_refused() -> None:
    _, engine, mask = example()
    with pytest.raises(ValueError, match="old_logprobs"):
        TruncatedImportanceSampling().correct(batch_of(None, engine, mask))


@pytest.mark.parametrize("cap", [0.9, 0.0, -2.0, math.inf, math.nan, 1e9])
def test_a_cap_that_moves_agreement_or_never_acts_is_refused(cap: float) -> None:
    with pytest.raises(ValueError, match=r"rollout_correction\.cap"):
        TruncatedImportanceSampling(cap=cap)


@pytest.mark.parametrize("floor", [1.1, 0.0, -0.5, math.nan])
def test_a_floor_that_moves_agreement_or_never_acts_is_refused(floor: float) -> None:
    with pytest.raises(ValueError, match=r"rollout_correction\.floor"):
        TruncatedImportanceSampling(floor=floor)
