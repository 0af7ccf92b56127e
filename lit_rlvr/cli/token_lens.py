"""The verb `objective lens`: what objectives do to every token of recorded rollouts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lit_rlvr.cli.mistakes import mistakes_explained
from lit_rlvr.cli.objective_argument import read_objectives
from lit_rlvr.cli.parser import Parser


def lens(args: list[str]) -> None:
    """Write the page of a token log, and print where it is."""
    parser = Parser(
        prog="lit-rlvr objective lens",
        description="Draw what objectives do to every token of recorded rollouts: one HTML file that opens from disk.",
    )
    parser.add_argument("file", type=str, help="A file of the callback TokenLog: tokens/iteration_*.jsonl in a run's folder.")
    parser.add_argument("--objective", type=str, help="The objective to look through; without one, that of the run.")
    parser.add_argument(
        "--compare", nargs="+", action="extend", type=str, default=[], help="More, to be asked about the same tokens."
    )
    parser.add_argument("-o", "--out", type=str, help="The HTML file; without one, the log's name in the current folder.")
    parser.add_argument(
        "--max_completions", type=int, default=50, help="Completions shown: those with the most clipped tokens."
    )
    parser.args = args
    settings = parser.parse_args(args)
    with mistakes_explained():
        print(_write(settings.file, settings.objective, settings.compare, settings.out, settings.max_completions))


def _write(file: str, objective: str | None, compare: Sequence[str], out: str | None, max_completions: int) -> Path:
    from lit_rlvr.report.token_lens_page import write_lens
    from lit_rlvr.report.token_records import read_tokens

    records = read_tokens(file)
    named = read_objectives([objective or recorded_objective(records[0].objective), *compare])
    path = Path(out) if out else Path(file.rsplit("/", 1)[-1]).with_suffix(".html")
    return write_lens(path, records, {one.label: one.objective for one in named}, f"Token lens: {file}", max_completions)


def recorded_objective(description: Mapping[str, Any]) -> str:
    """Return the objective of a token log as one would name it on the command line.

    Raises:
        ValueError: the description has no class path.
    """
    if not isinstance(description.get("class_path"), str):
        raise ValueError(
            f"the log does not say which objective it was written with ({description!r}): name one with --objective"
        )
    settings = ", ".join(f"{key}={value!r}" for key, value in description.get("init_args", {}).items())
    return f"{description['class_path']}({settings})"
