"""Numbers at the edge: log-probs of minus infinity, ratios that overflow, and digits lost to a narrower type."""

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor

from lit_rlvr.objectives import ObjectiveInputs, PolicyObjective
from lit_rlvr.testing.objective_findings import Fault, number
from lit_rlvr.testing.objective_probes import Expectations, Outcome, outcome, responses

EXTREMES = (
    (-60.0, -10.0),
    (0.0, -50.0),
    (-101.0, -1.0),
    (-1.0, -101.0),
    (-1001.0, -1.0),
    (-1.0, -1001.0),
    (-math.inf, -1.0),
    (-1.0, -math.inf),
    (-math.inf, -math.inf),
)
"""Pairs of log-prob and old log-prob: log-ratios of 50, 100 and 1000 either way, then the infinite ones."""


def stays_finite(objective: PolicyObjective, expectations: Expectations) -> Iterator[Fault]:
    """Require finite losses and gradients of a response one of whose tokens has an extreme ratio, or none."""
    for pair in EXTREMES:
        for advantage in (1.0, -1.0, 0.0):
            x = _response_with(pair, advantage)
            result = outcome(objective, x)
            is_infinite = any(torch.isinf(values).any() for values in result.statistics.values())
            if result.token_loss.isfinite().all() and result.gradient.isfinite().all() and not is_infinite:
                continue
            what = _first_not_finite(result)
            cause = (
                "an exponential without limit; `x.ratio` limits the log-ratio to ±20 and keeps the derivative"
                if math.isfinite(pair[0] - pair[1])
                else "log-probs of -inf used as they are: -inf - -inf is NaN and 0 * inf is NaN; use `x.ratio`, and "
                "`lit_rlvr.objectives.clipping.finite_logprobs(x)` for `x.logprobs`"
            )
            yield Fault(
                "finite losses, gradients and statistics at every ratio",
                f"token with logprob {pair[0]:g}, old_logprob {pair[1]:g}, advantage {advantage:g}: {what}",
                "one such token in a million makes the gradient of the whole optimizer step NaN, and the step is lost",
                cause,
            )
            return


def _response_with(pair: tuple[float, float], advantage: float) -> ObjectiveInputs:
    x = responses(torch.float32)
    x.logprobs[0, 2], x.old_logprobs[0, 2] = pair
    x.advantages[0] = advantage
    return x


def _first_not_finite(result: Outcome) -> str:
    for name, values in (("loss", result.token_loss), ("gradient", result.gradient)):
        wrong = values[~values.isfinite()]
        if len(wrong):
            return f"{name} {number(wrong[0])}"
    name = next(name for name, values in result.statistics.items() if torch.isinf(values).any())
    return f"statistic {name!r} inf"


def keeps_precision(objective: PolicyObjective, expectations: Expectations) -> Iterator[Fault]:
    """Require in float64 that a change of 1e-9 in an input reaches loss and gradient, wherever one of 1e-3 does."""
    x = responses(log_ratio_width=0.05)
    why = "golden numbers and gradient checks in float64 lose half their digits, and in float32 a half type would lose more"
    base = outcome(objective, x)
    if base.token_loss.dtype != torch.float64:
        dtype = str(base.token_loss.dtype).removeprefix("torch.")
        cause = f"a cast such as `.float()` or `.to(torch.{dtype})`"
        yield Fault("a float64 loss for float64 inputs", f"a {dtype} loss", why, cause)
        return
    for name in ("logprobs", "old_logprobs", "advantages"):
        values = getattr(x, name)
        up, down, slightly = (
            outcome(objective, replace(x, **{name: values + change * values.abs()})) for change in (1e-3, -1e-3, 1e-9)
        )
        for quantity in ("token_loss", "gradient"):
            # Both ways: at the bound of a clip range a large step may change what a small one cannot.
            matters = _differs(base, up, quantity) & _differs(base, down, quantity)
            is_lost = matters & ~_differs(base, slightly, quantity)
            if is_lost.sum() > matters.sum() / 2:
                yield Fault(
                    "losses and gradients as precise as their inputs",
                    f"a relative change of 1e-9 in {name} leaves the {quantity.removeprefix('token_')} of {int(is_lost.sum())} of "
                    f"{int(matters.sum())} float64 tokens exactly as it was",
                    why,
                    f"a cast of x.{name}, or of what is computed from it, to a narrower type: `.float()`, `.bfloat16()`, `.half()`",
                )
                return


def _differs(one: Outcome, other: Outcome, quantity: str) -> Bool[Tensor, "B T"]:
    return getattr(one, quantity) != getattr(other, quantity)
