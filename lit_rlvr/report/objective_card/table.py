"""The gradient weights as a table."""

import textwrap
from collections.abc import Sequence

import torch
from rich.table import Table

from lit_rlvr.report.objective_card.curve import Curve
from lit_rlvr.report.objective_card.measurement import TABLE_RATIOS, Case, Measurement

SAME = 1e-4
"""Ratios that differ by less, relatively, share a row."""
HEADING_WIDTH = 16


def weight_table(measured: Sequence[Measurement]) -> Table:
    """Return `w` by ratio: a row for each usual ratio and each kink, a column for each sign, and entropy where it matters.

    Where the weight jumps the cell shows the values on both sides.
    """
    table = Table()
    table.add_column("r", justify="right", no_wrap=True)
    columns = [(one, case) for one in measured for case in one.cases]
    for one, case in columns:
        table.add_column(heading(one, case), justify="right", no_wrap=True)
    for ratio in rows(measured):
        table.add_row(f"{ratio:.5g}", *(cell(one, case, ratio) for one, case in columns))
    return table


def rows(measured: Sequence[Measurement]) -> list[float]:
    """Return the ratios of the table: the usual ones, and where any of the weights has a kink."""
    kinks = {kink.x for one in measured for case in one.cases for kink in one.weights[case].kinks}
    ratios: list[float] = []
    for ratio in sorted([*TABLE_RATIOS, *kinks]):
        if not ratios or abs(ratio / ratios[-1] - 1) > SAME:
            ratios.append(ratio)
    return ratios


def cell(one: Measurement, case: Case, ratio: float) -> str:
    """Return the weight as text."""
    jump = jump_at(one.weights[case], ratio)
    if jump is not None:
        return f"{number(jump[0])} → {number(jump[1])}"
    (weight,) = one.weight(torch.tensor([ratio], dtype=torch.float64), case).tolist()
    return number(weight)


def number(value: float) -> str:
    """Return three digits, and no minus before 0."""
    return f"{value + 0.0:.3g}"


def jump_at(curve: Curve, ratio: float) -> tuple[float, float] | None:
    """Return the values on both sides when the curve jumps there."""
    return next(((jump.below, jump.above) for jump in curve.jumps if abs(jump.x / ratio - 1) <= SAME), None)


def heading(one: Measurement, case: Case) -> str:
    """Return the label, the sign, and the entropy where it matters, one below the other."""
    lines = [*textwrap.wrap(one.label, HEADING_WIDTH), f"A {'>' if case.advantage > 0 else '<'} 0"]
    if one.depends_on_entropy:
        lines.append(f"{'high' if case.is_high_entropy else 'low'} entropy")
    return "\n".join(lines)
