"""Side-by-side panels, and curves in them that stay visible where they coincide and break where they jump."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from lit_rlvr.report.objective_card.curve import Curve
from lit_rlvr.report.style import COLORS

DASHES: tuple[tuple[float, ...], ...] = ((), (3, 1), (1, 1), (5, 1, 1, 1), (4, 2), (2, 2), (1, 2))
"""Patterns of the first, second, ... curve, in line widths: lines and gaps."""
WEIGHT_TICKS = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)


class Look(NamedTuple):
    """Colour, dashes and width of a curve."""

    color: str
    dashes: tuple[float, ...] = ()
    width: float = 2.2


def looks(count: int) -> list[Look]:
    """Return a look per curve. Later ones are thinner and dashed: on top of earlier ones, both are seen."""
    widths = [2.2] if count == 1 else [5.0 - 3.2 * i / (count - 1) for i in range(count)]
    return [Look(COLORS[i % len(COLORS)], DASHES[i % len(DASHES)], widths[i]) for i in range(count)]


def new_panels(rows: int, columns: int, size: tuple[float, float], dpi: int = 150) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure with a grid of panels. `size` is that of a panel, in inches."""
    figure = Figure(figsize=(size[0] * columns, size[1] * rows + 0.9), dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, sharey="row", squeeze=False)
    for panel in axes.flat:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(color="#e4e4e4", linewidth=0.7)
        panel.set_axisbelow(True)
    figure.get_layout_engine().set(wspace=0.05)  # type: ignore[union-attr,call-arg]
    return figure, axes.tolist()


def draw_curve(panel: Axes, curve: Curve, look: Look, label: str | None = None) -> None:
    """Draw a curve: solid pieces, and a thin dotted vertical where it jumps from one to the next."""
    for x, y in curve.segments:
        (line,) = panel.plot(x, y, color=look.color, linewidth=look.width, label=label, solid_capstyle="butt")
        if look.dashes:
            line.set_dashes(look.dashes)
        label = None
    for jump in curve.jumps:
        ends = sorted((jump.below, jump.above))
        panel.plot([jump.x, jump.x], ends, color=look.color, linewidth=0.8, linestyle=(0, (1, 1.5)), alpha=0.8)


def log_axis(panel: Axes, low: float, high: float, ticks: Sequence[float]) -> None:
    """Make the x axis logarithmic with these ticks."""
    panel.set_xscale("log")
    panel.set_xlim(low, high)
    panel.xaxis.set_major_locator(FixedLocator(list(ticks)))
    panel.xaxis.set_major_formatter(FixedFormatter([f"{tick:g}" for tick in ticks]))
    panel.xaxis.set_minor_locator(NullLocator())


def weight_axis(panel: Axes, lowest: float, highest: float, ticks: Sequence[float] = WEIGHT_TICKS) -> None:
    """Make the y axis one of weights: logarithmic, so that `r` and `1 / r` are straight lines, but with a place for 0.

    The first tick after 0 is where it turns linear.
    """
    linear_below = min(tick for tick in ticks if tick > 0)
    panel.set_yscale("symlog", linthresh=linear_below, linscale=0.4)
    shown = sorted({*ticks, *(-tick for tick in ticks if lowest < 0)})
    panel.yaxis.set_major_locator(FixedLocator(shown))
    panel.yaxis.set_major_formatter(FixedFormatter([f"{tick:g}" for tick in shown]))
    panel.yaxis.set_minor_locator(NullLocator())
    panel.set_ylim(1.2 * lowest if lowest < 0 else -0.25 * linear_below, 1.25 * max(highest, 1.0))
