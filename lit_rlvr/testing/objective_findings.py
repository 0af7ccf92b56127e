"""What a check says about an objective: a fault in words, a finding with its rule, and the error that lists them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lit_rlvr.objectives import ObjectiveInputs


@dataclass(frozen=True)
class Fault:
    """One departure from the contract of a policy objective, in words."""

    expected: str
    """What the contract asks for."""
    found: str
    """What the objective did, with a concrete token."""
    why: str
    """What goes wrong in training because of it."""
    cause: str
    """Where to look first."""
    is_violation: bool = True
    """False: worth knowing, but legal."""

    def __str__(self) -> str:
        """Return the four parts, one per line."""
        parts = (("expected", self.expected), ("found", self.found), ("why it matters", self.why), ("likely cause", self.cause))
        return "\n".join(f"{name}: {text}" for name, text in parts)


@dataclass(frozen=True)
class Finding:
    """What `inspect_objective` reports of one rule."""

    rule: str
    """Name of the rule, the same as that of the function that checks it."""
    message: str
    """What was expected, what was found, why it matters, and the likely cause: one line each."""
    is_violation: bool
    """True: the rule is part of the contract. False: the objective is legal, but the reader should know."""


class ObjectiveViolation(AssertionError):  # noqa: N818 - what it is
    """An objective breaks its contract: `findings` holds every broken rule, with words for each."""

    def __init__(self, name: str, findings: list[Finding], unchecked: list[str]) -> None:
        self.findings = findings
        rules = "1 rule" if len(findings) == 1 else f"{len(findings)} rules"
        paragraphs = [f"{name} breaks {rules} of a policy objective:"]
        for number, finding in enumerate(findings, start=1):
            paragraphs.append(f"{number}. {finding.rule}\n   " + finding.message.replace("\n", "\n   "))
        if unchecked:
            paragraphs.append(f"Not checked until these are mended: {', '.join(unchecked)}.")
        super().__init__("\n\n".join(paragraphs))


class ObjectiveCallError(Exception):
    """The objective raised an exception of its own: the cause of this one."""

    def __init__(self, error: Exception, x: ObjectiveInputs) -> None:
        self.error = error
        dtype = str(x.logprobs.dtype).removeprefix("torch.")
        super().__init__(f"{type(error).__name__}: {error} (on inputs of shape {list(x.logprobs.shape)}, {dtype})")


def number(value: Tensor | float) -> str:
    """Return a number as people write it.

    >>> number(torch.tensor(-0.25)), number(1e30)
    ('-0.25', '1e+30')
    """
    return f"{float(value):.6g}"


def token(x: ObjectiveInputs, row: int, column: int) -> str:
    """Return which token it is, and what the objective was told about it."""
    ratio = torch.exp((x.logprobs[row, column] - x.old_logprobs[row, column]).detach())
    return f"token [{row}, {column}] (ratio {number(ratio)}, advantage {number(x.advantages[row, column])})"
