"""Tries an objective of one's own against the contract of all objectives, and says in words what it breaks."""

from dataclasses import dataclass

from lit_rlvr.objectives import PolicyObjective
from lit_rlvr.testing import objective_conduct as conduct
from lit_rlvr.testing import objective_form as form
from lit_rlvr.testing import objective_layout as layout
from lit_rlvr.testing import objective_numerics as numerics
from lit_rlvr.testing import objective_on_policy as on_policy
from lit_rlvr.testing import objective_weights as weights
from lit_rlvr.testing.objective_findings import Fault, Finding, ObjectiveCallError, ObjectiveViolation
from lit_rlvr.testing.objective_probes import Check, Expectations


@dataclass(frozen=True)
class Rule:
    """A check, and the ones it relies on: when one of them fails, this one would only echo it."""

    check: Check
    needs: tuple[Check, ...] = ()

    @property
    def name(self) -> str:
        """Name of the rule."""
        return self.check.__name__


_CALLABLE = (form.returns_token_losses,)
_FUNCTION = (*_CALLABLE, conduct.leaves_inputs_untouched, conduct.is_repeatable)
_LEARNS = (*_FUNCTION, on_policy.gradient_reaches_logprobs)
_PER_TOKEN = (*_LEARNS, layout.does_not_reduce, layout.keeps_rows_apart)

RULES = (
    Rule(form.returns_token_losses),
    Rule(form.returns_statistics, _CALLABLE),
    Rule(conduct.leaves_inputs_untouched, _CALLABLE),
    Rule(conduct.is_repeatable, (*_CALLABLE, conduct.leaves_inputs_untouched)),
    Rule(conduct.has_no_entropy_bonus, _CALLABLE),
    Rule(on_policy.gradient_reaches_logprobs, _FUNCTION),
    Rule(layout.does_not_reduce, _FUNCTION),
    Rule(layout.keeps_rows_apart, (*_FUNCTION, layout.does_not_reduce)),
    Rule(layout.ignores_tokens_outside_mask, (*_FUNCTION, layout.does_not_reduce, layout.keeps_rows_apart)),
    Rule(layout.survives_empty_rows, (*_FUNCTION, layout.does_not_reduce, layout.keeps_rows_apart)),
    Rule(on_policy.is_reinforce_on_policy, (*_LEARNS, layout.does_not_reduce)),
    Rule(on_policy.zero_advantage_teaches_nothing, _PER_TOKEN),
    Rule(weights.never_pushes_against_advantage, _PER_TOKEN),
    Rule(weights.teaches_off_policy, _PER_TOKEN),
    Rule(weights.clips_on_the_right_side, _PER_TOKEN),
    Rule(numerics.stays_finite, _FUNCTION),
    Rule(numerics.keeps_precision, _FUNCTION),
    Rule(on_policy.is_linear_in_advantage, (*_PER_TOKEN, on_policy.is_reinforce_on_policy)),
    Rule(on_policy.gives_tokens_their_own_advantage, (*_PER_TOKEN, on_policy.is_reinforce_on_policy)),
    Rule(weights.bounds_the_push, _PER_TOKEN),
    Rule(conduct.refuses_missing_entropy, _CALLABLE),
    Rule(conduct.is_frozen_dataclass),
)
"""In the order of the report. The last five only inform."""


def check_objective(
    objective: PolicyObjective,
    *,
    scale_of_positives: float = 1.0,
    scale_of_negatives: float = 1.0,
    may_drop_tokens: bool = False,
) -> None:
    """Raise unless the objective keeps the contract of `PolicyObjective`; takes a fraction of a second and needs torch only.

    Objectives that compare the tokens of one response (a ratio of the whole response, classes of entropy) pass as they are.

    Args:
        objective: an instance, with the settings to be tried.
        scale_of_positives: gradient of tokens with a positive advantage at ratio 1, as a multiple of REINFORCE's.
        scale_of_negatives: the same for negative advantages; 0 for an objective that learns from positives only.
        may_drop_tokens: tokens of a response may have no gradient by design (those with a low entropy, say), as long as one
            of the response has.

    Raises:
        ObjectiveViolation: listing every broken rule: what was expected, what was found, why it matters, the likely cause.

    >>> from lit_rlvr.objectives import GRPO
    >>> check_objective(GRPO(clip_high=0.28))
    """
    expectations = Expectations(scale_of_positives, scale_of_negatives, may_drop_tokens)
    findings, unchecked = _apply_rules(objective, expectations)
    violations = [finding for finding in findings if finding.is_violation]
    if violations:
        raise ObjectiveViolation(repr(objective), violations, unchecked)


def inspect_objective(
    objective: PolicyObjective,
    *,
    scale_of_positives: float = 1.0,
    scale_of_negatives: float = 1.0,
    may_drop_tokens: bool = False,
) -> list[Finding]:
    """Return what `check_objective` would raise for, and what is legal but worth knowing (`is_violation` False).

    The arguments are those of `check_objective`. A rule is left out while one it relies on is broken.
    """
    return _apply_rules(objective, Expectations(scale_of_positives, scale_of_negatives, may_drop_tokens))[0]


def _apply_rules(objective: PolicyObjective, expectations: Expectations) -> tuple[list[Finding], list[str]]:
    """Return the findings, and the names of the rules that could not be checked."""
    findings: list[Finding] = []
    failed: set[str] = set()
    unchecked: list[str] = []
    for rule in RULES:
        if any(needed.__name__ in failed for needed in rule.needs):
            unchecked.append(rule.name)
            continue
        faults = _faults(rule, objective, expectations)
        findings += [Finding(rule.name, str(fault), fault.is_violation) for fault in faults]
        if any(fault.is_violation for fault in faults):
            failed.add(rule.name)
    return findings, unchecked


def _faults(rule: Rule, objective: PolicyObjective, expectations: Expectations) -> list[Fault]:
    try:
        return list(rule.check(objective, expectations))
    except ObjectiveCallError as raised:
        return [
            Fault(
                "a loss and statistics, no exception",
                f"the objective raised {raised}",
                "what it was given can occur in training",
                "see the exception; one token, an empty row and any floating type must work",
            )
        ]
