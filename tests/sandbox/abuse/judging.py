"""What an outcome says about its case. Nothing of an outcome is executed or believed."""

from dataclasses import dataclass, field

from abuse_case import BREACH, Case

from lit_rlvr.rewards.code import same_output, same_value
from lit_rlvr.sandbox import Limits, Outcome

TOLERANCE_S = 0.5
"""Seconds by which a program may be killed late, and by which the outcome may come later still."""


@dataclass
class Finding:
    """What is wrong with one case."""

    faults: list[str] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)
    """What a machine busy with other things can explain; a fault when it happens again."""
    status: list[str] = field(default_factory=list)


def judge(case: Case, expected: list[str], outcomes: list[Outcome], limits: Limits, secret: str) -> Finding:
    """Return what is wrong with the outcomes of a case, one for each expected output."""
    finding = Finding(status=[outcome.status for outcome in outcomes])
    for outcome in outcomes:
        finding.faults += _faults(outcome, limits, secret)
        finding.slow += _lateness(outcome, limits)
    pays = all(_is_right(case, wanted, outcome) for wanted, outcome in zip(expected, outcomes, strict=True))
    if case.earns != "either" and pays != case.earns:
        kind = finding.slow if case.earns and "timeout" in finding.status else finding.faults
        kind.append(f"{'paid' if pays else 'not paid'}: {[shown(outcome) for outcome in outcomes]}")
    return finding


def shown(outcome: Outcome) -> str:
    """Return an outcome in a few words."""
    return (
        f"{outcome.status} {outcome.detail[:200]!r} {outcome.result[:100]!r} {outcome.stdout[:200]!r} {outcome.stderr[-300:]!r}"
    )


def _faults(outcome: Outcome, limits: Limits, secret: str) -> list[str]:
    faults = []
    texts = (
        outcome.stdout,
        outcome.stderr,
        outcome.result.encode("utf-8", "replace"),
        outcome.detail.encode("utf-8", "replace"),
    )
    if secret.encode() in b"\n".join(texts):
        faults.append("the secret got out")
    if BREACH.encode() in outcome.stdout:
        faults.append(f"a breach: {shown(outcome)}")
    if outcome.status == "infra":
        faults.append(f"not judged: {outcome.detail}")
    if len(outcome.stdout) > limits.output_bytes or len(outcome.stderr) > limits.stderr_bytes:
        faults.append(f"{len(outcome.stdout)} and {len(outcome.stderr)} bytes of output")
    if not outcome.detail.isprintable():
        faults.append(f"a detail with control characters: {outcome.detail!r}")
    return faults


def _lateness(outcome: Outcome, limits: Limits) -> list[str]:
    is_late = outcome.wall_s > limits.wall_s + TOLERANCE_S or outcome.cpu_s > limits.cpu_s + TOLERANCE_S
    return [f"ran for {outcome.wall_s:.2f} s, {outcome.cpu_s:.2f} CPU seconds"] * is_late


def _is_right(case: Case, expected: str, outcome: Outcome) -> bool:
    if outcome.status != "ok":
        return False
    if case.asserts:
        return outcome.passed
    return same_value(expected, outcome.result) if case.function else same_output(expected.encode(), outcome.stdout)
