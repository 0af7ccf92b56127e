"""One look for all figures: a panel of labelled lines, saved as PNG without any display."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, which colour-blind readers can tell apart."""
SHARE_COLORS = ("#b2182b", "#ef8a62", "#fddbc7", "#d1e5f0", "#67a9cf", "#2166ac")
"""ColorBrewer's RdBu in six steps, from bad to good."""
SMOOTH_FROM = 40
"""Curves with more points than this, and no interval, get a moving mean."""
SMOOTH_REACH = 5
"""Neighbours on each side that the moving mean covers."""


@dataclass(frozen=True)
class Line:
    """One curve of a panel."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    color: str
    is_dashed: bool = False
    low: Sequence[float] | None = None
    """Lower bounds of an interval, drawn as a band up to `high`."""
    high: Sequence[float] | None = None


def new_figure(num_panels: int = 1, height: float = 3.6) -> tuple[Figure, list[Axes]]:
    """Return a figure with panels below each other that share their x axis. `height` is that of a panel, in inches."""
    figure = Figure(figsize=(7.0, height * num_panels + 0.4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(num_panels, 1, sharex=True, squeeze=False)[:, 0].tolist()
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", color="#dddddd", linewidth=0.8)
        panel.set_axisbelow(True)
    return figure, axes


def draw_lines(panel: Axes, lines: Sequence[Line], ylabel: str, as_percent: bool = False) -> None:
    """Draw the lines of a panel, with a legend when there is more than one. Percentages start at 0."""
    for line in lines:
        _draw_line(panel, line, scale=100.0 if as_percent else 1.0)
    panel.set_ylabel(ylabel)
    panel.margins(x=0.02)
    panel.ticklabel_format(axis="y", scilimits=(-2, 5), useOffset=False)
    if as_percent:
        highest = 100.0 * max(max(line.high or line.y) for line in lines)
        panel.set_ylim(bottom=0, top=1.08 * highest if highest > 0 else 1.0)
    if len(lines) > 1:
        panel.legend(frameon=False, fontsize=8, loc="best", ncols=2 if len(lines) > 4 else 1)


def draw_shares(panel: Axes, x: Sequence[float], shares: Mapping[str, Sequence[float]], ylabel: str) -> None:
    """Stack the shares, from the worst of them at the bottom to the best at the top, up to 100 %."""
    values = [[100.0 * share for share in column] for column in shares.values()]
    panel.stackplot(x, values, labels=list(shares), colors=SHARE_COLORS, linewidth=0)
    panel.set_ylabel(ylabel)
    panel.set_ylim(0, 100)
    panel.margins(x=0)
    handles, labels = panel.get_legend_handles_labels()
    panel.legend(handles[::-1], labels[::-1], frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


def _draw_line(panel: Axes, line: Line, scale: float) -> None:
    values = [scale * value for value in line.y]
    marker = None if line.is_dashed or len(values) > SMOOTH_FROM else "o"
    if line.low is not None and line.high is not None:
        low, high = ([scale * bound for bound in bounds] for bounds in (line.low, line.high))
        panel.fill_between(line.x, low, high, color=line.color, alpha=0.13, linewidth=0)
    elif len(values) > SMOOTH_FROM:
        panel.plot(line.x, values, color=line.color, linewidth=0.7, alpha=0.3)
        values = moving_mean(values, SMOOTH_REACH)
    style = "--" if line.is_dashed else "-"
    panel.plot(line.x, values, style, color=line.color, linewidth=1.8, marker=marker, markersize=3.5, label=line.label)


def moving_mean(values: Sequence[float], reach: int) -> list[float]:
    """Return the mean of each value and `reach` neighbours on both sides, of those that exist at the ends.

    >>> moving_mean([1.0, 3.0, 5.0, 10.0], reach=1)
    [2.0, 3.0, 6.0, 7.5]
    """
    chunks = (values[max(0, i - reach) : i + reach + 1] for i in range(len(values)))
    return [sum(chunk) / len(chunk) for chunk in chunks]


def finish(figure: Figure, axes: Sequence[Axes], lines: Sequence[Line], title: str, xlabel: str, path: Path) -> Path:
    """Title the figure, label its x axis, say what was smoothed, and write it."""
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", fontweight="bold")
    axes[-1].set_xlabel(xlabel)
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    if any(len(line.y) > SMOOTH_FROM and line.low is None for line in lines):
        note = f"thick: mean over {2 * SMOOTH_REACH + 1} neighbouring points"
        axes[0].annotate(note, (1, 1.01), xycoords="axes fraction", ha="right", va="bottom", fontsize=7, color="#666666")
    return save(figure, path)


def save(figure: Figure, path: Path) -> Path:
    """Write the figure, and the folder it goes to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path
