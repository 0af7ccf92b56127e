"""Objectives that look at a whole response, on responses of mixed ratios with masked tokens, against loops in plain Python."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from objective_cases import batches, loss_and_gradient

from lit_rlvr.objectives import ASPO, GSPO, Archer, HighEntropyRange, ObjectiveInputs, PositiveMeanIS

NAN = math.nan


def response(ratios: list[float], advantage: float, mask: list[bool], entropy: list[float] | None = None) -> ObjectiveInputs:
    old = torch.linspace(-3, -1, len(ratios), dtype=torch.float64)[None]
    return ObjectiveInputs(
        logprobs=old + torch.tensor(ratios, dtype=torch.float64).log(),
        old_logprobs=old,
        advantages=torch.full_like(old, advantage),
        loss_mask=torch.tensor([mask]),
        entropy=None if entropy is None else torch.tensor([entropy], dtype=torch.float64),
    )


# Ratios 0.5, 1.1, 2 in the mask and 7 outside it: their mean is 3.6 / 3 = 1.2, their geometric mean 1.1^(1/3) = 1.032280.
RATIOS, MASK = [0.5, 7.0, 1.1, 2.0], [True, False, True, True]


@pytest.mark.parametrize(
    ("objective", "positive", "negative"),
    [
        # The third token, 2 > 1.2, is masked by its own ratio; so is the first of the negatives, 0.5 < 0.8.
        (PositiveMeanIS(), [1.2, 1.2, 0.0], [0.0, 1.1, 2.0]),
        (PositiveMeanIS(mean="geometric"), [1.032280, 1.032280, 0.0], [0.0, 1.1, 2.0]),
        (PositiveMeanIS(keep_clip_mask=False), [1.2, 1.2, 1.2], [0.0, 1.1, 2.0]),
        (PositiveMeanIS(mean="geometric", keep_clip_mask=False), [1.032280] * 3, [0.0, 1.1, 2.0]),
        # s = 1.032280 is in [0.9, 1.1], but above 1.0004, which stops a positive response and not a negative one.
        (GSPO(clip_low=0.1, clip_high=0.1), [1.032280] * 3, [1.032280] * 3),
        (GSPO(), [0.0] * 3, [1.032280] * 3),
    ],
    ids=repr,
)
def test_weights_in_a_response(objective: PositiveMeanIS | GSPO, positive: list[float], negative: list[float]) -> None:
    for advantage, weights in ((2.0, positive), (-0.5, negative)):
        _, gradient = loss_and_gradient(objective, response(RATIOS, advantage, MASK))
        expected = -advantage * torch.tensor(weights, dtype=torch.float64)
        torch.testing.assert_close(gradient[0, torch.tensor(MASK)], expected, rtol=1e-6, atol=0)


@settings(deadline=None, max_examples=40)
@given(x=batches(), mean=st.sampled_from(["arithmetic", "geometric"]), is_masked=st.booleans())
def test_positive_mean_is_against_a_loop(x: ObjectiveInputs, mean: str, is_masked: bool) -> None:
    _, gradient = loss_and_gradient(PositiveMeanIS(mean=mean, keep_clip_mask=is_masked), x)  # type: ignore[arg-type]
    for row in range(len(x.logprobs)):
        tokens = x.loss_mask[row].nonzero()[:, 0].tolist()
        log_ratios = {t: float(x.logprobs[row, t] - x.old_logprobs[row, t]) for t in tokens}
        for t in tokens:
            a, r = float(x.advantages[row, t]), math.exp(log_ratios[t])
            if a > 0 and mean == "geometric":
                weight = math.exp(math.fsum(log_ratios.values()) / len(tokens))
            elif a > 0:
                weight = math.fsum(map(math.exp, log_ratios.values())) / len(tokens)
            else:
                weight = 0.0 if r < 0.8 else r
            weight = 0.0 if is_masked and a > 0 and r > 1.2 else weight
            assert float(gradient[row, t]) == pytest.approx(-a * weight, rel=1e-12, abs=0)


@settings(deadline=None, max_examples=40)
@given(x=batches(), low=st.sampled_from([3e-4, 0.1]), high=st.sampled_from([4e-4, 0.2]))
def test_gspo_against_a_loop(x: ObjectiveInputs, low: float, high: float) -> None:
    loss, gradient = loss_and_gradient(GSPO(low, high), x)
    for row in range(len(x.logprobs)):
        tokens = x.loss_mask[row].nonzero()[:, 0].tolist()
        for t in tokens:
            a = float(x.advantages[row, t])
            s = math.exp(math.fsum(float(x.logprobs[row, u] - x.old_logprobs[row, u]) for u in tokens) / len(tokens))
            is_clipped = (a > 0 and s > 1 + high) or (a < 0 and s < 1 - low)
            assert float(gradient[row, t]) == pytest.approx(0.0 if is_clipped else -a * s, rel=1e-12, abs=0)
            assert float(loss[row, t]) == pytest.approx(-min(s * a, min(max(s, 1 - low), 1 + high) * a), rel=1e-12, abs=0)


def test_gspo_is_the_gradient_of_the_sequence_surrogate() -> None:
    """The mean over its tokens is the gradient of `-s A` through `s` itself, as the paper's first form has it (Eq. 5)."""
    x = response(RATIOS, 2.0, MASK)
    mask = x.loss_mask.double()
    logprobs = x.logprobs.clone().requires_grad_()
    s = (((logprobs - x.old_logprobs) * mask).sum() / mask.sum()).exp()
    (expected,) = torch.autograd.grad(-2.0 * s, logprobs)
    _, gradient = loss_and_gradient(GSPO(0.1, 0.1), x)
    torch.testing.assert_close(gradient * mask / mask.sum(), expected, rtol=1e-12, atol=0)


# Entropies 1, 2, 3, 4 in the mask: the 0.5 quantile is 2.5, so 3 and 4 are high. The 9 outside the mask would make it 3.
ENTROPY, OF_FIVE = [3.0, 9.0, 1.0, 4.0, 2.0], [True, False, True, True, True]


@pytest.mark.parametrize("objective_class", [Archer, ASPO])
def test_the_class_is_that_of_the_response_without_masked_tokens(objective_class: type[Archer] | type[ASPO]) -> None:
    objective = objective_class(high_entropy=HighEntropyRange(clip_low=0.5, clip_high=0.5, quantile=0.5))
    _, stats = objective(response([1.3] * 5, 1.0, OF_FIVE, ENTROPY))
    _, gradient = loss_and_gradient(objective, response([1.3] * 5, 1.0, OF_FIVE, ENTROPY))
    # 1.3 is above the range of low-entropy tokens, up to 1.2, and not of high-entropy ones, up to 1.5.
    assert (gradient[0] != 0).tolist() == [True, False, False, True, False]
    # Outside the mask a token is of no class; what is said of it there is never read.
    in_mask = torch.tensor(OF_FIVE)
    of_high, of_low = stats["clip_fraction_of_high_entropy"][0, in_mask], stats["clip_fraction_of_low_entropy"][0, in_mask]
    torch.testing.assert_close(of_high, torch.tensor([0.0, NAN, 0.0, NAN]), equal_nan=True)
    torch.testing.assert_close(of_low, torch.tensor([NAN, 1.0, NAN, 1.0]), equal_nan=True)
