"""The figures of an objective, or of several for comparison."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lit_rlvr.report.objective_card.curve import Curve
from lit_rlvr.report.objective_card.measurement import OLD_PROBABILITY, PROBABILITY_RANGE, Case, Measurement
from lit_rlvr.report.objective_card.panels import Look, draw_curve, log_axis, looks, new_panels, weight_axis
from lit_rlvr.report.style import save

RATIOS_SHOWN = (0.05, 20.0)
RATIO_TICKS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
PROBABILITY_TICKS = (0.001, 0.01, 0.1, 1.0)
LARGEST_LINEAR_PUSH = 6.0
"""Above this the axis of the push is logarithmic, too."""

Curves = Callable[[Measurement], Mapping[Case, Curve]]


def draw_weights(measured: Sequence[Measurement], path: Path) -> Path:
    """Draw the gradient weight against the importance ratio, positive advantages left, negative ones right.

    With one objective the tokens of high entropy are dashed, where they differ; with several they have panels of their own.
    """
    classes = [False, True] if len(measured) > 1 and _any_depends(measured) else [None]
    figure, grid = new_panels(len(classes), 2, (5.2, 3.7))
    for row, entropy_class in zip(grid, classes, strict=True):
        highest, lowest = _extremes(measured, lambda one: one.weights, RATIOS_SHOWN)
        for panel, advantage in zip(row, (1.0, -1.0), strict=True):
            _draw_panel(panel, measured, lambda one: one.weights, advantage, entropy_class)
            panel.axvline(1.0, color="#bbbbbb", linewidth=0.8, zorder=0)
            log_axis(panel, *RATIOS_SHOWN, RATIO_TICKS)
            weight_axis(panel, lowest, highest)
            panel.set_title(_panel_title(advantage, entropy_class), fontsize=10, loc="left")
            panel.set_xlabel(_ratio_label(measured))
        row[0].set_ylabel("gradient weight w")
    return _finish(figure, grid, _title("Gradient weight: d loss / d logprob = −A w", measured), path)


def draw_push(measured: Sequence[Measurement], path: Path) -> Path:
    """Draw how hard a token's own logit is pushed, `w (1 - p)`, against its probability.

    Upper row: the old probability is 0.1, so that the ratio moves with `p`. Lower row: the probability has halved.
    Where entropy matters the tokens of high entropy are dashed (one objective) or left out (several; the CSV has them).
    """
    figure, grid = new_panels(2, 2, (5.2, 3.1))
    entropy_class = False if len(measured) > 1 and _any_depends(measured) else None
    rows: list[tuple[Curves, str]] = [
        (lambda one: one.push, f"old probability {OLD_PROBABILITY:g}: r = p / {OLD_PROBABILITY:g}"),
        (lambda one: one.push_at_half, "probability halved: r = 0.5"),
    ]
    for panels, (curves, held) in zip(grid, rows, strict=True):
        highest, lowest = _extremes(measured, curves, PROBABILITY_RANGE)
        for panel, advantage in zip(panels, (1.0, -1.0), strict=True):
            _draw_panel(panel, measured, curves, advantage, entropy_class)
            log_axis(panel, PROBABILITY_RANGE[0], 1.0, PROBABILITY_TICKS)
            if highest > LARGEST_LINEAR_PUSH:
                weight_axis(panel, lowest, highest)
            else:
                panel.set_ylim(min(-0.04 * highest, 1.1 * lowest), 1.1 * max(highest, 1.0))
            panel.set_title(f"{_panel_title(advantage, entropy_class)}; {held}", fontsize=9, loc="left")
        panels[0].set_ylabel("push, w (1 − p)")
    for panel in grid[0]:
        panel.axvline(OLD_PROBABILITY, color="#bbbbbb", linewidth=0.8, zorder=0)
    for panel in grid[1]:
        panel.set_xlabel("probability p of the token")
    return _finish(figure, grid, _title("Push on the token's own logit, per unit of advantage: w (1 − p)", measured), path)


def _draw_panel(
    panel: Axes, measured: Sequence[Measurement], curves: Curves, advantage: float, entropy_class: bool | None
) -> None:
    """Draw one sign; `entropy_class` None draws both classes of the single objective."""
    for one, look in zip(measured, looks(len(measured)), strict=True):
        label = one.label if len(measured) > 1 else "tokens of low entropy"
        draw_curve(panel, curves(one)[Case(advantage, bool(entropy_class))], look, label)
        if entropy_class is None and one.depends_on_entropy:
            high = Look("#D55E00", (3, 1.2), 1.8)
            draw_curve(panel, curves(one)[Case(advantage, True)], high, "tokens of high entropy")


def _extremes(measured: Sequence[Measurement], curves: Curves, shown: tuple[float, float]) -> tuple[float, float]:
    values = [
        y
        for one in measured
        for case in one.cases
        for x, y in zip(curves(one)[case].x, curves(one)[case].y, strict=True)
        if shown[0] <= x <= shown[1] and abs(y) < float("inf")
    ]
    return max(values, default=1.0), min(values, default=0.0)


def _any_depends(measured: Sequence[Measurement]) -> bool:
    return any(one.depends_on_entropy for one in measured)


def _ratio_label(measured: Sequence[Measurement]) -> str:
    label = "importance ratio r = p / p_old"
    return f"{label}, of every token of the response" if any(one.depends_on_response for one in measured) else label


def _title(title: str, measured: Sequence[Measurement]) -> str:
    return title if len(measured) > 1 else f"{measured[0].label} · {title}"


def _panel_title(advantage: float, entropy_class: bool | None) -> str:
    title = "A > 0 (make likelier)" if advantage > 0 else "A < 0 (make less likely)"
    return title if entropy_class is None else f"{title}, {'high' if entropy_class else 'low'} entropy"


def _finish(figure: Figure, grid: Sequence[Sequence[Axes]], title: str, path: Path) -> Path:
    figure.suptitle(title, fontsize=12, x=0.01, ha="left", fontweight="bold")
    handles, labels = grid[0][0].get_legend_handles_labels()
    if len(labels) > 1:
        _legend(figure, handles, labels)
    return save(figure, path)


def _legend(figure: Figure, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    columns = max(1, min(len(labels), 120 // (max(map(len, labels)) + 10)))
    figure.legend(handles, labels, loc="outside lower left", ncols=columns, frameon=False, fontsize=9, handlelength=4.5)
