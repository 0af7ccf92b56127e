"""Loss and gradient of the tokens of `five_tokens`, worked out by hand."""

import pytest
import torch
from five_tokens import GEOMETRIC_MEAN, LOGPROBS, MEAN, WIDE, fixed_inputs

from lit_rlvr.objectives import (
    ASPO,
    CISPO,
    GPPO,
    GRPO,
    GSPO,
    REINFORCE,
    Archer,
    NoImportanceSampling,
    PolicyObjective,
    PositiveMeanIS,
)

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
        # A dual clip at 1: no negative token above 1 has a gradient, and each is worth 2.
        GRPO(dual_clip=1.0),
        [[-0.2, -0.9, -1.1, -1.2, -1.2], [1.6, 1.8, 2.0, 2.0, 2.0]],
        [[-0.2, -0.9, -1.1, 0.0, 0.0], [0.0, 1.8, 0.0, 0.0, 0.0]],
    ),
    (
        # High-entropy tokens range in [0.1, 1.6], which leaves 0.2 and 1.5 alone; the others as in GRPO, with a dual clip at 3.
        Archer(high_entropy=WIDE, dual_clip=3.0),
        [[-0.2, -0.9, -1.1, -1.5, -1.2], [0.4, 1.8, 2.2, 3.0, 6.0]],
        [[-0.2, -0.9, -1.1, -1.5, 0.0], [0.4, 1.8, 2.2, 3.0, 0.0]],
    ),
    (
        # Value -A w and gradient -A w are the same number.
        GPPO(),
        [[-0.2, -0.9, -1.1, -1.28, -1.28], [1.6, 1.8, 2.2, 3.0, 8.0]],
        [[-0.2, -0.9, -1.1, -1.28, -1.28], [1.6, 1.8, 2.2, 3.0, 8.0]],
    ),
    (
        # The betas scale value and gradient at the bounds: 0.5 x 1.2 = 0.6 and 0.25 x 0.8 = 0.2.
        GPPO(clip_high=0.2, beta1=0.25, beta2=0.5),
        [[-0.2, -0.9, -1.1, -0.6, -0.6], [0.4, 1.8, 2.2, 3.0, 8.0]],
        [[-0.2, -0.9, -1.1, -0.6, -0.6], [0.4, 1.8, 2.2, 3.0, 8.0]],
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
        # High-entropy tokens in [0.1, 1.6]: w = 1/0.2 (capped at 3) and 1/1.5 for A=1, 0.2 and 1.5 for A=-2.
        ASPO(high_entropy=WIDE),
        [[-3.0, -1.111111, -0.909091, -0.666667, -0.833333], [0.4, 1.8, 2.2, 3.0, 6.0]],
        [[-3.0, -1.111111, -0.909091, -0.666667, 0.0], [0.4, 1.8, 2.2, 3.0, 6.0]],
    ),
    (
        # The geometric mean is above 1.0004: clipped for A=1, and the weight of all tokens for A=-2.
        GSPO(),
        [[-1.0004] * 5, [2 * GEOMETRIC_MEAN] * 5],
        [[0.0] * 5, [2 * GEOMETRIC_MEAN] * 5],
    ),
    (
        # It is in [0.9, 1.1].
        GSPO(clip_low=0.1, clip_high=0.1),
        [[-GEOMETRIC_MEAN] * 5, [2 * GEOMETRIC_MEAN] * 5],
        [[-GEOMETRIC_MEAN] * 5, [2 * GEOMETRIC_MEAN] * 5],
    ),
    (
        # A=1: every token is worth the mean, but those with ratios above 1.2 have no gradient.  A=-2: as in GRPO.
        PositiveMeanIS(),
        [[-MEAN] * 5, [1.6, 1.8, 2.2, 3.0, 8.0]],
        [[-MEAN, -MEAN, -MEAN, 0.0, 0.0], [0.0, 1.8, 2.2, 3.0, 8.0]],
    ),
    (
        # A=1: the other mean, and no mask.
        PositiveMeanIS(mean="geometric", keep_clip_mask=False),
        [[-GEOMETRIC_MEAN] * 5, [1.6, 1.8, 2.2, 3.0, 8.0]],
        [[-GEOMETRIC_MEAN] * 5, [0.0, 1.8, 2.2, 3.0, 8.0]],
    ),
    (
        # Value -A logprob, gradient -A.
        REINFORCE(),
        [[-x for x in LOGPROBS], [2 * x for x in LOGPROBS]],
        [[-1.0] * 5, [2.0] * 5],
    ),
    (
        # Value -A r, gradient -A r.
        REINFORCE(importance_weight=True),
        [[-0.2, -0.9, -1.1, -1.5, -4.0], [0.4, 1.8, 2.2, 3.0, 8.0]],
        [[-0.2, -0.9, -1.1, -1.5, -4.0], [0.4, 1.8, 2.2, 3.0, 8.0]],
    ),
    (
        # The value is -A logprob.
        NoImportanceSampling(),
        [[-x for x in LOGPROBS], [2 * x for x in LOGPROBS]],
        [[-1.0, -1.0, -1.0, 0.0, 0.0], [0.0, 2.0, 2.0, 2.0, 2.0]],
    ),
]


@pytest.mark.parametrize(("objective", "loss", "gradient"), GOLDEN, ids=[repr(o) for o, _, _ in GOLDEN])
def test_loss_and_gradient(objective: PolicyObjective, loss: list[list[float]], gradient: list[list[float]]) -> None:
    x = fixed_inputs()
    token_loss, _ = objective(x)
    token_gradient = torch.autograd.grad(token_loss.sum(), x.logprobs)[0]
    torch.testing.assert_close(token_loss.detach(), torch.tensor(loss, dtype=torch.float64), rtol=0, atol=2e-6)
    torch.testing.assert_close(token_gradient, torch.tensor(gradient, dtype=torch.float64), rtol=0, atol=1e-6)
