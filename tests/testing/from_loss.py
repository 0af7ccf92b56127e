"""Objectives out of one function, and what it means that a broken one is caught."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from lit_rlvr.objectives import ObjectiveInputs, PolicyObjective
from lit_rlvr.testing import ObjectiveViolation, check_objective, inspect_objective

BrokenTable = dict[str, tuple[PolicyObjective, set[str], tuple[str, ...]]]
"""By name: the objective, the rules it breaks (no others), and words of the messages."""


@dataclass(frozen=True)
class FromLoss(PolicyObjective):
    loss: Callable[[ObjectiveInputs], Tensor]
    statistics: Callable[[ObjectiveInputs], dict[str, Tensor]] = field(default=lambda x: {})

    def __call__(self, x: ObjectiveInputs) -> tuple[Tensor, dict[str, Tensor]]:
        return self.loss(x), self.statistics(x)


def surrogate(x: ObjectiveInputs) -> Tensor:
    return -torch.minimum(x.ratio * x.advantages, x.ratio.clamp(0.8, 1.2) * x.advantages)


def assert_caught(objective: PolicyObjective, rules: set[str], words: tuple[str, ...]) -> None:
    violations = [finding for finding in inspect_objective(objective) if finding.is_violation]
    text = "\n".join(finding.message for finding in violations)
    found = {finding.rule for finding in violations}
    assert found == rules, f"{found} instead of {rules}\n{text}"
    assert [word for word in words if word not in text] == [], text
    with pytest.raises(ObjectiveViolation, match=violations[0].rule):
        check_objective(objective)
