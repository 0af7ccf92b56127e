"""What every objective of the package must be, and how its statistics must look."""

from dataclasses import is_dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from objective_cases import CLASSES, OBJECTIVES, WIDE, batches, every_objective

import lit_rlvr.objectives
from lit_rlvr.objectives import ASPO, CISPO, GPPO, GRPO, GSPO, REINFORCE, Archer, ObjectiveInputs, PolicyObjective


def test_all_objectives_are_found_and_exported() -> None:
    assert {ASPO, CISPO, GPPO, GRPO, GSPO, REINFORCE, Archer} <= set(CLASSES)
    assert {c.__name__ for c in CLASSES} <= set(lit_rlvr.objectives.__all__)


@every_objective
def test_is_a_frozen_dataclass(objective: PolicyObjective) -> None:
    assert is_dataclass(objective)
    assert objective.__dataclass_params__.frozen
    assert hash(objective) == hash(replace(objective))


@every_objective
@settings(deadline=None, max_examples=15)
@given(x=batches())
def test_statistics_are_detached_shares(objective: PolicyObjective, x: ObjectiveInputs) -> None:
    _, stats = objective(replace(x, logprobs=x.logprobs.requires_grad_()))
    for name, values in stats.items():
        assert values.shape == x.logprobs.shape, name
        assert not values.requires_grad, name
        assert name.startswith(("clip_fraction_", "dual_clip_fraction_")), name
        assert set(values[~values.isnan()].tolist()) <= {0.0, 1.0}, name


@every_objective
def test_statistics_have_the_same_names_for_every_batch(objective: PolicyObjective) -> None:
    """The module asks a batch of one token for the names."""
    one, mask = torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool)
    many = torch.linspace(-3, 3, 12).reshape(2, 6)
    _, of_one = objective(ObjectiveInputs(one, one, one, mask, one))
    _, of_many = objective(ObjectiveInputs(many, many.flip(1), many, many > -2, many))
    assert list(of_one) == list(of_many)


NEED_ENTROPY = [objective for objective in OBJECTIVES if getattr(objective, "high_entropy", None) is not None]


@every_objective
def test_entropy_is_needed_by_those_with_entropy_classes(objective: PolicyObjective) -> None:
    zeros = torch.zeros(1, 2)
    x = ObjectiveInputs(zeros, zeros, zeros, zeros == 0)
    if objective in NEED_ENTROPY:
        with pytest.raises(ValueError, match=r"needs ObjectiveInputs\.entropy, got None: give"):
            objective(x)
    else:
        assert objective(x)[0].shape == (1, 2)


def test_archer_and_aspo_of_the_released_code_have_entropy_classes() -> None:
    assert {Archer(), Archer(dual_clip=10.0), ASPO(high_entropy=WIDE)} == set(NEED_ENTROPY)
