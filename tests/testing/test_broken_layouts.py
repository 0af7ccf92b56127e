"""Objectives that look at other rows, at padding, or reduce: each is caught by its rule, and the message names the fault."""

import pytest
import torch
from from_loss import BrokenTable, FromLoss, assert_caught, surrogate
from torch import Tensor

from lit_rlvr.objectives import ObjectiveInputs, PolicyObjective


def advantages_minus_their_mean(x: ObjectiveInputs) -> Tensor:
    return -x.ratio * (x.advantages - x.advantages[x.loss_mask].mean())


def mean_ratio_with_padding(x: ObjectiveInputs) -> Tensor:
    weight = torch.exp((x.logprobs - x.old_logprobs).detach().clamp(-20, 20).mean(dim=1, keepdim=True))
    return -weight * x.advantages * x.ratio / x.ratio.detach()


def mask_as_a_factor(x: ObjectiveInputs) -> Tensor:
    log_ratio = (x.logprobs - x.old_logprobs).detach().clamp(-20, 20)
    mean = (log_ratio * x.loss_mask).sum(dim=1, keepdim=True) / x.loss_mask.sum(dim=1, keepdim=True).clamp(min=1)
    return -mean.exp() * x.advantages * x.ratio / x.ratio.detach()


def largest_ratio_of_each_row(x: ObjectiveInputs) -> Tensor:
    largest = torch.stack([ratio[mask].max() for ratio, mask in zip(x.ratio.detach(), x.loss_mask, strict=True)])
    return -x.advantages * x.ratio / largest[:, None]


def entropy_above_mean_with_padding(x: ObjectiveInputs) -> Tensor:
    assert x.entropy is not None
    bound = torch.where(x.entropy > x.entropy.mean(dim=1, keepdim=True), 1.5, 1.2)
    return -torch.minimum(x.ratio * x.advantages, torch.minimum(x.ratio, bound) * x.advantages)


def mean_of_no_tokens(x: ObjectiveInputs) -> Tensor:
    total = torch.where(x.loss_mask, x.ratio.detach(), 0.0).sum(dim=1, keepdim=True)
    return -total / x.loss_mask.sum(dim=1, keepdim=True) * x.advantages * x.ratio / x.ratio.detach()


def mean_over_batch(x: ObjectiveInputs) -> Tensor:
    weight = x.ratio.detach().mean(dim=0, keepdim=True)
    return -weight * x.advantages * x.ratio / x.ratio.detach()


def strongest_of_the_batch(x: ObjectiveInputs) -> Tensor:
    return -x.ratio * x.advantages / torch.where(x.loss_mask, x.ratio.detach(), 0.0).amax()


BROKEN: BrokenTable = {
    "broadcast mean": (
        FromLoss(lambda x: surrogate(x).mean().expand_as(x.advantages)),
        {"does_not_reduce"},
        ("all 24 tokens have the loss", ".mean()"),
    ),
    "divided by the tokens of the batch": (
        FromLoss(lambda x: surrogate(x) / x.loss_mask.sum().clamp(min=1)),
        {"does_not_reduce"},
        ("every row twice", "multiplied by 0.5"),
    ),
    "divided by the columns": (
        FromLoss(lambda x: surrogate(x) / x.advantages.shape[1]),
        {"does_not_reduce"},
        ("padding", "multiplied by 0.5"),
    ),
    "divided by the response length": (
        FromLoss(lambda x: surrogate(x) / x.loss_mask.sum(1, True).clamp(min=1)),
        {"is_reinforce_on_policy"},
        ("divided by the 6 tokens in the response", "reduction inside"),
    ),
    "advantages centred over the batch": (
        FromLoss(advantages_minus_their_mean),
        {"keeps_rows_apart", "is_reinforce_on_policy"},
        ("advantages of the other rows", "normalised over the batch"),
    ),
    "mean over the batch": (FromLoss(mean_over_batch), {"keeps_rows_apart"}, ("logprobs of the other rows", "batch dimension")),
    "maximum over the batch": (
        FromLoss(strongest_of_the_batch),
        {"keeps_rows_apart"},
        ("old_logprobs of the other rows", "batch dimension"),
    ),
    "mean with padding": (
        FromLoss(mean_ratio_with_padding),
        {"ignores_tokens_outside_mask", "stays_finite"},
        ("logprobs = nan", "row_mean"),
    ),
    "mask as a factor": (
        FromLoss(mask_as_a_factor),
        {"ignores_tokens_outside_mask", "stays_finite"},
        ("not a product", "0 * NaN is NaN"),
    ),
    "exception on an empty row": (
        FromLoss(largest_ratio_of_each_row),
        {"survives_empty_rows"},
        ("the objective raised", "max()"),
    ),
    "entropy class with padding": (
        FromLoss(entropy_above_mean_with_padding),
        {"ignores_tokens_outside_mask"},
        ("with entropy = ", "outside the mask", "row_mean"),
    ),
    "mean of no tokens": (FromLoss(mean_of_no_tokens), {"survives_empty_rows"}, ("empty row", "nan", "0 / 0")),
}


@pytest.mark.parametrize(("objective", "rules", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_is_caught_by_its_rule_in_words(objective: PolicyObjective, rules: set[str], words: tuple[str, ...]) -> None:
    assert_caught(objective, rules, words)
