"""Gradients that are wrong on purpose: each is caught by the rule it breaks, and the message names the fault."""

import pytest
import torch
from from_loss import BrokenTable, FromLoss, assert_caught, surrogate
from torch import Tensor

from lit_rlvr.objectives import GPPO, ObjectiveInputs, PolicyObjective
from lit_rlvr.ops import row_mean


def optimistic_clip(x: ObjectiveInputs) -> Tensor:
    return -torch.maximum(x.ratio * x.advantages, x.ratio.clamp(0.8, 1.2) * x.advantages)


def clip_of_the_wrong_side(x: ObjectiveInputs) -> Tensor:
    is_clipped = ((x.advantages > 0) & (x.ratio < 0.8)) | ((x.advantages < 0) & (x.ratio > 1.2))
    return -x.advantages * torch.where(is_clipped, 1.0, x.ratio)


def dropped_log_prob_term(x: ObjectiveInputs) -> Tensor:
    return -x.ratio.clamp(0.8, 1.28).detach() * x.advantages


def ratio_of_detached_logprobs(x: ObjectiveInputs) -> Tensor:
    return -(x.logprobs.detach() - x.old_logprobs).nan_to_num().clamp(-20, 20).exp() * x.advantages


def advantages_of_unit_scale_in_each_row(x: ObjectiveInputs) -> Tensor:
    largest = torch.where(x.loss_mask, x.advantages.abs(), 0.0).amax(dim=1, keepdim=True).clamp(min=1e-9)
    return -x.ratio * x.advantages / largest


def spread_within_the_response(x: ObjectiveInputs) -> Tensor:
    ratio = x.ratio.clamp(max=1e3)
    return -x.advantages * (ratio + 10 * (ratio - row_mean(ratio, x.loss_mask)).square())


def entropy_bonus(x: ObjectiveInputs) -> Tensor:
    assert x.entropy is not None
    return surrogate(x) - 0.01 * x.entropy


def penalty(x: ObjectiveInputs) -> Tensor:
    return surrogate(x) + 0.1 * (x.logprobs - x.old_logprobs).nan_to_num(0, 0, 0).square()


def squared_distance(x: ObjectiveInputs) -> Tensor:
    ratio = x.ratio.clamp(max=1e3)
    return -x.advantages * (ratio - (ratio - 1).square())


def hard_trust_region(x: ObjectiveInputs) -> Tensor:
    return -x.advantages * torch.where((x.ratio - 1).abs() < 1e-6, x.ratio, 1.0)


BROKEN: BrokenTable = {
    "wrong sign": (
        FromLoss(lambda x: -surrogate(x)),
        {"is_reinforce_on_policy"},
        ("sign of the advantage", "put a minus in front", "gradient 1, not -1"),
    ),
    "ratio upside down": (
        FromLoss(lambda x: -x.advantages / x.ratio),
        {"is_reinforce_on_policy"},
        ("upside down", "exp(old_logprobs - logprobs)"),
    ),
    "no log-prob term": (
        FromLoss(dropped_log_prob_term),
        {"gradient_reaches_logprobs"},
        ("missing log-prob term", "`x.logprobs`"),
    ),
    "detached ratio": (
        FromLoss(lambda x: -x.ratio.detach() * x.advantages),
        {"gradient_reaches_logprobs"},
        ("ratio is detached",),
    ),
    "detached logprobs": (FromLoss(ratio_of_detached_logprobs), {"gradient_reaches_logprobs"}, ("goes to `old_logprobs`",)),
    "reads no logprobs": (FromLoss(lambda x: -x.advantages * 1.0), {"gradient_reaches_logprobs"}, ("does not read",)),
    "twice REINFORCE": (
        FromLoss(lambda x: 2 * surrogate(x)),
        {"is_reinforce_on_policy"},
        ("constant factor", "scale_of_positives=2, scale_of_negatives=2"),
    ),
    "advantages rescaled within the row": (
        FromLoss(advantages_of_unit_scale_in_each_row),
        {"is_reinforce_on_policy"},
        ("normalised again inside", "token [1, 0] (ratio 1, advantage -2): gradient 1, not 2"),
    ),
    "optimistic clip": (FromLoss(optimistic_clip), {"clips_on_the_right_side"}, ("wrong side", "`max`", "positive", "above 1")),
    "clip of the wrong side": (FromLoss(clip_of_the_wrong_side), {"clips_on_the_right_side"}, ("wrong side", "ratio 0.740818")),
    # Known from a public release: negatives above the dual clip have no gradient, and those below keep theirs for good.
    "dual clip at 1": (
        GPPO(dual_clip=1.001),
        {"clips_on_the_right_side"},
        ("negative", "below 1", "a dual clip at a ratio below 2"),
    ),
    "gradient that turns around": (
        FromLoss(squared_distance),
        {"never_pushes_against_advantage"},
        ("sign of the advantage", "ratio 1.64872, advantage 1", "changes sign with the ratio"),
    ),
    "gradient that turns around in mixed responses": (
        FromLoss(spread_within_the_response),
        {"never_pushes_against_advantage"},
        ("in a response of mixed ratios", "detach it"),
    ),
    "only exactly on policy": (FromLoss(hard_trust_region), {"teaches_off_policy"}, ("except 1", "no ratio is exactly 1")),
    "penalty inside": (
        FromLoss(penalty),
        {"zero_advantage_teaches_nothing", "never_pushes_against_advantage"},
        ("advantage 0", "KL penalty", "terms of the module"),
    ),
    "bonus on the entropy": (
        FromLoss(entropy_bonus),
        {"has_no_entropy_bonus"},
        ("-0.01", "also with advantage 0", "entropy term"),
    ),
}


@pytest.mark.parametrize(("objective", "rules", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_is_caught_by_its_rule_in_words(objective: PolicyObjective, rules: set[str], words: tuple[str, ...]) -> None:
    assert_caught(objective, rules, words)
