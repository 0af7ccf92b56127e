"""The statistics of the tokens of `five_tokens`, counted by hand."""

import pytest
import torch
from five_tokens import WIDE, fixed_inputs

from lit_rlvr.objectives import (
    ASPO,
    CISPO,
    GPPO,
    GRPO,
    GSPO,
    Archer,
    NoImportanceSampling,
    PolicyObjective,
    PositiveMeanIS,
)

NAN = float("nan")


def test_clip_fractions_count_the_tokens_at_a_bound() -> None:
    low = torch.tensor([[0, 0, 0, 0, 0], [1, 0, 0, 0, 0]]).float()
    high = torch.tensor([[0, 0, 0, 1, 1], [0, 0, 0, 0, 0]]).float()
    for objective in (GRPO(), GPPO(), ASPO(), NoImportanceSampling(), PositiveMeanIS(), Archer(high_entropy=None)):
        _, stats = objective(fixed_inputs())
        assert torch.equal(stats["clip_fraction_low"], low), objective
        assert torch.equal(stats["clip_fraction_high"], high), objective


def test_cispo_clips_both_signs() -> None:
    _, stats = CISPO()(fixed_inputs())
    assert stats["clip_fraction_low"].tolist() == [[1, 0, 0, 0, 0]] * 2
    assert stats["clip_fraction_high"].tolist() == [[0, 0, 0, 1, 1]] * 2
    _, stats = CISPO(clip_low=None, clip_high=4.0)(fixed_inputs())
    assert not any(values.any() for values in stats.values())


@pytest.mark.parametrize("objective", [GRPO(dual_clip=3.0), GPPO(dual_clip=3.0), Archer(dual_clip=3.0), ASPO()], ids=repr)
def test_dual_clip_of_negatives_is_a_share_of_the_negatives(objective: PolicyObjective) -> None:
    expected = torch.tensor([[NAN] * 5, [0, 0, 0, 0, 1]])
    assert torch.equal(objective(fixed_inputs())[1]["dual_clip_fraction_negative"].nan_to_num(9), expected.nan_to_num(9))


def test_dual_clip_of_positives_is_a_share_of_the_positives() -> None:
    expected = torch.tensor([[1.0, 0, 0, 0, 0], [NAN] * 5])
    assert torch.equal(ASPO()(fixed_inputs())[1]["dual_clip_fraction_positive"].nan_to_num(9), expected.nan_to_num(9))


def test_gspo_clips_whole_responses() -> None:
    _, stats = GSPO()(fixed_inputs())
    assert stats["clip_fraction_low"].tolist() == [[0] * 5] * 2
    assert stats["clip_fraction_high"].tolist() == [[1] * 5, [0] * 5]


@pytest.mark.parametrize("objective", [Archer(high_entropy=WIDE), ASPO(high_entropy=WIDE)], ids=repr)
def test_clip_fractions_by_entropy_class(objective: PolicyObjective) -> None:
    _, stats = objective(fixed_inputs())
    assert stats["clip_fraction_high"].tolist() == [[0, 0, 0, 0, 1], [0] * 5]
    assert not stats["clip_fraction_low"].any()
    of_high = torch.tensor([[0, NAN, NAN, 0, NAN]] * 2)
    of_low = torch.tensor([[NAN, 0, 0, NAN, 1], [NAN, 0, 0, NAN, 0]])
    torch.testing.assert_close(stats["clip_fraction_of_high_entropy"], of_high, equal_nan=True)
    torch.testing.assert_close(stats["clip_fraction_of_low_entropy"], of_low, equal_nan=True)


@pytest.mark.parametrize(
    "objective",
    [GRPO(), GPPO(), CISPO(), ASPO(dual_clip=None), GSPO(), PositiveMeanIS(), NoImportanceSampling()],
    ids=repr,
)
def test_no_dual_clip_no_statistic_of_it(objective: PolicyObjective) -> None:
    assert set(objective(fixed_inputs())[1]) == {"clip_fraction_low", "clip_fraction_high"}
