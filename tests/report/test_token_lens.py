"""The token lens: states by hand, any objective, padding, numbers that are missing, the summary."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch

from lit_rlvr.objectives import ASPO, CISPO, GPPO, GRPO, NoImportanceSampling, ObjectiveInputs, PolicyObjective
from lit_rlvr.report.token_lens import lens, summarize
from lit_rlvr.report.token_records import TokenRecord


def record(
    ratios: Sequence[float],
    advantage: float | Sequence[float] = 1.0,
    entropy: Sequence[float] | None = None,
    loss_weight: float = 1.0,
) -> TokenRecord:
    """A completion whose tokens have these ratios; NaN for one whose log-prob was not finite."""
    n = len(ratios)
    advantages = [float(advantage)] * n if isinstance(advantage, int | float) else advantage
    old = torch.linspace(-3.0, -1.0, n, dtype=torch.float64)
    return TokenRecord(
        iteration=0,
        optimizer_step=3,
        objective={"class_path": "lit_rlvr.objectives.grpo.GRPO", "init_args": {}},
        temperature=1.0,
        reward=1.0,
        is_correct=True,
        prompt="2+2=",
        token_id=tuple(range(n)),
        token=tuple("abcdefghijklmnopqrstuvwxyz"[:n]),
        logprob=old + torch.tensor(ratios, dtype=torch.float64).log(),
        old_logprob=old,
        rollout_logprob=old,
        entropy=torch.tensor(entropy or [1.0] * n, dtype=torch.float64),
        advantage=torch.tensor(advantages, dtype=torch.float64),
        loss_weight=torch.full((n,), loss_weight, dtype=torch.float64),
    )


# ratio:                0.25       0.9       1        1.1      1.5
RATIOS = (0.25, 0.9, 1.0, 1.1, 1.5)
AS_SAMPLED = "as sampled"


@pytest.mark.parametrize(
    ("objective", "advantage", "weights", "states", "inverted"),
    [
        # w = r in range, 0 above 1.2.
        (GRPO(), 2.0, (0.25, 0.9, 1, 1.1, 0), (AS_SAMPLED,) * 4 + ("clipped",), ()),
        # w = r in range, 0 below 0.8.
        (GRPO(), -2.0, (0, 0.9, 1, 1.1, 1.5), ("clipped",) + (AS_SAMPLED,) * 4, ()),
        # w = 1.28 above 1.28.
        (GPPO(), 2.0, (0.25, 0.9, 1, 1.1, 1.28), (AS_SAMPLED,) * 4 + ("bounded",), ()),
        # w = 0.8 below 0.8: more than the ratio.
        (GPPO(), -2.0, (0.8, 0.9, 1, 1.1, 1.5), ("boosted",) + (AS_SAMPLED,) * 4, ()),
        # w = 1 / r, at most 3, and 0 above 1.2. 1 / r lies across from r; the clipped token counts as clipped alone.
        (ASPO(), 2.0, (3, 1 / 0.9, 1, 1 / 1.1, 0), ("boosted", "boosted", AS_SAMPLED, "bounded", "clipped"), (0, 1, 3)),
        # w = r in range.
        (ASPO(), -2.0, (0, 0.9, 1, 1.1, 1.5), ("clipped",) + (AS_SAMPLED,) * 4, ()),
        # w = clip(r, 0.8, 1.28).
        (CISPO(), 2.0, (0.8, 0.9, 1, 1.1, 1.28), ("boosted",) + (AS_SAMPLED,) * 3 + ("bounded",), ()),
        # w = 1 is on neither side of 1.
        (NoImportanceSampling(keep_clip_mask=False), 2.0, (1,) * 5, ("boosted",) * 2 + (AS_SAMPLED,) + ("bounded",) * 2, ()),
    ],
)
def test_states_by_hand(
    objective: PolicyObjective, advantage: float, weights: tuple, states: tuple[str, ...], inverted: tuple[int, ...]
) -> None:
    (completion,) = lens([record(RATIOS, advantage)], [objective])
    (view,) = completion.views
    assert completion.ratio.tolist() == pytest.approx(list(RATIOS))
    assert view.weight.tolist() == pytest.approx(list(weights))
    assert view.state == states
    assert tuple(view.is_inverted.nonzero().flatten().tolist()) == inverted
    assert view.count("clipped") == states.count("clipped")


def test_the_size_of_the_advantage_does_not_matter() -> None:
    small, large = lens([record(RATIOS, 1e-3), record(RATIOS, 1e3)], [ASPO()])
    torch.testing.assert_close(small.views[0].weight, large.views[0].weight)
    assert small.views[0].state == large.views[0].state


@dataclass(frozen=True)
class RowMeanRatio(PolicyObjective):
    """Weighs every token of a response by the mean ratio of the response."""

    def __call__(self, x: ObjectiveInputs) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        mean = (x.ratio.detach() * x.loss_mask).sum(dim=1, keepdim=True) / x.loss_mask.sum(dim=1, keepdim=True)
        return -x.advantages * mean * x.logprobs, {}


@dataclass(frozen=True)
class Contrary(PolicyObjective):
    """Climbs where it should descend."""

    def __call__(self, x: ObjectiveInputs) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return x.advantages * x.logprobs, {}


def test_longer_neighbours_change_nothing() -> None:
    short, long = record((0.5, 1.5)), record((1.0,) * 9, -1.0)
    objectives = [RowMeanRatio(), GRPO()]
    (alone,), (beside, _) = lens([short], objectives), lens([short, long], objectives)
    assert [view.state for view in alone.views] == [view.state for view in beside.views]
    assert alone.views[0].weight.tolist() == pytest.approx([1.0, 1.0])
    assert beside.views[0].weight.tolist() == pytest.approx([1.0, 1.0])


def test_an_objective_that_pushes_the_wrong_way_is_seen() -> None:
    (completion,) = lens([record((0.5, 1.0))], [Contrary()])
    assert completion.views[0].state == ("reversed", "reversed")
    assert not completion.views[0].is_inverted.any()


def test_tokens_without_advantage_or_numbers_have_states_of_their_own() -> None:
    (completion,) = lens([record((2.0, math.nan, 0.5, 1.0), (0.0, 1.0, 1.0, math.nan))], [GRPO()])
    (view,) = completion.views
    assert view.state == ("no advantage", "undefined", AS_SAMPLED, "undefined")
    assert math.isnan(completion.ratio[1])
    assert math.isnan(view.weight[0])
    assert view.weight[2] == pytest.approx(0.5)


def test_the_lens_needs_something_to_look_at() -> None:
    with pytest.raises(ValueError, match="got 0 and 1"):
        lens([], [GRPO()])
    with pytest.raises(ValueError, match="got 1 and 0"):
        lens([record(RATIOS)], [])


def test_the_summary_by_hand() -> None:
    # A > 0: ratios 0.25, 0.9, 1, 1.1, 1.5 with loss weight 0.5 and A = 2. A < 0: 0.5 and 1 with loss weight 0.1 and A = -1.
    completions = lens([record(RATIOS, 2.0, loss_weight=0.5), record((0.5, 1.0), -1.0, loss_weight=0.1)], [GRPO(), ASPO()])
    rows = summarize(completions)
    assert [(row.objective, row.is_positive, row.num_tokens) for row in rows] == [
        (0, True, 5),
        (0, False, 2),
        (1, True, 5),
        (1, False, 2),
    ]
    grpo, grpo_negative, aspo, _ = rows
    assert (grpo.clipped, grpo.bounded, grpo.boosted, grpo.inverted) == (0.2, 0, 0, 0)
    assert (aspo.clipped, aspo.bounded, aspo.boosted, aspo.inverted) == (0.2, 0.2, 0.4, 0.6)
    assert grpo_negative.clipped == 0.5
    assert grpo.gradient_mass == pytest.approx(0.25 + 0.9 + 1 + 1.1)
    assert aspo.gradient_mass == pytest.approx(3 + 1 / 0.9 + 1 + 1 / 1.1)
    assert grpo_negative.gradient_mass == pytest.approx(0.1)


def test_a_sign_without_tokens_has_a_row_of_zeros() -> None:
    negative = summarize(lens([record((1.0, 1.5))], [GRPO()]))[1]
    assert (negative.num_tokens, negative.clipped, negative.gradient_mass) == (0, 0.0, 0.0)
