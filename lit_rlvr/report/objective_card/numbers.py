"""The numbers of the figures as CSV."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from lit_rlvr.report.objective_card.measurement import HALVED, OLD_PROBABILITY, Case, Measurement


def write_weights(measured: Sequence[Measurement], path: Path) -> Path:
    """Write one row per objective, sign of the advantage, entropy class and ratio, with the gradient weight."""
    rows = (
        (*_key(one, case), f"{ratio:.8g}", f"{weight:.8g}")
        for one in measured
        for case in one.cases
        for ratio, weight in zip(one.weights[case].x, one.weights[case].y, strict=True)
    )
    return _write(path, ("objective", "advantage", "entropy", "ratio", "weight"), rows)


def write_push(measured: Sequence[Measurement], path: Path) -> Path:
    """Write one row per objective, sign, entropy class and probability, with the push `w (1 - p)`."""
    rows = (
        (*_key(one, case), f"{p:.8g}", f"{p_old:.8g}", f"{push:.8g}")
        for one in measured
        for case in one.cases
        for curve, holds_ratio in ((one.push[case], False), (one.push_at_half[case], True))
        for p, push in zip(curve.x, curve.y, strict=True)
        for p_old in [p / HALVED if holds_ratio else OLD_PROBABILITY]
    )
    return _write(path, ("objective", "advantage", "entropy", "probability", "old_probability", "push"), rows)


def _key(one: Measurement, case: Case) -> tuple[str, str, str]:
    entropy = ("high" if case.is_high_entropy else "low") if one.depends_on_entropy else "any"
    return one.label, f"{case.advantage:+g}", entropy


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path
