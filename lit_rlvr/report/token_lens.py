"""What objectives do to recorded tokens: which they clip, bound, boost or turn around, and by how much.

Every token has an importance ratio `r` and, under an objective, a weight `w = -gradient / A`: what multiplies its advantage in the
gradient. Plain importance sampling has `w = r`, REINFORCE has `w = 1`. The states compare `w` with `r`, whatever the objective.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lit_rlvr.objectives import ObjectiveInputs, PolicyObjective
from lit_rlvr.objectives.gradient import token_gradient
from lit_rlvr.report.token_records import TokenRecord

State = Literal["clipped", "bounded", "boosted", "as sampled", "reversed", "no advantage", "undefined"]
"""What an objective did to a token:

- `clipped`: `w = 0`. The token teaches nothing although it has an advantage.
- `bounded`: `0 < w < r`. It counts less than importance sampling would have it.
- `boosted`: `w > r`. It counts more.
- `as sampled`: `w = r`.
- `reversed`: `w < 0`. It is pushed against its advantage.
- `no advantage`: `A = 0`. No objective can do anything.
- `undefined`: `r` or `w` is not a finite number.
"""

RELATIVE_TOLERANCE = 1e-6
"""Weights this close to the ratio, or ratios and weights this close to 1, count as equal."""


@dataclass(frozen=True)
class ObjectiveView:
    """What one objective does to the `N` tokens of a completion."""

    weight: Float[Tensor, " N"]
    """`w`; NaN where the advantage is 0."""
    state: tuple[State, ...]
    is_inverted: Bool[Tensor, " N"]
    """`w > 0` lies on the other side of 1 than `r`: ASPO's flip, for one."""

    def count(self, state: State) -> int:
        """Return the number of tokens in a state."""
        return self.state.count(state)


@dataclass(frozen=True)
class CompletionLens:
    """A completion under several objectives."""

    record: TokenRecord
    ratio: Float[Tensor, " N"]
    """`r`, the same for every objective, its log limited to ±20; NaN where the log-ratio is not finite."""
    views: tuple[ObjectiveView, ...]
    """One for each objective, in the order given."""


@dataclass(frozen=True)
class SignSummary:
    """What one objective did to all tokens whose advantage has one sign."""

    objective: int
    """Index of the objective."""
    is_positive: bool
    """Whether these are the tokens with `A > 0`, or those with `A < 0`."""
    num_tokens: int
    clipped: float
    """As the next ones a share of these tokens; 0 when there are none."""
    bounded: float
    boosted: float
    inverted: float
    gradient_mass: float
    """Sum of `|loss weight * A * w|`: how hard these tokens pull together, if none pulled against another."""


def lens(records: Sequence[TokenRecord], objectives: Sequence[PolicyObjective]) -> list[CompletionLens]:
    """Return what each objective does to each token. Any objective will do, also one the run was not trained with.

    Raises:
        ValueError: there are no records or no objectives.
    """
    if not records or not objectives:
        raise ValueError(f"the lens needs completions and objectives, got {len(records)} and {len(objectives)}")
    x = _inputs(records)
    gradients = [token_gradient(objective, x) for objective in objectives]
    ratio = torch.where(torch.isfinite(x.logprobs - x.old_logprobs), x.ratio, torch.nan)
    result = []
    for i, record in enumerate(records):
        row = x.loss_mask[i]
        views = (_view(-gradient[i, row] / record.advantage, ratio[i, row], record.advantage) for gradient in gradients)
        result.append(CompletionLens(record, ratio[i, row], tuple(views)))
    return result


def _inputs(records: Sequence[TokenRecord]) -> ObjectiveInputs:
    def padded(name: str) -> Tensor:
        return pad_sequence([getattr(record, name) for record in records], batch_first=True)

    mask = pad_sequence([torch.ones(len(r.token_id), dtype=torch.bool) for r in records], batch_first=True)
    return ObjectiveInputs(padded("logprob"), padded("old_logprob"), padded("advantage"), mask, padded("entropy"))


def _view(weight: Float[Tensor, " N"], ratio: Float[Tensor, " N"], advantage: Float[Tensor, " N"]) -> ObjectiveView:
    weight = torch.where(advantage == 0, torch.nan, weight)
    difference = torch.where(_is_near(weight, ratio), 0.0, weight - ratio)
    states: dict[State, Tensor] = {
        "no advantage": advantage == 0,
        "undefined": ~torch.isfinite(weight) | ~torch.isfinite(ratio),
        "clipped": weight == 0,
        "reversed": weight < 0,
        "bounded": difference < 0,
        "boosted": difference > 0,
        "as sampled": difference == 0,
    }
    names = list(states)
    first = torch.stack(list(states.values())).int().argmax(dim=0)
    one = torch.ones_like(ratio)
    is_apart = ~_is_near(weight, one) & ~_is_near(ratio, one)
    return ObjectiveView(
        weight, tuple(names[i] for i in first.tolist()), is_apart & (weight > 0) & ((weight - 1) * (ratio - 1) < 0)
    )


def _is_near(a: Float[Tensor, " N"], b: Float[Tensor, " N"]) -> Bool[Tensor, " N"]:
    return torch.isclose(a, b, rtol=RELATIVE_TOLERANCE, atol=0.0)


def summarize(completions: Sequence[CompletionLens]) -> list[SignSummary]:
    """Return two rows per objective over all completions: tokens with `A > 0`, and tokens with `A < 0`."""
    return [
        _sign_summary(completions, objective, is_positive)
        for objective in range(len(completions[0].views))
        for is_positive in (True, False)
    ]


def _sign_summary(completions: Sequence[CompletionLens], objective: int, is_positive: bool) -> SignSummary:
    counts = dict.fromkeys(("clipped", "bounded", "boosted", "inverted"), 0)
    num_tokens, mass = 0, 0.0
    for completion in completions:
        view, record = completion.views[objective], completion.record
        chosen = record.advantage > 0 if is_positive else record.advantage < 0
        states = [state for state, is_chosen in zip(view.state, chosen.tolist(), strict=True) if is_chosen]
        for name in ("clipped", "bounded", "boosted"):
            counts[name] += states.count(name)
        counts["inverted"] += int((view.is_inverted & chosen).sum())
        num_tokens += len(states)
        mass += float((record.loss_weight * record.advantage * view.weight)[chosen].abs().nansum())
    shares = {name: count / max(num_tokens, 1) for name, count in counts.items()}
    return SignSummary(objective, is_positive, num_tokens, **shares, gradient_mass=mass)
