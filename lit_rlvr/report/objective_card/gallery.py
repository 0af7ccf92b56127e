"""All objectives in one picture, a small panel each."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from lit_rlvr.report.objective_card.measurement import Case, Measurement
from lit_rlvr.report.objective_card.panels import Look, draw_curve, log_axis, new_panels, weight_axis
from lit_rlvr.report.style import COLORS, save

NUM_COLUMNS = 3
RATIOS_SHOWN = (0.1, 10.0)
WHOLE_RESPONSE = "every token of the\nresponse at ratio r"
HIGH_ENTROPY = (2.0, 1.0)
POSITIVE, NEGATIVE, PLAIN = Look(COLORS[0], (), 3.4), Look(COLORS[1], (), 1.7), Look("#999999", (4, 3), 1.0)


def draw_gallery(measured: Sequence[Measurement], path: Path) -> Path:
    """Draw `w` against `r` on the same axes for every objective; the grey line is REINFORCE, `w = 1`."""
    num_rows = -(-len(measured) // NUM_COLUMNS)
    figure, grid = new_panels(num_rows, NUM_COLUMNS, (3.0, 2.45), dpi=200)
    panels = [panel for row in grid for panel in row]
    for panel, one in zip(panels, measured, strict=False):
        _draw_objective(panel, one)
    for panel in panels[len(measured) :]:
        panel.remove()
    for row in grid:
        row[0].set_ylabel("weight w", fontsize=10)
    figure.suptitle("What an objective does to a token: d loss / d logprob = −A w", fontsize=13, fontweight="bold")
    handles = [
        Line2D([], [], color=POSITIVE.color, linewidth=POSITIVE.width, label="A > 0"),
        Line2D([], [], color=NEGATIVE.color, linewidth=NEGATIVE.width, label="A < 0"),
        Line2D([], [], color=PLAIN.color, linewidth=PLAIN.width, dashes=PLAIN.dashes, label="w = 1"),
        Line2D([], [], color="#333333", linewidth=1.7, dashes=HIGH_ENTROPY, label="dashed: tokens of high entropy"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=10.5, handlelength=3)
    return save(figure, path)


def _draw_objective(panel: Axes, one: Measurement) -> None:
    panel.axhline(1.0, color=PLAIN.color, linewidth=PLAIN.width, dashes=PLAIN.dashes, zorder=1)
    for advantage, look in ((1.0, POSITIVE), (-1.0, NEGATIVE)):
        draw_curve(panel, one.weights[Case(advantage, False)], look)
        if one.depends_on_entropy:
            draw_curve(panel, one.weights[Case(advantage, True)], Look(look.color, HIGH_ENTROPY, 0.7 * look.width))
    log_axis(panel, *RATIOS_SHOWN, (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0))
    weight_axis(panel, 0.0, RATIOS_SHOWN[1], (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0))
    panel.tick_params(labelsize=9)
    panel.set_title(one.label, fontsize=11, loc="left", fontweight="bold")
    if one.depends_on_response:
        panel.annotate(WHOLE_RESPONSE, (0.03, 0.97), xycoords="axes fraction", va="top", fontsize=8.5, color="#555555")
    panel.set_xlabel("ratio r", fontsize=10, labelpad=1)
