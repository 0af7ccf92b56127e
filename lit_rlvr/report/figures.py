"""Figures of a run, or of several runs for comparison: one function per figure.

Every function takes the runs by the name they shall have in the legend, writes a PNG and returns its path, or None when no run
has logged what the figure shows. With one run colours tell metrics apart, with several they tell runs apart.
"""

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lit_rlvr.metrics.intervals import Estimate
from lit_rlvr.report.curves import Curves, read_run
from lit_rlvr.report.style import COLORS, Line, draw_lines, finish, new_figure, save

logger = logging.getLogger(__name__)

Runs = Mapping[str, Curves]
StrPath = str | os.PathLike[str]


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
    return _draw(runs, path, "Accuracy", "accuracy (%)", {"": labels}, as_percent=True)


def draw_reward(runs: Runs, path: StrPath) -> Path | None:
    """Mean reward of the rollouts."""
    return _draw(runs, path, "Reward of training rollouts", "mean reward", {"": {"rollout/reward": "reward"}})


def draw_loss(runs: Runs, path: StrPath) -> Path | None:
    """Training loss and, where there is one, the loss on held-out data."""
    return _draw(runs, path, "Loss", "loss", {"": {"train/loss": "training", "val/loss": "held-out"}})


def draw_entropy(runs: Runs, path: StrPath) -> Path | None:
    """Mean entropy of the policy's distribution over completion tokens."""
    return _draw(runs, path, "Entropy of the policy", "entropy (nats per token)", {"": {"train/entropy": "entropy"}})


def draw_clip_fractions(runs: Runs, path: StrPath) -> Path | None:
    """Share of tokens outside the clip range, one panel per kind."""
    names = sorted({name for curves in runs.values() for name in curves.names("train/") if "clip_fraction" in name})
    panels = {_words(name): {name: _words(name)} for name in names}
    return _draw(runs, path, "Clipped tokens", "% of tokens", panels, as_percent=True)


def draw_length(runs: Runs, path: StrPath) -> Path | None:
    """Mean length of completions, over all and by correctness."""
    labels = {"rollout/length": "all", "rollout/length_correct": "correct", "rollout/length_wrong": "wrong"}
    if len(runs) > 1:
        labels = {"rollout/length": "all"}
    return _draw(runs, path, "Length of completions", "tokens per completion", {"": labels})


def draw_kl(runs: Runs, path: StrPath) -> Path | None:
    """Divergence of the trained policy from the one that began the iteration."""
    return _draw(runs, path, "Distance from the old policy", "KL divergence (nats per token)", {"": {"train/kl_old": "KL"}})


def draw_gradient_norm(runs: Runs, path: StrPath) -> Path | None:
    """Norm of the gradient before clipping."""
    return _draw(runs, path, "Gradient norm", "norm before clipping", {"": {"train/grad_norm": "gradient norm"}})


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
    "entropy": draw_entropy,
    "clip_fractions": draw_clip_fractions,
    "length": draw_length,
    "kl": draw_kl,
    "gradient_norm": draw_gradient_norm,
}
"""The figures of a run by file name."""


def _draw(
    runs: Runs,
    path: StrPath,
    title: str,
    ylabel: str,
    panels: Mapping[str, Mapping[str, str]],
    as_percent: bool = False,
) -> Path | None:
    """Draw panels given as panel title -> metric -> label; panels and lines without data are left out."""
    lines = {heading: found for heading, labels in panels.items() if (found := _lines(runs, labels))}
    if not lines:
        return None
    figure, axes = new_figure(len(lines), height=2.2 if len(lines) > 1 else 3.6)
    for panel, (heading, found) in zip(axes, lines.items(), strict=True):
        draw_lines(panel, found, ylabel, as_percent)
        panel.set_title(heading, fontsize=9, loc="left")
    xlabel = "finished RL iterations" if _have_rollouts(runs) else "optimizer steps"
    return finish(figure, axes, [line for found in lines.values() for line in found], title, xlabel, Path(path))


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


def _words(name: str) -> str:
    return name.removeprefix("train/").replace("_", " ")
