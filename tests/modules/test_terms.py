"""The KL penalty by entropy class, against the formulas of Archer."""

import pytest
import torch

from lit_rlvr.modules import KLPenalty, PolicyScores
from lit_rlvr.ops import kl_k3, loss_weights
from lit_rlvr.types import RolloutBatch

LOGPROBS = torch.tensor([[0.0, -1.0, -2.0, -0.5, -1.5, -3.0], [0.0, -1.0, -0.2, -0.4, 0.0, 0.0]])
REF_LOGPROBS = torch.tensor([[0.0, -1.2, -1.0, -0.5, -2.5, -2.0], [0.0, -0.7, -0.3, -1.4, 0.0, 0.0]])
ENTROPY = torch.tensor([[9.0, 0.1, 0.9, 0.2, 0.3, 0.4], [9.0, 0.3, 0.2, 0.1, 9.0, 9.0]])
MASK = torch.tensor([[False, True, True, True, True, True], [False, True, True, True, False, False]])
HIGH = torch.tensor([[False, False, True, False, False, False], [False, True, False, False, False, False]])
"""Above the 0.8 quantile of the row: 0.5 of 0.1 ... 0.9, and 0.26 of 0.1 ... 0.3."""


def penalty(term: KLPenalty) -> float:
    nothing = torch.zeros(2)
    batch = RolloutBatch(
        input_ids=torch.zeros(2, 6, dtype=torch.long),
        attention_mask=MASK,
        loss_mask=MASK,
        advantages=torch.zeros(2, 6),
        rewards=nothing,
        is_correct=nothing.bool(),
        rollout_logprobs=LOGPROBS,
        loss_weights=loss_weights(MASK, "token-mean"),
        positive_weights=torch.zeros(2, 6),
        ref_logprobs=REF_LOGPROBS,
    )
    value, weights = term(PolicyScores(LOGPROBS, ENTROPY), batch)
    return float((term.coefficient * value * weights).sum())


def test_one_coefficient_is_the_mean_over_all_tokens() -> None:
    divergence = kl_k3(LOGPROBS, REF_LOGPROBS)
    assert penalty(KLPenalty(0.5)) == pytest.approx(0.5 * float(divergence[MASK].mean()))


def test_two_coefficients_share_one_denominator_as_in_the_paper() -> None:
    divergence = kl_k3(LOGPROBS, REF_LOGPROBS)
    low, high = divergence[MASK & ~HIGH].sum(), divergence[HIGH].sum()
    term = KLPenalty(0.5, high_entropy_coefficient=0.2)
    assert penalty(term) == pytest.approx(float(0.5 * low + 0.2 * high) / 8)
    assert penalty(KLPenalty(0.5, high_entropy_coefficient=0.0)) == pytest.approx(float(0.5 * low) / 8)


def test_each_class_is_divided_by_its_share_of_the_tokens_as_in_the_released_code() -> None:
    divergence = kl_k3(LOGPROBS, REF_LOGPROBS)
    low, high = divergence[MASK & ~HIGH].sum() / (0.8 * 8), divergence[HIGH].sum() / (0.2 * 8)
    term = KLPenalty(0.5, high_entropy_coefficient=0.2, normalize_by_class=True)
    assert penalty(term) == pytest.approx(float(0.5 * low + 0.2 * high))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"coefficient": 0.0, "high_entropy_coefficient": 0.1}, "coefficient must be positive .*got 0.0"),
        ({"normalize_by_class": True}, "does nothing without high_entropy_coefficient"),
        ({"high_entropy_coefficient": 0.1, "entropy_quantile": 1.0}, "entropy_quantile must lie between 0 and 1, got 1.0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KLPenalty(**settings)
