"""What a run achieved: a table for people, a JSON file for programs."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lit_rlvr.metrics.intervals import Estimate
from lit_rlvr.report.curves import read_run


def read_estimates(folder: str | os.PathLike[str], stage: str = "test") -> dict[str, Estimate]:
    """Return the accuracies a run logged last: every measure of the stage that has an interval.

    Args:
        folder: the run, as for `read_run`.
        stage: `test` or `val`.

    Raises:
        ValueError: when the run logged none.
    """
    curves = read_run(folder)
    latest = {name.removeprefix(f"{stage}/"): curves.points[name][-1].value for name in curves.names(f"{stage}/")}
    measured = [name for name in latest if f"{name}_low" in latest and f"{name}_high" in latest]
    if not measured:
        raise ValueError(f"{os.fspath(folder)} holds no accuracies of stage {stage!r}: was `lit-rlvr rl {stage}` run?")
    return {name: Estimate(latest[name], latest[f"{name}_low"], latest[f"{name}_high"]) for name in measured}


def print_summary(
    before: Mapping[str, Estimate], after: Mapping[str, Estimate], seconds: Mapping[str, float], console: Console | None = None
) -> None:
    """Print accuracies before and after training with their 95 % intervals, and the seconds of each phase.

    Args:
        before: measures of the initial policy, such as `avg@8`.
        after: the same measures of the trained policy.
        seconds: seconds by phase.
        console: where to print; standard output by default.
    """
    console = console or Console()
    console.print(accuracy_table(before, after))
    if seconds:
        console.print(seconds_table(seconds))


def accuracy_table(before: Mapping[str, Estimate], after: Mapping[str, Estimate]) -> Table:
    """Return a table with one row per measure, in percent."""
    table = Table(title="Accuracy on held-out problems (%, with 95 % intervals)", title_justify="left")
    table.add_column("measure")
    for heading in ("before", "after", "change"):
        table.add_column(heading, justify="right")
    for name in [*before, *(name for name in after if name not in before)]:
        change = f"{100 * (after[name].value - before[name].value):+.1f}" if name in before and name in after else ""
        table.add_row(name, _percent(before.get(name)), _percent(after.get(name)), change)
    return table


def seconds_table(seconds: Mapping[str, float]) -> Table:
    """Return a table with one row per phase."""
    table = Table(title="Time", title_justify="left")
    table.add_column("phase")
    table.add_column("seconds", justify="right")
    for phase, value in seconds.items():
        table.add_row(phase, f"{value:.1f}")
    return table


def _percent(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    return f"{100 * estimate.value:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def write_result(
    path: str | os.PathLike[str],
    before: Mapping[str, Estimate],
    after: Mapping[str, Estimate],
    seconds: Mapping[str, float],
    seed: int,
) -> Path:
    """Write `result.json`: `before` and `after` as measure -> value, low, high; `seconds` by phase; `seed`.

    The file appears complete or not at all.

    Raises:
        ValueError: for a number that JSON cannot hold (NaN or infinity).
    """
    result = {
        "before": {name: estimate.to_dict() for name, estimate in before.items()},
        "after": {name: estimate.to_dict() for name, estimate in after.items()},
        "seconds": dict(seconds),
        "seed": seed,
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)
    return path


def read_result(path: str | os.PathLike[str]) -> tuple[dict[str, Estimate], dict[str, Estimate]]:
    """Return the measures before and after from a `result.json`.

    Raises:
        FileNotFoundError: when there is no such file.
    """
    result = json.loads(Path(path).read_text(encoding="utf-8"))
    before, after = ({name: Estimate(**values) for name, values in result[key].items()} for key in ("before", "after"))
    return before, after
