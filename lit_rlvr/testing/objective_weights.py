"""The weight `w` in `d loss / d logprob = -A w` at every ratio: never negative, not 0 everywhere, clipped on the right side."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lit_rlvr.objectives import ObjectiveInputs, PolicyObjective
from lit_rlvr.testing.objective_findings import Fault, number, token
from lit_rlvr.testing.objective_probes import COLUMNS, Expectations, outcome, responses

LOG_DISTANCES = (0.01, 0.05, 0.15, 0.3, 0.5, 0.69, 1.0, 1.5, 2.0, 3.0, 6.0, 12.0, 19.0)
"""Distances of a ratio's log from 0 that are tried on both sides."""
NEAR = 0.7
"""Log-distance within which clip ranges around 1 lie (ratios from a half to two); a dual clip begins further out."""
MUCH = 1e3
"""Weight from which a gradient counts as unbounded: no bound in use is above 10."""


@dataclass(frozen=True)
class WeightCurve:
    """Weights of responses whose tokens all have the same ratio; their entropies rise from column to column."""

    sign: int
    """Sign of the advantage."""
    here: Float[Tensor, " T"]
    """At ratio 1."""
    onward: Float[Tensor, "R T"]
    """At ratios that moved the way of the advantage (above 1 for a positive one), by `LOG_DISTANCES`."""
    back: Float[Tensor, "R T"]
    """At ratios that moved against the advantage."""

    def ratio(self, index: int, is_onward: bool) -> float:
        """Return the ratio of one row."""
        return float(torch.tensor(LOG_DISTANCES[index] * self.sign * (1 if is_onward else -1)).exp())


def weight_curve(objective: PolicyObjective, sign: int) -> WeightCurve:
    """Return the weights along the ratio, for advantages of one sign."""
    distances = torch.tensor(LOG_DISTANCES, dtype=torch.float64) * sign
    log_ratios = torch.cat([torch.zeros(1, dtype=torch.float64), distances, -distances])[:, None].expand(-1, COLUMNS)
    # The higher of the two is -1: a log-prob is never positive.
    old = -1.0 - log_ratios.clamp(min=0)
    x = ObjectiveInputs(
        logprobs=old + log_ratios,
        old_logprobs=old,
        advantages=torch.full_like(old, float(sign)),
        loss_mask=torch.ones_like(old, dtype=torch.bool),
        entropy=torch.arange(1.0, COLUMNS + 1, dtype=torch.float64).expand_as(old),
    )
    weights = -sign * outcome(objective, x).gradient
    return WeightCurve(sign, weights[0], weights[1 : len(distances) + 1], weights[len(distances) + 1 :])


def taught_signs(expectations: Expectations) -> list[int]:
    """Return the signs of advantage that have a gradient at all."""
    return [s for s, scale in ((1, expectations.scale_of_positives), (-1, expectations.scale_of_negatives)) if scale != 0]


def _name(sign: int) -> str:
    return "positive" if sign > 0 else "negative"


def never_pushes_against_advantage(objective: PolicyObjective, expectations: Expectations) -> Iterator[Fault]:
    """Require `w >= 0` at every ratio. A sign that is wrong already at ratio 1 is reported there."""
    why = "gradient descent would make good tokens less likely, or bad ones more"
    for sign in (1, -1):
        curve = weight_curve(objective, sign)
        for is_onward, weights in ((True, curve.onward), (False, curve.back)):
            is_wrong = (weights < 0) & (curve.here >= 0)
            if is_wrong.any():
                index, column = is_wrong.nonzero()[0].tolist()
                found = (
                    f"ratio {curve.ratio(index, is_onward):.6g}, advantage {sign}: gradient "
                    f"{number(-sign * weights[index, column])}, of the advantage's own sign"
                )
                cause = "a derivative that changes sign with the ratio: ratio (1 - ratio), a penalty that outweighs the gain, 1 / ratio"
                yield Fault("a gradient that never has the sign of the advantage (w >= 0)", found, why, cause)
                return
    x = responses(log_ratio_width=2.0)
    on_policy = outcome(objective, responses(log_ratio_width=0.0)).gradient * x.advantages
    gradient = outcome(objective, x).gradient
    rounding = 1e-9 * gradient.abs().amax(dim=1, keepdim=True)
    is_wrong = (gradient * x.advantages.sign() > rounding) & (on_policy <= 0)
    if is_wrong.any():
        row, column = is_wrong.nonzero()[0].tolist()
        found = f"{token(x, row, column)}, in a response of mixed ratios: gradient {number(gradient[row, column])}"
        cause = "a mean of the response's ratios with a gradient of its own: detach it"
        yield Fault("a gradient that never has the sign of the advantage (w >= 0)", found, why, cause)


def teaches_off_policy(objective: PolicyObjective, expectations: Expectations) -> Iterator[Fault]:
    """Require a gradient at some ratio other than 1, for either sign of the advantage."""
    for sign in taught_signs(expectations):
        curve = weight_curve(objective, sign)
        if curve.here.any() and not curve.onward.any() and not curve.back.any():
            yield Fault(
                f"a gradient at some ratio other than 1 for {_name(sign)} advantages",
                f"0 at every ratio from {curve.ratio(-1, sign < 0):.2g} to {curve.ratio(-1, sign > 0):.2g} except 1",
                "from the second update of an iteration on, no ratio is exactly 1",
                "the missing log-prob term of a detached weight, or a clip range of no width for both sides",
            )


def clips_on_the_right_side(objective: PolicyObjective, expectations: Expectations) -> Iterator[Fault]:
    """Require that a token that moved against its advantage is not the one that loses its gradient.

    Within a ratio of two around 1, no gradient may be missing on that side while on the other none is ever missing. A dual clip,
    further out, is left alone; so is an objective that drops both sides.
    """
    num_near = sum(distance < NEAR for distance in LOG_DISTANCES)
    for sign in taught_signs(expectations):
        curve = weight_curve(objective, sign)
        is_wrong = (curve.back[:num_near] == 0) & (curve.onward != 0).all(dim=0) & (curve.here != 0)
        if is_wrong.any():
            index, column = is_wrong.nonzero()[0].tolist()
            yield Fault(
                f"for {_name(sign)} advantages a clip, if any, at ratios {'above' if sign > 0 else 'below'} 1",
                f"ratio {curve.ratio(index, False):.6g}, advantage {sign}: no gradient; ratio {curve.ratio(index, True):.6g}: "
                f"gradient {number(-sign * curve.onward[index, column])}",
                "tokens that went the wrong way are never brought back, and those that went far enough are pushed on: no trust region",
                "a clip on the wrong side: `max` where the surrogate takes `min` (or `min` where the loss takes `max`), a "
                "comparison turned around, or a dual clip at a ratio below 2",
            )


def bounds_the_push(objective: PolicyObjective, expectations: Expectations) -> Iterator[Fault]:
    """Ask for a weight that does not grow without bound as the ratio moves the way of the advantage."""
    for sign in taught_signs(expectations):
        curve = weight_curve(objective, sign)
        is_large = curve.onward > MUCH * curve.here.abs().amax()
        if is_large.any():
            index, column = is_large.nonzero()[0].tolist()
            yield Fault(
                f"for {_name(sign)} advantages a weight that is bounded as the ratio goes {'up' if sign > 0 else 'down'}",
                f"ratio {curve.ratio(index, True):.6g}, advantage {sign}: weight {number(curve.onward[index, column])}",
                "the further a token has gone the way of its advantage, the harder it is pushed on",
                "no clip on this side, or a ratio turned upside down for this sign; legal, but known to blow up",
                is_violation=False,
            )
