"""Figures of the training dynamics: what `TrainingDynamics` and `RolloutDynamics` measured, where it was logged."""

from collections.abc import Mapping
from pathlib import Path

from lit_rlvr.report.panels import Runs, StrPath, draw_distribution, draw_panels, one_panel_each

SIGNS = {"": "all", "_positive": "A > 0", "_negative": "A < 0"}
OF_ALL_TOKENS = ("clip fraction low", "clip fraction high")
PASS_RATES = {
    "rollout/pass_rate_0": "none right",
    "rollout/pass_rate_1_25": "up to 25 %",
    "rollout/pass_rate_26_50": "up to 50 %",
    "rollout/pass_rate_51_75": "up to 75 %",
    "rollout/pass_rate_76_99": "below 100 %",
    "rollout/pass_rate_100": "all right",
}


def draw_entropy(runs: Runs, path: StrPath) -> Path | None:
    """Mean entropy of the policy's distribution over completion tokens, over all and by the sign of the advantage."""
    labels = _signed("train/entropy") if len(runs) == 1 else {"train/entropy": "all"}
    return draw_panels(runs, path, "Entropy of the policy", "entropy (nats per token)", {"": labels})


def draw_importance_ratio(runs: Runs, path: StrPath) -> Path | None:
    """Mean importance ratio by the sign of the advantage, over tokens and over responses."""
    panels = {"tokens": _signed("train/ratio"), "responses (mean ratio of each)": _signed("train/response_ratio")}
    return draw_panels(runs, path, "Importance ratio", "policy / old policy", one_panel_each(runs, panels))


def draw_clip_fractions(runs: Runs, path: StrPath) -> Path | None:
    """Share of tokens outside the clip range: of all tokens and of the tokens of one sign, one panel per bound."""
    panels = one_panel_each(runs, clip_panels(runs))
    return draw_panels(runs, path, "Clipped tokens", "% of tokens", panels, as_percent=True)


def clip_panels(runs: Runs) -> dict[str, dict[str, str]]:
    """Return the clip fractions that were logged, as bound -> metric -> label.

    Where a bound has clipped no token of one sign throughout (most objectives clip at it for the other sign only), that sign is left
    out.
    """
    logged = sorted({name for curves in runs.values() for name in curves.names("train/") if "clip_fraction" in name})
    panels: dict[str, dict[str, str]] = {}
    for name in logged:
        sign = next(sign for sign in ("_positive", "_negative", "") if name.endswith(sign))
        bound = name.removesuffix(sign)
        if sign and bound in logged and _is_zero(runs, name):
            continue
        heading = bound.removeprefix("train/").replace("_", " ")
        among = (
            f"tokens with {SIGNS[sign]}" if sign else "all tokens" if heading in OF_ALL_TOKENS else "the tokens it applies to"
        )
        panels.setdefault(heading, {})[name] = f"of {among}"
    return panels


def draw_kl(runs: Runs, path: StrPath) -> Path | None:
    """Divergences between the engine's, the old, the trained and the reference distribution (estimators k1 and k3)."""
    headings = {"old": "old policy to policy", "ref": "policy to reference", "rollout": "engine to old policy"}
    estimators = ("k3", "k1") if len(runs) == 1 else ("k3",)
    panels = {heading: {f"train/kl_{of}_{k}": k for k in estimators} for of, heading in headings.items()}
    return draw_panels(runs, path, "Divergences", "KL (nats per token)", panels)


def draw_zero_gradient(runs: Runs, path: StrPath) -> Path | None:
    """Share of the loss tokens that teach nothing, and of those without an advantage."""
    labels = {"train/zero_gradient_share": "no gradient", "train/zero_advantage_share": "no advantage"}
    return draw_panels(
        runs, path, "Tokens that teach nothing", "% of loss tokens", one_panel_each(runs, {"": labels}), as_percent=True
    )


def draw_gradient_norm(runs: Runs, path: StrPath) -> Path | None:
    """Norm of the gradient before clipping."""
    return draw_panels(runs, path, "Gradient norm", "norm before clipping", {"": {"train/grad_norm": "gradient norm"}})


def draw_length(runs: Runs, path: StrPath) -> Path | None:
    """Mean length of completions, over all and by correctness."""
    return draw_panels(
        runs, path, "Length of completions", "tokens per completion", {"": _by_correctness(runs, "rollout/length")}
    )


def draw_repetition(runs: Runs, path: StrPath) -> Path | None:
    """Share of repeated 20-grams of words, over all completions and by correctness."""
    labels = _by_correctness(runs, "rollout/repetition")
    return draw_panels(runs, path, "Repetition", "% of repeated 20-grams", {"": labels}, as_percent=True)


def draw_pass_rates(runs: Runs, path: StrPath) -> Path | None:
    """Share of the groups by how many of their completions are right, stacked."""
    return draw_distribution(runs, path, "Right completions per group", "% of groups", PASS_RATES)


def _signed(name: str) -> Mapping[str, str]:
    return {f"{name}{suffix}": label for suffix, label in SIGNS.items()}


def _by_correctness(runs: Runs, name: str) -> Mapping[str, str]:
    if len(runs) > 1:
        return {name: "all"}
    return {name: "all", f"{name}_correct": "correct", f"{name}_wrong": "wrong"}


def _is_zero(runs: Runs, name: str) -> bool:
    return not any(point.value for curves in runs.values() for point in curves.points.get(name, ()))
