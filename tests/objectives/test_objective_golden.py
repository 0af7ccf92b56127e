"""Loss, gradient and statistics on one fixed set of tokens, worked out by hand.

Five tokens with ratios 0.2, 0.9, 1.1, 1.5, 4, once with advantage 1 and once with advantage -2. Their old log-probs are
-1, -2, -0.5, -3, -4, hence their log-probs old + ln r:  -2.609438, -2.105361, -0.404690, -2.594535, -2.613706.
"""

import pytest
import torch

from lit_rlvr.objectives import ASPO, CISPO, GPPO, GRPO, NoImportanceSampling, ObjectiveInputs, PolicyObjective

NAN = float("nan")
LOGPROBS = [-2.609438, -2.105361, -0.404690, -2.594535, -2.613706]

GOLDEN: list[tuple[PolicyObjective, list[list[float]], list[list[float]]]] = [
    (
        # A=1: -min(r, 1.2).  A=-2: 2 max(r, 0.8).
        GRPO(),
        [[-0.2, -0.9, -1.1, -1.2, -1.2], [1.6, 1.8, 2.2, 3.0, 8.0]],
        [[-0.2, -0.9, -1.1, 0.0, 0.0], [0.0, 1.8, 2.2, 3.0, 8.0]],
    ),
    (
        # As above, but a negative token is worth at most 2 * 3, without gradient.
        GRPO(clip_high=0.28, dual_clip=3.0),
        [[-0.2, -0.9, -1.1, -1.28, -1.28], [1.6, 1.8, 2.2, 3.0, 6.0]],
        [[-0.2, -0.9, -1.1, 0.0, 0.0], [0.0, 1.8, 2.2, 3.0, 0.0]],
    ),
    (
        # Value -A w and gradient -A w are the same number.
        GPPO(),
        [[-0.2, -0.9, -1.1, -1.28, -1.28], [1.6, 1.8, 2.2, 3.0, 8.0]],
        [[-0.2, -0.9, -1.1, -1.28, -1.28], [1.6, 1.8, 2.2, 3.0, 8.0]],
    ),
    (
        # w = 0.8, 0.9, 1.1, 1.28, 1.28 for both signs; the value is -A w logprob.
        CISPO(),
        [[2.087550, 1.894825, 0.445159, 3.321005, 3.345544], [-4.175101, -3.789650, -0.890318, -6.642010, -6.691087]],
        [[-0.8, -0.9, -1.1, -1.28, -1.28], [1.6, 1.8, 2.2, 2.56, 2.56]],
    ),
    (
        # A=1: w = 1/r = 5 (capped at 3), 1/0.9, 1/1.1, then masked at 1/1.2.  A=-2: masked at 0.8, then r, 4 capped at 3.
        ASPO(),
        [[-3.0, -1.111111, -0.909091, -0.833333, -0.833333], [1.6, 1.8, 2.2, 3.0, 6.0]],
        [[-3.0, -1.111111, -0.909091, 0.0, 0.0], [0.0, 1.8, 2.2, 3.0, 6.0]],
    ),
    (
        # The value is -A logprob.
        NoImportanceSampling(),
        [[-x for x in LOGPROBS], [2 * x for x in LOGPROBS]],
        [[-1.0, -1.0, -1.0, 0.0, 0.0], [0.0, 2.0, 2.0, 2.0, 2.0]],
    ),
]


def fixed_inputs() -> ObjectiveInputs:
    ratios = torch.tensor([0.2, 0.9, 1.1, 1.5, 4.0], dtype=torch.float64)
    old = torch.tensor([-1.0, -2.0, -0.5, -3.0, -4.0], dtype=torch.float64).repeat(2, 1)
    advantages = torch.tensor([[1.0], [-2.0]], dtype=torch.float64).expand(2, 5)
    return ObjectiveInputs((old + ratios.log()).requires_grad_(), old, advantages, torch.ones(2, 5, dtype=torch.bool))


@pytest.mark.parametrize(("objective", "loss", "gradient"), GOLDEN, ids=[repr(o) for o, _, _ in GOLDEN])
def test_loss_and_gradient(objective: PolicyObjective, loss: list[list[float]], gradient: list[list[float]]) -> None:
    x = fixed_inputs()
    token_loss, _ = objective(x)
    token_gradient = torch.autograd.grad(token_loss.sum(), x.logprobs)[0]
    torch.testing.assert_close(token_loss.detach(), torch.tensor(loss, dtype=torch.float64), rtol=0, atol=2e-6)
    torch.testing.assert_close(token_gradient, torch.tensor(gradient, dtype=torch.float64), rtol=0, atol=1e-6)


def test_clip_fractions_count_the_tokens_at_a_bound() -> None:
    low = torch.tensor([[0, 0, 0, 0, 0], [1, 0, 0, 0, 0]]).float()
    high = torch.tensor([[0, 0, 0, 1, 1], [0, 0, 0, 0, 0]]).float()
    for objective in (GRPO(), GPPO(), ASPO(), NoImportanceSampling()):
        _, stats = objective(fixed_inputs())
        assert torch.equal(stats["clip_fraction_low"], low), objective
        assert torch.equal(stats["clip_fraction_high"], high), objective


def test_cispo_clips_both_signs() -> None:
    _, stats = CISPO()(fixed_inputs())
    assert stats["clip_fraction_low"].tolist() == [[1, 0, 0, 0, 0]] * 2
    assert stats["clip_fraction_high"].tolist() == [[0, 0, 0, 1, 1]] * 2
    _, stats = CISPO(clip_low=None, clip_high=4.0)(fixed_inputs())
    assert not any(values.any() for values in stats.values())


@pytest.mark.parametrize("objective", [GRPO(dual_clip=3.0), GPPO(dual_clip=3.0), ASPO()], ids=repr)
def test_dual_clip_of_negatives_is_a_share_of_the_negatives(objective: PolicyObjective) -> None:
    expected = torch.tensor([[NAN] * 5, [0, 0, 0, 0, 1]])
    assert torch.equal(objective(fixed_inputs())[1]["dual_clip_fraction_negative"].nan_to_num(9), expected.nan_to_num(9))


def test_dual_clip_of_positives_is_a_share_of_the_positives() -> None:
    expected = torch.tensor([[1.0, 0, 0, 0, 0], [NAN] * 5])
    assert torch.equal(ASPO()(fixed_inputs())[1]["dual_clip_fraction_positive"].nan_to_num(9), expected.nan_to_num(9))


@pytest.mark.parametrize("objective", [GRPO(), GPPO(), CISPO(), ASPO(dual_clip=None), NoImportanceSampling()], ids=repr)
def test_no_dual_clip_no_statistic_of_it(objective: PolicyObjective) -> None:
    assert set(objective(fixed_inputs())[1]) == {"clip_fraction_low", "clip_fraction_high"}
