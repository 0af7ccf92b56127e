"""What an objective does to a token, measured by autograd: its weight at every ratio, its push at every probability."""

import inspect
import math
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lit_rlvr.objectives import ObjectiveInputs, PolicyObjective
from lit_rlvr.objectives.gradient import gradient_weight, token_gradient
from lit_rlvr.report.objective_card.curve import SIDE, Curve, trace

TABLE_RATIOS = (0.01, 0.05, 0.1, 0.2, 0.5, 0.8, 1.0, 1.2, 2.0, 5.0, 10.0)
RATIO_RANGE = (0.01, 20.0)
OLD_PROBABILITY = 0.1
"""Probability under the old policy of the token whose new probability varies."""
HALVED = 0.5 * (1 - SIDE)
"""Ratio of the tokens that are compared at the same ratio. A bound of exactly 1/2 is common: rounding must not decide on it."""
PROBABILITY_RANGE = (1e-3, 0.999)
NUM_PROBABILITIES = 60
MIXED = (0.9, 1.1)
"""Ratios of the responses that tell whether tokens look at each other."""


class Case(NamedTuple):
    """Which tokens."""

    advantage: float
    """1 or -1."""
    is_high_entropy: bool
    """True: the tokens of a response at which the policy is least sure; False: those at which it is surest."""


CASES = tuple(Case(advantage, is_high_entropy) for is_high_entropy in (False, True) for advantage in (1.0, -1.0))


@dataclass(frozen=True)
class Measurement:
    """All that the card of an objective shows."""

    label: str
    objective: PolicyObjective
    weights: Mapping[Case, Curve]
    """Gradient weight `w`, as in `d loss / d logprob = -A w`, against the ratio."""
    push: Mapping[Case, Curve]
    """Size of `d loss / d logit` per unit of advantage against the token's probability `p`, where the token's old probability
    is 0.1. The logit is the token's own, so that this is `w (1 - p)`: what one step does to an unlikely token, and to a likely
    one. Under GRPO a right token that has become unlikely (small p, hence a small ratio) is hardly pushed back up: the point of
    the ASPO paper (arXiv 2510.06062, section 4)."""
    push_at_half: Mapping[Case, Curve]
    """The same for tokens whose probability has halved, whatever it was: `w(1/2) (1 - p)`. The ratio is held, so that the
    weight alone tells two objectives apart."""
    depends_on_response: bool
    """Whether a token's weight depends on the ratios of the other tokens of its response. In all curves they share its ratio."""

    @property
    def depends_on_entropy(self) -> bool:
        """Whether tokens of high and low entropy have different weights."""
        pairs = [(self.weights[Case(advantage, False)], self.weights[Case(advantage, True)]) for advantage in (1.0, -1.0)]
        return any(low.x != high.x or not np.array_equal(low.y, high.y, equal_nan=True) for low, high in pairs)

    @property
    def cases(self) -> tuple[Case, ...]:
        """The cases that differ."""
        return CASES if self.depends_on_entropy else CASES[:2]

    def weight(self, ratio: Float[Tensor, " R"], case: Case) -> Float[Tensor, " R"]:
        """Return the gradient weight at further ratios."""
        return gradient_weight(self.objective, ratio, case.advantage, case.is_high_entropy)


def measure(label: str, objective: PolicyObjective) -> Measurement:
    """Measure an objective.

    Args:
        label: its name in tables and figures.
        objective: any policy objective. It is called on whole responses of ten tokens with one ratio each.

    Raises:
        ValueError: the objective raised, or its loss has no gradient; the message has its class and the place in its file.
    """
    # The objective may be anybody's: whatever it raises is for its author, with its name, and not a crash of this command.
    try:
        return Measurement(
            label,
            objective,
            {case: _weights(objective, case) for case in CASES},
            {case: _push(objective, case) for case in CASES},
            {case: _push_at_half(objective, case) for case in CASES},
            any(_depends_on_response(objective, case) for case in CASES[:2]),
        )
    except Exception as error:
        name = type(objective).__name__
        raise ValueError(f"{name} raised {type(error).__name__}: {error} ({_place(error, objective)})") from error


def _weights(objective: PolicyObjective, case: Case) -> Curve:
    return trace(lambda ratio: gradient_weight(objective, ratio, *case), *RATIO_RANGE, at=TABLE_RATIOS)


def _push(objective: PolicyObjective, case: Case) -> Curve:
    old_logprob = math.log(OLD_PROBABILITY)

    def push(p: Float[Tensor, " X"]) -> Float[Tensor, " X"]:
        return gradient_weight(objective, p / OLD_PROBABILITY, *case, old_logprob=old_logprob) * (1 - p)

    return trace(push, *PROBABILITY_RANGE)


def _push_at_half(objective: PolicyObjective, case: Case) -> Curve:
    """Return the push up to p = 1/2: a token that has halved cannot be more likely."""
    half = torch.tensor([HALVED], dtype=torch.float64)
    log_p = torch.linspace(math.log(PROBABILITY_RANGE[0]), math.log(HALVED), NUM_PROBABILITIES).tolist()
    weights = [gradient_weight(objective, half, *case, old_logprob=x - math.log(HALVED)).item() for x in log_p]
    p = [math.exp(x) for x in log_p]
    return Curve(tuple(p), tuple(w * (1 - x) for w, x in zip(weights, p, strict=True)))


def _depends_on_response(objective: PolicyObjective, case: Case) -> bool:
    """Return whether the weights of two tokens change when they share a response."""
    alone = gradient_weight(objective, torch.tensor(MIXED, dtype=torch.float64), case.advantage)
    logprobs = torch.tensor([MIXED * 5], dtype=torch.float64).log() - 1
    x = ObjectiveInputs(
        logprobs=logprobs,
        old_logprobs=torch.full_like(logprobs, -1.0),
        advantages=torch.full_like(logprobs, case.advantage),
        loss_mask=torch.ones_like(logprobs, dtype=torch.bool),
        entropy=torch.arange(logprobs.numel(), dtype=logprobs.dtype)[None],
    )
    together = token_gradient(objective, x)[0, : len(MIXED)] / -case.advantage
    return not torch.allclose(together, alone, equal_nan=True)


def _place(error: Exception, objective: PolicyObjective) -> str:
    """Return where in the objective's own file the error came from, or that it came from its gradient."""
    file = inspect.getfile(type(objective))
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"{file}, line {frames[-1].lineno}" if frames else f"in the gradient of the loss that {file} returns"
