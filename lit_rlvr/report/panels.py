"""Figures of panels below each other, from the metrics of one run or of several."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from lit_rlvr.report.curves import Curves
from lit_rlvr.report.style import COLORS, Line, draw_lines, draw_shares, finish, new_figure

Runs = Mapping[str, Curves]
"""Runs by the name they shall have in the legend."""
StrPath = str | os.PathLike[str]


def draw_panels(
    runs: Runs,
    path: StrPath,
    title: str,
    ylabel: str,
    panels: Mapping[str, Mapping[str, str]],
    as_percent: bool = False,
) -> Path | None:
    """Draw panels given as panel title -> metric -> label; panels and lines without data are left out.

    With one run colours tell metrics apart, with several they tell runs apart. Returns None when there is nothing to draw.
    """
    lines = {heading: found for heading, labels in panels.items() if (found := _lines(runs, labels))}
    if not lines:
        return None
    figure, axes = new_figure(len(lines), height=2.2 if len(lines) > 1 else 3.6)
    for panel, (heading, found) in zip(axes, lines.items(), strict=True):
        draw_lines(panel, found, ylabel, as_percent)
        panel.set_title(heading, fontsize=9, loc="left")
    return finish(figure, axes, [line for found in lines.values() for line in found], title, _xlabel(runs), Path(path))


def draw_distribution(runs: Runs, path: StrPath, title: str, ylabel: str, labels: Mapping[str, str]) -> Path | None:
    """Stack shares that sum to 1, given as metric -> label, one panel per run that has logged them all."""
    having = {run: curves for run, curves in runs.items() if all(name in curves for name in labels)}
    if not having:
        return None
    figure, axes = new_figure(len(having), height=2.6 if len(having) > 1 else 3.6)
    for panel, (run, curves) in zip(axes, having.items(), strict=True):
        columns = [_columns(runs, curves, name) for name in labels]
        draw_shares(panel, columns[0][0], dict(zip(labels.values(), (values for _, values in columns), strict=True)), ylabel)
        panel.set_title(run, fontsize=9, loc="left")
    return finish(figure, axes, [], title, _xlabel(runs), Path(path))


def one_panel_each(runs: Runs, panels: Mapping[str, Mapping[str, str]]) -> Mapping[str, Mapping[str, str]]:
    """Return the panels as they are for one run; for several, whose colours tell runs apart, one panel per metric."""
    if len(runs) == 1:
        return panels
    single = [(title, name, label) for title, labels in panels.items() for name, label in labels.items()]
    return {f"{title}: {label}" if title else label: {name: label} for title, name, label in single}


def _xlabel(runs: Runs) -> str:
    return "finished RL iterations" if _have_rollouts(runs) else "optimizer steps"


def _have_rollouts(runs: Runs) -> bool:
    return any(curves.has_rollouts for curves in runs.values())


def _lines(runs: Runs, labels: Mapping[str, str]) -> list[Line]:
    labels = {name: label for name, label in labels.items() if any(name in curves for curves in runs.values())}
    lines = []
    for i, (run, curves) in enumerate(runs.items()):
        for j, (name, label) in enumerate(labels.items()):
            if name not in curves:
                continue
            x, y = _columns(runs, curves, name)
            low, high = (_bound(runs, curves, f"{name}_{side}", x) for side in ("low", "high"))
            full_label = label if len(runs) == 1 else run if len(labels) == 1 else f"{run}: {label}"
            color = COLORS[(j if len(runs) == 1 else i) % len(COLORS)]
            lines.append(Line(full_label, x, y, color, name == "rollout/accuracy", low, high))
    return lines


def _columns(runs: Runs, curves: Curves, name: str) -> tuple[list[float], list[float]]:
    return curves.by_iteration(name) if _have_rollouts(runs) else curves.by_step(name)


def _bound(runs: Runs, curves: Curves, name: str, at: Sequence[float]) -> Sequence[float] | None:
    """Return the bounds at the same places as the values, or None when the run has not logged them there."""
    x, values = _columns(runs, curves, name) if name in curves else ([], [])
    return values if x == list(at) else None
