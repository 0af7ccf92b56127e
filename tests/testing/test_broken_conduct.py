"""Objectives that lose digits, overflow, keep state or write into the batch: each is caught by its rule, in words."""

import itertools

import pytest
import torch
from from_loss import BrokenTable, FromLoss, assert_caught, surrogate
from torch import Tensor

from lit_rlvr.objectives import ObjectiveInputs, PolicyObjective
from lit_rlvr.testing import ObjectiveViolation, check_objective


def gradient_through_old_logprobs(x: ObjectiveInputs) -> Tensor:
    x.old_logprobs.requires_grad_()
    return surrogate(x)


def advantage_edited_in_place(x: ObjectiveInputs) -> Tensor:
    loss = surrogate(x)
    x.advantages.clamp_(-1, 1)
    return loss


def unlimited_exponential(x: ObjectiveInputs) -> Tensor:
    return -(x.logprobs - x.old_logprobs).exp() * x.advantages


BROKEN: BrokenTable = {
    "unlimited exponential": (
        FromLoss(unlimited_exponential),
        {"stays_finite"},
        ("old_logprob -101", "inf", "`x.ratio` limits"),
    ),
    "log-probs of -inf": (
        FromLoss(lambda x: -x.advantages * x.logprobs),
        {"stays_finite"},
        ("logprob -inf", "finite_logprobs"),
    ),
    "cast of the ratio": (
        FromLoss(lambda x: -x.ratio.float().double() * x.advantages),
        {"keeps_precision"},
        ("1e-9 in logprobs", "narrower type"),
    ),
    "cast of the advantages": (
        FromLoss(lambda x: -x.ratio * x.advantages.float()),
        {"keeps_precision"},
        ("1e-9 in advantages", "a cast of x.advantages"),
    ),
    "float32 loss": (FromLoss(lambda x: surrogate(x).float()), {"keeps_precision"}, ("a float32 loss", "`.float()`")),
    "edit in place": (
        FromLoss(advantage_edited_in_place),
        {"leaves_inputs_untouched"},
        ("x.advantages[1, 0] was -2 and is -1", "in place"),
    ),
    "gradient switched on": (
        FromLoss(gradient_through_old_logprobs),
        {"leaves_inputs_untouched"},
        ("x.old_logprobs requires a gradient", "only `logprobs` has a gradient"),
    ),
    "noise": (
        FromLoss(lambda x: surrogate(x) * (torch.rand_like(x.advantages) > 0.1)),
        {"is_repeatable"},
        ("same inputs", "random numbers"),
    ),
}


@pytest.mark.parametrize(("objective", "rules", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_is_caught_by_its_rule_in_words(objective: PolicyObjective, rules: set[str], words: tuple[str, ...]) -> None:
    assert_caught(objective, rules, words)


def test_state_kept_from_call_to_call_is_caught() -> None:
    counter = itertools.count()
    objective = FromLoss(lambda x: surrogate(x) * (1 + 0.1 * next(counter)))
    with pytest.raises(ObjectiveViolation, match=r"is_repeatable\n(.|\n)*state kept from call to call"):
        check_objective(objective)
