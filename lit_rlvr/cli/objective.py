"""The verb `objective`: what an objective does to a token, before any training."""

import re
from collections.abc import Sequence
from pathlib import Path

from lit_rlvr.cli.mistakes import mistakes_explained
from lit_rlvr.cli.objective_argument import NamedObjective, in_yaml, read_objectives
from lit_rlvr.cli.parser import Parser
from lit_rlvr.cli.verbs import Verb, run_part

PARTS = {
    "show": Verb("draw and print the gradient weights of objectives", "lit_rlvr.cli.objective:show"),
    "check": Verb("try an objective against the contract of all objectives", "lit_rlvr.cli.objective_check:check"),
    "lens": Verb("show what objectives do to every token of recorded rollouts", "lit_rlvr.cli.token_lens:lens"),
}

HOW_TO_NAME = (
    "An objective is named by its class (GPPO, my_package.my_module.MyObjective), with settings where wanted "
    "('GPPO(beta1=0.5, dual_clip=10)'), by a Python file (my_file.py, my_file.py:MyObjective), or by a configuration file "
    "(configs/objective/gppo.yaml)."
)


def objective(args: list[str]) -> None:
    """Run `lit-rlvr objective show|check|lens`."""
    run_part("lit-rlvr objective", PARTS, args, HOW_TO_NAME)


def show(args: list[str]) -> None:
    """Print an objective's card and write its figures and numbers."""
    parser = Parser(prog="lit-rlvr objective show", description=f"Show what objectives do to a token. {HOW_TO_NAME}")
    parser.add_argument("objective", type=str, help="The objective.")
    parser.add_argument("--compare", nargs="+", action="extend", type=str, default=[], help="More, for the same axes.")
    parser.add_argument(
        "--out", type=str, default="runs/objective_cards", help="Folder of the figures (PNG) and numbers (CSV)."
    )
    parser.args = args
    settings = parser.parse_args(args)
    with mistakes_explained():
        named = read_objectives([settings.objective, *settings.compare])
        _write_card(named, Path(settings.out))


def _write_card(named: Sequence[NamedObjective], out: Path) -> None:
    from rich.console import Console

    from lit_rlvr.report import objective_card

    measured = [objective_card.measure(one.label, one.objective) for one in named]
    console = Console(highlight=False, soft_wrap=True)
    for one, numbers in zip(named, measured, strict=True):
        print(_description(one))
        if numbers.depends_on_response:
            print("The weight of a token depends on its whole response: here all tokens of a response have the ratio r.\n")
    print("Gradient weight w by importance ratio r: d loss / d logprob = -A w. Where it jumps: below → above.")
    table = objective_card.weight_table(measured)
    is_too_wide = console.measure(table, options=console.options.update(width=10_000)).maximum > console.width
    for part in [objective_card.weight_table([one]) for one in measured] if is_too_wide else [table]:
        console.print(part)
    name = _file_name([one.label for one in measured])
    for path in (
        objective_card.draw_weights(measured, out / f"{name}_weight.png"),
        objective_card.write_weights(measured, out / f"{name}_weight.csv"),
        objective_card.draw_push(measured, out / f"{name}_push.png"),
        objective_card.write_push(measured, out / f"{name}_push.csv"),
    ):
        print(path)


def _description(named: NamedObjective) -> str:
    """Return the class, what its docstring says first, and its settings."""
    purpose = (type(named.objective).__doc__ or "").strip().split("\n")[0]
    settings = "\n".join(f"  {key}: {in_yaml(value)}" for key, value in named.settings.items())
    return "\n".join(part for part in (f"{named.label}  ({named.class_path})", purpose, settings) if part) + "\n"


def _file_name(labels: Sequence[str]) -> str:
    """Return a name for files: letters, digits, dots and dashes."""
    names = [re.sub(r"[^\w.+-]+", "_", label).strip("_") for label in labels]
    joined = "_vs_".join(names)
    return joined if len(joined) <= 100 else f"{names[0][:80]}_vs_{len(names) - 1}_others"
