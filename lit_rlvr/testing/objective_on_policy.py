"""At ratio 1 an objective is REINFORCE, and without an advantage it is nothing."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lit_rlvr.objectives import ObjectiveInputs, PolicyObjective
from lit_rlvr.testing.objective_findings import Fault, number, token
from lit_rlvr.testing.objective_probes import COLUMNS, ROWS, Expectations, Outcome, call, copy_with_gradient, outcome, responses

TOLERANCE = 1e-5


def gradient_reaches_logprobs(objective: PolicyObjective, expectations: Expectations) -> Iterator[Fault]:
    """Require a gradient of some token, on policy or off."""
    for width in (0.0, 0.1):
        if outcome(objective, responses(log_ratio_width=width)).gradient.any():
            return
    x = responses(log_ratio_width=0.1)
    moved = replace(x, logprobs=x.logprobs + 1e-3)
    if _reaches_old_logprobs(objective):
        cause = "the gradient goes to `old_logprobs`: the wrong one of the two is detached, or they are exchanged"
    elif not torch.equal(outcome(objective, x).token_loss, outcome(objective, moved).token_loss):
        cause = (
            "the ratio is detached, and nothing else carries the gradient: a detached weight needs the factor `x.logprobs` "
            "(a missing log-prob term)"
        )
    else:
        cause = "the loss does not read `x.logprobs` or `x.ratio`"
    yield Fault(
        "a gradient with respect to logprobs: at ratio 1, -A",
        "the gradient of every token is 0, for ratios of 1 and around it",
        "the policy does not learn, although the loss moves",
        cause,
    )


def _reaches_old_logprobs(objective: PolicyObjective) -> bool:
    _, x = copy_with_gradient(responses(log_ratio_width=0.1))
    old = x.old_logprobs.requires_grad_()
    with torch.enable_grad():
        loss = call(objective, x)[0].sum()
    if not loss.requires_grad:
        return False
    (gradient,) = torch.autograd.grad(loss, old, allow_unused=True, materialize_grads=True)
    return bool(gradient.any())


def is_reinforce_on_policy(objective: PolicyObjective, expectations: Expectations) -> Iterator[Fault]:
    """Require the gradient -A where `logprobs` equal `old_logprobs`, in either precision."""
    for dtype in (torch.float32, torch.float64):
        x = responses(dtype, log_ratio_width=0.0)
        found = outcome(objective, x)
        scales = expectations.scales(x.advantages)
        expected = -x.advantages * scales
        is_right = torch.isclose(found.gradient, expected, rtol=TOLERANCE, atol=0)
        if expectations.may_drop_tokens:
            is_right |= (found.gradient == 0) & is_right.any(dim=1, keepdim=True)
        if is_right.all():
            continue
        row, column = (~is_right).nonzero()[0].tolist()
        yield Fault(
            "at ratio 1 the gradient -A of REINFORCE"
            + ("" if torch.all(scales == 1) else f", times {number(scales[row, column])} as stated"),
            f"{token(x, row, column)}: gradient {number(found.gradient[row, column])}, not {number(expected[row, column])}",
            "the first update after a rollout is on policy, so the policy gradient itself is wrong",
            _cause_on_policy(objective, x, found),
        )
        return


def _cause_on_policy(objective: PolicyObjective, x: ObjectiveInputs, found: Outcome) -> str:
    factors = -found.gradient / x.advantages
    if not factors.isfinite().all():
        return "a division by 0: is something normalised inside?"
    if _is_constant(factors) and factors[0, 0] < 0:
        if torch.allclose(found.token_loss, -x.advantages, rtol=TOLERANCE):
            return "the ratio is upside down, exp(old_logprobs - logprobs): its value is right at 1, its derivative is negative"
        return "the gradient has the sign of the advantage: the loss is to be minimized, put a minus in front"
    if not factors.any():
        return "no gradient exactly at ratio 1: is 1 outside the clip range, or a comparison strict where it should not be?"
    doubled = outcome(objective, replace(x, advantages=2 * x.advantages))
    if torch.allclose(doubled.gradient, found.gradient, rtol=1e-3):
        return "twice the advantage gives the same gradient: the advantages are normalised again inside"
    return _name_of_factor(factors, x.advantages > 0)


def _name_of_factor(factors: Float[Tensor, "B T"], is_positive: Bool[Tensor, "B T"]) -> str:
    if _is_constant(factors):
        for divisor, what in ((ROWS, "rows"), (COLUMNS, "tokens in the response"), (ROWS * COLUMNS, "tokens in the batch")):
            if abs(float(factors[0, 0]) * divisor - 1) < TOLERANCE:
                return f"divided by the {divisor} {what}: a reduction inside; the module's loss weights do that"
    if _is_constant(factors[is_positive]) and _is_constant(factors[~is_positive]):
        positive, negative = (number(factors[where][0]) for where in (is_positive, ~is_positive))
        return f"a constant factor; by design? Then pass scale_of_positives={positive}, scale_of_negatives={negative}"
    if torch.all(torch.isclose(factors, torch.ones_like(factors), rtol=TOLERANCE) | (factors == 0)):
        return "some tokens of a response have no gradient; by design? Then pass may_drop_tokens=True"
    return "a factor or a term besides ratio times advantage (entropy, length, a penalty), or advantages changed inside"


def _is_constant(values: Tensor) -> bool:
    return torch.allclose(values, values.flatten()[0], rtol=TOLERANCE, atol=0)


def zero_advantage_teaches_nothing(objective: PolicyObjective, expectations: Expectations) -> Iterator[Fault]:
    """Require a gradient of exactly 0 where the advantage is 0, at every ratio."""
    for width in (0.0, 0.3, 20.0):
        x = responses(log_ratio_width=width)
        x.advantages[1:3] = 0
        gradient = outcome(objective, x).gradient
        is_wrong = (gradient != 0) & (x.advantages == 0)
        if is_wrong.any():
            row, column = is_wrong.nonzero()[0].tolist()
            yield Fault(
                "a gradient of exactly 0 where the advantage is 0",
                f"{token(x, row, column)}: gradient {number(gradient[row, column])}",
                "groups that are all right or all wrong have advantage 0; they outnumber the others, and would steer the run",
                "a term that the advantage does not multiply (a KL penalty, an entropy bonus: terms of the module), "
                "or advantages shifted inside",
            )
            return


def is_linear_in_advantage(objective: PolicyObjective, expectations: Expectations) -> Iterator[Fault]:
    """Ask for three times the gradient at three times the advantage."""
    x = responses()
    once, thrice = (outcome(objective, replace(x, advantages=k * x.advantages)).gradient for k in (1.0, 3.0))
    differs = ~torch.isclose(thrice, 3 * once, rtol=TOLERANCE, atol=1e-12)
    if differs.any():
        row, column = differs.nonzero()[0].tolist()
        yield Fault(
            "three times the gradient for three times the advantage",
            f"{token(x, row, column)}: gradient {number(once[row, column])}; with advantage "
            f"{number(3 * x.advantages[row, column])}: {number(thrice[row, column])}",
            "the scale of the rewards becomes a hyper-parameter of the objective",
            "a power, a limit or a normalisation of the advantage inside; legal when it is meant",
            is_violation=False,
        )


def gives_tokens_their_own_advantage(objective: PolicyObjective, expectations: Expectations) -> Iterator[Fault]:
    """Ask that each token follows its own advantage where they differ within a response."""
    x = responses(log_ratio_width=0.0)
    x = replace(x, advantages=x.advantages * torch.linspace(0.5, 2.0, COLUMNS, dtype=x.advantages.dtype))
    gradient, expected = outcome(objective, x).gradient, -x.advantages * expectations.scales(x.advantages)
    differs = ~torch.isclose(gradient, expected, rtol=TOLERANCE) & (gradient != 0)
    if differs.any():
        row, column = differs.nonzero()[0].tolist()
        yield Fault(
            "at ratio 1 the gradient -A with the token's own A, also where advantages differ within a response",
            f"{token(x, row, column)}: gradient {number(gradient[row, column])}",
            "advantages that differ from token to token (GAE, process rewards) are mixed within the response",
            "a ratio of the whole response with a gradient; legal, but made for one advantage per response",
            is_violation=False,
        )
