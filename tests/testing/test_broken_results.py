"""Results of the wrong form: each is caught by its rule, in words; and the report as a whole."""

from collections.abc import Callable

import pytest
import torch
from from_loss import BrokenTable, FromLoss, assert_caught, surrogate
from torch import Tensor

from lit_rlvr.objectives import ObjectiveInputs, PolicyObjective
from lit_rlvr.testing import ObjectiveViolation, check_objective


def counted_as(name: str, values: Callable[[ObjectiveInputs], Tensor]) -> FromLoss:
    return FromLoss(surrogate, lambda x: {name: values(x)})


BROKEN: BrokenTable = {
    "reduced to a scalar": (
        FromLoss(lambda x: surrogate(x).mean()),
        {"returns_token_losses"},
        ("reduction inside", "shape []"),
    ),
    "one loss per response": (
        FromLoss(lambda x: surrogate(x).sum(1)),
        {"returns_token_losses"},
        ("shape [4]", "over a response"),
    ),
    "one loss per response, kept": (
        FromLoss(lambda x: surrogate(x).mean(1, True)),
        {"returns_token_losses"},
        ("[4, 1]", "reduction inside"),
    ),
    "statistic with gradient": (
        counted_as("ratio_mean", lambda x: x.ratio),
        {"returns_statistics"},
        ("'ratio_mean'", ".detach()"),
    ),
    "averaged statistic": (
        counted_as("mean_loss", lambda x: surrogate(x).detach().mean()),
        {"returns_statistics"},
        ("'mean_loss'", "one value per token"),
    ),
    "boolean statistic": (
        counted_as("is_high", lambda x: x.ratio > 1),
        {"returns_statistics"},
        ("'is_high'", "add `.float()`"),
    ),
    "share above 1": (
        counted_as("clip_fraction", lambda x: 3 * (x.ratio.detach() > 1).float()),
        {"returns_statistics"},
        ("a share between 0 and 1", "found: 3"),
    ),
    "infinite statistic": (
        counted_as("inverse", lambda x: 1 / (x.ratio.detach() - 1).clamp(min=0)),
        {"returns_statistics", "stays_finite"},
        ("'inverse'", "division by 0"),
    ),
}


@pytest.mark.parametrize(("objective", "rules", "words"), BROKEN.values(), ids=BROKEN.keys())
def test_is_caught_by_its_rule_in_words(objective: PolicyObjective, rules: set[str], words: tuple[str, ...]) -> None:
    assert_caught(objective, rules, words)


def test_statistics_that_come_and_go_are_caught() -> None:
    objective = FromLoss(surrogate, lambda x: {"negative": x.advantages} if (x.advantages < 0).any() else {})
    with pytest.raises(
        ObjectiveViolation, match=r"returns_statistics\n(.|\n)*\['negative'\] for a batch, \[\] for a single token"
    ):
        check_objective(objective)


@pytest.mark.parametrize("result", [3.0, (torch.zeros(4, 6),), (torch.zeros(4, 6), None)], ids=["float", "no pair", "None"])
def test_another_kind_of_result_is_caught(result: object) -> None:
    class Wrong(PolicyObjective):
        def __call__(self, x: ObjectiveInputs):  # type: ignore[no-untyped-def]
            return result

    with pytest.raises(ObjectiveViolation, match=r"returns_token_losses(.|\n)*a tuple \(token_loss, statistics\)"):
        check_objective(Wrong())


def test_every_broken_rule_is_listed_with_expectation_reason_and_cause() -> None:
    objective = FromLoss(lambda x: -surrogate(x).float(), lambda x: {"above": x.ratio > 1})
    with pytest.raises(ObjectiveViolation) as caught:
        check_objective(objective)
    assert [f.rule for f in caught.value.findings] == ["returns_statistics", "is_reinforce_on_policy", "keeps_precision"]
    assert "breaks 3 rules of a policy objective" in str(caught.value)
    for finding in caught.value.findings:
        heads = [line.split(":")[0] for line in finding.message.splitlines()]
        assert heads == ["expected", "found", "why it matters", "likely cause"]


def test_rules_that_would_echo_a_fault_are_named_as_unchecked() -> None:
    with pytest.raises(
        ObjectiveViolation, match=r"Not checked until these are mended: .*is_reinforce_on_policy, .*stays_finite"
    ):
        check_objective(FromLoss(lambda x: surrogate(x).mean()))
