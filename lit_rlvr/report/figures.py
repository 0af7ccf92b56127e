"""Figures of a run, or of several runs for comparison: one function per figure.

Every function takes the runs by the name they shall have in the legend, writes a PNG and returns its path, or None when no run
has logged what the figure shows. With one run colours tell metrics apart, with several they tell runs apart.
"""

import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from lit_rlvr.metrics.intervals import Estimate
from lit_rlvr.report import dynamics
from lit_rlvr.report.curves import read_run
from lit_rlvr.report.panels import Runs, StrPath, draw_panels
from lit_rlvr.report.style import COLORS, new_figure, save

logger = logging.getLogger(__name__)


def draw_run(folder: StrPath, out: StrPath) -> list[Path]:
    """Draw all figures of a run into the folder `out`; what the run has not logged is skipped with a note in the log.

    Raises:
        FileNotFoundError: when the run has no metrics.csv.
    """
    return draw_comparison({"": folder}, out)


def draw_comparison(folders: Mapping[str, StrPath], out: StrPath) -> list[Path]:
    """Draw every figure with several runs in it, named by the keys."""
    runs = {name: read_run(folder) for name, folder in folders.items()}
    written = []
    for name, draw in FIGURES.items():
        path = draw(runs, Path(out) / f"{name}.png")
        if path is None:
            logger.info("no figure %s: %s did not log its metrics", name, " and ".join(map(str, folders.values())))
        else:
            written.append(path)
    return written


def draw_accuracy(runs: Runs, path: StrPath) -> Path | None:
    """Accuracy on held-out problems with its 95 % band, and on the training rollouts."""
    names = sorted({name for curves in runs.values() for name in curves.names("val/") if re.search(r"@\d+$|greedy$", name)})
    if len(runs) > 1:
        names = [name for name in names if "avg@" in name]
    labels = {name: f"held-out, {name.removeprefix('val/')}" for name in names} | {"rollout/accuracy": "training rollouts"}
    return draw_panels(runs, path, "Accuracy", "accuracy (%)", {"": labels}, as_percent=True)


def draw_reward(runs: Runs, path: StrPath) -> Path | None:
    """Mean reward of the rollouts."""
    return draw_panels(runs, path, "Reward of training rollouts", "mean reward", {"": {"rollout/reward": "reward"}})


def draw_loss(runs: Runs, path: StrPath) -> Path | None:
    """Training loss and, where there is one, the loss on held-out data."""
    return draw_panels(runs, path, "Loss", "loss", {"": {"train/loss": "training", "val/loss": "held-out"}})


def draw_before_after(before: Mapping[str, Estimate], after: Mapping[str, Estimate], path: StrPath) -> Path:
    """Draw accuracies before and after training as bars with their 95 % intervals.

    Raises:
        ValueError: when no measure is in both.
    """
    names = [name for name in before if name in after]
    if not names:
        raise ValueError(f"before has {list(before)} and after has {list(after)}: there is nothing to compare")
    figure, (panel,) = new_figure()
    for offset, label, estimates, color in ((-0.2, "before", before, "#999999"), (0.2, "after", after, COLORS[0])):
        values = [100 * estimates[name].value for name in names]
        below = [100 * (estimates[name].value - estimates[name].low) for name in names]
        above = [100 * (estimates[name].high - estimates[name].value) for name in names]
        positions = [i + offset for i in range(len(names))]
        panel.bar(positions, values, 0.36, yerr=[below, above], capsize=4, color=color, label=label, ecolor="#333333")
        for x, value, error in zip(positions, values, above, strict=True):
            panel.annotate(f"{value:.1f}", (x, value + error), (0, 3), textcoords="offset points", ha="center", fontsize=9)
    panel.set_xticks(range(len(names)), names)
    panel.set_ylim(0, 110)
    panel.set_yticks(range(0, 101, 20))
    panel.set_ylabel("accuracy (%)")
    panel.legend(frameon=False, loc="upper left", ncols=2)
    title = "Before and after training (whiskers: 95 % intervals over problems)"
    figure.suptitle(title, fontsize=11, x=0.01, ha="left", fontweight="bold")
    return save(figure, Path(path))


FIGURES: Mapping[str, Callable[[Runs, StrPath], Path | None]] = {
    "accuracy": draw_accuracy,
    "reward": draw_reward,
    "loss": draw_loss,
    "entropy": dynamics.draw_entropy,
    "importance_ratio": dynamics.draw_importance_ratio,
    "clip_fractions": dynamics.draw_clip_fractions,
    "zero_gradient": dynamics.draw_zero_gradient,
    "kl": dynamics.draw_kl,
    "length": dynamics.draw_length,
    "repetition": dynamics.draw_repetition,
    "pass_rates": dynamics.draw_pass_rates,
    "gradient_norm": dynamics.draw_gradient_norm,
}
"""The figures of a run by file name."""
