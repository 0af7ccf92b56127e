"""What is legal but remarkable is reported, not raised."""

from collections.abc import Callable

import pytest
import torch
from from_loss import FromLoss
from torch import Tensor

from lit_rlvr.objectives import GRPO, ObjectiveInputs, PolicyObjective
from lit_rlvr.ops import row_mean
from lit_rlvr.testing import check_objective, inspect_objective


def arithmetic_mean_ratio(x: ObjectiveInputs) -> Tensor:
    return -row_mean(x.ratio, x.loss_mask) * x.advantages


def wide_range_above_mean_entropy(x: ObjectiveInputs) -> Tensor:
    assert x.entropy is not None
    bound = torch.where(x.entropy > row_mean(x.entropy, x.loss_mask), 1.5, 1.1)
    return -torch.minimum(x.ratio * x.advantages, torch.minimum(x.ratio, bound) * x.advantages)


def flipped_for_both_signs(x: ObjectiveInputs) -> Tensor:
    ratio = x.ratio.detach()
    return -x.advantages / ratio * x.ratio / ratio


@pytest.mark.parametrize(
    ("loss", "rule", "words"),
    [
        (flipped_for_both_signs, "bounds_the_push", "upside down for this sign"),
        (lambda x: -x.ratio * x.advantages, "bounds_the_push", "no clip on this side"),
        (
            lambda x: -x.ratio * (x.advantages - (x.advantages.abs() - 2).clamp(min=0) * x.advantages.sign()),
            "is_linear_in_advantage",
            "limit",
        ),
        (arithmetic_mean_ratio, "gives_tokens_their_own_advantage", "ratio of the whole response"),
        (wide_range_above_mean_entropy, "refuses_missing_entropy", "AssertionError"),
        (lambda x: -x.ratio * x.advantages * x.entropy / x.entropy.detach(), "has_no_entropy_bonus", "detach"),
    ],
)
def test_what_is_legal_but_remarkable_is_reported(loss: Callable[[ObjectiveInputs], Tensor], rule: str, words: str) -> None:
    findings = [f for f in inspect_objective(FromLoss(loss)) if f.rule == rule]
    assert findings
    assert any(words in f.message for f in findings), findings
    assert not any(f.is_violation for f in findings)


def test_an_objective_that_is_no_frozen_dataclass_is_reported() -> None:
    class Plain(PolicyObjective):
        def __call__(self, x: ObjectiveInputs) -> tuple[Tensor, dict[str, Tensor]]:
            return GRPO()(x)

    assert [finding.rule for finding in inspect_objective(Plain())] == ["is_frozen_dataclass"]
    assert inspect_objective(GRPO()) == []
    check_objective(Plain())
