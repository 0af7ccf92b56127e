"""The verb `objective check`: an objective against the contract of all objectives."""

import sys

from lit_rlvr.cli.mistakes import mistakes_explained
from lit_rlvr.cli.objective_argument import read_objective
from lit_rlvr.cli.parser import Parser

BROKEN = 1


def check(args: list[str]) -> None:
    """Print what an objective breaks, and what is worth knowing of it; end with exit code 1 when it breaks anything."""
    parser = Parser(prog="lit-rlvr objective check", description="Try an objective against the contract of all objectives.")
    parser.add_argument("objective", type=str, help="The objective, named as for `lit-rlvr objective show`.")
    parser.add_argument(
        "--scale_of_positives",
        type=float,
        default=1.0,
        help="Gradient of positive tokens at ratio 1, in multiples of REINFORCE's.",
    )
    parser.add_argument(
        "--scale_of_negatives", type=float, default=1.0, help="The same for negative tokens; 0: none by design."
    )
    parser.add_argument("--may_drop_tokens", type=bool, default=False, help="Tokens may have no gradient at ratio 1 by design.")
    parser.args = args
    settings = parser.parse_args(args)
    with mistakes_explained():
        named = read_objective(settings.objective)
    from lit_rlvr.testing import inspect_objective

    findings = inspect_objective(
        named.objective,
        scale_of_positives=settings.scale_of_positives,
        scale_of_negatives=settings.scale_of_negatives,
        may_drop_tokens=settings.may_drop_tokens,
    )
    broken = [finding for finding in findings if finding.is_violation]
    for finding in sorted(findings, key=lambda finding: not finding.is_violation):
        print(f"{'BROKEN' if finding.is_violation else 'note'}: {finding.rule}\n{finding.message}\n")
    if broken:
        rules = ", ".join(finding.rule for finding in broken)
        print(f"{named.label} breaks the contract: {rules}", file=sys.stderr)
        raise SystemExit(BROKEN)
    print(f"{named.label} keeps the contract.")
