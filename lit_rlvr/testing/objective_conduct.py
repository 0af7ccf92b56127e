"""How an objective behaves as a function: repeatable, without side effects, without an entropy bonus that cannot work."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace

import torch

from lit_rlvr.objectives import PolicyObjective
from lit_rlvr.testing.objective_findings import Fault, ObjectiveCallError
from lit_rlvr.testing.objective_probes import (
    Difference,
    Expectations,
    call,
    copy_with_gradient,
    first_difference,
    outcome,
    responses,
)

NUM_CALLS = 4


def is_repeatable(objective: PolicyObjective, expectations: Expectations) -> Iterator[Fault]:
    """Require the same losses for the same inputs, whatever was asked in between."""
    difference = _difference_between_calls(objective, seed=None)
    if difference is None:
        return
    is_random = _difference_between_calls(objective, seed=0) is None
    yield Fault(
        "the same losses and gradients whenever the inputs are the same",
        f"called again with the same inputs, {difference}",
        "a resumed run would not be the run it resumes, and micro-batches would be treated differently",
        "random numbers drawn inside the objective"
        if is_random
        else "state kept from call to call (a running mean, a counter); compute it from the inputs, or advance it in a hook",
    )


def _difference_between_calls(objective: PolicyObjective, seed: int | None) -> Difference | None:
    """Compare calls with the same inputs, others in between; with a seed, all start from that state of torch's generator."""
    x = responses()
    outcomes = []
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        for _ in range(NUM_CALLS):
            if seed is not None:
                torch.manual_seed(seed)
            outcomes.append(outcome(objective, x))
            outcome(objective, replace(x, advantages=-3 * x.advantages))
    differences = (first_difference(outcomes[0], other, x.loss_mask, rtol=0) for other in outcomes[1:])
    return next((difference for difference in differences if difference), None)


def leaves_inputs_untouched(objective: PolicyObjective, expectations: Expectations) -> Iterator[Fault]:
    """Require that nothing is written into the tensors of the batch."""
    _, x = copy_with_gradient(responses())
    before = {f.name: getattr(x, f.name).detach().clone() for f in fields(x)}
    needed_gradient = {f.name: getattr(x, f.name).requires_grad for f in fields(x)}
    call(objective, x)
    for name, values in before.items():
        after = getattr(x, name)
        why = "terms, statistics and later epochs over the same rollouts read the same tensors"
        if not torch.equal(after.detach(), values):
            row, column = (after.detach() != values).nonzero()[0].tolist()
            found = f"x.{name}[{row}, {column}] was {values[row, column].item():.6g} and is {after[row, column].item():.6g}"
            cause = f"an operation in place (`x.{name} -= ...`, `.clamp_()`, `.mul_()`); write `{name} = x.{name} - ...`"
            yield Fault("inputs as they were before the call", found, why, cause)
        elif after.requires_grad and not needed_gradient[name]:
            cause = f"`x.{name}.requires_grad_()`; only `logprobs` has a gradient"
            yield Fault("inputs as they were before the call", f"x.{name} requires a gradient now", why, cause)


def has_no_entropy_bonus(objective: PolicyObjective, expectations: Expectations) -> Iterator[Fault]:
    """Require a loss without entropy bonus: the entropy arrives without gradient, so that it would do nothing."""
    for scale in (0.0, 1.0):
        _, x = copy_with_gradient(responses())
        assert x.entropy is not None
        entropy = x.entropy.requires_grad_()
        with torch.enable_grad():
            loss = call(objective, replace(x, advantages=scale * x.advantages))[0].sum()
        if not loss.requires_grad:
            return
        (gradient,) = torch.autograd.grad(loss, entropy, allow_unused=True, materialize_grads=True)
        if not gradient.any():
            continue
        row, column = gradient.nonzero()[0].tolist()
        is_bonus = scale == 0
        yield Fault(
            "no derivative with respect to x.entropy: it is a number about the token, not a part of the loss",
            f"d loss / d entropy of token [{row}, {column}] is {gradient[row, column].item():.6g}"
            + (", also with advantage 0" if is_bonus else ""),
            "in training the entropy has no gradient, so this part of the loss changes the logged value and teaches nothing",
            "an entropy bonus inside: use the module's entropy term"
            if is_bonus
            else "no fault; `x.entropy.detach()` would say it",
            is_violation=is_bonus,
        )
        return


def refuses_missing_entropy(objective: PolicyObjective, expectations: Expectations) -> Iterator[Fault]:
    """Ask for an objective that works without entropies, or says with a ValueError that it needs them."""
    try:
        call(objective, replace(copy_with_gradient(responses())[1], entropy=None))
    except ObjectiveCallError as raised:
        if not isinstance(raised.error, ValueError):
            yield Fault(
                "a ValueError that asks for the entropy, when ObjectiveInputs.entropy is None",
                str(raised),
                "the module always gives the entropy; whoever calls the objective elsewhere should be told",
                "no check of `x.entropy is None` before it is used",
                is_violation=False,
            )


def is_frozen_dataclass(objective: PolicyObjective, expectations: Expectations) -> Iterator[Fault]:
    """Ask for fields that are the whole configuration, and nothing else that is kept."""
    parameters = getattr(objective, "__dataclass_params__", None)
    is_frozen = is_dataclass(objective) and parameters is not None and parameters.frozen
    if not (is_frozen and isinstance(objective, PolicyObjective)):
        yield Fault(
            "a frozen dataclass derived from PolicyObjective",
            f"{type(objective).__name__} with bases {', '.join(base.__name__ for base in type(objective).__bases__)}",
            "its fields are what YAML sets and what `--help` shows; frozen, it can keep no state that a checkpoint would miss",
            "`@dataclass(frozen=True)` or `(PolicyObjective)` left out",
            is_violation=False,
        )
